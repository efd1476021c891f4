"""Days on which all series of a batch moved together, taken out of the past and expected again a year later."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from core.history import Floats
from training.forecasting.batch import Batch
from training.forecasting.members.simple import nanmedian

_YEAR = 365
#: Fewer series than this cannot tell a common day from one's own.
_LEAST_SERIES = 8
#: A common move counts beyond so many of its usual sizes (and of its standard errors); far beyond, it counts whole.
_BEYOND = 2.0
_WEEKS = (-2, -1, 1, 2)
#: Days that a holiday may come earlier or later than last year, and moves that the prior of `holiday_doubt` is worth.
_NEAR, _PRIOR = 3, 8.0


def with_holidays(member: Callable[[Batch, int], Floats]) -> Callable[[Batch, int], Floats]:
    """The member on days without common moves, and the common moves of last year's days put on what it says."""

    def forecast(batch: Batch, horizon: int) -> Floats:
        plain, ahead = batch.once(("holidays", horizon), lambda: without_holidays(batch, horizon))
        result: Floats = member(plain, horizon) + ahead
        return result

    return forecast


def without_holidays(batch: Batch, horizon: int) -> tuple[Batch, Floats]:
    """Daily values without common moves, and the part of common moves in the next `horizon` days (n x H).

    A move is how far a day lies from the median of the same weekday in the two weeks before and after, in units of the
    series. Its mean over the series of a block is shrunk towards nothing by its usual size over all days and by its
    standard error (positive-part Stein): ordinary days are left as they are.
    """
    if not _possible(batch, horizon):
        return batch, np.zeros((batch.n, horizon))
    _, kept = _common(batch)
    every = np.repeat(kept, batch.n // batch.copies, axis=0) * batch.scale[:, None]
    begin = batch.length - _YEAR
    return batch.under(batch.filled - every), every[:, begin : begin + horizon]


def holiday_doubt(batch: Batch, horizon: int) -> Floats:
    """Standard deviation of what the next days' common moves will be beside last year's (n x H, 0: no move near).

    Holidays fall on other weekdays, so a move may come some days off: the largest one near is taken, times how much of
    a move did not come again where two years are known, held at "all of it" by a prior of a few moves.
    """
    if not _possible(batch, horizon):
        return np.zeros((batch.n, horizon))
    mean, kept = _common(batch)
    reach = np.pad(np.abs(kept), ((0, 0), (_NEAR, _NEAR)))
    size = sliding_window_view(reach, 2 * _NEAR + 1, axis=1).max(axis=2)
    missed, before = mean[:, _YEAR:] - kept[:, :-_YEAR], size[:, :-_YEAR]
    moved = (before > 0) & np.isfinite(missed)
    seen = moved.sum() / (2 * _NEAR + 1)
    ordinary = float(np.mean(missed[~moved & np.isfinite(missed)] ** 2)) if (~moved).any() else 0.0
    share = (
        max(float(np.mean(missed[moved] ** 2)) - ordinary, 0.0) / float(np.mean(before[moved] ** 2)) if seen else 1.0
    )
    ratio = np.sqrt((seen * share + _PRIOR) / (seen + _PRIOR))
    begin = batch.length - _YEAR
    ahead = np.repeat(size[:, begin : begin + horizon], batch.n // batch.copies, axis=0)
    result: Floats = ratio * ahead * batch.scale[:, None]
    return result


def _possible(batch: Batch, horizon: int) -> bool:
    many = batch.n // batch.copies >= _LEAST_SERIES
    return many and batch.season == 7 and batch.length > _YEAR and horizon <= _YEAR


def _common(batch: Batch) -> tuple[Floats, Floats]:
    """Mean move by block and day, NaN where too few series have one, and what is kept of it (blocks x L each)."""
    moves = (batch.filled - _same_weekday(batch.filled)) / batch.scale[:, None]
    return _shrunk(moves.reshape(batch.copies, -1, batch.length))


def _same_weekday(values: Floats) -> Floats:
    """Median of the values 1 and 2 weeks before and after (n x L), so that a moved day leaves no echo; NaN: none."""
    around = np.full((len(_WEEKS), *values.shape), np.nan)
    length = values.shape[1]
    for place, weeks in enumerate(_WEEKS):
        shift = 7 * weeks
        here, there = slice(max(shift, 0), length + min(shift, 0)), slice(max(-shift, 0), length - max(shift, 0))
        around[place, :, here] = values[:, there]
    return nanmedian(around.reshape(len(_WEEKS), -1).T).reshape(values.shape)


def _shrunk(moves: Floats) -> tuple[Floats, Floats]:
    """Mean over series (moves: blocks x n x L), and the mean shrunk: 0 on ordinary days (blocks x L each)."""
    known = np.isfinite(moves)
    number = known.sum(axis=1)
    enough = number >= _LEAST_SERIES
    mean = np.where(known, moves, 0.0).sum(axis=1) / np.maximum(number, 1)
    away = np.where(known, moves - mean[:, None], 0.0)
    error = np.sqrt((away**2).sum(axis=1)) / np.maximum(number, 1)
    mean = np.where(enough, mean, np.nan)
    usual = 1.4826 * nanmedian(np.abs(mean))
    noise = _BEYOND**2 * (np.nan_to_num(usual)[:, None] ** 2 + error**2)
    clean = np.nan_to_num(mean)
    kept = np.maximum(1 - noise / np.maximum(clean**2, 1e-12), 0.0) * clean
    return mean, kept
