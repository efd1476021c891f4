"""The training loop: how long to fit, how far to trust the result, and the networks themselves. No Ray in here.

1. Folds in order of time are fitted side by side, one epoch each in turn; the epoch with the least out-of-fold loss is
   taken. Epoch 0 takes part: where nothing can be learned, the model stays at the channel's usual.
2. The out-of-fold answers at that epoch, and those of the network's peers (training/peers.py), say how much each
   counts, and calibrate the median and the 80 % interval.
3. Two networks are fitted for that many epochs: `judged` on the rows before the holdout, which the evaluation judges,
   and `final` on all rows, which goes into service (a model that has not seen the newest rows would be out of date).

With `slices`, both networks learn slice by slice in order of time instead, each slice for a fixed number of epochs with
a replay of the earlier ones; answers to the next slice are the out-of-fold answers (training/continual.py).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from core.errors import Refused
from core.history import Floats
from core.schemas.models import Memory, TrainingProgress
from training.calibration import Calibration, calibrate
from training.continual import Slice, memory, replayed, slices
from training.dataset import Dataset, from_parquet, in_order, joined
from training.fit import Fit, FitParams, consolidated, network_of
from training.folds import Folds
from training.peers import Peers
from training.stream.penalties import Ewc

State = dict[str, Tensor]


class TrainingStopped(Refused):
    """Somebody asked for it; nothing was registered."""

    code, title = "training-stopped", "Training stopped"


class Reporter(Protocol):
    """What the loop tells, and asks, while it runs."""

    def report(self, progress: TrainingProgress, checkpoint: bytes | None) -> None:
        """After every epoch; checkpoint: everything needed to go on, now and then (see `checkpoint_every`)."""
        ...

    def should_stop(self) -> bool:
        """Whether to stop now."""
        ...

    def restored(self) -> bytes | None:
        """The last checkpoint, where an earlier attempt left one."""
        ...


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """All that a loop needs; plain enough to travel to worker processes.

    judged, final: rows as Parquet. fold_from: what was known until here an earlier version has learned; folds validate
    on rows published later (None: the later half). fixed_epochs: no folds, no calibration, just so many epochs. warm:
    network state (safetensors) to start from; peers: the members beside it (Peers.to_bytes); old: rows that it learned
    from, which EWC holds on to. slices: learn in so many slices of time (0: all at once). search_s: folds end after
    this long with the best so far (only then does the result depend on the machine's speed); not used with several
    processes, which could not agree on it.
    """

    judged: bytes
    final: bytes
    params: dict[str, Any]
    seed: int
    epochs: int = 40
    patience: int = 10
    folds: int = 3
    fold_from: int | None = None
    fixed_epochs: int | None = None
    warm: bytes | None = None
    peers: bytes | None = None
    old: bytes | None = None
    slices: int = 0
    search_s: float = float("inf")
    checkpoint_every: int = 0
    device: str = "cpu"
    rank: int = 0
    world: int = 1


@dataclass(frozen=True, slots=True)
class Rows:
    """The config's rows, read."""

    judged: Dataset
    final: Dataset
    old: Dataset | None = None

    @classmethod
    def of(cls, config: LoopConfig) -> Rows:
        """From the config's own Parquet."""
        old = None if config.old is None else from_parquet(config.old)
        return cls(from_parquet(config.judged), from_parquet(config.final), old)


@dataclass(frozen=True, slots=True)
class LoopResult:
    """judged, final: network states as safetensors. peers: the members beside each, where there are some. curve:
    out-of-fold loss after 0, 1, 2, ... epochs. memory: what slices did to each other, where there were some.
    """

    judged: bytes
    final: bytes
    epochs: int
    curve: tuple[float, ...]
    calibration: Calibration
    peers: tuple[bytes | None, bytes | None] = (None, None)
    memory: Memory | None = None


def train_loop(config: LoopConfig, reporter: Reporter, rows: Rows | None = None) -> LoopResult:
    """Run it. The same config gives the same result, also when it goes on from a checkpoint half way.

    rows: the config's, where somebody else has read them. Raises TrainingStopped when the reporter says so.
    """
    rows = Rows.of(config) if rows is None else rows
    blob = reporter.restored()
    warm = None if config.warm is None else load(config.warm)
    stage = _Stage(config, reporter, FitParams(**_tupled(config.params)), warm, {} if blob is None else load(blob))
    if config.slices:
        return _slice_by_slice(stage, rows)
    epochs, curve, calibration = _search(stage, rows)
    stage.found = _packed(curve, calibration)
    searched = max(len(curve) - 1, 0)  # the curve begins before the first epoch
    stage.total = searched + 2 * epochs
    hold = stage.hold(stage.warm, rows.old) if rows.old is not None and epochs else None
    made: list[tuple[bytes, bytes | None]] = []
    for number, part in enumerate((rows.judged, rows.final)):
        if number and part is rows.judged:  # nothing was held out
            made.append(made[0])
            continue
        begin = searched + number * epochs
        weights = stage.fitted(f"{number}", stage.fit(part, config.seed, hold), epochs, begin)
        peers = stage.peers(part) if len(calibration.mix) > 1 else None
        made.append((save(weights), None if peers is None else peers.to_bytes()))
    (judged, beside), (final, beside_final) = made
    return LoopResult(judged, final, epochs, curve, calibration, (beside, beside_final))


@dataclass(slots=True)
class _Stage:
    """Where a loop stands. restored: the checkpoint it goes on from. done: weights of fits that have ended. found: what
    the folds said, as tensors.
    """

    config: LoopConfig
    reporter: Reporter
    params: FitParams
    warm: State | None
    restored: State
    done: dict[str, State] = field(default_factory=dict)
    found: State = field(default_factory=dict)
    total: int = 0

    def fit(self, rows: Dataset, seed: int, hold: Ewc | None = None, warm: State | None = None) -> Fit:
        c = self.config
        return Fit(rows, self.params, seed, self.warm if warm is None else warm, c.rank, c.world, c.device, hold)

    def peers(self, rows: Dataset) -> Peers | None:
        """Members beside the network that know no more than these rows, or than the version that the loop starts from;
        None for one that has none.
        """
        if self.warm is None:
            return Peers.fit(rows, self.config.seed)
        return None if self.config.peers is None else Peers.of(self.config.peers)

    def hold(self, weights: State | None, rows: Dataset | None, before: Ewc | None = None) -> Ewc | None:
        """EWC at some weights, with earlier ones' Fisher information; None where it is not asked for."""
        if self.params.ewc == 0 or weights is None or rows is None:
            return None
        net = network_of(weights, self.params)
        return consolidated(net, rows, self.params.ewc, self.config.seed).joined(before)

    def fitted(self, name: str, fit: Fit, epochs: int, begin: int) -> State:
        """Fit to the end, or from where a checkpoint left it; weights. begin: epochs of all kinds before it."""
        ended = _under(self.restored, f"done.{name}.")
        if ended:
            self.done[name] = ended
            return ended
        state = _under(self.restored, f"now.{name}.")
        if state:
            fit.restore(state)
        while fit.epochs < epochs:
            loss = fit.epoch()
            number = begin + fit.epochs
            self.tell(TrainingProgress(number, max(self.total, number), loss, None), {f"now.{name}.": fit})
        self.done[name] = fit.weights()
        return self.done[name]

    def tell(self, progress: TrainingProgress, now: dict[str, Fit | Folds]) -> None:
        """Report; with a checkpoint of what has ended and what is at work, where one is due."""
        every, checkpoint = self.config.checkpoint_every, None
        if every > 0 and progress.epoch % every == 0:
            flat = dict(self.found)
            for name, weights in self.done.items():
                flat |= {f"done.{name}.{key}": value for key, value in weights.items()}
            for mark, at_work in now.items():
                flat |= {f"{mark}{key}": value for key, value in at_work.state().items()}
            checkpoint = save(flat)
        self.reporter.report(progress, checkpoint)
        if self.reporter.should_stop():
            raise TrainingStopped(f"stopped after epoch {progress.epoch}, as asked")


def _search(stage: _Stage, rows: Rows) -> tuple[int, tuple[float, ...], Calibration]:
    """How many epochs: the folds' best, and what they say of its answers."""
    c = stage.config
    if c.fixed_epochs is not None:
        return c.fixed_epochs, (), Calibration.none()
    if "found.curve" in stage.restored:
        curve, calibration = _unpacked(stage.restored)
        return (int(np.argmin(curve)) if curve else min(c.epochs, 3)), curve, calibration
    hold = stage.hold(stage.warm, rows.old)
    folds = Folds.over(
        rows.judged, c.folds, c.fold_from, lambda before, n: stage.fit(before, c.seed + n, hold), stage.peers
    )
    if not folds.fits:
        # Too little to choose by: a careful few epochs, believed as they are.
        return min(c.epochs, 3), (), Calibration.none()
    state = _under(stage.restored, "folds.")
    if state:
        folds.restore(state)
    end = time.monotonic() + (c.search_s if c.world == 1 else float("inf"))
    while len(folds.curve) <= c.epochs and len(folds.curve) - 1 - folds.best() < c.patience:
        if time.monotonic() >= end:
            break
        loss = folds.epoch()
        done = len(folds.curve) - 1
        total = c.epochs + 2 * max(folds.best(), 1)
        stage.tell(TrainingProgress(done, total, loss, folds.curve[-1]), {"folds.": folds})
    return folds.best(), tuple(folds.curve), folds.calibration()


def _slice_by_slice(stage: _Stage, rows: Rows) -> LoopResult:
    c = stage.config
    parts = slices(rows.judged, c.slices, c.fold_from, c.seed, hold_back=True)
    everything = slices(rows.final, c.slices, c.fold_from, c.seed, hold_back=False)
    learned = int(stage.warm is not None and c.fold_from is not None)  # the first slice is the earlier version's
    stage.total = c.epochs * (len(parts) + len(everything) - 2 * learned)
    states = _sequence(stage, "judged", parts, learned, 0)
    final = _sequence(stage, "final", everything, learned, c.epochs * (len(parts) - learned))
    nets = [network_of(state, stage.params) for state in states]

    def answers(net: int, part: Dataset) -> Floats:
        out: Floats = nets[net].quantiles(torch.from_numpy(part.x)).numpy().astype(float)
        return out

    # Each by the network that had learned everything before the slice, and nothing of it.
    ahead = [p.rows for p in parts[1:]]
    rows_ahead = joined(ahead)
    peers = None if stage.warm is None else stage.peers(rows_ahead)
    steps = None if peers is None else peers.steps(rows_ahead.x, rows_ahead.ages)
    fold = np.repeat(np.arange(len(ahead)), [len(part) for part in ahead])
    raw = np.concatenate([answers(i, part) for i, part in enumerate(ahead)])
    calibration = calibrate(rows_ahead, raw, steps, fold)
    after = [[answers(i, s.judged)[:, :, 1] for s in parts] for i in range(len(parts))]
    if stage.warm is not None:
        begin = network_of(stage.warm, stage.params)
        before = [begin.quantiles(torch.from_numpy(s.judged.x)).numpy()[:, :, 1].astype(float) for s in parts]
    else:
        before = [np.zeros_like(s.judged.residual) for s in parts]
    report = memory(parts, before, after)
    kept = None if peers is None else c.peers
    return LoopResult(save(states[-1]), save(final[-1]), c.epochs, (), calibration, (kept, kept), report)


def _sequence(stage: _Stage, name: str, parts: Sequence[Slice], learned: int, begin: int) -> list[State]:
    """Weights after each slice; the first `learned` of them are those that the loop started from."""
    c = stage.config
    states: list[State] = []
    hold: Ewc | None = None
    for i, part in enumerate(parts):
        weights = states[-1] if states else stage.warm
        if i < learned and weights is not None:
            states.append(weights)
        else:
            earlier = replayed(parts[:i], c.seed)
            taught = part.taught if earlier is None else in_order(joined([part.taught, earlier]))
            fit = stage.fit(taught, c.seed + i, hold, weights)
            states.append(stage.fitted(f"{name}.{i}", fit, c.epochs, begin + (i - learned) * c.epochs))
        if i + 1 < len(parts):
            hold = stage.hold(states[-1], part.taught, hold)
    return states


def _under(flat: State, mark: str) -> State:
    return {key.removeprefix(mark): value for key, value in flat.items() if key.startswith(mark)}


def _packed(curve: tuple[float, ...], calibration: Calibration) -> State:
    found = {"curve": np.array(curve)} | calibration.to_plain()
    return {f"found.{name}": torch.from_numpy(np.array(value, dtype=np.float64)) for name, value in found.items()}


def _unpacked(flat: State) -> tuple[tuple[float, ...], Calibration]:
    found = {name: value.numpy() for name, value in _under(flat, "found.").items()}
    return tuple(float(v) for v in found["curve"]), Calibration.of(found, len(found["mix"]))


def _tupled(params: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in params.items()}
