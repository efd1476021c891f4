"""How many subscribers a channel will have: forecasts with intervals, calibrated by those that came due before.

A channel's growth is a mixture of its recent growth, its usual growth (robust means of the daily changes, steps left
out) and the growth usual among the other channels, corrected by a network over all channels where that has paid.
Members are weighed, and intervals are made as wide, as forecasts from earlier origins show that had come due by then:
the channel's own, drawn towards those of all channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput
from core.history import Floats
from training.forecasting import matured
from training.forecasting.asked import checked, enough
from training.forecasting.drift import LEAST_DAYS, Drift, Drifts
from training.forecasting.growth_network import GrowthNetwork, inputs, learned
from training.forecasting.matured import MEMBERS, THEORY, Mixture, PoolHorizon
from training.forecasting.paying import Trial
from training.forecasting.result import Forecast, HorizonForecast
from training.forecasting.scoring import summary
from training.forecasting.series import DailySeries


@dataclass(frozen=True, slots=True, eq=False)
class GrowthPool:
    """What all channels of a set show about growth, by day from `first_day` on (T): learned once, used for each.

    rate, scale: T, median growth and median logarithm of the scale, NaN with few channels. horizons: those learned.
    network: None where the pool is too small for one, or none was wanted. Rows of a day rest on what was known then, so
    a pool serves channels that were last read earlier as well.
    """

    first_day: date
    rate: Floats
    scale: Floats
    horizons: Mapping[int, PoolHorizon]
    network: GrowthNetwork | None = None

    def places(self, first_day: date, length: int) -> NDArray[np.intp]:
        """The pool's day for each of `length` days: the last one for days after its end, below 0 before its start."""
        days = np.arange(length) + (first_day - self.first_day).days
        return np.minimum(days, len(self.rate) - 1)


def learn(
    channels: Sequence[DailySeries], horizons_days: Sequence[int], *, network: bool = True, seed: int = 0
) -> GrowthPool:
    """The pool of a set of channels. InvalidInput: no horizon, or one outside 1..LONGEST_HORIZON.

    network: whether one is learned as well; seed: of its first weights and drawn rows, nothing else is random.
    """
    drifts = Drifts.of([Drift.of(one) for one in channels])
    return learn_from(drifts, checked(horizons_days), network=network, seed=seed)


def forecast(channel: DailySeries, horizons_days: Sequence[int], pool: GrowthPool) -> Forecast:
    """Subscribers of one channel so many days after its last reading; `pool` was learned with these horizons.

    InsufficientData with fewer than LEAST_DAYS days read or days that span less than a REACH-th of a horizon, NoData
    without any; InvalidInput as in `learn`, or for counts below 0.
    """
    horizons = checked(horizons_days)
    drift = Drift.of(channel)
    span = len(drift.level)
    enough(channel.name, known=int(drift.read.sum()), span=span, least=LEAST_DAYS, horizon=max(horizons))
    outlook = Outlook(Drifts.of([drift]), pool, horizons)
    t = span - 1
    found = tuple(outlook.horizon(0, t, days) for days in horizons)
    origin = drift.first_day + timedelta(days=t)
    behind = (pool.first_day - origin).days + len(pool.rate) - 1
    return Forecast(channel.name, origin, float(drift.level[t]), found, drift.steps, _notes(drift, found, behind))


def forecast_growth(
    channels: Sequence[DailySeries], horizons_days: Sequence[int], *, target: int | None = None
) -> tuple[Forecast, ...]:
    """Forecasts of all channels, or of the one at place `target`, each beside the others: `learn`, then `forecast`.

    >>> made = DailySeries("made", date(2026, 1, 1), 1000 + 5.0 * np.arange(60))
    >>> round(forecast_growth([made], [30])[0].horizons[0].mean)
    1445
    """
    if target is not None and not 0 <= target < len(channels):
        raise InvalidInput(f"no channel at place {target} of {len(channels)}", field="target")
    pool = learn(channels, horizons_days)
    wanted = channels if target is None else (channels[target],)
    return tuple(forecast(one, horizons_days, pool) for one in wanted)


