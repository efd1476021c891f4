"""Questions that look closer at channels, as values."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.client.calls import Call, _get, _name
from core.schemas.analytics import PostCurve
from core.schemas.channel_studies import AdReport, BeforeAfter, ChannelComparison, Mix, Percentiles, Quality, Trend
from core.schemas.competitors import Competition, Discovery, WatchList
from core.schemas.reports import ReportFormat


def _at(name: str, rest: str) -> str:
    return f"/v1/channels/{_name(name)}/{rest}"


def curve(name: str, post_id: int) -> Call[PostCurve]:
    """A post's views by age."""
    return _get(PostCurve, _at(name, f"posts/{post_id}/curve"))


def mix(name: str, days: int, until: int | None) -> Call[Mix]:
    """Kinds of posts."""
    return _get(Mix, _at(name, "mix"), days=days, until=until)


def percentiles(name: str, days: int) -> Call[Percentiles]:
    """Among comparable channels."""
    return _get(Percentiles, _at(name, "percentiles"), days=days)


def ads(name: str, days: int, until: int | None, price: float | None) -> Call[AdReport]:
    """What ads reach."""
    return _get(AdReport, _at(name, "ads"), days=days, until=until, price=price)


def quality(name: str, days: int, until: int | None) -> Call[Quality]:
    """Signs of a bought audience."""
    return _get(Quality, _at(name, "quality"), days=days, until=until)


def trend(name: str, metric: str, days: int, until: int | None) -> Call[Trend]:
    """Where a metric is heading."""
    return _get(Trend, _at(name, f"trend/{_name(metric)}"), days=days, until=until)


def before_after(name: str, metric: str, at: int, days: int) -> Call[BeforeAfter]:
    """Before and after a moment."""
    return _get(BeforeAfter, _at(name, f"before-after/{_name(metric)}"), at=at, days=days)


def report(name: str, format: ReportFormat, days: int, until: int | None) -> Call[bytes]:
    """A file."""
    return _get(bytes, _at(name, "report"), format=format, days=days, until=until)


def compare(channels: Sequence[str], days: int, until: int | None) -> Call[ChannelComparison]:
    """Side by side."""
    return _get(ChannelComparison, "/v1/compare", channel=list(channels), days=days, until=until)


def competition(
    name: str, others: Sequence[str], watch_list: str | None, days: int, until: int | None
) -> Call[Competition]:
    """Beside others."""
    path, named = f"/v1/competitors/{_name(name)}", list(others) or None
    return _get(Competition, path, other=named, watch_list=watch_list, days=days, until=until)


def candidates(name: str, limit: int) -> Call[Discovery]:
    """Channels nearby."""
    return _get(Discovery, f"/v1/competitors/{_name(name)}/candidates", limit=limit)


def watch_lists() -> Call[tuple[WatchList, ...]]:
    """All lists."""
    return _get(tuple[WatchList, ...], "/v1/watch-lists")


def watch_list(name: str) -> Call[WatchList]:
    """One list."""
    return _get(WatchList, f"/v1/watch-lists/{_name(name)}")


def put_watch_list(name: str, channels: Sequence[str]) -> Call[WatchList]:
    """Make a list, or give it other channels."""
    return Call(WatchList, "PUT", f"/v1/watch-lists/{_name(name)}", body={"channels": list(channels)})


def remove_watch_list(name: str) -> Call[None]:
    """Take a list away."""
    return Call(None, "DELETE", f"/v1/watch-lists/{_name(name)}")
