"""Forecasts with intervals: members, mixed by what a backtest shows, calibrated by what the mixture missed in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from core.errors import InsufficientData, InvalidInput
from core.history import Floats
from training.forecasting.backtest import Backtest, Learner, backtest, rolling_origins
from training.forecasting.batch import LEAST, Batch
from training.forecasting.conformal import calibrate, widened
from training.forecasting.ensemble import weigh
from training.forecasting.members import WINDOWS, Panel, fast, full
from training.forecasting.members.holidays import holiday_doubt

#: Further ahead than this nobody is told anything.
LONGEST = 1_000
ORIGINS, QUICK_ORIGINS = 8, 4
#: As many where fewer than FEW series are to be judged by them, and the history has room for them a horizon apart.
MOST_ORIGINS, FEW = 16, 100
#: Points that are looked back over: older ones cost much and tell little.
HISTORY = 1_000


@dataclass(frozen=True, eq=False)
class Forecasts:
    """n series, H steps: mean and both intervals (n x H each); weights n x M by member of the backtest; the mixture's
    residuals in the backtest (K x n x H: truth - forecast, its weights found without that origin)."""

    mean: Floats
    lo80: Floats
    hi80: Floats
    lo95: Floats
    hi95: Floats
    weights: Floats
    residuals: Floats
    backtest: Backtest


def forecast(
    batch: Batch,
    horizon: int,
    *,
    seed: int = 0,
    quick: bool = False,
    network: bool = False,
    panel: Panel | None = None,
    learners: Mapping[str, Learner] | None = None,
) -> Forecasts:
    """Forecast every series of a batch; series of one batch are taken for a group of the same kind.

    quick: few members and origins (members.fast), for many series; else members.full. panel: members of the caller's
    own choice instead. network: a network trained on the batch from `seed` stands for election as well (ten times the
    time; nothing else needs the seed). learners: other models over all series that do, beside the panel's own.
    Raises InvalidInput for a horizon outside 1..LONGEST, InsufficientData when a series has fewer than LEAST values
    among its last HISTORY points. Where all of those are zero or more, so is what is forecast. The same
    input and seed give the same output.
    """
    batch = batch.last(HISTORY)
    check(batch, horizon)
    panel = panel or (fast(batch.season) if quick else full(batch.season))
    if quick:
        origins = rolling_origins(batch, horizon, QUICK_ORIGINS)
    else:
        origins = rolling_origins(batch, horizon, ORIGINS, MOST_ORIGINS if batch.n < FEW else ORIGINS)
    elected = {**panel.learners, **(_network(batch.season, seed) if network else {}), **(learners or {})}
    tested = backtest(batch, horizon, origins, panel.members, elected)
    if not np.isfinite(tested.truth).any():
        raise InsufficientData("no series reaches back far enough to judge a forecast by", needed=1, have=0)
    errors = tested.errors
    weights = weigh(errors)
    mean = np.einsum("nm,mnh->nh", weights, tested.ahead)
    residuals = _residuals(tested, errors)
    # Weights gain by old origins, intervals do not: how large errors are now is told by the latest ones.
    late, heights = residuals[:ORIGINS], _heights(batch, origins[:ORIGINS])
    spread = widened(calibrate(late, _changes(batch), heights), holiday_doubt(batch, horizon))
    low, high = mean + spread.below, mean + spread.above
    floor = np.where(np.nanmin(batch.values, axis=1) >= 0, 0.0, -np.inf)[:, None]
    mean, low, high = (np.maximum(one, floor) for one in (mean, low, high))
    return Forecasts(mean, low[0], high[0], low[1], high[1], weights, residuals, tested)


def check(batch: Batch, horizon: int) -> None:
    """InvalidInput, InsufficientData: see forecast."""
    if not 1 <= horizon <= LONGEST:
        raise InvalidInput(f"a horizon is 1 to {LONGEST} steps, not {horizon}", field="horizon")
    if not batch.n:
        raise InvalidInput("there is no series to forecast", field="series")
    fewest = int(batch.count.argmin())
    if batch.count[fewest] < LEAST:
        raise InsufficientData(
            "a forecast needs more values of the series", needed=LEAST, have=int(batch.count[fewest]), series=fewest
        )


def _network(season: int, seed: int) -> dict[str, Learner]:
    from training.forecasting.network import Network  # torch is imported only where it is asked for

    return {"network": Network(WINDOWS.get(season, 2 * season), seed=seed)}


def _residuals(tested: Backtest, errors: Floats) -> Floats:
    """The mixture's residuals at each origin, under weights that were found at the other origins."""
    k = len(tested.origins)
    result = np.full(tested.truth.shape, np.nan)
    for one in range(k):
        weights = weigh(np.delete(errors, one, axis=0))
        result[one] = tested.truth[one] - np.einsum("nm,mnh->nh", weights, tested.points[one])
    return result


def _changes(batch: Batch) -> Floats:
    """Mean absolute change over a season (n); 0 for a series that never changes."""
    values = batch.filled
    season = min(batch.season, batch.length - 1)
    changes = np.abs(values[:, season:] - values[:, :-season])
    known = np.isfinite(changes)
    result: Floats = np.where(known, changes, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return result


def _heights(batch: Batch, origins: tuple[int, ...]) -> Floats:
    """Mean of the last cycle (at least 8 points) now and at the origins (K + 1 x n); NaN: not all positive."""
    wide = max(batch.season, 8)
    positive = np.where(np.isfinite(batch.values), batch.values > 0, True).all(axis=1)
    ends = [batch.filled[:, : batch.length - origin][:, -wide:] for origin in (0, *origins)]
    result: Floats = np.where(positive, np.stack([end.mean(axis=1) for end in ends]), np.nan)
    return result
