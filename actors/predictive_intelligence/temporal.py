"""Best times to publish: hour and weekday effects on views at equal age, content held equal, and whether any is real.

Two permutation tests ask first whether the hour or the weekday makes a difference at all (residuals of the controls
are permuted: Freedman & Lane 1983; within four weeks, so that no slow change counts). Posts of a date share its luck
and dates depend on their neighbours, so weekdays are tested on whole days, each week rotated at random. Where neither
shows anything, no time is named. Where one does, the best cells carry intervals that hold for all cells at once: the
best of 168 looks better than it is.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime

import numpy as np
from numpy.random import Generator

from actors.predictive_intelligence.profile import CELLS, HOURS, WEEKDAYS, Profile, fit, hour_kernel
from core.buckets import zone
from core.clock import DAY
from core.errors import InsufficientData, NoData
from core.history import ATTRIBUTES, ChannelHistory, Floats, Ints
from core.levels import Levelled, levelled
from core.schemas.timing import BestTime, BestTimes, TimeCell

LEAST_POSTS = 40
MOST_POSTS = 3000  # the newest ones
LEAST_IN_CELL = 3  # posts that make an hour one that was tried
SHOWN = 5
LEVEL = 0.05
_PERMUTATIONS = 999
_DRAWS = 4000
_BLOCK_S = 28 * DAY
_LEAST_KIND = 5
_SEED = 20_041


def best_times(history: ChannelHistory, since: int, until: int, holidays: Collection[date] = ()) -> BestTimes:
    """The effect of 168 hours of the week on views of posts published in [since, until).

    holidays: days of a configured calendar, held equal. NoData for a source without views, InsufficientData below 40
    posts with views at 24 h.
    """
    posts = usable(history, since, until)
    times = history.published_at[posts.at]
    hour, weekday, day = local(history.channel.timezone, times)
    on_holiday = np.isin(day, [each.toordinal() for each in holidays]).astype(float)
    names, controls = control_columns(history, posts.at, on_holiday)
    rng = np.random.default_rng(_SEED)
    p_hour, p_weekday = tests(posts.residual, times, hour, weekday, day, controls, rng)
    p = min(1.0, 2 * min(p_hour, p_weekday))
    profile = fit(posts.residual, hour, weekday, day, controls)
    counts = np.bincount(weekday * HOURS + hour, minlength=CELLS)
    decided = p <= LEVEL
    best = _best(profile, counts, rng) if decided else ()
    notes = ["effects are of the times as they were used: who publishes at other hours may find other readers there"]
    if not decided:
        notes.insert(0, f"no time is better than another beyond chance (p = {p:.2g})")
    elif not best:
        notes.insert(0, f"no hour was used for {LEAST_IN_CELL} posts: the week as a whole differs, no hour is named")
    return BestTimes(
        channel=history.channel.name,
        timezone=history.channel.timezone,
        metric=posts.metric,
        since=int(times.min()),
        until=int(times.max()),
        posts=len(times),
        controls=("level of the posts around", *names),
        cells=_cells(profile, counts),
        p_hour=p_hour,
        p_weekday=p_weekday,
        p=p,
        decided=decided,
        best=best,
        notes=tuple(notes),
    )


def usable(history: ChannelHistory, since: int, until: int) -> Levelled:
    """The newest posts with views and their level, enough of them."""
    name = history.channel.name
    if len(history.reading_ts) == 0:
        raise NoData(f"{name}: views unavailable from this source", channel=name)
    posts = levelled(history, since, until)
    if len(posts.at) < LEAST_POSTS:
        raise InsufficientData(
            f"{name}: posts with views at 24 h in the period", needed=LEAST_POSTS, have=len(posts.at), channel=name
        )
    newest = slice(-MOST_POSTS, None)
    return Levelled(posts.at[newest], posts.views[newest], posts.residual[newest], posts.metric)


def local(timezone: str, times: Ints) -> tuple[Ints, Ints, Ints]:
    """Hour, weekday (0: Monday) and ordinal of the date of moments in a zone."""
    where = zone(timezone)
    moments = [datetime.fromtimestamp(ts, UTC).astimezone(where) for ts in times.tolist()]
    rows = [(at.hour, at.weekday(), at.toordinal()) for at in moments]
    hour, weekday, day = np.array(rows, dtype=np.int64).reshape(len(rows), 3).T
    return hour, weekday, day


def control_columns(history: ChannelHistory, at: Ints, on_holiday: Floats) -> tuple[list[str], Floats]:
    """What the source tells of the posts at some positions, as standardised columns (n x c) with their names."""
    columns: dict[str, Floats] = {}
    media = history.media[at]
    kinds, counts = np.unique([str(m) for m in media], return_counts=True)
    for kind in kinds[(counts >= _LEAST_KIND) & (np.arange(len(kinds)) != counts.argmax())]:
        columns[f"media {kind}"] = np.array([str(m) == kind for m in media], dtype=float)
    attributes = {name: history.attributes[at, ATTRIBUTES.index(name)] for name in ATTRIBUTES}
    columns["length"] = np.log1p(attributes["text_len"])
    columns["links"] = np.minimum(attributes["n_links"], 3.0)
    columns["hashtags"] = np.minimum(attributes["n_hashtags"], 3.0)
    columns["ad"], columns["forward"] = attributes["is_ad"], attributes["is_forward"]
    columns["holiday"] = on_holiday
    names, kept = [], []
    for name, values in columns.items():
        known = ~np.isnan(values)
        spread = float(values[known].std()) if known.sum() >= _LEAST_KIND else 0.0
        if spread > 1e-9:
            names.append(name)
            kept.append(np.where(known, (np.nan_to_num(values) - values[known].mean()) / spread, 0.0))
    return names, np.stack(kept, axis=1) if kept else np.zeros((len(at), 0))


def tests(
    y: Floats, times: Ints, hour: Ints, weekday: Ints, day: Ints, controls: Floats, rng: Generator
) -> tuple[float, float]:
    """p of "the hour makes no difference" and of "the weekday makes none"."""
    x = np.concatenate([np.ones((len(y), 1)), controls], axis=1)
    rest = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    block = (times - times.min()) // _BLOCK_S
    p_hour = _permuted(rest, block, np.eye(HOURS)[hour], hour_kernel(), rng)
    return p_hour, _rotated(rest, weekday, day, rng)


def _rotated(rest: Floats, weekday: Ints, day: Ints, rng: Generator) -> float:
    """p of no difference between weekdays: spread of the weekdays' means over the days' means, weeks rotated."""
    week = (day - weekday - (day - weekday).min()) // WEEKDAYS
    place = week * WEEKDAYS + weekday
    size = (int(week.max()) + 1) * WEEKDAYS
    posts = np.bincount(place, minlength=size).reshape(-1, WEEKDAYS)
    there = posts > 0
    means = np.bincount(place, weights=rest, minlength=size).reshape(-1, WEEKDAYS) / np.maximum(posts, 1)
    means = np.where(there, means - means[there].mean(), 0.0)
    turns = rng.integers(0, WEEKDAYS, (_PERMUTATIONS + 1, len(means), 1))
    turns[0] = 0  # the first row is what was observed
    at = (np.arange(WEEKDAYS) + turns) % WEEKDAYS
    rows = np.arange(len(means))[None, :, None]
    sums, days = means[rows, at].sum(axis=1), there[rows, at].sum(axis=1)
    spread = (sums**2 / np.maximum(days, 1)).sum(axis=1)
    return float(np.mean(spread >= spread[0] * (1 - 1e-12)))


def _permuted(values: Floats, block: Ints, member: Floats, kernel: Floats, rng: Generator) -> float:
    """p of no difference between groups (member: n x g): a kernel's score statistic, values permuted within blocks."""
    means = np.bincount(block, weights=values) / np.maximum(np.bincount(block), 1)
    centred = values - means[block]
    # The group sizes' share of each block is taken out as well: only what lies beside the block's own mean counts.
    sizes = np.stack([np.bincount(block, weights=column) for column in member.T], axis=1)
    member = member - (sizes / np.maximum(np.bincount(block), 1)[:, None])[block]

    def statistic(rows: Floats) -> Floats:
        sums = rows @ member
        return np.asarray(((sums @ kernel) * sums).sum(axis=-1), dtype=float)

    seen = float(statistic(centred[None, :])[0])
    reached = 0
    for draws in np.array_split(np.arange(_PERMUTATIONS), 9):
        order = np.argsort(block + rng.random((len(draws), len(values))), axis=1)
        # Blocks are in order of time, so sorting by block plus a random part permutes within each.
        reached += int(np.count_nonzero(statistic(centred[order]) >= seen * (1 - 1e-12)))
    return (1 + reached) / (1 + _PERMUTATIONS)


