"""How many subscribers a channel will have: forecasts with intervals, calibrated by those that came due before.

A channel's growth is a mixture of its recent growth, its usual growth (robust means of the daily changes, steps left
out) and the growth usual among the other channels. Members are weighed, and intervals are made as wide, as forecasts
from earlier origins show that had come due by then: the channel's own, drawn towards those of all channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from core.errors import InsufficientData, InvalidInput
from core.history import Floats
from training.forecasting import matured
from training.forecasting.drift import LEAST_DAYS, DailySubscribers, Drift, Panel
from training.forecasting.matured import MEMBERS, THEORY, Judged, PoolHorizon
from training.forecasting.result import Forecast, HorizonForecast
from training.forecasting.scoring import summary

LONGEST_HORIZON = 365
#: A horizon may be so many times the days known.
REACH = 3


@dataclass(frozen=True, slots=True, eq=False)
class GrowthPool:
    """What all channels of a set show about growth, by day from `first_day` on (T): computed once, used for each.

    rate, scale: T, usual growth and logarithm of the usual scale, NaN with few channels. horizons: for those learned
    and their halves.
    """

    first_day: date
    rate: Floats
    scale: Floats
    horizons: Mapping[int, PoolHorizon]

    def places(self, first_day: date, length: int) -> NDArray[np.intp]:
        """The pool's day for each of `length` days: the last one for days after its end, below 0 before its start."""
        days = np.arange(length) + (first_day - self.first_day).days
        return np.minimum(days, len(self.rate) - 1)


def learn(channels: Sequence[DailySubscribers], horizons_days: Sequence[int]) -> GrowthPool:
    """The pool of a set of channels. InvalidInput: no horizon, or one outside 1..LONGEST_HORIZON."""
    return _learn(Panel.of([(one.channel, Drift.of(one)) for one in channels]), horizons_days)


def forecast(channel: DailySubscribers, horizons_days: Sequence[int], pool: GrowthPool) -> Forecast:
    """Subscribers of one channel so many days after its last reading.

    pool: learned with these horizons, from readings not later than the channel's last. InsufficientData with fewer than
    LEAST_DAYS days read, or less than a REACH-th of a horizon.
    """
    horizons = _checked(horizons_days)
    drift = Drift.of(channel)
    _enough(channel.channel, drift, horizons)
    panel = Panel.of([(channel.channel, drift)])
    last = len(drift.level) - 1
    return at_origin(Outlook(panel, pool, horizons), 0, last, drift)


def forecast_growth(
    channels: Sequence[DailySubscribers], horizons_days: Sequence[int], *, target: int | None = None
) -> tuple[Forecast, ...]:
    """Forecasts of all channels, or of the one at place `target`, each beside the others."""
    if target is not None and not 0 <= target < len(channels):
        raise InvalidInput(f"no channel at place {target} of {len(channels)}", field="target")
    wanted = channels if target is None else (channels[target],)
    pool = learn(channels, horizons_days)
    return tuple(forecast(one, horizons_days, pool) for one in wanted)


class Outlook:
    """Forecasts of every channel of a panel at every origin, each from what was known then."""

    def __init__(self, panel: Panel, pool: GrowthPool, horizons: Sequence[int]) -> None:
        self.panel = panel
        self.horizons = tuple(horizons)
        missing = [h for h in horizons if h not in pool.horizons]
        if missing:
            raise InvalidInput(f"the pool was not learned for {missing} days", field="horizons_days")
        self.at = pool.places(panel.first_day, panel.level.shape[1])
        self.rates, self.scale = _rates_and_scale(panel, pool, self.at)
        self.judged: dict[int, Judged] = {}
        self.quantiles: dict[int, Floats] = {}
        for h in self.horizons:
            self.judged[h] = matured.judge(panel, self.rates, self.scale, h, pool.horizons[h], self.at)
            known = pool.horizons[h].quantiles[np.maximum(self.at, 0)]
            self.quantiles[h] = np.where((self.at >= 0)[:, None], known, THEORY)

    @classmethod
    def of(cls, channels: Sequence[DailySubscribers], horizons: Sequence[int]) -> Outlook:
        """Of a set of channels that are each other's pool."""
        panel = Panel.of([(one.channel, Drift.of(one)) for one in channels])
        return cls(panel, _learn(panel, horizons), _checked(horizons))

    def bounds(self, row: int, t: int, days: int) -> tuple[float, Floats]:
        """Mean and (lo80, hi80, lo95, hi95) of a channel at an origin, in subscribers, none below 0."""
        judged = self.judged[days]
        base = max(float(self.panel.level[row, t]), 1.0)
        middle = float(self.panel.level[row, t]) + base * (float(judged.mean[row, t]) - 1.0)
        ends = middle + base * judged.width[row, t] * self.quantiles[days][t]
        return max(middle, 0.0), np.maximum(ends, 0.0)


