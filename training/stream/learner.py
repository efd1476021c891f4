"""A small network that learns on as labels come: from the newest rows, a window and a sample of the whole past.

learner = StreamLearner("classification", features=8, seed=1)
learner.learn(x, y)            # the first call of enough rows sets scales and fits for long
answers = learner.answers(x)   # members x n x outputs
learner.learn(x, y)            # later calls: a few small steps a row
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import ArtifactCorrupt, Broken, InsufficientData, InvalidInput
from core.history import Floats
from training.stream.memory import Memory, restored_rng, rng_state
from training.stream.network import F32, Adam, StreamNet, Task
from training.stream.scaling import Encoder

#: Rows before the first fit: fewer say nothing about scales.
FIRST = 200
#: A state's layout; another one is refused.
LAYOUT = 1


@dataclass(frozen=True, slots=True)
class LearnerParams:
    """How a stream learner learns. One setting for every stream; chosen on Elec2 and bike (bench/prequential.py)."""

    hidden: tuple[int, int] = (64, 64)
    #: of the rows that are not fresh, each member's share from the recent window; the rest from the reservoir
    shares: tuple[float, ...] = (1.0, 0.5, 1.0)
    #: which members read the extra inputs
    extras: tuple[bool, ...] = (False, False, True)
    recent: int = 2_000  # rows in the window
    kept: int = 2_000  # rows in the reservoir
    fresh: int = 100  # newest rows, that half of every batch comes from
    fresh_share: float = 0.5
    block: int = 25  # rows that are learned at once
    batch: int = 32
    steps_per_row: float = 0.2
    lr: float = 1.4e-3
    first_steps: int = 2_500  # at least; also at least 15 passes
    first_lr: float = 2e-3
    weight_decay: float = 0.1
    keep: float = 4_000.0  # rows that the running normalisation remembers

    @classmethod
    def single(cls, **changes: Any) -> LearnerParams:
        """One network on the recent window, without extra inputs: the least that learns on."""
        return replace(cls(shares=(1.0,), extras=(False,), steps_per_row=0.1), **changes)


class StreamLearner:
    """Several networks over one memory. Classes are numbers from 0 and may appear at any time.

    extra: width of inputs that come already scaled, beside the columns (0: none); it may grow. Everything random
    follows from the seed.
    """

    def __init__(self, task: Task, features: int, seed: int, params: LearnerParams | None = None) -> None:
        self.task, self.features = task, features
        self.params = params or LearnerParams()
        if len(self.params.shares) != len(self.params.extras):
            raise InvalidInput("shares and extras name the same members", field="extras")
        self._rng = np.random.default_rng(seed)
        self.encoder = Encoder(features, self.params.keep)
        self.memory = Memory(self.params.recent, self.params.kept, self._rng)
        self.net: StreamNet | None = None
        self.extra = 0
        self.centre, self.spread = 0.0, 1.0
        self._optimizer = Adam(0, 0.0)
        self._waiting: list[tuple[Floats, F32, NDArray[Any]]] = []

    @property
    def outputs(self) -> int:
        """Classes known, or 1."""
        return 1 if self.net is None else self.net.outputs

    def answers(self, x: Floats, extra: F32 | None = None) -> Floats:
        """Each member's answer to rows (n x F): M x n x classes probabilities, or M x n x 1 values.

        Raises InsufficientData before the first fit.
        """
        if self.net is None:
            have = sum(len(y) for _, _, y in self._waiting)
            raise InsufficientData("the learner has not seen enough rows", needed=FIRST, have=have)
        x, extra = self._checked(x, extra)
        out = self.net.answers(self._inputs(x, extra)).astype(float)
        if self.task == "regression":
            return out * self.spread + self.centre
        out = np.exp(out - out.max(axis=2, keepdims=True))
        probabilities: Floats = out / out.sum(axis=2, keepdims=True)
        return probabilities

    def learn(self, x: Floats, y: NDArray[Any], extra: F32 | None = None) -> None:
        """Learn labelled rows (n x F, n), oldest first; they wait until there is a block of them.

        Raises InvalidInput for labels that are not finite or no class numbers, Broken when the weights would not stay
        finite (they are then as before).
        """
        x, extra = self._checked(x, extra)
        y = np.asarray(y)
        if y.shape != (len(x),) or not np.isfinite(y).all():
            raise InvalidInput("labels must be one finite number a row", field="y")
        if self.task == "classification" and ((y < 0).any() or (y != y.astype(np.int64)).any()):
            raise InvalidInput("classes are whole numbers from 0", field="y")
        y = y.astype(np.int64 if self.task == "classification" else np.float64)
        self._waiting.append((x, extra, y))
        if sum(len(part) for *_, part in self._waiting) < (self.params.block if self.net is not None else FIRST):
            return
        width = self.extra
        padded = [np.pad(e, ((0, 0), (0, width - e.shape[1]))) for _, e, _ in self._waiting]
        rows, labels = np.concatenate([p[0] for p in self._waiting]), np.concatenate([p[2] for p in self._waiting])
        self._waiting = []
        if self.net is None:
            self._first(rows, labels, np.concatenate(padded))
        else:
            self._later(rows, labels, np.concatenate(padded))

    def _first(self, x: Floats, y: NDArray[Any], extra: F32) -> None:
        p = self.params
        self.encoder.fit(x)
        if self.task == "regression":
            self.centre, self.spread = float(y.mean()), float(y.std()) or 1.0
        outputs = int(y.max()) + 1 if self.task == "classification" else 1
        net = StreamNet(len(p.shares), self.encoder.width + self.extra, outputs, p.hidden, self._rng)
        optimizer = Adam(net.flat.numel(), p.weight_decay)
        inputs, targets = self._inputs(x, extra), self._targets(y)
        steps = max(p.first_steps, 15 * len(x) // 64)
        weights = net.flat.detach().numpy()
        member = np.arange(len(p.shares))[:, None]
        for step in range(steps):
            at = self._rng.integers(0, len(x), (len(p.shares), 64))
            rate = p.first_lr * min(1.0, max(0.1, 1.5 * (1 - step / steps)))
            optimizer.step(weights, net.gradient(inputs[member, at], targets[at], self.task), rate)
        if not np.isfinite(weights).all():
            raise Broken("the first fit did not stay finite")
        self.net, self._optimizer = net, optimizer
        self.memory.add(x, extra, y)

    def _later(self, x: Floats, y: NDArray[Any], extra: F32) -> None:
        p, members = self.params, len(self.params.shares)
        self._grow(y)
        assert self.net is not None
        self.encoder.update(x)
        self.memory.add(x, extra, y)
        steps = max(round(p.steps_per_row * len(x)), 1)
        fresh = max(p.fresh, len(x))
        at = np.stack([self.memory.draw((steps, p.batch), s, fresh, p.fresh_share) for s in p.shares], axis=1)
        kept_x, kept_extra, kept_y = self.memory.rows(at.reshape(-1))
        shape = (steps, members, p.batch)
        inputs = self._inputs(kept_x.reshape(*shape, self.features), kept_extra.reshape(*shape, self.extra))
        targets = self._targets(kept_y).reshape(shape)
        weights = self.net.flat.detach().numpy()
        before = weights.copy()
        for step in range(steps):
            self._optimizer.step(weights, self.net.gradient(inputs[step], targets[step], self.task), p.lr)
        if not np.isfinite(weights).all():
            weights[:] = before
            self._optimizer = Adam(len(before), p.weight_decay)
            raise Broken("a learning step did not stay finite; the weights are as before it")

    def _inputs(self, x: Floats, extra: F32) -> F32:
        """Inputs of every member: rows n x F give M x n x inputs, rows ... x M x n x F keep their shape."""
        encoded = self.encoder(x)
        reads = np.array(self.params.extras, dtype=np.float32)[:, None, None]
        if encoded.ndim == 2:
            encoded, extra = np.broadcast_to(encoded, (len(reads), *encoded.shape)), extra[None]
        return np.concatenate([encoded, extra * reads], axis=-1) if self.extra else encoded

    def _targets(self, y: NDArray[Any]) -> NDArray[Any]:
        if self.task == "classification":
            return y
        return ((y - self.centre) / self.spread).astype(np.float32)

    def _checked(self, x: Floats, extra: F32 | None) -> tuple[Floats, F32]:
        x = np.asarray(x, dtype=float)
        if x.ndim != 2 or x.shape[1] != self.features:
            raise InvalidInput(f"rows must be n x {self.features}, not {x.shape}", field="x")
        extra = np.zeros((len(x), self.extra), np.float32) if extra is None else extra.astype(np.float32)
        if len(extra) != len(x) or extra.shape[1] < self.extra:
            raise InvalidInput(f"extra inputs must be {len(x)} x {self.extra} or wider", field="extra")
        if extra.shape[1] > self.extra:
            self._widen(extra.shape[1], self.outputs)
        return x, extra

    def _grow(self, y: NDArray[Any]) -> None:
        if self.task == "classification" and int(y.max()) >= self.outputs:
            self._widen(self.extra, int(y.max()) + 1)

    def _widen(self, extra: int, outputs: int) -> None:
        self.extra = extra
        if self.net is not None:
            self.memory.pad(1, extra)
            self.net, moved = self.net.widened(self.encoder.width + extra, outputs)
            self._optimizer = self._optimizer.moved(self.net.flat.numel(), moved)

    def to_bytes(self) -> bytes:
        """Everything needed to go on, as an npz file without pickles; InsufficientData before the first fit."""
        if self.net is None:
            raise InsufficientData("there is no fitted network to store", needed=FIRST, have=0)
        header = {
            "layout": LAYOUT,
            "task": self.task,
            "features": self.features,
            "params": asdict(self.params),
            "extra": self.extra,
            "outputs": self.outputs,
            "centre": self.centre,
            "spread": self.spread,
            "steps": self._optimizer.steps,
            "waiting": len(self._waiting),
        }
        arrays: dict[str, NDArray[Any]] = {
            "header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8),
            "rng": rng_state(self._rng),
            "weights": self.net.flat.detach().numpy(),
            "first": self._optimizer.first,
            "second": self._optimizer.second,
        }
        arrays |= {f"encoder.{k}": v for k, v in self.encoder.state().items()}
        arrays |= {f"memory.{k}": v for k, v in self.memory.state().items()}
        for i, row in enumerate(self._waiting):
            arrays |= {f"waiting.{i}.x": row[0], f"waiting.{i}.extra": row[1], f"waiting.{i}.y": row[2]}
        out = io.BytesIO()
        np.savez(out, **arrays)  # type: ignore[arg-type]
        return out.getvalue()

    @classmethod
    def from_bytes(cls, blob: bytes) -> StreamLearner:
        """The learner of stored bytes, that goes on exactly as the stored one would; ArtifactCorrupt."""
        try:
            with np.load(io.BytesIO(blob), allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            header = json.loads(arrays["header"].tobytes())
            if header["layout"] != LAYOUT:
                raise ArtifactCorrupt(f"a stream learner of layout {header['layout']}, this code reads {LAYOUT}")
            return cls._restored(header, arrays)
        except (KeyError, ValueError, TypeError, EOFError, OSError) as error:
            raise ArtifactCorrupt("the bytes are not those of a stream learner") from error

    @classmethod
    def _restored(cls, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> StreamLearner:
        tuples: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in header["params"].items()}
        out = cls(header["task"], header["features"], 0, LearnerParams(**tuples))
        p = out.params
        out._rng = restored_rng(arrays["rng"])
        out.extra, out.centre, out.spread = header["extra"], header["centre"], header["spread"]
        out.encoder.restore(_under("encoder.", arrays))
        out.memory = Memory(p.recent, p.kept, out._rng)
        out.memory.restore(_under("memory.", arrays))
        inputs = out.encoder.width + out.extra
        out.net = StreamNet(len(p.shares), inputs, header["outputs"], p.hidden, np.random.default_rng(0))
        out.net.flat.detach().numpy()[:] = arrays["weights"]
        out._optimizer = Adam(len(arrays["weights"]), p.weight_decay)
        out._optimizer.first[:], out._optimizer.second[:] = arrays["first"], arrays["second"]
        out._optimizer.steps = header["steps"]
        waiting = [f"waiting.{i}." for i in range(header["waiting"])]
        out._waiting = [(arrays[w + "x"], arrays[w + "extra"], arrays[w + "y"]) for w in waiting]
        return out


def _under(prefix: str, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
