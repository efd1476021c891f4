"""Decides, day by day, whether a daily series left its usual course: streaming, O(1) a point, both directions.

Expectation: a level that forgets (memory about 12 points) plus a weekday profile (about 8 weeks), started from the
first two weeks by empirical Bayes, so that a series without a weekly rhythm gets none. Residuals are summed over the
last 1, 2 and 3 points; each sum has a robust scale of its own, estimated from what it really did, so autocorrelated
series do not alarm more than white ones. An alarm is raised when the largest standardised sum passes a threshold that
(a) is wider for series with heavy tails and (b) is corrected after every point (stochastic approximation of the
quantile, Robbins & Monro 1951), so that the long-run rate of alarms is FALSE_ALARMS whatever the distribution.

After an alarm the level is held while the episode lasts. Back within the usual: a spike, ended. Still away after
LEVEL_DAYS points: a level shift; after SETTLED_DAYS the new level counts as usual and the episode ends.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import Literal

from actors.anomaly_analysis.scales import Scale

FALSE_ALARMS = 1 / 200  # budget: alarms per point on a series in which nothing happens
WARM_UP = 14  # points that set the level and profile
LEAST_HISTORY = 28  # points before the first alarm: "not enough data" until then
LEVEL_DAYS = 4
SETTLED_DAYS = 7
WINDOWS = (1, 2, 3)

_THRESHOLD = 3.0  # for the largest of the three on Gaussian noise
_BUDGET_SD = statistics.NormalDist().inv_cdf(1 - FALSE_ALARMS / 2)
_ADAPT = 0.12  # an alarm raises the threshold by 12 %, 200 quiet points lower it again
_LEVEL_GAIN, _PROFILE_GAIN, _SCALE_GAIN = 0.08, 0.12, 0.03
_CLIP = 2.0  # residuals count for the level up to this many scales
_QUIET = 1.3  # within this many scales the series is back
_LONGEST_GAP = 3  # days without a value after which an episode is closed and sums begin anew
_MEAN_TO_SD = math.sqrt(math.pi / 2)  # of |Gaussian|


@dataclass(slots=True)
class Point:
    """A watched day: ordinal of the date, its value and what was expected, on the metric's own scale."""

    day: int
    value: float
    expected: float
    residual: float  # on the watched scale


@dataclass(slots=True)
class Episode:
    """Days on which a series was away from its usual course; grows until it is no longer open."""

    direction: Literal["up", "down"]
    points: list[Point]
    score: float  # the highest, 1 - tail probability
    noise: float  # usual deviation of one day on the metric's own scale
    open: bool = True
    quiet: int = 0  # points in a row that were back
    settled: bool = False  # ended because the new level became the usual one

    @property
    def onset(self) -> int:
        """Ordinal of the first day."""
        return self.points[0].day

    @property
    def away(self) -> list[Point]:
        """The days that belong to it: up to the last one that was away."""
        return self.points[: len(self.points) - self.quiet] if self.quiet else self.points

    @property
    def kind(self) -> str:
        """spike or level_shift."""
        return "level_shift" if len(self.away) >= LEVEL_DAYS else "spike"


@dataclass(slots=True)
class DetectorState:
    """All that is kept of a series (under 2 KB as JSON)."""

    n: int = 0
    last_day: int | None = None
    warm_up: list[tuple[int, float]] = field(default_factory=list)  # (weekday, value), emptied when the level is set
    level: float = 0.0
    profile: list[float] = field(default_factory=lambda: [0.0] * 7)
    seen: list[float] = field(default_factory=lambda: [0.0] * 7)  # points by weekday
    scales: list[float] = field(default_factory=list)  # by window; empty until the level is set
    second_moment: float = 1.0  # of standardised residuals: above 1 the tails are heavy
    threshold: float = _THRESHOLD
    recent: list[Point] = field(default_factory=list)
    episode: Episode | None = None


def step(state: DetectorState, scale: Scale, day: int, value: float) -> tuple[Episode, ...]:
    """Take the value of a day (ordinal of its date; NaN: not known) and change the state in place.

    Days must come in order; one that came already is ignored. Returns the episodes that began, went on or ended on
    this day (one can end and another begin).
    """
    if math.isnan(value) or (state.last_day is not None and day <= state.last_day):
        return ()
    gap = 0 if state.last_day is None else day - state.last_day
    state.last_day, state.n = day, state.n + 1
    if not state.scales:
        _warm_up(state, scale, day, value)
        return ()
    touched: list[Episode] = []
    if gap > _LONGEST_GAP:
        state.recent = []
        if state.episode is not None:
            touched.append(_close(state, state.episode))
    if state.episode is not None:
        followed = _follow(state, scale, day, value, state.episode)
        touched.append(followed)
        # The day that ends one episode may begin another, in the other direction.
        if followed.open or followed.settled:
            return tuple(touched)
    began = _observe(state, scale, day, value)
    return (*touched, began) if began is not None else tuple(touched)


def expected(state: DetectorState, scale: Scale, day: int) -> float | None:
    """What the series is expected to be on a day; None before the level is set."""
    return scale.back(_expectation(state, day)) if state.scales else None


def _weekday(day: int) -> int:
    return (day - 1) % 7


