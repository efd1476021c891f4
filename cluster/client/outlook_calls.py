"""Questions of when, with whom and what if, as values."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.client.calls import Call, _get, _name
from core.schemas.links import CrossChannel, Influence, MentionLifts
from core.schemas.scenarios import Scenario
from core.schemas.timing import BestTimes, Context, Seasonality


def best_times(name: str, days: int) -> Call[BestTimes]:
    """What hour and weekday do to views."""
    return _get(BestTimes, f"/v1/channels/{_name(name)}/best-times", days=days)


def seasonality(name: str, days: int) -> Call[Seasonality]:
    """Rhythm of views."""
    return _get(Seasonality, f"/v1/channels/{_name(name)}/seasonality", days=days)


def context(name: str, days: int) -> Call[Context]:
    """Factors of the configured calendar."""
    return _get(Context, f"/v1/channels/{_name(name)}/context", days=days)


def scenario(
    name: str, posts_per_day: float | None, hour: int | None, text_len: int | None, media: str | None
) -> Call[Scenario]:
    """Publishing otherwise."""
    at = f"/v1/channels/{_name(name)}/scenario"
    return _get(Scenario, at, posts_per_day=posts_per_day, hour=hour, text_len=text_len, media=media)


def influence(name: str | None, limit: int) -> Call[Influence]:
    """The graph of mentions, of one channel or whole."""
    return _get(Influence, f"{_within(name)}/influence", limit=limit)


def mention_lift(name: str | None) -> Call[MentionLifts]:
    """What mentions bring, to one channel or any."""
    return _get(MentionLifts, f"{_within(name)}/mention-lift")


def cross_channel(metric: str, channels: Sequence[str], days: int, lags: int) -> Call[CrossChannel]:
    """Channels whose days follow others'."""
    named = list(channels) or None
    return _get(CrossChannel, "/v1/cross-channel", metric=metric, channel=named, days=days, lags=lags)


def _within(name: str | None) -> str:
    return "/v1" if name is None else f"/v1/channels/{_name(name)}"
