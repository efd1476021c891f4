"""Scores a long series point by point: how unusual is what it does now, for this series, at this time of day?

Six views of the series are coded: its level, and how far the level is from a slower one, at three time scales. Each
view is set on a grid of levels by a robust centre and width that forget, and its code length (-log2 of how often the
level was visited at this time of day, Dirichlet-smoothed with its neighbours) is summed over the views: the summed
code length is small for what the past would predict and large for what it has not seen (surprise as an anomaly score:
Lee and Xiang, "Information-theoretic measures for anomaly detection", 2001). A level counts once a visit, not once a
point, so that staying somewhere for an hour is one observation, not twelve.

The code length becomes a score through the tail of its own past, exponential above a slow high quantile (peaks over
threshold: Siffer et al., KDD 2017). Only a fresh maximum scores; after it the series has to do better, or be quiet for
a while. What an alarm takes is corrected after every point (Robbins and Monro 1951), so that a series in which nothing
happens has BUDGET alarms a point in the long run, whatever its distribution.

Constant time a point, 2.7 kB of text a series. Everything is +, -, x, /, comparison and one table of logarithms, so
`backfill.score_many` gives bit for bit the same scores for many series at once.
"""

from __future__ import annotations

import base64
import math
import struct
from dataclasses import dataclass, field
from itertools import islice

from core.errors import InvalidInput

BUDGET = 1 / 1000  # alarms a point on a series in which nothing happens
ALARM = 0.5  # a score from here on is an alarm

SCALES = (1, 8, 64)  # points that a level remembers
SLOWER = 8  # the slower level remembers so many times as much
VIEWS = 2 * len(SCALES)
BUCKETS, HOURS_A_BUCKET = 12, 2  # times of day that are told apart
BINS = 24
_REACH = 4.0  # widths from the centre at which half of the grid is used
SAME_VISIT = 5  # bins: a view that moved no further is still on the same visit
ROW_LIMIT = 255  # visits of a time of day at which they are halved: the past fades, and a count fits a byte

GAINS = tuple(1.0 / scale for scale in SCALES)
SLOW_GAINS = tuple(gain / SLOWER for gain in GAINS)
GRID_GAIN = 1 / 1000  # forgetting of centre and width
CLIP, CLIP_FROM = 3.0, 150  # a point counts for them up to so many widths, once there is a width

PRIOR = 4  # Dirichlet prior of a bin, in the units of the smoothed counts
FINE = (2, 1, 0)  # weights of a bin, its neighbours, theirs
COARSE = (3, 2, 1)

TAIL_GAIN, TAIL = 1 / 2000, 0.02
QUANTILE_STEP = 4.0
EXCESS_GAIN = TAIL_GAIN / TAIL
EXCESS_CLIP, LEAST_EXCESS = 10.0, 1e-3
BLIND = 20  # points before any score

AT_ALARM = 1.25  # mean excesses above the quantile at which the first alarm is raised
RISE, FADE = 3.0, 1 - 1 / 100  # after a score the next one has to be three times as high; that fades in 100 points
STEP = 0.3  # of the correction, in mean excesses
IMPATIENCE, PATIENCE = 8.0, 2.0  # silent for twice what the budget allows: the correction falls faster

LARGEST = 1e100  # values beyond it are as unknown as NaN: their squares and ratios are no numbers

_GRID = tuple(
    (max(b - 2, 0), max(b - 1, 0), b, min(b + 1, BINS - 1), min(b + 2, BINS - 1)) for b in range(BINS)
)  # columns around a bin
_FINE_TOTAL, _COARSE_TOTAL = 4, 9  # sums of the weights: 1 2 1 and 1 2 3 2 1
#: log2 of whole numbers, up to the largest smoothed total
LOG2 = tuple(math.log2(max(i, 1)) for i in range(_COARSE_TOTAL * 4 * (ROW_LIMIT + 1) + PRIOR * BINS + 1))

_CELLS = BUCKETS * BINS
_FLOATS = 2 * len(SCALES) + 2 * VIEWS + 4 * 2 + 3
_LAYOUT = struct.Struct(f"<BQ{_FLOATS}d{VIEWS}h{VIEWS * _CELLS}s")
_VERSION = 1


