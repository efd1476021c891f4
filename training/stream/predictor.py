"""The default predictor of a stream: a committee that learns on, with static members, weighed by what proved right.

    predictor = StreamPredictor("regression", features=12, seed=1)
    predictor.begin(x, y, delay=100)     # rows with known labels
    answer = predictor.predict(x)        # rows whose labels are not known yet, in the order of the stream
    predictor.learn(y)                   # labels of the earliest rows that still wait for one

Labels may come at any delay: rows wait in order, and each is learned with the inputs it was predicted with. Members:
three networks that learn on (newest rows; newest and a sample of all; the same with the trace of known labels), the
last known label, for regression a fading linear model; static: boosted trees, a linear model, the first networks. There
is one setting for all streams.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput, Refused
from core.history import Floats
from training.stream.frozen import Frozen
from training.stream.learner import LearnerParams, StreamLearner
from training.stream.mixture import Mixture, log_loss
from training.stream.network import F32, Task
from training.stream.online import FadingRidge, Transitions
from training.stream.trace import LabelTrace

#: Members of the committee, in the order of the answers' first axis.
MEMBERS = ("recent", "half", "traced", "last label", "online linear", "boosted", "linear", "first networks")
_LINEAR = MEMBERS.index("online linear")


@dataclass(slots=True)
class _Waiting:
    """Rows predicted whose labels have not come: columns, trace inputs, members' answers, last label when asked."""

    x: Floats
    trace: F32
    answers: Floats
    last: NDArray[np.int64]


