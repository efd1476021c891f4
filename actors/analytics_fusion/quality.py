"""Signs of bought subscribers or views, each with its figures. Evidence, never a verdict.

The signs are those that buyers of ads look for. Each is present, absent or unknown; the score is the weight of the
present ones among those that could be looked at. A jump of subscribers alone proves nothing: it counts only beside
another sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from actors.analytics_fusion import source
from actors.analytics_fusion.source import Counts
from actors.analytics_fusion.trend import mann_kendall, theil_sen
from core import metrics
from core.accrual import album_representatives, usual_interval
from core.buckets import shown
from core.clock import DAY, HOUR
from core.history import ChannelHistory, Floats, Ints, views_at
from core.schemas.channel_studies import Quality, Sign
from core.store.channels import Mention

WEIGHTS = {
    "unexplained_jump": 0.15,
    "view_rate_out_of_range": 0.20,
    "even_pace": 0.20,
    "views_at_night": 0.10,
    "reactions_out_of_proportion": 0.15,
    "growth_with_falling_rate": 0.10,
    "bleed_after_jump": 0.10,
}
LEAST_LOOKED_AT = 0.4
JUMP_SIGMAS = 8.0  # of the 28 days before, robust
JUMP_SHARE = 0.01  # of the subscribers: smaller ones are left alone
HIGH_RATE, EVEN_SHARE, FLAT_NIGHT = 0.9, 0.25, 5 / 24
READING = (
    "signs for a person to look into, each with an innocent explanation too (a mention elsewhere, an ad bought openly, "
    "a purge by the platform, a wrong time zone); a low score does not prove an audience real"
)


@dataclass(frozen=True, slots=True)
class Jump:
    """A day with far more new subscribers than usual."""

    day: int  # position among the days
    at: int
    gained: float
    share: float  # of the subscribers before
    explained: str | None


def quality(
    history: ChannelHistory,
    counts: Counts,
    mentions: Sequence[Mention],
    edges: Ints,
    peers: Sequence[float] = (),
) -> Quality:
    """All signs over the days between edges (of the channel's zone).

    mentions: of this channel by others. peers: view rates of comparable channels, for what is far below them.
    """
    jumps = find_jumps(history, mentions, edges)
    signs = [
        _jumped(history, jumps),
        _rate(history, edges, peers),
        _pace(history, edges),
        _night(history, edges),
        _reactions(history, counts, edges),
        _falling(history, edges),
        _bleed(history, jumps, edges),
    ]
    if signs[0].state == "present" and not any(sign.state == "present" for sign in signs[1:]):
        signs[0] = replace(signs[0], weight=0.0, evidence=f"{signs[0].evidence}; alone it proves nothing and counts 0")
    whole = sum(WEIGHTS.values())
    known = sum(WEIGHTS[sign.name] for sign in signs if sign.state != "unknown")
    present = sum(sign.weight for sign in signs if sign.state == "present")
    enough = known / whole >= LEAST_LOOKED_AT
    notes = () if enough else (f"too few signs can be looked at for a score: {known / whole:.0%} of their weight",)
    return Quality(
        history.channel.name,
        int(edges[0]),
        int(edges[-1]),
        present / known if enough else None,
        known / whole,
        tuple(signs),
        READING,
        notes,
    )


def find_jumps(history: ChannelHistory, mentions: Sequence[Mention], edges: Ints) -> tuple[Jump, ...] | None:
    """Days whose growth lies far above the 28 days before; None without subscriber readings day by day."""
    growth = metrics.net_growth(history, edges)
    base = metrics.subscribers_on(history, edges)[:-1]
    if np.count_nonzero(~np.isnan(growth)) < 28:
        return None
    named = np.array([m.published_at for m in mentions if m.target == history.channel.name], dtype=np.int64)
    found = []
    for day in range(14, len(growth)):
        past = growth[max(0, day - 28) : day]
        past = past[~np.isnan(past)]
        if len(past) < 14 or np.isnan(growth[day]) or not base[day] > 0:
            continue
        usual = float(np.median(past))
        spread = max(float(stats.median_abs_deviation(past, scale="normal")), np.sqrt(base[day]) * 0.1, 1.0)
        if growth[day] - usual > JUMP_SIGMAS * spread and growth[day] > JUMP_SHARE * base[day]:
            at = int(edges[day])
            near = int(np.count_nonzero((named >= at - DAY) & (named < at + 2 * DAY)))
            why = f"mentions by stored channels: {near}" if near else _more_views(history, at, growth[day] / base[day])
            found.append(Jump(day, at, float(growth[day]), float(growth[day] / base[day]), why))
    return tuple(found)


def _more_views(history: ChannelHistory, at: int, share: float) -> str | None:
    """Views that rose with the subscribers; None where they did not, or cannot be known."""
    views = metrics.views_gained(history, at + np.arange(-7, 9) * DAY)
    before, after = views[:7], views[8:]
    if np.isnan(before).all() or np.isnan(after).all() or not np.nanmean(before) > 0:
        return None
    before, after = before[~np.isnan(before)], after[~np.isnan(after)]
    rise = float(after.mean() - before.mean())
    error = float(np.sqrt(sum(side.var(ddof=1) / len(side) for side in (before, after) if len(side) > 1)))
    goes_with_it = rise > share / 2 * before.mean() and rise > 2 * error
    return f"daily views rose by {rise / before.mean():.0%} with it" if goes_with_it else None


def _sign(name: str, present: bool | None, evidence: str, **figures: float) -> Sign:
    state = "unknown" if present is None else "present" if present else "absent"
    kept = {key: float(value) for key, value in figures.items() if np.isfinite(value)}
    return Sign(name, state, WEIGHTS[name], evidence, kept)  # type: ignore[arg-type]


def _jumped(history: ChannelHistory, jumps: tuple[Jump, ...] | None) -> Sign:
    if jumps is None:
        return _sign("unexplained_jump", None, _no_growth(history))
    bare = [jump for jump in jumps if jump.explained is None]
    zone = history.channel.timezone
    told = ", ".join(f"{shown(j.at, zone)} +{j.gained:,.0f} ({j.share:.1%})" for j in bare) or "no day stands out"
    if bare:
        told += ": no mention by a stored channel and no rise of views goes with it (ads elsewhere are not in the data)"
    explained = ", ".join(f"{shown(j.at, zone)} +{j.gained:,.0f}: {j.explained}" for j in jumps if j.explained)
    evidence = f"{told}; explained: {explained}" if explained else told
    gained = sum(jump.gained for jump in bare)
    return _sign("unexplained_jump", bool(bare), evidence, jumps=len(jumps), unexplained=len(bare), gained=gained)


def _rate(history: ChannelHistory, edges: Ints, peers: Sequence[float]) -> Sign:
    name = "view_rate_out_of_range"
    rate = _in(
        history, edges, metrics.ratio(views_at(history, DAY).values, metrics.subscribers_at_publication(history))
    )
    if len(rate) < 5:
        return _sign(name, None, f"needs views at 24 h and subscribers of 5 posts, has {len(rate)}", n=len(rate))
    median = float(np.median(rate))
    figures = {"median": median, "n": float(len(rate))}
    if median > HIGH_RATE:
        return _sign(
            name, True, f"half of the posts reach {median:.0%} of the subscribers within 24 h or more", **figures
        )
    told = f"{median:.1%} of the subscribers see a post within 24 h"
    if len(peers) < 10:
        return _sign(name, False, f"{told}; too few peers ({len(peers)}) to say whether that is low", **figures)
    low = float(np.quantile(peers, 0.05))
    figures |= {"peers": float(len(peers)), "peers_low": low}
    return _sign(name, median < low / 2, f"{told}; 95 % of {len(peers)} peers have over {low:.1%}", **figures)


def _pace(history: ChannelHistory, edges: Ints) -> Sign:
    share = _in(history, edges, metrics.early_share(history))
    minimum = metrics.METRICS["early_share"].minimum
    if len(share) < minimum:
        return _sign(
            "even_pace", None, f"needs views at 4 h and 24 h of {minimum} posts, has {len(share)}", n=len(share)
        )
    median = float(np.median(share))
    told = f"posts have {median:.0%} of their 24 h views after 4 h (an even pace gives 17 %, real channels about 64 %)"
    return _sign("even_pace", median < EVEN_SHARE, told, median=median, n=len(share))


def _night(history: ChannelHistory, edges: Ints) -> Sign:
    every = None if history.single_reading else usual_interval(history)
    if every is None or every > 4.5 * HOUR:
        return _sign("views_at_night", None, "needs readings at least every 4 hours")
    share = metrics.night_share(history, edges)
    share = share[~np.isnan(share)]
    minimum = metrics.METRICS["night_share"].minimum
    if len(share) < minimum:
        return _sign("views_at_night", None, f"needs {minimum} days with views, has {len(share)}", n=len(share))
    mean, error = float(share.mean()), float(share.std(ddof=1) / np.sqrt(len(share)))
    told = (
        f"{mean:.0%} of a day's views come between 1 and 6 h of {history.channel.timezone} (an even pace gives 21 %); "
        "a wrong time zone looks the same"
    )
    return _sign("views_at_night", mean - 2 * error > FLAT_NIGHT, told, mean=mean, n=len(share))


def _reactions(history: ChannelHistory, counts: Counts, edges: Ints) -> Sign:
    name = "reactions_out_of_proportion"
    if np.isnan(counts.reactions).all():
        return _sign(name, None, source.NO_REACTIONS)
    rate = _in(history, edges, metrics.ratio(counts.reactions, counts.views))
    if len(rate) < 20:
        return _sign(name, None, f"needs reactions and views of 20 posts, has {len(rate)}", n=len(rate))
    median = float(np.median(rate))
    typical = float(np.median(_in(history, edges, counts.reactions)))
    far = int(np.count_nonzero(rate > 5 * median)) if median > 0 else 0
    spread = float(stats.median_abs_deviation(rate, scale="normal")) / median if median > 0 else np.nan
    # Counting alone makes rates differ by 1 / sqrt(count): less than half of that between posts is no audience.
    even = typical >= 100 and spread < 0.5 / np.sqrt(typical)
    told = f"{far} of {len(rate)} posts have over 5 times the median rate of {median:.2%}"
    if even:
        told += f"; the others differ by {spread:.1%} only, less than chance makes them"
    present = far >= max(3, 0.05 * len(rate)) or even
    return _sign(name, present, told, median=median, far=far, spread=spread, n=len(rate))


def _falling(history: ChannelHistory, edges: Ints) -> Sign:
    name = "growth_with_falling_rate"
    base = metrics.subscribers_on(history, edges)
    base = base[~np.isnan(base)]
    rates = _view_rate(history)
    inside = _inside(history, edges) & ~np.isnan(rates)
    if len(base) < 28 or inside.sum() < 20:
        return _sign(name, None, f"needs 28 days of subscribers and 20 posts, has {len(base)} and {int(inside.sum())}")
    x, y = history.published_at[inside] / DAY, rates[inside]
    if len(y) > 1000:  # all pairs of posts are compared
        chosen = np.linspace(0, len(y) - 1, 1000).astype(int)
        x, y = x[chosen], y[chosen]
    slope, _, _ = theil_sen(x, y)
    _, p = mann_kendall(x, y, slope)
    growth, fall = float(base[-1] / base[0] - 1), float(slope * (x[-1] - x[0]) / np.median(y))
    present = growth > 0.05 and p < 0.01 and fall < -growth
    told = f"subscribers {growth:+.1%}, view rate {fall:+.1%} (p {p:.2g}); with growth it falls too, but by less"
    return _sign(name, present, told, growth=growth, fall=fall, p=p)


def _bleed(history: ChannelHistory, jumps: tuple[Jump, ...] | None, edges: Ints) -> Sign:
    name = "bleed_after_jump"
    if jumps is None:
        return _sign(name, None, _no_growth(history))
    growth, told = metrics.net_growth(history, edges), []
    lost = 0.0
    for jump in jumps:
        after = growth[jump.day + 1 : jump.day + 31]
        after = after[~np.isnan(after)]
        if len(after) < 14:
            continue
        gone = -float(after.sum())
        if gone > 0.2 * jump.gained and np.mean(after < 0) > 0.6:
            told.append(
                f"{gone:,.0f} of the {jump.gained:,.0f} of {shown(jump.at, history.channel.timezone)} "
                f"gone within {len(after)} days, on {np.mean(after < 0):.0%} of them"
            )
            lost += gone
    return _sign(name, bool(told), "; ".join(told) or "no slow loss after a jump", lost=lost)


def _view_rate(history: ChannelHistory) -> Floats:
    return metrics.ratio(views_at(history, DAY).values, metrics.subscribers_at_publication(history))


def _no_growth(history: ChannelHistory) -> str:
    return source.NO_SUBSCRIBERS if len(history.subscribers) == 0 else "needs 28 days of subscriber readings"


def _inside(history: ChannelHistory, edges: Ints) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    inside = (history.published_at >= edges[0]) & (history.published_at < edges[-1])
    return np.asarray(inside & album_representatives(history), dtype=np.bool_)


def _in(history: ChannelHistory, edges: Ints, values: Floats) -> Floats:
    """Known values of the posts of the period, albums once."""
    kept = values[_inside(history, edges)]
    return kept[~np.isnan(kept)]