@dataclass(slots=True)
class Tail:
    """What is known of the upper end of a code length: slow high quantile, mean excess above it, mean, deviation."""

    quantile: float = 0.0
    excess: float = 1.0
    mean: float = 0.0
    deviation: float = 0.0


@dataclass(slots=True)
class SurpriseState:
    """All that is kept of a series."""

    n: int = 0
    levels: list[float] = field(default_factory=lambda: [0.0] * len(SCALES))
    slower: list[float] = field(default_factory=lambda: [0.0] * len(SCALES))
    centres: list[float] = field(default_factory=lambda: [0.0] * VIEWS)
    widths: list[float] = field(default_factory=lambda: [0.0] * VIEWS)
    visits: list[bytearray] = field(default_factory=lambda: [bytearray(_CELLS) for _ in range(VIEWS)])
    totals: list[list[int]] = field(default_factory=lambda: [[0] * BUCKETS for _ in range(VIEWS)])
    last: list[int] = field(default_factory=lambda: [-1] * VIEWS)  # cell of the last visit
    fine: Tail = field(default_factory=Tail)
    coarse: Tail = field(default_factory=Tail)
    best: float = 0.0  # what a fresh maximum has to exceed
    correction: float = 0.0
    quiet: int = 0  # points since the last alarm


def score(state: SurpriseState, value: float, hour: int) -> float:
    """Take the next value, changing the state in place; hour: of the local day, 0 to 23. Returns a score in [0, 1).

    NaN, infinite and absurdly large values are unknown: they score 0 and change nothing.
    """
    if not -LARGEST < value < LARGEST:
        return 0.0
    n = state.n
    state.n = n + 1
    fine, coarse = _code_lengths(state, value, hour // HOURS_A_BUCKET, n)
    over_fine, over_coarse = _over(state.fine, fine, n), _over(state.coarse, coarse, n)
    if n <= BLIND:
        return 0.0
    return _fresh(state, (over_fine + over_coarse) / 2.0 - state.correction)


def _code_lengths(state: SurpriseState, value: float, bucket: int, n: int) -> tuple[float, float]:
    """Bits that the views of a value take, finely and coarsely smoothed; learns them."""
    log2 = LOG2
    row, left, right = bucket * BINS, (bucket - 1) % BUCKETS * BINS, (bucket + 1) % BUCKETS * BINS
    before, after = left // BINS, right // BINS
    gain = max(1.0 / (n + 1), GRID_GAIN)
    fine = coarse = 0.0
    for i, y in enumerate(_views(state, value, n)):
        centre, width = state.centres[i], state.widths[i]
        away = y - centre
        z = away / max(width, 1e-9 * abs(centre) + 1e-12)
        b = int((z / (_REACH + abs(z)) * 0.5 + 0.5) * (BINS - 1) + 0.5)
        visits, totals = state.visits[i], state.totals[i]
        b0, b1, _, b3, b4 = _GRID[b]
        here = 2 * visits[row + b] + visits[left + b] + visits[right + b]
        beside = (
            2 * (visits[row + b1] + visits[row + b3])
            + visits[left + b1]
            + visits[left + b3]
            + visits[right + b1]
            + visits[right + b3]
        )
        further = (
            2 * (visits[row + b0] + visits[row + b4])
            + visits[left + b0]
            + visits[left + b4]
            + visits[right + b0]
            + visits[right + b4]
        )
        total = 2 * totals[bucket] + totals[before] + totals[after]
        fine += log2[_FINE_TOTAL * total + PRIOR * BINS] - log2[2 * here + beside + PRIOR]
        coarse += log2[_COARSE_TOTAL * total + PRIOR * BINS] - log2[3 * here + 2 * beside + further + PRIOR]
        last = state.last[i]
        if not (row <= last < row + BINS and abs(last - row - b) <= SAME_VISIT):
            _visit(state, i, bucket, b)
        most = CLIP * max(width, 1e-9 * abs(centre) + 1e-12)
        clipped = n > CLIP_FROM
        state.centres[i] = centre + gain * (max(min(away, most), -most) if clipped else away)
        state.widths[i] = width + gain * ((min(abs(away), most) if clipped else abs(away)) - width)
    return fine, coarse


def _views(state: SurpriseState, value: float, n: int) -> list[float]:
    views = []
    for k in range(len(SCALES)):
        level, slower = (state.levels[k], state.slower[k]) if n else (value, value)
        level += GAINS[k] * (value - level)
        slower += SLOW_GAINS[k] * (value - slower)
        state.levels[k], state.slower[k] = level, slower
        views += [level, level - slower]
    return views


def _visit(state: SurpriseState, view: int, bucket: int, b: int) -> None:
    visits, totals, row = state.visits[view], state.totals[view], bucket * BINS
    state.last[view] = row + b
    visits[row + b] += 1
    totals[bucket] += 1
    if totals[bucket] >= ROW_LIMIT:
        for cell in range(row, row + BINS):
            visits[cell] //= 2
        totals[bucket] = sum(visits[row : row + BINS])


def _over(tail: Tail, bits: float, n: int) -> float:
    """How far a code length is above the high quantile, in mean excesses; learns it."""
    if n == 0:
        tail.quantile = tail.mean = bits
    over = (bits - tail.quantile) / tail.excess
    gain = max(1.0 / (n + 1), TAIL_GAIN)
    tail.mean += gain * (bits - tail.mean)
    tail.deviation += gain * (abs(bits - tail.mean) - tail.deviation)
    if n > 0:
        above = 1.0 if bits > tail.quantile else 0.0
        tail.quantile += gain * tail.deviation * QUANTILE_STEP * (above - TAIL)
    if bits > tail.quantile:
        faster = max(1.0 / (TAIL * (n + 1) + 1.0), EXCESS_GAIN)
        excess = min(bits - tail.quantile, EXCESS_CLIP * tail.excess)
        tail.excess = max(tail.excess + faster * (excess - tail.excess), LEAST_EXCESS)
    return over


def _fresh(state: SurpriseState, over: float) -> float:
    state.quiet += 1
    hurry = 1.0 + IMPATIENCE * max(state.quiet * BUDGET - PATIENCE, 0.0)
    state.correction -= STEP * BUDGET * hurry
    if not over > state.best:
        state.best *= FADE
        return 0.0
    state.best = over * RISE
    if over >= AT_ALARM:
        state.correction += STEP
        state.quiet = 0
    return over / (over + AT_ALARM)


def to_text(state: SurpriseState) -> str:
    """The state as one line of at most 2.7 kB; nothing is rounded."""
    tails = [x for tail in (state.fine, state.coarse) for x in (tail.quantile, tail.excess, tail.mean, tail.deviation)]
    floats = [*state.levels, *state.slower, *state.centres, *state.widths, *tails]
    floats += [state.best, state.correction, float(state.quiet)]
    packed = _LAYOUT.pack(_VERSION, state.n, *floats, *state.last, b"".join(state.visits))
    return base64.b64encode(packed).decode()


def from_text(text: str) -> SurpriseState:
    """The state in a text; InvalidInput when it is none."""
    try:
        version, n, *rest = _LAYOUT.unpack(base64.b64decode(text, validate=True))
    except (ValueError, struct.error) as error:
        raise InvalidInput("not the state of a series' surprise detector", field="state") from error
    if version != _VERSION:
        raise InvalidInput(f"a surprise detector's state of version {version}, {_VERSION} is known", field="state")
    floats, last, cells = rest[:_FLOATS], rest[_FLOATS:-1], rest[-1]
    cut = iter(floats)
    levels, slower, centres, widths, fine, coarse, others = (
        list(islice(cut, size)) for size in (len(SCALES), len(SCALES), VIEWS, VIEWS, 4, 4, 3)
    )
    best, correction, quiet = others
    visits = [bytearray(cells[i * _CELLS : (i + 1) * _CELLS]) for i in range(VIEWS)]
    totals = [[sum(table[r : r + BINS]) for r in range(0, _CELLS, BINS)] for table in visits]
    return SurpriseState(
        n,
        levels,
        slower,
        centres,
        widths,
        visits,
        totals,
        list(last),
        Tail(*fine),
        Tail(*coarse),
        best,
        correction,
        int(quiet),
    )
