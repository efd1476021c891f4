"""Members: functions from a batch to points n x H, each from a model of its own kind; and panels of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from training.forecasting.backtest import Learner, Member
from training.forecasting.members.autoregression import autoregression
from training.forecasting.members.holidays import with_holidays
from training.forecasting.members.pooled import Pooled
from training.forecasting.members.seasonal import LONGER, with_seasons
from training.forecasting.members.simple import cycle_average, last_year, naive, seasonal_naive
from training.forecasting.members.smoothing import damped_trend, smoothed, theta


@dataclass(frozen=True)
class Panel:
    """Members by name, and what learns from all series. The first member is the benchmark: see ensemble.weigh."""

    members: Mapping[str, Member]
    learners: Mapping[str, Learner] = field(default_factory=dict)


def fast(season: int) -> Panel:
    """A few members of different kinds that cost little."""
    periods = _periods(season)
    order = max(30, 2 * season + 2)
    members: dict[str, Member] = {
        "benchmark": seasonal_naive,
        "average": partial(cycle_average, cycles=8),
        "theta": with_seasons(theta, periods),
        "changes": with_seasons(partial(autoregression, order=order), periods),
    }
    if season > 1:
        members["levels"] = with_seasons(partial(autoregression, order=order, differences=False), periods)
    if season == 7:
        members = {name: with_holidays(member) for name, member in members.items()}
    return Panel(members)


def full(season: int) -> Panel:
    """All that stand for election. A plain drift is not among them: where a trend is sure, "changes_log" has it (on the
    values themselves where some are not positive). One more autoregression is on values as they are: of levels beside
    a season, else of changes.
    """
    periods = _periods(season)
    order = max(30, 2 * season + 2)
    changes = partial(autoregression, order=order)
    members: dict[str, Member] = {
        "benchmark": seasonal_naive,
        "average_4": partial(cycle_average, cycles=4),
        "average_16": partial(cycle_average, cycles=16),
        "theta": with_seasons(theta, periods),
        "damped_trend": with_seasons(damped_trend, periods),
        "damped_trend_log": with_seasons(damped_trend, periods, logs=True),
        "smoothed": smoothed if season == 1 else with_seasons(smoothed, periods),
        "changes_log": with_seasons(changes, periods, logs=True),
    }
    if season == 1:
        members["changes"] = with_seasons(changes, periods)
    if season > 1:
        levels = partial(autoregression, order=order, differences=False)
        members["last"] = naive
        members["levels"] = with_seasons(levels, periods)
        members["levels_log"] = with_seasons(levels, periods, logs=True)
    if season == 7:
        members["last_year"] = last_year
        members = {name: with_holidays(member) for name, member in members.items()}
    return Panel(members, {"pooled": Pooled(WINDOWS.get(season, 2 * season), 30.0 if season < 24 else 1.0)})


#: Points that the pooled regression and the network look back over.
WINDOWS = {1: 110, 7: 200, 24: 336}


def _periods(season: int) -> tuple[int, ...]:
    own = (season,) if season > 1 else ()
    return own + LONGER.get(season, ())
