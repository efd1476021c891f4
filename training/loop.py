"""The training loop: how long to fit, how far to trust the result, and the networks themselves. No Ray in here.

1. Folds in order of time are fitted side by side, one epoch each in turn; the epoch with the least out-of-fold loss is
   taken. Epoch 0 takes part: where nothing can be learned, the model stays at the channel's usual.
2. The out-of-fold answers at that epoch calibrate the median and the 80 % interval.
3. Two networks are fitted for that many epochs: `judged` on the rows before the holdout, which the evaluation judges,
   and `final` on all rows, which goes into service (a model that has not seen the newest rows would be out of date).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from core.errors import Refused
from core.history import Floats
from core.schemas.models import TrainingProgress
from training.calibration import Calibration, calibrate
from training.dataset import Dataset, from_parquet, split_at
from training.fit import Fit, FitParams

#: Fewer out-of-fold rows than this decide nothing.
_LEAST_FOLD = 20


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

    judged, final: rows as Parquet. fold_from: folds validate on rows published from here on (None: the later half).
    fixed_epochs: no folds, no calibration, just so many epochs. warm: network state (safetensors) to start from.
    search_s: folds end after this long with the best so far (only then does the result depend on the machine's speed);
    not used with several processes, which could not agree on it.
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
    search_s: float = float("inf")
    checkpoint_every: int = 0
    device: str = "cpu"
    rank: int = 0
    world: int = 1


@dataclass(frozen=True, slots=True)
class LoopResult:
    """judged, final: network states as safetensors. curve: out-of-fold loss after 0, 1, 2, ... epochs."""

    judged: bytes
    final: bytes
    epochs: int
    curve: tuple[float, ...]
    calibration: Calibration


def train_loop(config: LoopConfig, reporter: Reporter) -> LoopResult:
    """Run it. The same config gives the same result, also when it goes on from a checkpoint half way.

    Raises TrainingStopped when the reporter says so.
    """
    judged, final = from_parquet(config.judged), from_parquet(config.final)
    stage = _Stage(config, reporter, FitParams(**_tupled(config.params)), _load(config.warm))
    curve: list[float] = []
    if config.fixed_epochs is not None:
        epochs, calibration = config.fixed_epochs, Calibration.none()
    else:
        epochs, curve, calibration = _folds(stage, judged)
    total = len(curve) + 2 * epochs
    states = []
    for number, rows in enumerate((judged, final)):
        fit = stage.fit(rows, seed=config.seed)
        for epoch in range(epochs):
            loss = fit.epoch()
            stage.tell(TrainingProgress(len(curve) + number * epochs + epoch + 1, total, loss, None))
        states.append(save(fit.weights()))
    return LoopResult(states[0], states[1], epochs, tuple(curve), calibration)


@dataclass(frozen=True, slots=True)
class _Stage:
    config: LoopConfig
    reporter: Reporter
    params: FitParams
    warm: dict[str, Tensor] | None

    def fit(self, rows: Dataset, seed: int) -> Fit:
        c = self.config
        return Fit(rows, self.params, seed, self.warm, c.rank, c.world, c.device)

    def tell(self, progress: TrainingProgress, checkpoint: bytes | None = None) -> None:
        self.reporter.report(progress, checkpoint)
        if self.reporter.should_stop():
            raise TrainingStopped(f"stopped after epoch {progress.epoch}, as asked")


@dataclass(slots=True)
class Folds:
    """Fits that each validate on the span of time after their own rows.

    curve: mean out-of-fold quantile loss after 0, 1, 2, ... epochs. best_answers: quantiles of each span's rows at the
    epoch of the least loss, by the fit that has not seen them.
    """

    fits: list[Fit]
    spans: list[Dataset]
    curve: list[float] = field(default_factory=list)
    best_answers: list[Floats] = field(default_factory=list)

    @classmethod
    def over(cls, rows: Dataset, count: int, since: int | None, make: Callable[[Dataset, int], Fit]) -> Folds:
        """Spans of about equal numbers of posts from `since` on; one with too few rows on either side is left out."""
        _, first = np.unique(rows.posts, return_index=True)
        times = rows.published_at[first]
        late = times[times >= (np.quantile(times, 0.5) if since is None else since)]
        fits, spans = [], []
        if len(late):
            edges = [int(t) for t in np.quantile(late, np.linspace(0, 1, count + 1), method="higher")]
            for number, (low, high) in enumerate(zip(edges[:-1], [*edges[1:-1], edges[-1] + 1], strict=True)):
                split = split_at(rows, low)
                span = split.after.take(split.after.published_at < high)
                if min(len(span), len(split.before)) >= _LEAST_FOLD:
                    fits.append(make(split.before, number + 1))
                    spans.append(span)
        folds = cls(fits, spans)
        if fits:
            folds._note()
        return folds

    def epoch(self) -> float:
        """One epoch of every fold; returns the mean training loss and notes the out-of-fold loss."""
        loss = float(np.mean([fit.epoch() for fit in self.fits]))
        self._note()
        return loss

    def _note(self) -> None:
        answers = [fit.quantiles(span) for fit, span in zip(self.fits, self.spans, strict=True)]
        parts = [_pinball(q, span.residual) for q, span in zip(answers, self.spans, strict=True)]
        self.curve.append(sum(total for total, _ in parts) / max(sum(n for _, n in parts), 1))
        if self.best() == len(self.curve) - 1:
            self.best_answers = answers

    def calibration(self) -> Calibration:
        """From the answers of the best epoch, each by the fit that had not seen the row."""
        names = Dataset.__dataclass_fields__
        rows = Dataset(**{name: np.concatenate([getattr(span, name) for span in self.spans]) for name in names})
        return calibrate(rows, np.concatenate(self.best_answers))

    def best(self) -> int:
        """The epoch of the least loss."""
        return int(np.argmin(self.curve))

    def state(self) -> bytes:
        """All fits, to go on from."""
        flat = {f"{i}.{name}": value for i, fit in enumerate(self.fits) for name, value in fit.state().items()}
        flat |= {f"best.{i}": torch.from_numpy(answers) for i, answers in enumerate(self.best_answers)}
        return save(flat | {"curve": torch.tensor(self.curve, dtype=torch.float64)})

    def restore(self, blob: bytes) -> None:
        """Go on from a state."""
        flat = load(blob)
        self.curve = [float(v) for v in flat.pop("curve")]
        self.best_answers = [flat.pop(f"best.{i}").numpy() for i in range(len(self.fits))]
        for i, fit in enumerate(self.fits):
            mark = f"{i}."
            fit.restore({k.removeprefix(mark): v for k, v in flat.items() if k.startswith(mark)})


def _folds(stage: _Stage, rows: Dataset) -> tuple[int, list[float], Calibration]:
    c = stage.config
    folds = Folds.over(rows, c.folds, c.fold_from, lambda before, n: stage.fit(before, c.seed + n))
    if not folds.fits:
        # Too little to choose by: a careful few epochs, believed as they are.
        return min(c.epochs, 3), [], Calibration.none()
    blob = stage.reporter.restored()
    if blob is not None:
        folds.restore(blob)
    end = time.monotonic() + (c.search_s if c.world == 1 else float("inf"))
    while len(folds.curve) <= c.epochs and len(folds.curve) - 1 - folds.best() < c.patience:
        if time.monotonic() >= end:
            break
        loss = folds.epoch()
        done = len(folds.curve) - 1
        due = c.checkpoint_every > 0 and done % c.checkpoint_every == 0
        progress = TrainingProgress(done, c.epochs + 2 * max(folds.best(), 1), loss, folds.curve[-1])
        stage.tell(progress, folds.state() if due else None)
    return folds.best(), folds.curve, folds.calibration()


def _pinball(predicted: Floats, actual: Floats) -> tuple[float, int]:
    known = np.isfinite(actual)
    error = np.where(known, actual, 0.0)[:, :, None] - predicted
    levels = np.array([0.1, 0.5, 0.9])
    loss = np.maximum(levels * error, (levels - 1) * error).mean(axis=2)
    return float((loss * known).sum()), int(known.sum())


def _load(warm: bytes | None) -> dict[str, Tensor] | None:
    return None if warm is None else load(warm)


def _tupled(params: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in params.items()}


def params_dict(params: FitParams, **changes: Any) -> dict[str, Any]:
    """Fit parameters as the plain dict that LoopConfig carries."""
    return asdict(replace(params, **changes))
