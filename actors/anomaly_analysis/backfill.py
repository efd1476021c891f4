"""Scores the stored past of many series at once: the arithmetic of `surprise`, a point of every series at a time.

Each operation is the one of `surprise` on arrays, in the same order, so scores and states are equal bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from actors.anomaly_analysis import surprise as one
from actors.anomaly_analysis.surprise import BINS, BUCKETS, VIEWS, SurpriseState, Tail
from core.errors import InvalidInput
from core.history import Floats, Ints

_GAINS, _SLOW_GAINS = np.array(one.GAINS), np.array(one.SLOW_GAINS)
_LOG2 = np.array(one.LOG2)
_COLUMNS = np.array(one._GRID).T  # 5 x bins
#: what a neighbouring cell counts: columns -2 .. 2 of the rows before, here and after
_ROWS = np.array([1, 2, 1])
_FINE = np.multiply.outer(_ROWS, np.array([one.FINE[abs(d)] for d in range(-2, 3)])).ravel()
_COARSE = np.multiply.outer(_ROWS, np.array([one.COARSE[abs(d)] for d in range(-2, 3)])).ravel()


class _Lanes:
    """States of S series side by side: arrays whose last axis is the series."""

    def __init__(self, states: Sequence[SurpriseState]) -> None:
        self.n = np.array([s.n for s in states], dtype=np.int64)
        self.levels = np.array([s.levels for s in states]).T
        self.slower = np.array([s.slower for s in states]).T
        self.centres = np.array([s.centres for s in states]).T
        self.widths = np.array([s.widths for s in states]).T
        self.last = np.array([s.last for s in states], dtype=np.int64).T
        tables = np.array([[list(table) for table in s.visits] for s in states], dtype=np.uint8)
        self.visits = np.ascontiguousarray(tables.transpose(1, 2, 0))  # views x cells x S
        self.totals = np.array([s.totals for s in states], dtype=np.int64).transpose(1, 2, 0).copy()
        self.quantile = np.array([[s.fine.quantile, s.coarse.quantile] for s in states]).T
        self.excess = np.array([[s.fine.excess, s.coarse.excess] for s in states]).T
        self.mean = np.array([[s.fine.mean, s.coarse.mean] for s in states]).T
        self.deviation = np.array([[s.fine.deviation, s.coarse.deviation] for s in states]).T
        self.best = np.array([s.best for s in states])
        self.correction = np.array([s.correction for s in states])
        self.quiet = np.array([s.quiet for s in states], dtype=np.int64)

    def part(self, chosen: Ints) -> _Lanes:
        """Some of the series, copied."""
        part = _Lanes.__new__(_Lanes)
        for name, array in vars(self).items():
            setattr(part, name, np.ascontiguousarray(array[..., chosen]))
        return part

    def put(self, chosen: Ints, part: _Lanes) -> None:
        """Write the series of `part` back."""
        for name, array in vars(self).items():
            array[..., chosen] = getattr(part, name)

    def states(self) -> list[SurpriseState]:
        """Back to one state a series."""
        return [self._state(i) for i in range(len(self.n))]

    def _state(self, i: int) -> SurpriseState:
        fine, coarse = (
            Tail(
                float(self.quantile[r, i]),
                float(self.excess[r, i]),
                float(self.mean[r, i]),
                float(self.deviation[r, i]),
            )
            for r in range(2)
        )
        return SurpriseState(
            int(self.n[i]),
            self.levels[:, i].tolist(),
            self.slower[:, i].tolist(),
            self.centres[:, i].tolist(),
            self.widths[:, i].tolist(),
            [bytearray(table.tobytes()) for table in np.ascontiguousarray(self.visits[:, :, i])],
            self.totals[:, :, i].tolist(),
            self.last[:, i].tolist(),
            fine,
            coarse,
            float(self.best[i]),
            float(self.correction[i]),
            int(self.quiet[i]),
        )


def score_many(states: Sequence[SurpriseState], values: Floats, hours: Ints) -> tuple[Floats, list[SurpriseState]]:
    """Scores (S x T) of S series and their states afterwards; the given states are left as they are.

    values: S x T, NaN where a series has no value (shorter ones end in NaN); hours: S x T, of the local day.
    """
    if values.shape != hours.shape or values.ndim != 2 or len(states) != len(values):
        raise InvalidInput(f"{len(states)} states, values of shape {values.shape}, hours of shape {hours.shape}")
    scores, lanes = np.zeros(values.shape), _Lanes(states)
    with np.errstate(invalid="ignore"):
        known: NDArray[np.bool_] = np.less(np.abs(values), one.LARGEST)
    everywhere: NDArray[np.bool_] = np.all(known, axis=0)
    buckets = hours // one.HOURS_A_BUCKET
    for t in range(values.shape[1]):
        if everywhere[t]:
            scores[:, t] = _step(lanes, values[:, t], buckets[:, t])
        elif len(chosen := np.flatnonzero(known[:, t])):
            part = lanes.part(chosen)
            scores[chosen, t] = _step(part, values[chosen, t], buckets[chosen, t])
            lanes.put(chosen, part)
    return scores, lanes.states()


def _step(lanes: _Lanes, value: Floats, bucket: Ints) -> Floats:
    n = lanes.n.copy()
    lanes.n += 1
    bits = _code_lengths(lanes, value, bucket, n)
    over = _over(lanes, bits, n)
    result = np.zeros(len(n))
    seeing = np.flatnonzero(n > one.BLIND)
    if len(seeing):
        result[seeing] = _fresh(lanes, (over[0] + over[1])[seeing] / 2.0 - lanes.correction[seeing], seeing)
    return result


def _code_lengths(lanes: _Lanes, value: Floats, bucket: Ints, n: Ints) -> Floats:
    """Fine and coarse code length: 2 x S."""
    series = np.arange(len(n))
    levels = np.where(n > 0, lanes.levels, value)
    slower = np.where(n > 0, lanes.slower, value)
    lanes.levels = levels + _GAINS[:, None] * (value - levels)
    lanes.slower = slower + _SLOW_GAINS[:, None] * (value - slower)
    y = np.empty((VIEWS, len(n)))
    y[0::2], y[1::2] = lanes.levels, lanes.levels - lanes.slower
    away = y - lanes.centres
    width = np.maximum(lanes.widths, 1e-9 * np.abs(lanes.centres) + 1e-12)
    z = away / width
    bins = ((z / (one._REACH + np.abs(z)) * 0.5 + 0.5) * (BINS - 1) + 0.5).astype(np.int64)
    rows = np.stack([(bucket - 1) % BUCKETS, bucket, (bucket + 1) % BUCKETS])  # 3 x S
    cells = rows[:, None, None, :] * BINS + _COLUMNS[:, bins][None]  # 3 x 5 x views x S
    size = len(n)
    flat = lanes.visits.reshape(-1)
    offsets = np.arange(VIEWS)[:, None] * (BUCKETS * BINS * size) + series
    near = flat.take(cells * size + offsets).reshape(15, VIEWS, size).astype(np.int64)
    totals = lanes.totals
    total = 2 * totals[:, rows[1], series] + totals[:, rows[0], series] + totals[:, rows[2], series]
    prior = one.PRIOR
    fine = _LOG2[one._FINE_TOTAL * total + prior * BINS] - _LOG2[_weighted(_FINE, near) + prior]
    coarse = _LOG2[one._COARSE_TOTAL * total + prior * BINS] - _LOG2[_weighted(_COARSE, near) + prior]
    _learn(lanes, bins, bucket, away, width, n)
    return np.stack([_summed(fine), _summed(coarse)])


def _weighted(weights: Ints, near: Ints) -> Ints:
    result: Ints = np.tensordot(weights, near, axes=1)
    return result


def _summed(parts: Floats) -> Floats:
    """Over the views, in their order: rounding depends on it."""
    total: Floats = parts[0].copy()
    for part in parts[1:]:
        total += part
    return total


def _learn(lanes: _Lanes, bins: Ints, bucket: Ints, away: Floats, width: Floats, n: Ints) -> None:
    row = bucket * BINS
    last = lanes.last
    stays = (row <= last) & (last < row + BINS) & (np.abs(last - row - bins) <= one.SAME_VISIT)
    view, series = np.nonzero(~stays)
    cell = row[series] + bins[view, series]
    lanes.last[view, series] = cell
    lanes.visits[view, cell, series] += 1
    lanes.totals[view, bucket[series], series] += 1
    full = np.flatnonzero(lanes.totals[view, bucket[series], series] >= one.ROW_LIMIT)
    for v, s in zip(view[full], series[full], strict=True):
        first = row[s]
        lanes.visits[v, first : first + BINS, s] //= 2
        lanes.totals[v, bucket[s], s] = lanes.visits[v, first : first + BINS, s].sum(dtype=np.int64)
    gain = np.maximum(1.0 / (n + 1), one.GRID_GAIN)
    most = one.CLIP * width
    clipped = n > one.CLIP_FROM
    size = np.abs(away)
    lanes.centres = lanes.centres + gain * np.where(clipped, np.maximum(np.minimum(away, most), -most), away)
    lanes.widths = lanes.widths + gain * (np.where(clipped, np.minimum(size, most), size) - lanes.widths)


def _over(lanes: _Lanes, bits: Floats, n: Ints) -> Floats:
    first = n == 0
    quantile = np.where(first, bits, lanes.quantile)
    mean = np.where(first, bits, lanes.mean)
    over: Floats = (bits - quantile) / lanes.excess
    gain = np.maximum(1.0 / (n + 1), one.TAIL_GAIN)
    lanes.mean = mean + gain * (bits - mean)
    lanes.deviation = lanes.deviation + gain * (np.abs(bits - lanes.mean) - lanes.deviation)
    above = np.where(bits > quantile, 1.0, 0.0)
    moved = quantile + gain * lanes.deviation * one.QUANTILE_STEP * (above - one.TAIL)
    lanes.quantile = np.where(first, quantile, moved)
    faster = np.maximum(1.0 / (one.TAIL * (n + 1) + 1.0), one.EXCESS_GAIN)
    excess = np.minimum(bits - lanes.quantile, one.EXCESS_CLIP * lanes.excess)
    learned = np.maximum(lanes.excess + faster * (excess - lanes.excess), one.LEAST_EXCESS)
    lanes.excess = np.where(bits > lanes.quantile, learned, lanes.excess)
    return over


def _fresh(lanes: _Lanes, over: Floats, seeing: Ints) -> Floats:
    quiet, best, correction = lanes.quiet[seeing] + 1, lanes.best[seeing], lanes.correction[seeing]
    hurry = 1.0 + one.IMPATIENCE * np.maximum(quiet * one.BUDGET - one.PATIENCE, 0.0)
    correction = correction - one.STEP * one.BUDGET * hurry
    fresh: NDArray[np.bool_] = over > best
    alarm = fresh & (over >= one.AT_ALARM)
    lanes.best[seeing] = np.where(fresh, over * one.RISE, best * one.FADE)
    lanes.correction[seeing] = np.where(alarm, correction + one.STEP, correction)
    lanes.quiet[seeing] = np.where(alarm, 0, quiet)
    return np.where(fresh, over / np.where(fresh, over + one.AT_ALARM, 1.0), 0.0)
