"""A channel's posts in their first hours: views, and other counts where they are read again and again."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from core.clock import HOUR
from core.history import NEVER, ChannelHistory, Ints, values_at, views_at
from core.schemas.predictions import KNOWN_AGES_H, Metric
from training.levels import MIN_HISTORY, WINDOW, WINDOWS, LogSeries, level, median, nowcast
from training.names import EARLY

#: Usual slopes of later on early results (logarithms, deviations from the channel's medians); a channel's own history
#: moves them (`levels.nowcast`).
_SLOPES = {1: 0.5, 4: 0.65, 24: 0.9}
#: Age at which a channel's momentum is seen, hours.
_MOMENTUM = 4


class EarlyResults:
    """Early results of one channel by known age, as logarithms; none where views were read once."""

    def __init__(self, history: ChannelHistory, counted: NDArray[np.bool_]) -> None:
        ages = () if history.single_reading else KNOWN_AGES_H[1:]
        self._views = {age: LogSeries.of(history, views_at(history, age * HOUR), counted) for age in ages}
        self._counts = {
            (metric, age): LogSeries.of(history, values_at(history.published_at, readings, age * HOUR), counted, metric)
            for metric, readings in history.counts.items()
            if not readings.single
            for age in ages
        }

    def known_at(self, index: int, age: int) -> int | None:
        """When a post's views at an age became known; None: they are not (yet), or the source has none."""
        series = self._views.get(age)
        moment = NEVER if series is None else int(series.known_at_of_post[index])
        return None if moment == NEVER else moment

    def features(self, age: int, as_of: int, earliest: int, index: int) -> list[float]:
        """Values of names.EARLY for a post whose views at the age are known."""
        series = self._views[age]
        own, usual = float(series.of_post[index]), level(series.log[series.known(as_of, earliest, index)])
        if usual is None:
            return [math.nan] * len(EARLY)
        before = velocity = math.nan
        previous = KNOWN_AGES_H[KNOWN_AGES_H.index(age) - 1]
        if previous in self._views:
            series = self._views[previous]
            earlier = level(series.log[series.known(as_of, earliest, index)])
            value = float(series.of_post[index])
            if earlier is not None and math.isfinite(value):
                before = value - earlier.log
                velocity = (own - usual.log) - before
        return [own - usual.log, before, velocity, usual.spread]

    def momentum(self, as_of: int, earliest: int, index: int | None) -> float:
        """How the newest posts started beside those of before; NaN where too few are known."""
        if _MOMENTUM not in self._views:
            return math.nan
        series = self._views[_MOMENTUM]
        recent = series.log[series.known(as_of, earliest, index)][-WINDOW:]
        return median(recent[-3:]) - median(recent) if len(recent) >= MIN_HISTORY else math.nan

    def later(self, late: LogSeries, known: Ints, metric: Metric, age: int, index: int, as_of: int) -> float | None:
        """The late result that a post's own early one lets expect; None where too few posts have both.

        From its early count of the same kind where that is known, else from its early views. known: places in `late`.
        """
        posts = late.index[known]
        for early in (self._counts.get((metric, age)), self._views[age]):
            if early is None or early.known_at_of_post[index] > as_of:
                continue
            x = early.of_post[posts]
            both = np.isfinite(x) & (early.known_at_of_post[posts] <= as_of)
            if int(both.sum()) >= MIN_HISTORY:
                own = float(early.of_post[index])
                return nowcast(x[both], late.log[known][both], own, _SLOPES[age], WINDOWS[metric])
        return None