def _cells(profile: Profile, counts: Ints) -> tuple[TimeCell, ...]:
    effects, deviations = profile.effects, profile.deviations
    low_80, high_80, low, high = (np.expm1(effects + z * deviations) for z in (-1.2816, 1.2816, -1.9600, 1.9600))
    return tuple(
        TimeCell(
            c // HOURS,
            c % HOURS,
            int(counts[c]),
            float(np.expm1(effects[c])),
            float(low_80[c]),
            float(high_80[c]),
            float(low[c]),
            float(high[c]),
        )
        for c in range(CELLS)
    )


def _best(profile: Profile, counts: Ints, rng: Generator) -> tuple[BestTime, ...]:
    """The best of the hours that were tried, by effect, with simultaneous intervals over all that were."""
    tried = np.flatnonzero(counts >= LEAST_IN_CELL)
    if not len(tried):
        return ()
    effects, deviations = profile.effects[tried], np.maximum(profile.deviations[tried], 1e-12)
    drawn = profile.drawn(rng, _DRAWS)[:, tried]
    width = float(np.quantile((np.abs(drawn - effects) / deviations).max(axis=1), 0.95))
    chance = np.bincount(drawn.argmax(axis=1), minlength=len(tried)) / _DRAWS
    return tuple(
        BestTime(
            int(tried[k]) // HOURS,
            int(tried[k]) % HOURS,
            int(counts[tried[k]]),
            float(np.expm1(effects[k])),
            float(np.expm1(effects[k] - width * deviations[k])),
            float(np.expm1(effects[k] + width * deviations[k])),
            float(chance[k]),
        )
        for k in np.argsort(-effects)[:SHOWN].tolist()
    )
