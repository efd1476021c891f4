"""Fits that each validate on the span of time after their own rows: how many epochs to fit, how far to trust it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from core.history import Floats
from training.calibration import Calibration, calibrate
from training.dataset import Dataset, joined, split_at
from training.fit import Fit
from training.peers import Peers

#: Fewer out-of-fold rows than this decide nothing.
LEAST_FOLD = 20


@dataclass(slots=True)
class Folds:
    """Fits that each validate on the span of time after their own rows.

    curve: mean out-of-fold quantile loss after 0, 1, 2, ... epochs. best_answers: quantiles of each span's rows at the
    epoch of the least loss, by the fit that has not seen them. steps: those of each span's peers, where there are some.
    """

    fits: list[Fit]
    spans: list[Dataset]
    curve: list[float] = field(default_factory=list)
    best_answers: list[Floats] = field(default_factory=list)
    steps: list[Floats] = field(default_factory=list)
    _balance: list[Floats] = field(init=False)

    def __post_init__(self) -> None:
        self._balance = [span.balance for span in self.spans]

    @classmethod
    def over(
        cls,
        rows: Dataset,
        count: int,
        since: int | None,
        make: Callable[[Dataset, int], Fit],
        peers: Callable[[Dataset], Peers | None] = lambda _: None,
    ) -> Folds:
        """Spans of about equal numbers of posts from `since` on; one with too few rows on either side is left out.

        peers: those that know no more than some rows; None: the network answers alone.
        """
        _, first = np.unique(rows.posts, return_index=True)
        times = rows.published_at[first]
        late = times[times >= (np.quantile(times, 0.5) if since is None else since)]
        fits, spans, steps = [], [], []
        if len(late):
            edges = [int(t) for t in np.quantile(late, np.linspace(0, 1, count + 1), method="higher")]
            for number, (low, high) in enumerate(zip(edges[:-1], [*edges[1:-1], edges[-1] + 1], strict=True)):
                split = split_at(rows, low)
                span = split.after.take(split.after.published_at < high)
                if min(len(span), len(split.before)) >= LEAST_FOLD:
                    fits.append(make(split.before, number + 1))
                    spans.append(span)
                    beside = peers(split.before)
                    if beside is not None:
                        steps.append(beside.steps(span.x, span.ages))
        folds = cls(fits, spans, steps=steps)
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
        spans = zip(answers, self.spans, self._balance, strict=True)
        parts = [_pinball(q, span.residual, balance) for q, span, balance in spans]
        self.curve.append(sum(total for total, _ in parts) / max(sum(n for _, n in parts), 1))
        if self.best() == len(self.curve) - 1:
            self.best_answers = answers

    def calibration(self) -> Calibration:
        """From the answers of the best epoch, each by the fit that had not seen the row."""
        steps = np.concatenate(self.steps, axis=1) if self.steps else None
        fold = np.repeat(np.arange(len(self.spans)), [len(span) for span in self.spans])
        return calibrate(joined(self.spans), np.concatenate(self.best_answers), steps, fold)

    def best(self) -> int:
        """The epoch of the least loss."""
        return int(np.argmin(self.curve))

    def state(self) -> dict[str, Tensor]:
        """All fits, to go on from."""
        flat = {f"{i}.{name}": value for i, fit in enumerate(self.fits) for name, value in fit.state().items()}
        flat |= {f"best.{i}": torch.from_numpy(answers) for i, answers in enumerate(self.best_answers)}
        return flat | {"curve": torch.tensor(self.curve, dtype=torch.float64)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a state."""
        flat = dict(state)
        self.curve = [float(v) for v in flat.pop("curve")]
        self.best_answers = [flat.pop(f"best.{i}").numpy() for i in range(len(self.fits))]
        for i, fit in enumerate(self.fits):
            mark = f"{i}."
            fit.restore({k.removeprefix(mark): v for k, v in flat.items() if k.startswith(mark)})


def _pinball(predicted: Floats, actual: Floats, balance: Floats) -> tuple[float, int]:
    known = np.isfinite(actual)
    error = np.where(known, actual, 0.0)[:, :, None] - predicted
    levels = np.array([0.1, 0.5, 0.9])
    loss = np.maximum(levels * error, (levels - 1) * error).mean(axis=2)
    return float((loss * known * balance).sum()), int(known.sum())