def _expectation(state: DetectorState, day: int) -> float:
    return state.level + state.profile[_weekday(day)]


def _point(state: DetectorState, scale: Scale, day: int, value: float) -> Point:
    middle = _expectation(state, day)
    return Point(day, value, scale.back(middle), scale.forward(value) - middle)


def _warm_up(state: DetectorState, scale: Scale, day: int, value: float) -> None:
    state.warm_up.append((_weekday(day), scale.forward(value)))
    if len(state.warm_up) < WARM_UP:
        return
    values = [v for _, v in state.warm_up]
    state.level = statistics.median(values)
    groups = [[v - state.level for w, v in state.warm_up if w == weekday] for weekday in range(7)]
    means = [statistics.fmean(group) if group else 0.0 for group in groups]
    rest = [v - state.level - means[w] for w, v in state.warm_up]
    freedom = max(1, len(rest) - sum(1 for group in groups if group))
    within = sum(r * r for r in rest) / freedom
    between = statistics.pvariance(means)
    # Empirical Bayes: of the spread between weekdays, that part is rhythm which noise alone does not explain.
    rhythm = max(0.0, 1.0 - within / 2 / between) if between > 0 else 0.0
    state.profile = [rhythm * mean for mean in means]
    state.seen = [float(len(group)) for group in groups]
    around = statistics.fmean((v - state.level) ** 2 for v in values)
    noise = max(math.sqrt(rhythm * within + (1 - rhythm) * around) * 1.05, scale.floor)
    state.scales = [noise * math.sqrt(k) for k in WINDOWS]
    state.warm_up = []


def _observe(state: DetectorState, scale: Scale, day: int, value: float) -> Episode | None:
    point = _point(state, scale, day, value)
    state.recent = [*state.recent, point][-max(WINDOWS) :]
    sums = [sum(p.residual for p in state.recent[-k:]) for k in WINDOWS if k <= len(state.recent)]
    u = [total / s for total, s in zip(sums, state.scales, strict=False)]
    widest = max(range(len(u)), key=lambda i: abs(u[i]))
    alarm = state.n > LEAST_HISTORY and abs(u[widest]) > _limit(state)
    score = _score(u[widest], _limit(state))
    if state.n > LEAST_HISTORY:
        moved = state.threshold * math.exp(_ADAPT * (alarm - FALSE_ALARMS))
        state.threshold = min(max(moved, 0.85 * _THRESHOLD), 2 * _THRESHOLD)
    state.second_moment += max(1 / (state.n + 60), 0.004) * (min(u[0] ** 2, 25.0) - state.second_moment)
    if alarm:
        return _open(state, scale, u[widest] > 0, WINDOWS[widest], score)
    _learn(state, scale, point, sums)
    return None


def _limit(state: DetectorState) -> float:
    return state.threshold * (1 + 2.5 * max(0.0, state.second_moment - 1.05))


def _score(u: float, limit: float) -> float:
    """1 - tail probability, Gaussian in shape, with the budget's probability at the threshold."""
    return 1.0 - math.erfc(_BUDGET_SD * abs(u) / limit / math.sqrt(2))


def _learn(state: DetectorState, scale: Scale, point: Point, sums: list[float]) -> None:
    reach = _CLIP * state.scales[0]
    step_ = min(max(point.residual, -reach), reach)
    weekday = _weekday(point.day)
    state.level += _LEVEL_GAIN * step_
    state.seen[weekday] += 1
    state.profile[weekday] += max(1 / (state.seen[weekday] + 1), _PROFILE_GAIN) * step_
    gain = max(1 / state.n, _SCALE_GAIN)
    for i, total in enumerate(sums):
        seen = _MEAN_TO_SD * min(abs(total), 3 * state.scales[i])
        state.scales[i] = max(state.scales[i] + gain * (seen - state.scales[i]), scale.floor * math.sqrt(WINDOWS[i]))


def _open(state: DetectorState, scale: Scale, up: bool, window: int, score: float) -> Episode:
    sign = 1 if up else -1
    points = state.recent[-window:]
    while len(points) > 1 and sign * points[0].residual < state.scales[0]:
        points = points[1:]  # it began when it was first clearly away
    state.recent = []
    middle = _expectation(state, points[-1].day)
    noise = (scale.back(middle + state.scales[0]) - scale.back(middle - state.scales[0])) / 2
    state.episode = Episode("up" if up else "down", points, score, noise)
    return state.episode


def _follow(state: DetectorState, scale: Scale, day: int, value: float, episode: Episode) -> Episode:
    point = _point(state, scale, day, value)
    sign = 1 if episode.direction == "up" else -1
    episode.points.append(point)
    episode.quiet = 0 if sign * point.residual > _QUIET * state.scales[0] else episode.quiet + 1
    if not episode.quiet:
        episode.score = max(episode.score, _score(point.residual / state.scales[0], _limit(state)))
    patience = 1 if len(episode.points) < LEVEL_DAYS else 2
    if episode.quiet >= patience:
        return _close(state, episode)
    if len(episode.points) >= SETTLED_DAYS:
        state.level += statistics.median(p.residual for p in episode.points)
        episode.settled = True
        return _close(state, episode)
    return episode


def _close(state: DetectorState, episode: Episode) -> Episode:
    state.episode, episode.open = None, False
    return episode