class StreamPredictor:
    """See the module. Labels are class numbers from 0 (new ones may appear) or values."""

    def __init__(self, task: Task, features: int, seed: int, params: LearnerParams | None = None) -> None:
        self.task, self.features, self._seed = task, features, seed
        self.learner = StreamLearner(task, features, seed, params)
        self._members = [m for m in range(len(MEMBERS)) if m != _LINEAR or task == "regression"]
        self.mixture = Mixture(len(self._members), relative=task == "regression")
        self._waiting: list[_Waiting] = []
        self._begun = False

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the committee's members for this task."""
        return tuple(MEMBERS[m] for m in self._members)

    def begin(self, x: Floats, y: NDArray[Any], delay: int) -> None:
        """Fit every member on the first rows (n x F, n).

        delay: rows that are asked between two arrivals of labels (1: labels at once); the members that read known
        labels are fitted as they will be asked.
        """
        if delay < 1 or len(x) != len(y):
            raise InvalidInput("delay must be at least 1, and every row needs a label", field="delay")
        classes = int(np.max(y)) + 1 if self.task == "classification" else 1
        self._centre, self._spread = float(np.mean(y)), float(np.std(y)) or 1.0
        self.trace = LabelTrace(classes)
        self.transitions = Transitions(classes)
        self._last = 0
        vectors, traces, lasts = self._vectors(y, classes), [], []
        for start in range(0, len(y), delay):
            n = min(delay, len(y) - start)
            traces.append(self.trace.inputs(np.arange(1, n + 1)))
            lasts.append(np.full(n, int(y[start - 1]) if start and self.task == "classification" else 0))
            self.trace.update(vectors[start : start + n])
        trace, last = np.concatenate(traces), np.concatenate(lasts)
        self.learner.learn(x, y, trace)
        self.frozen_members = Frozen(self.task, x, y, classes, self._seed)
        self._first = copy.deepcopy((self.learner.encoder, self.learner.net))
        self._value = float(y[-1])
        if self.task == "classification":
            self.transitions.update(last[delay:], np.asarray(y[delay:], dtype=np.int64))
            self._last = int(y[-1])
        else:
            self.linear = FadingRidge(1 + self.features + self.trace.width)
            self.linear.update(self._linear_rows(x, trace), (y - self._centre) / self._spread)
        self._begun = True

    def frozen(self, x: Floats) -> Floats:
        """Answers of the trees and the linear model to rows; may be computed ahead, for they depend on the row only."""
        return self.frozen_members.answers(np.asarray(x, dtype=float))

    def predict(self, x: Floats, frozen: Floats | None = None) -> Floats:
        """Answers to the next rows (n x F) of the stream: n x classes probabilities, or n x 1 values.

        frozen: their `frozen` answers, where they are known already.
        """
        if not self._begun:
            raise Refused("the predictor has no first rows yet: begin() comes first")
        x = np.asarray(x, dtype=float)
        distance = self.waiting + np.arange(1, len(x) + 1)
        trace = self.trace.inputs(distance)
        frozen = self.frozen(x) if frozen is None else frozen
        answers = self._answers(x, trace, frozen)
        self._waiting.append(_Waiting(x, trace, answers, np.full(len(x), self._last)))
        out: Floats = np.tensordot(self.mixture.weights(), answers, 1)
        return out

    @property
    def waiting(self) -> int:
        """Rows predicted whose labels have not come."""
        return sum(len(w.x) for w in self._waiting)

    def learn(self, y: NDArray[Any]) -> None:
        """Learn the labels of the earliest waiting rows (n); Refused when fewer rows wait."""
        y = np.asarray(y)
        if len(y) > self.waiting:
            raise Refused(f"{len(y)} labels for {self.waiting} rows that wait for one")
        if not np.isfinite(y).all():
            raise InvalidInput("labels must be finite", field="y")
        at = 0
        while at < len(y):
            rows = self._waiting[0]
            n = min(len(rows.x), len(y) - at)
            head, self._waiting[0] = _split(rows, n)
            if not len(self._waiting[0].x):
                self._waiting.pop(0)
            self._learn(head, y[at : at + n])
            at += n

    def _learn(self, rows: _Waiting, y: NDArray[Any]) -> None:
        if self.task == "classification":
            y = y.astype(np.int64)
            self._widen(int(y.max()) + 1)
            padded = _padded(rows.answers, len(self.transitions.counts))
            self.mixture.update(log_loss(padded, y))
            self.transitions.update(rows.last, y)
            self._last = int(y[-1])
        else:
            self.mixture.update(np.abs(rows.answers[:, :, 0] - y))
            self.linear.update(self._linear_rows(rows.x, rows.trace), (y - self._centre) / self._spread)
        self._value = float(y[-1])
        more = self.trace.width - rows.trace.shape[1]
        self.learner.learn(rows.x, y, np.pad(rows.trace, ((0, 0), (0, more))) if more else rows.trace)
        self.trace.update(self._vectors(y, len(self.trace.last)))

    def _answers(self, x: Floats, trace: F32, frozen: Floats) -> Floats:
        networks, first = self.learner.answers(x, trace), self._first_answers(x)
        if self.task == "classification":
            classes = len(self.transitions.counts)
            last = np.broadcast_to(self.transitions.answer(self._last), (1, len(x), classes))
            parts = [_padded(networks, classes), last, _padded(frozen, classes), _padded(first, classes)]
        else:
            last = np.full((1, len(x), 1), self._value)
            value = self.linear.answer(self._linear_rows(x, trace)) * self._spread + self._centre
            parts = [networks, last, value[None, :, None], frozen, first]
        out: Floats = np.concatenate(parts)
        return out

    def _first_answers(self, x: Floats) -> Floats:
        """Mean of the first networks that do not read the trace, with the scales of the first rows."""
        encoder, net = self._first
        assert net is not None
        blind = [m for m, reads in enumerate(self.learner.params.extras) if not reads]
        encoded = encoder(x)
        nothing = np.zeros((len(x), net.inputs - encoded.shape[1]), np.float32)
        out = net.answers(np.concatenate([encoded, nothing], axis=1))[blind].astype(float)
        if self.task == "regression":
            values: Floats = out.mean(axis=0, keepdims=True) * self.learner.spread + self.learner.centre
            return values
        out = np.exp(out - out.max(axis=2, keepdims=True))
        probabilities: Floats = (out / out.sum(axis=2, keepdims=True)).mean(axis=0, keepdims=True)
        return probabilities

    def _linear_rows(self, x: Floats, trace: F32) -> Floats:
        out: Floats = np.concatenate([np.ones((len(x), 1)), self.learner.encoder.scale(x), trace], axis=1)
        return out

    def _vectors(self, y: NDArray[Any], classes: int) -> Floats:
        if self.task == "classification":
            out: Floats = np.eye(classes)[np.asarray(y, dtype=np.int64)]
            return out
        return ((np.asarray(y, dtype=float) - self._centre) / self._spread)[:, None]

    def _widen(self, classes: int) -> None:
        if classes > len(self.transitions.counts):
            self.transitions.widen(classes)
            self.trace.widen(classes)


def _split(rows: _Waiting, n: int) -> tuple[_Waiting, _Waiting]:
    head = _Waiting(rows.x[:n], rows.trace[:n], rows.answers[:, :n], rows.last[:n])
    return head, _Waiting(rows.x[n:], rows.trace[n:], rows.answers[:, n:], rows.last[n:])


def _padded(answers: Floats, classes: int) -> Floats:
    more = classes - answers.shape[2]
    return np.pad(answers, ((0, 0), (0, 0), (0, more))) if more else answers
