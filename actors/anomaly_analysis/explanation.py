"""From a channel's history to the causes of an episode in its daily views or posts; shares sum to the whole change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.random import Generator

from actors.anomaly_analysis import analysis
from actors.anomaly_analysis.analysis import BASE, HOUR, MEDIA, NUMBER, PER_POST, UNEXPLAINED, Cell, Window
from core.accrual import album_representatives, gains
from core.buckets import day_start, local_date
from core.clock import DAY
from core.clock import HOUR as HOUR_S
from core.history import ChannelHistory, Floats, Ints, views_at
from core.metrics import subscribers_on
from core.schemas.analytics import Cause

FRESH_S = 7 * DAY  # posts count for the daily views up to this age
_AGES_H = (1, 2, 4, 8, 12, 24, 48, 72, 120, 168)
_LEAST_POSTS = 3
_LEAST_DAYS = 7


@dataclass(frozen=True, slots=True)
class Days:
    """Calendar days of a channel by the ordinals of their dates: those of the episode, and ordinary ones before it."""

    timezone: str
    away: tuple[int, ...]
    before: tuple[int, ...]

    def edges(self) -> Ints:
        """Boundaries of all days from the first before to the last away."""
        first, last = min(self.before + self.away), max(self.away)
        return np.array([day_start(self.timezone, date.fromordinal(d)) for d in range(first, last + 2)], dtype=np.int64)


def age_curve(history: ChannelHistory) -> tuple[Floats, Floats] | None:
    """(ages in hours, share of the views at 7 days) of the median post; None with fewer than three such posts."""
    week = views_at(history, FRESH_S).values
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = [views_at(history, age * HOUR_S).values / np.where(week > 0, week, np.nan) for age in _AGES_H]
    known = [(age, share[~np.isnan(share)]) for age, share in zip(_AGES_H, shares, strict=True)]
    points = [(float(age), float(np.median(share))) for age, share in known if len(share) >= _LEAST_POSTS]
    if len(points) < 2 or points[-1][0] < _AGES_H[-1]:
        return None
    ages, values = zip((0.0, 0.0), *points, strict=True)
    return np.array(ages), np.maximum.accumulate(np.array(values))


def views_causes(history: ChannelHistory, days: Days, total: float, rng: Generator) -> tuple[Cause, ...]:
    """Causes of a change of `total` views over the days away, the likeliest first, unexplained last.

    A post counts for a day by the share of its first week's views that the median post gets at that age, so that
    yesterday's posts are not taken for a fall of views per post. Without enough posts or days everything is
    unexplained, and the evidence says what is missing.
    """
    if len(days.before) < _LEAST_DAYS:
        return _nothing(total, f"{len(days.before)} ordinary days before it, {_LEAST_DAYS} are needed to compare with")
    curve = age_curve(history)
    if curve is None:
        return _nothing(total, f"fewer than {_LEAST_POSTS} posts were followed for 7 days: no usual course to compare")
    by_day = _windows(history, days, curve)
    first = min(days.before + days.away)
    after = analysis.merge([by_day[d - first] for d in days.away])
    usual = _usual({d: by_day[d - first] for d in days.before}, days.away, after.total - total / after.days)
    before = analysis.merge(usual)
    shares = analysis.decompose(before, after)
    spread = analysis.usual_spread(usual, len(days.away), rng)
    causes = [
        Cause(name, shares[name] * after.days, _evidence(name, before, after))
        for name in analysis.ranked(shares, spread)
        if shares[name]
    ]
    rest = total - sum(cause.share for cause in causes)
    told = f"what no factor carries, and the usual course of these days against the {len(usual)} days compared with"
    return (*causes, Cause(UNEXPLAINED, rest, told))


def pace_causes(total: float) -> tuple[Cause, ...]:
    """Nothing that is stored explains how far posts are shown beside what is usual at their age."""
    return _nothing(total, "posts beside what is usual at their age: not their number or hour, but how far they reach")


def posting_causes(history: ChannelHistory, days: Days, total: float) -> tuple[Cause, ...]:
    """Which media a change of `total` posts over the days away consists of; unexplained last."""
    if len(days.before) < _LEAST_DAYS:
        return _nothing(total, f"{len(days.before)} ordinary days before it, {_LEAST_DAYS} are needed to compare with")
    counted = album_representatives(history)
    ordinals = np.array([local_date(days.timezone, int(t)).toordinal() for t in history.published_at])
    media = np.array([m or "unknown" for m in history.media], dtype=object)
    causes = []
    for name in sorted(set(media[counted])):
        mine = ordinals[counted & (media == name)]
        now = float(np.isin(mine, days.away).sum())
        usual = float(np.isin(mine, days.before).sum()) / len(days.before) * len(days.away)
        label = "posts" if name == "unknown" else f"posts with media '{name}'"
        causes.append(Cause(label, now - usual, f"{now:g} instead of about {usual:.1f}"))
    causes.sort(key=lambda cause: -abs(cause.share))
    rest = total - sum(cause.share for cause in causes)
    return (*causes, Cause(UNEXPLAINED, rest, "these weekdays' usual course against the four weeks' mean"))


def _usual(before: Mapping[int, Window], away: Sequence[int], expected: float) -> list[Window]:
    """The ordinary days to compare with: all, or those of the same weekdays where these are nearer to the expected."""
    weekdays = {day % 7 for day in away}
    choices = [list(before.values()), [w for day, w in before.items() if day % 7 in weekdays]]
    return min((c for c in choices if len(c) >= 3), key=lambda c: abs(analysis.merge(c).total - expected))


def _nothing(total: float, why: str) -> tuple[Cause, ...]:
    return (Cause(UNEXPLAINED, total, why),)


def _windows(history: ChannelHistory, days: Days, curve: tuple[Floats, Floats]) -> list[Window]:
    """One window for each day between the first and the last edge."""
    edges = days.edges()
    age = (edges[None, :] - history.published_at[:, None]) / HOUR_S
    weight = np.diff(np.interp(np.clip(age, 0, FRESH_S / HOUR_S), *curve), axis=1)
    weight[~album_representatives(history)] = 0.0
    gained = np.zeros_like(weight)
    found = gains(history, edges, FRESH_S)
    np.add.at(gained, (found.post, found.bucket), found.views)
    cells = [_cell(history, i, days.timezone) for i in range(history.n)]
    base = subscribers_on(history, edges)
    result = []
    for day in range(len(edges) - 1):
        posts: dict[Cell, float] = {}
        views: dict[Cell, float] = {}
        for i in np.flatnonzero(weight[:, day] > 0):
            posts[cells[i]] = posts.get(cells[i], 0.0) + float(weight[i, day])
            views[cells[i]] = views.get(cells[i], 0.0) + float(gained[i, day])
        result.append(Window(1.0, posts, views, None if np.isnan(base[day]) else float(base[day])))
    return result


def _cell(history: ChannelHistory, i: int, timezone: str) -> Cell:
    moment = int(history.published_at[i])
    hour = (moment - day_start(timezone, local_date(timezone, moment))) // HOUR_S
    return history.media[i] or "unknown", ("night", "morning", "afternoon", "evening")[min(hour // 6, 3)]


def _evidence(name: str, before: Window, after: Window) -> str:
    n0, n1 = (sum(w.posts.values()) for w in (before, after))
    if name == NUMBER:
        return f"{n1 / after.days:.2g} posts a day instead of {n0 / before.days:.2g}, weighted by age"
    if name == PER_POST:
        v0, v1 = (sum(w.views.values()) / n if n else 0.0 for w, n in ((before, n0), (after, n1)))
        return f"{v1:,.0f} views a post in its first week instead of {v0:,.0f}, at this pace"
    if name == BASE:
        return f"{after.base or 0:,.0f} subscribers instead of {before.base or 0:,.0f}"
    if name in (MEDIA, HOUR):
        return _widest(_part(before, n0, name), _part(after, n1, name))
    return "views that came from elsewhere"


def _part(window: Window, n: float, name: str) -> dict[str, float]:
    parts: dict[str, float] = {}
    for cell, count in window.posts.items():
        key = cell[0 if name == MEDIA else 1]
        parts[key] = parts.get(key, 0.0) + count / n
    return parts


def _widest(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    names: Sequence[str] = sorted({*before, *after})
    top = max(names, key=lambda key: abs(after.get(key, 0.0) - before.get(key, 0.0)))
    return f"{top}: {after.get(top, 0.0):.0%} of the posts instead of {before.get(top, 0.0):.0%}"
