"""How much each member is believed: by its errors in the backtest, series by series, held at what the group shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.history import Floats

#: Pull towards the weights that a set of weights starts from, in origins: as if so many had been seen that favour them.
GROUP_PRIOR, SERIES_PRIOR = 1.0, 0.5
_STEPS, _RATE = 60, 2.0
#: Steps of the horizon that are looked at, about: their errors are much alike.
_LOOKED_AT = 13


def weigh(errors: Floats) -> Floats:
    """Weights n x M, each row a convex combination, from errors K x M x n x H (NaN: none known).

    Member 0 is the benchmark. The group's weights minimise the combination's mean absolute error over all series (each
    counted in units of its own usual error), plus for each member the standard error, over the origins, of its lead
    over the benchmark: what gains no more than chance is not believed. A series' own weights minimise its own error,
    plus the standard error of each member's lead over the group's combination, with a pull towards the group's. Pulls
    are relative entropies, weaker the more origins there are; the descent is by exponentiated gradient (Kivinen and
    Warmuth, 1997). Unlike weights by each member's own error, these know that two members which err alike are worth
    one. Series without any error take the group's weights, a group without any equal ones.
    """
    errors = errors[..., :: _stride(errors.shape[3])]
    _, m, n, _ = errors.shape
    equal = np.full(m, 1.0 / m)
    known: NDArray[np.bool_] = np.asarray(np.isfinite(errors).all(axis=1))  # K x n x H
    if not known.any():
        return np.tile(equal, (n, 1))
    number = known.sum(axis=2)  # K x n
    every = np.maximum(number.sum(axis=0), 1)  # n
    clean = np.where(known[:, None], errors, 0.0)
    usual = np.median(np.abs(clean).sum(axis=(0, 3)) / every, axis=0)  # n: the middle member's mean error
    floor = max(float(np.median(usual[usual > 0])) if (usual > 0).any() else 1.0, 1e-12) * 1e-3
    clean = clean / np.maximum(usual, floor)[:, None]
    seen = (number > 0).sum(axis=0)  # n: origins with an error
    size = np.abs(clean).sum(axis=3)  # K x M x n
    everything = clean.transpose(1, 0, 2, 3).reshape(1, m, -1)
    pull = GROUP_PRIOR / max(int(seen.sum()), 1)
    lead = (size - size[:, :1]).sum(axis=2)
    chance = _chance(lead, number.sum(axis=1)[:, None])[None]
    group = _descend(everything, number.sum().reshape(1), equal[None], np.array([pull]), chance)[0]
    own = clean.transpose(2, 1, 0, 3).reshape(n, m, -1)
    together = np.abs(np.einsum("m,kmnh->knh", group, clean)).sum(axis=2)
    chance = _chance(size - together[:, None], number[:, None]).T
    start, pulls = np.tile(group, (n, 1)), SERIES_PRIOR / np.maximum(seen, 1e-3)
    return _descend(own, every, start, pulls, chance)


def _chance(lead: Floats, number: NDArray[np.int_]) -> Floats:
    """Standard error of mean leads over the origins, taken as independent; 0 where fewer than two are known.

    lead: K x ..., sums over as many differences as `number` says (same shape, or 1 where it is the same for all).
    """
    there = number > 0
    lead = np.where(there, lead / np.maximum(number, 1), 0.0)
    origins = there.sum(axis=0)
    away = np.where(there, lead - lead.sum(axis=0) / np.maximum(origins, 1), 0.0)
    result: Floats = np.sqrt((away**2).sum(axis=0) / np.maximum(origins * (origins - 1), 1))
    return result


def _stride(horizon: int) -> int:
    """Odd and no multiple of 7, so that every phase of a day or week is met."""
    step = max(horizon // _LOOKED_AT, 1) | 1
    return step + 2 if step % 7 == 0 else step


def _descend(errors: Floats, number: np.ndarray, prior: Floats, pull: Floats, cost: Floats) -> Floats:
    """Weights (g x M) of least mean |weights . errors| + weights . cost + pull x KL(weights, prior), for g groups.

    errors: g x M x S, zero where none is known; number: how many are (g); cost: g x M.
    """
    start = np.log(np.maximum(prior, 1e-12))
    weights, logits, mean = prior, start, np.zeros_like(prior)
    for step in range(_STEPS):
        combined = weights[:, None, :] @ errors  # g x 1 x S
        slope = (errors @ np.sign(combined).transpose(0, 2, 1))[:, :, 0] / number[:, None] + cost
        rate = _RATE / np.sqrt(step + 1.0)
        held = np.minimum(rate * pull, 1.0)[:, None]
        logits = (1 - held) * logits + held * start - rate * slope
        logits -= logits.max(axis=1, keepdims=True)
        weights = np.exp(logits)
        weights /= weights.sum(axis=1, keepdims=True)
        mean += weights * (step >= _STEPS // 2)
    result: Floats = mean / mean.sum(axis=1, keepdims=True)
    return result