def at_origin(outlook: Outlook, row: int, t: int, drift: Drift) -> Forecast:
    """The forecast of a channel at its last origin."""
    horizons = tuple(_horizon(outlook, row, t, h) for h in outlook.horizons)
    origin = outlook.panel.first_day + timedelta(days=t)
    level = float(outlook.panel.level[row, t])
    return Forecast(outlook.panel.channels[row], origin, level, horizons, drift.steps, _notes(drift, horizons))


def _horizon(outlook: Outlook, row: int, t: int, days: int) -> HorizonForecast:
    judged = outlook.judged[days]
    middle, ends = outlook.bounds(row, t, days)
    due = np.flatnonzero(np.isfinite(judged.scores[row, : max(t - days + 1, 0)]))
    level = np.maximum(outlook.panel.level[row, due], 1.0)
    actual = outlook.panel.level[row, due + days]
    expected = outlook.panel.level[row, due] + level * (judged.mean[row, due] - 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = (expected - actual) / actual * 100
    score, q = judged.scores[row, due], outlook.quantiles[days][due]
    inside80, inside95 = (score >= q[:, 0]) & (score <= q[:, 1]), (score >= q[:, 2]) & (score <= q[:, 3])
    weights = dict(zip(MEMBERS, map(float, judged.weights[row, t]), strict=True))
    return HorizonForecast(days, middle, *map(float, ends), weights, summary(error, inside80, inside95))


def _notes(drift: Drift, horizons: Sequence[HorizonForecast]) -> tuple[str, ...]:
    notes = []
    unread = int((~drift.read).sum())
    if unread:
        notes.append(f"{unread} of {len(drift.read)} days were not read: their changes are taken as even")
    notes.extend(
        f"{one.days} days: no earlier forecast of this channel came due; the interval rests on others and theory"
        for one in horizons
        if one.backtest.n == 0
    )
    if drift.steps:
        notes.append(f"{len(drift.steps)} steps are taken as done once, not as growth")
    return tuple(notes)


def _learn(panel: Panel, horizons_days: Sequence[int]) -> GrowthPool:
    horizons = _checked(horizons_days)
    pool = GrowthPool(panel.first_day, matured.pool_rate(panel), matured.pool_scale(panel), {})
    at = np.arange(panel.level.shape[1])
    rates, scale = _rates_and_scale(panel, pool, at)
    learned: dict[int, PoolHorizon] = {}
    for h in sorted({part for days in horizons for part in matured.chain(days)}):
        sums = matured.sums(panel, rates, scale, h)
        # The channels' own widths need the pool's mean score first: one pass with all widths alike.
        alike = matured.judge(panel, rates, scale, h, sums, at)
        raw = np.abs((alike.change - (alike.mean - 1.0)) / (scale * matured.theory(h, panel.days)))
        sums = replace(sums, score=np.nansum(np.minimum(raw, 5.0), axis=0))
        scores = matured.judge(panel, rates, scale, h, sums, at).scores
        shorter = learned[h // 2].quantiles if h > 1 else np.tile(THEORY, (len(at), 1))
        learned[h] = replace(sums, quantiles=matured.quantiles(scores, h, shorter))
    return replace(pool, horizons=learned)


def _rates_and_scale(panel: Panel, pool: GrowthPool, at: NDArray[np.intp]) -> tuple[Floats, Floats]:
    known = at >= 0
    place = np.maximum(at, 0)
    rate, scale = (
        np.where(known, values[place], np.nan) if len(values) else values for values in (pool.rate, pool.scale)
    )
    return matured.member_rates(panel, rate), matured.scales(panel, scale)


def _checked(horizons_days: Sequence[int]) -> tuple[int, ...]:
    horizons = tuple(horizons_days)
    if not horizons:
        raise InvalidInput("no horizon was asked for", field="horizons_days")
    for days in horizons:
        if not 1 <= days <= LONGEST_HORIZON:
            raise InvalidInput(f"a horizon is 1 to {LONGEST_HORIZON} days, not {days}", field="horizons_days")
    return horizons


def _enough(channel: str, drift: Drift, horizons: Sequence[int]) -> None:
    have = int(drift.days[-1]) if len(drift.days) else 0
    if have < LEAST_DAYS:
        raise InsufficientData(f"days with a subscriber count of {channel}", needed=LEAST_DAYS, have=have)
    reach = -(-max(horizons) // REACH)
    if len(drift.level) < reach:
        raise InsufficientData(
            f"days of {channel} to look {max(horizons)} days ahead", needed=reach, have=len(drift.level)
        )