class Outlook:
    """Forecasts of channels at every origin, each from what was known then."""

    def __init__(self, drifts: Drifts, pool: GrowthPool, horizons: Sequence[int]) -> None:
        missing = sorted(set(horizons) - set(pool.horizons))
        if missing:
            raise InvalidInput(f"the pool was not learned for {missing} days", field="horizons_days")
        self.drifts = drifts
        at = pool.places(drifts.first_day, drifts.level.shape[1])
        rates, scale = _rates_and_scale(drifts, pool, at)
        self.mixtures: dict[int, Mixture] = {}
        self.widths: dict[int, Floats] = {}  # C x T
        self.quantiles: dict[int, Floats] = {}  # T x 4
        x = inputs(drifts, rates) if pool.network else None
        for h in horizons:
            shared = pool.horizons[h]
            mixture = matured.mix(drifts, rates, scale, h, shared, at)
            if pool.network and shared.network and x is not None:
                said = pool.network.corrections(x, h, at)
                mixture = matured.joined(mixture, said, h, shared.network, at)
            self.mixtures[h] = mixture
            self.widths[h] = matured.own_width(self.mixtures[h].scores, h, shared, at)
            self.quantiles[h] = _rows(shared.quantiles, at, THEORY)

    def bounds(self, row: int, t: int, days: int) -> tuple[float, Floats]:
        """Mean and (lo80, hi80, lo95, hi95) of a channel at an origin, in subscribers, none below 0."""
        mixture, level = self.mixtures[days], float(self.drifts.level[row, t])
        base = max(level, 1.0)
        mean = level + base * float(mixture.mean[row, t])
        ends = mean + base * mixture.unit[row, t] * self.widths[days][row, t] * self.quantiles[days][t]
        return max(mean, 0.0), np.maximum(ends, 0.0)

    def horizon(self, row: int, t: int, days: int) -> HorizonForecast:
        """The forecast at an origin, and how those did that had come due by then."""
        mixture = self.mixtures[days]
        due = np.flatnonzero(np.isfinite(mixture.scores[row, : max(t - days + 1, 0)]))
        level, actual = self.drifts.level[row, due], self.drifts.level[row, due + days]
        expected = np.maximum(level + np.maximum(level, 1.0) * mixture.mean[row, due], 0.0)
        error = np.full(len(due), np.nan)
        np.divide((expected - actual) * 100, actual, out=error, where=actual > 0)
        score, q = mixture.scores[row, due] / self.widths[days][row, due], self.quantiles[days][due]
        inside = [(score >= q[:, i]) & (score <= q[:, i + 1]) for i in (0, 2)]
        weights = dict(zip(MEMBERS, map(float, mixture.weights[row, t]), strict=True))
        mean, ends = self.bounds(row, t, days)
        lo80, hi80, lo95, hi95 = map(float, ends)
        return HorizonForecast(days, mean, lo80, hi80, lo95, hi95, weights, summary(error, inside[0], inside[1]))


def learn_from(drifts: Drifts, horizons: Sequence[int], *, network: bool = True, seed: int = 0) -> GrowthPool:
    """See `learn`. Also learns each horizon's halves, which hold its quantiles while its own errors are few."""
    rate, scale = matured.pooled(drifts.rates.mean(axis=2)), matured.pooled(np.log(drifts.scale))
    at = np.arange(len(rate))
    rates, scales = _rates_and_scale(drifts, GrowthPool(drifts.first_day, rate, scale, {}), at)
    sums: dict[int, tuple[Floats, Floats]] = {}
    mixtures: dict[int, Mixture] = {}
    for h in sorted({days >> halved for days in horizons for halved in range(days.bit_length())}):
        sums[h] = matured.member_sums(drifts, rates, scales, h)
        shared = PoolHorizon(*sums[h], np.zeros(len(at)), np.tile(THEORY, (len(at), 1)))
        mixtures[h] = matured.mix(drifts, rates, scales, h, shared, at)
    trials: dict[int, Trial] = {}
    asked = sorted(set(horizons))
    x = inputs(drifts, rates) if network else np.zeros((0, len(at), 1))  # without channels there is none
    taught = learned(x, {h: mixtures[h].scores for h in asked}, seed)
    if taught:
        for h in asked:
            said = taught.corrections(x, h, at)
            trials[h] = matured.trial(mixtures[h], said, h)
            mixtures[h] = matured.joined(mixtures[h], said, h, trials[h], at)
    return GrowthPool(drifts.first_day, rate, scale, _horizons(sums, mixtures, trials), taught)


def _horizons(
    sums: Mapping[int, tuple[Floats, Floats]], mixtures: Mapping[int, Mixture], trials: Mapping[int, Trial]
) -> dict[int, PoolHorizon]:
    """What is shared of each horizon, shorter ones first."""
    result: dict[int, PoolHorizon] = {}
    found: dict[int, Floats] = {}
    worth: dict[int, Floats] = {}
    for h, mixture in mixtures.items():
        scores, length = mixture.scores, mixture.scores.shape[1]
        shorter = found[h // 2] if h > 1 else np.tile(THEORY, (length, 1))
        shared = PoolHorizon(*sums[h], matured.score_sums(scores), shorter, trials.get(h))
        scores = scores / matured.own_width(scores, h, shared, np.arange(length))
        found[h], worth[h] = matured.quantiles(scores, h, shorter)
        # Scores of longer horizons come due late; how many there will be is known from those of a day.
        result[h] = replace(shared, quantiles=found[h] * matured.few(worth[1] / h))
    return result


def _rates_and_scale(drifts: Drifts, pool: GrowthPool, at: NDArray[np.intp]) -> tuple[Floats, Floats]:
    nothing = np.array(np.nan)
    rates = matured.member_rates(drifts, _rows(pool.rate, at, nothing))
    return rates, matured.scales(drifts, _rows(pool.scale, at, nothing))


def _rows(values: Floats, at: NDArray[np.intp], before: Floats) -> Floats:
    """Rows of `values` at places, `before` where the place is negative."""
    found = np.broadcast_to(before, (len(at), *values.shape[1:])).copy()
    found[at >= 0] = values[at[at >= 0]]
    return found


def _notes(drift: Drift, horizons: Sequence[HorizonForecast], behind: int) -> tuple[str, ...]:
    notes = []
    if behind > 0:
        notes.append(f"last read {behind} days before other channels: horizons count from that reading")
    unread = int((~drift.read).sum())
    if unread:
        notes.append(f"{unread} of {len(drift.read)} days were not read: changes over them are taken as even")
    untried = [str(one.days) for one in horizons if not one.backtest.n]
    if untried:
        notes.append(f"no forecast of this channel over {', '.join(untried)} days has come due yet: width from others")
    if drift.steps:
        notes.append(f"{len(drift.steps)} changes are taken as done once, not as growth")
    return tuple(notes)
