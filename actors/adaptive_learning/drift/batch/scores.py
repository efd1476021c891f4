"""Reads distances, effects and p-values of many numeric columns from counts on one grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import kolmogorov
from scipy.stats import chi2, fisher_exact

from actors.adaptive_learning.drift.batch.grid import CELLS, Grid, GridCounts, Numbers
from core.history import Floats, Ints
from core.schemas.drift import Severity

#: Values on either side below which a column's distribution is not compared.
LEAST_VALUES = 20
#: Share of identical columns whose effect is above 0.
CHANCE = 0.001
_NONE = 1e-200  # in place of no rows: then chance does everything
PSEUDO = 0.5  # rows added to each bin: an empty bin has no finite index
_DECILES = np.arange(1, 10) / 10
_DISTINCT = 10  # up to as many occupied cells, each is a bin of its own
_BOUNDS = 2 * _DISTINCT + 2
_EXACT = 200  # rows with or without a value up to which Fisher's test is computed, beyond by the normal distribution


#: Effect from which a column moved much, and some; any other that is named moved little.
GRADES: tuple[tuple[float, Severity], ...] = ((0.25, "high"), (0.10, "medium"), (0.0, "low"))


def graded(effect: float) -> Severity:
    """Severity of an effect in the unit of the population stability index."""
    return next(name for least, name in GRADES if effect >= least)


@dataclass(frozen=True, slots=True)
class GridScores:
    """F columns compared. p_values: of the distribution, and of the missing share; NaN where it was not tested."""

    reference_n: Ints
    recent_n: Ints
    distance: Floats  # Kolmogorov-Smirnov, NaN where a side has too few values
    distance_p: Floats
    missing_p: Floats
    effect: Floats  # population stability index less what chance gives, with missing values as a bin
    wasserstein: Floats  # in standard deviations of the reference, between the ends of the grid; NaN: it is constant
    missing_change: Floats

    @property
    def p_values(self) -> Floats:
        """One a column: the smaller of its two is paid for twice (Bonferroni); NaN where nothing was tested."""
        smaller = np.fmin(self.distance_p, self.missing_p)
        tests = 2 - np.isnan(self.distance_p + self.missing_p)
        result: Floats = np.minimum(tests * smaller, 1.0)
        return result

    def order(self) -> NDArray[np.intp]:
        """Columns, first the one with the most evidence; equal evidence by effect, then by distance."""
        return np.lexsort((-self.distance, -self.effect, self.p_values))  # NaN comes last


@dataclass(frozen=True, slots=True)
class GridReference:
    """Counts of a reference, with what each comparison needs of them worked out once."""

    grid: Grid
    n: Ints  # values present
    missing: Ints
    missing_share: Floats
    cumulative: Floats  # F x (C + 2), shares
    bounds: Ints  # borders of the bins, as places in the flat cumulative counts with a zero before each column
    binned: Floats  # F x B, rows in each bin, the missing ones last
    unit: Floats  # width of a cell in standard deviations of the reference; NaN: it is constant; 0 where bent
    widths: Floats  # the same for each border between cells of the bent columns

    @classmethod
    def of(cls, grid: Grid, counts: GridCounts) -> GridReference:
        """From the counts of a reference on its grid."""
        padded = _padded(counts.cells)
        n = padded[:, -1]
        each = [_bounds(cells, sums) for cells, sums in zip(counts.cells, padded, strict=True)]
        bounds = np.array(each, dtype=np.int64).reshape(len(each), _BOUNDS)
        used = int(np.max(np.sum(bounds < padded.shape[1] - 1, axis=1), initial=0)) + 1
        bounds = bounds[:, :used]  # all further ones are the end again
        bounds += np.arange(grid.width)[:, None] * padded.shape[1]
        binned = _binned(padded, bounds, counts.missing)
        with np.errstate(divide="ignore", invalid="ignore"):
            unit = np.where(grid.bent, 0.0, 1 / (grid.scale * grid.spread))
        cumulative = padded[:, 1:] / np.maximum(n, 1)[:, None]
        widths = np.zeros((int(grid.bent.sum()), grid.cells))
        for row, j in enumerate(np.flatnonzero(grid.bent)):
            widths[row] = np.diff(grid.edges(int(j))) / grid.spread[j]
        unit = np.where(grid.spread > 0, unit, np.nan)
        missing_share = counts.missing / np.maximum(n + counts.missing, 1)
        return cls(grid, n, counts.missing, missing_share, cumulative, bounds, binned, unit, widths)

    @classmethod
    def fit(cls, reference: Numbers, cells: int = CELLS) -> GridReference:
        """From a reference table (n x F). A few hundred cells are enough for windows of a thousand rows."""
        grid = Grid.fit(reference, cells)
        return cls.of(grid, grid.count(reference))

    def compare(self, recent: Numbers) -> GridScores:
        """A recent table (m x F) against this reference."""
        return self.scores(self.grid.count(recent))

    def scores(self, counts: GridCounts) -> GridScores:
        """Counts of a recent table on the same grid against this reference."""
        padded = _padded(counts.cells)
        m = padded[:, -1]
        apart = padded[:, 1:] / np.maximum(m, 1)[:, None]
        apart -= self.cumulative
        np.abs(apart, out=apart)
        distance = apart.max(axis=1)
        wasserstein = apart.sum(axis=1) * self.unit
        if len(self.widths):
            wasserstein[self.grid.bent] = np.einsum("ij,ij->i", apart[self.grid.bent, 1:-1], self.widths)
        distance_p = kolmogorov_p(distance, self.n, m)
        few = np.minimum(self.n, m) < LEAST_VALUES
        if few.any():
            distance[few] = distance_p[few] = wasserstein[few] = np.nan
        binned = _binned(padded, self.bounds, counts.missing)
        return GridScores(
            reference_n=self.n,
            recent_n=m,
            distance=distance,
            distance_p=distance_p,
            missing_p=_missing_p(self.n, self.missing, m, counts.missing),
            effect=stability_excess(self.binned, binned),
            wasserstein=wasserstein,
            missing_change=counts.missing / np.maximum(m + counts.missing, 1) - self.missing_share,
        )


def kolmogorov_p(distance: Floats, n: Ints, m: Ints) -> Floats:
    """Asymptotic two-sided p-values with Stephens's correction for small samples (1970); with ties they are too large.

    From M. A. Stephens, Use of the Kolmogorov-Smirnov, Cramer-von Mises and related statistics without tables.
    """
    root = np.sqrt(n * m / np.maximum(n + m, 1))
    result: Floats = kolmogorov((root + 0.12 + 0.11 / np.maximum(root, 1)) * distance)
    return result


def stability_excess(reference: Floats, recent: Floats | Ints) -> Floats:
    """Population stability index of rows of bins (F x B counts each), less what chance gives at these sizes.

    Bins that are empty on both sides do not count; half a row is added to each of the others. By chance alone the
    index is about chi-square with bins - 1 degrees of freedom, times 1/n + 1/m: within its 99.9 % quantile it is
    given as 0, otherwise less the mean.
    """
    occupied = (reference + recent) > 0
    bins = np.count_nonzero(occupied, axis=1)
    n, m = reference.sum(axis=1), recent.sum(axis=1)
    p = (reference + PSEUDO) / (n + PSEUDO * bins)[:, None]
    q = (recent + PSEUDO) / (m + PSEUDO * bins)[:, None]
    index = np.einsum("ij,ij,ij->i", occupied, p - q, np.log(p / q))
    chance = 1 / np.maximum(n, _NONE) + 1 / np.maximum(m, _NONE)
    judged = index > _limit(reference.shape[1])[bins] * chance
    return np.where(judged, index - (bins - 1) * chance, 0.0)


def fisher(table: tuple[int, int, int, int]) -> float:
    """p-value of a 2 x 2 table (a, b of the reference, c, d of the recent side), exact where a margin is small."""
    a, b, c, d = (int(v) for v in table)
    if min(a + b, c + d) == 0 or min(a + c, b + d) == 0:
        return 1.0
    if min(a + c, b + d) <= _EXACT:
        return float(fisher_exact([[a, b], [c, d]]).pvalue)
    n = a + b + c + d
    # Yates's correction: the exact test is discrete, and this is its large-sample form.
    away = max(abs(a * d - b * c) - n / 2, 0.0)
    return float(chi2.sf(n * away * away / ((a + b) * (c + d) * (a + c) * (b + d)), 1))


def _missing_p(n: Ints, gone: Ints, m: Ints, recent_gone: Ints) -> Floats:
    """p-values of the missing share; NaN where nothing is missing on either side."""
    result = np.full(len(n), np.nan)
    any_gone = np.flatnonzero(gone + recent_gone)
    if len(any_gone):
        tables = np.stack([gone, n, recent_gone, m], axis=1)[any_gone]
        different, back = np.unique(tables, axis=0, return_inverse=True)
        result[any_gone] = np.array([fisher(tuple(t)) for t in different])[back.ravel()]
    return result


def _padded(cells: Ints) -> Ints:
    """Cumulative counts with a zero before each column, F x (C + 3)."""
    result = np.zeros((cells.shape[0], cells.shape[1] + 1), np.int64)
    np.cumsum(cells, axis=1, out=result[:, 1:])
    return result


def _binned(padded: Ints, bounds: Ints, missing: Ints) -> Floats:
    """Rows in each bin, the missing ones last, F x B."""
    at = padded.ravel()[bounds]
    result = np.empty(bounds.shape)
    np.subtract(at[:, 1:], at[:, :-1], out=result[:, :-1])
    result[:, -1] = missing
    return result


def _bounds(cells: Ints, sums: Ints) -> Ints:
    """Borders of a column's bins, padded at the end: deciles, or each occupied cell where there are few."""
    last = len(cells)
    occupied = np.flatnonzero(cells)
    if len(occupied) <= _DISTINCT:
        inner = np.unique(np.concatenate([occupied, occupied + 1, [0, last]]))
    else:
        inner = np.concatenate([[0], np.searchsorted(sums[1:], _DECILES * sums[-1]) + 1, [last]])
    return np.append(inner, np.full(_BOUNDS - len(inner), last))


@cache
def _limit(most: int) -> Floats:
    """By number of bins: quantiles of chi-square that chance exceeds in CHANCE of the columns; none for one bin."""
    return np.concatenate([[np.inf, np.inf], chi2.isf(CHANCE, np.arange(1, most))])
