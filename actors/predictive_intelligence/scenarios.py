"""What would change if the channel published otherwise: its own last posts planned anew, foretold, and simulated.

The last 28 days of posts are planned once more for the days to come, as they were and as the scenario has them; a
predictor that the caller gives foretells each post. Futures are drawn from its quantiles: the luck of a future's posts
is correlated as neighbouring posts of the channel have been, its shared part is the same for both plans, the rest is
each post's own. More posts a day take views from each other by the elasticity that the channel's own days show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

import numpy as np
from numpy.random import Generator

from actors.predictive_intelligence.fatigue import Elasticity, elasticity
from actors.predictive_intelligence.temporal import local
from core.accrual import album_representatives
from core.buckets import zone
from core.clock import DAY
from core.errors import InsufficientData, InvalidInput, NoData
from core.history import ATTRIBUTES, ChannelHistory, Floats, Ints
from core.levels import levelled
from core.schemas.channels import PostDraft
from core.schemas.predictions import Quantiles, Target
from core.schemas.scenarios import Fatigue, PlannedPost, Range, Scenario, ScenarioSpec

DAYS = 28
SHIFT_DAYS = 35  # whole weeks on, and far enough that no hour of the plan's first day has passed
LEAST_POSTS = 10  # of the last 28 days
LEAST_SEEN = 5  # posts that make an hour or a format one that the channel knows
BACK_DAYS = 365
_DRAWS = 2000
_SEED = 20_044
_Z90 = 1.2816
_FLAGS = ("has_question", "is_ad", "is_forward")


class Predictor(Protocol):
    """Foretells posts that are to come, each on its own: an 80 % interval and the median of their views."""

    def __call__(self, posts: Sequence[PlannedPost]) -> Sequence[Quantiles]:
        """As many answers as posts, in their order."""
        ...


def scenario(history: ChannelHistory, spec: ScenarioSpec, predictor: Predictor, target: Target, as_of: int) -> Scenario:
    """A plan for 28 days that begin a week after `as_of`, beside going on as before.

    NoData for a channel without views, InsufficientData with fewer than 10 posts in the last 28 days, InvalidInput for
    a scenario that says nothing or lies outside its ranges.
    """
    _check(spec)
    name = history.channel.name
    if len(history.reading_ts) == 0:
        raise NoData(f"{name}: views unavailable from this source", channel=name)
    recent = (history.published_at > as_of - DAYS * DAY) & (history.published_at <= as_of)
    at = np.flatnonzero(album_representatives(history) & recent)
    if len(at) < LEAST_POSTS:
        raise InsufficientData(
            f"{name}: posts in the {DAYS} days before", needed=LEAST_POSTS, have=len(at), channel=name
        )
    rng = np.random.default_rng(_SEED)
    before = _again(history, at)
    planned = _planned(before, spec, history.channel.timezone, rng)
    alike = _alike(history, as_of)
    slope = elasticity(history, as_of - BACK_DAYS * DAY, as_of + 1, rng)
    more = len(planned) / len(before)
    applied = spec.posts_per_day is not None and len(slope.drawn) > 0
    shared = rng.normal(size=_DRAWS)
    usual = _simulated(predictor(before), shared, alike, rng)
    future = _simulated(predictor(planned), shared, alike, rng)
    if applied:
        future = future * more ** rng.choice(slope.drawn, _DRAWS)
    difference = future - usual
    return Scenario(
        channel=name,
        spec=spec,
        target=target,
        days=DAYS,
        posts=(len(before), len(planned)),
        usual=_range(usual),
        planned=_range(future),
        difference=_range(difference),
        relative=float(difference.mean() / usual.mean()),
        chance_better=float((difference > 0).mean()),
        correlation=alike,
        fatigue=Fatigue(slope.estimate, applied),
        warnings=_warnings(history, spec, planned, as_of),
        notes=_notes(spec, slope, more),
    )


def _check(spec: ScenarioSpec) -> None:
    if spec == ScenarioSpec():
        raise InvalidInput("a scenario changes something: posts_per_day, hour, text_len or media", field="spec")
    if spec.posts_per_day is not None and not 0 < spec.posts_per_day <= 50:
        raise InvalidInput(f"{spec.posts_per_day} posts a day: more than 0, at most 50", field="posts_per_day")
    if spec.hour is not None and not 0 <= spec.hour <= 23:
        raise InvalidInput(f"hour {spec.hour}: between 0 and 23", field="hour")
    if spec.text_len is not None and not 0 <= spec.text_len <= 10_000:
        raise InvalidInput(f"text_len {spec.text_len}: between 0 and 10,000", field="text_len")


# ---------------------------------------------------------------- plans


def _again(history: ChannelHistory, at: Ints) -> list[PlannedPost]:
    """The posts at some positions five weeks later, at the same local time."""
    where = zone(history.channel.timezone)
    found = []
    for i in at.tolist():
        moment = datetime.fromtimestamp(int(history.published_at[i]), UTC).astimezone(where) + timedelta(
            days=SHIFT_DAYS
        )
        found.append(PlannedPost(_draft(history, i), int(moment.timestamp())))
    return found


def _draft(history: ChannelHistory, i: int) -> PostDraft:
    given: dict[str, int | bool | None] = {}
    for name, value in zip(ATTRIBUTES, history.attributes[i].tolist(), strict=True):
        given[name] = None if np.isnan(value) else bool(value) if name in _FLAGS else int(value)
    media = history.media[i]
    return PostDraft(media=None if media is None else str(media), **given)  # type: ignore[arg-type]


def _planned(before: Sequence[PlannedPost], spec: ScenarioSpec, timezone: str, rng: Generator) -> list[PlannedPost]:
    posts = list(before) if spec.posts_per_day is None else _spread(before, spec.posts_per_day, timezone, rng)
    changed = [replace(post, draft=_changed(post.draft, spec)) for post in posts]
    if spec.hour is None:
        return changed
    where = zone(timezone)
    moments = [datetime.fromtimestamp(post.published_at, UTC).astimezone(where) for post in changed]
    return [
        replace(post, published_at=int(moment.replace(hour=spec.hour).timestamp()))
        for post, moment in zip(changed, moments, strict=True)
    ]


def _spread(before: Sequence[PlannedPost], a_day: float, timezone: str, rng: Generator) -> list[PlannedPost]:
    """As many posts a day, evenly; their content and hours those of the posts before, each about equally often."""
    where = zone(timezone)
    first = datetime.fromtimestamp(min(post.published_at for post in before), UTC).astimezone(where)
    total = max(1, round(a_day * DAYS))
    rounds = -(-total // len(before))
    order = np.concatenate([rng.permutation(len(before)) for _ in range(rounds)])[:total]
    found = []
    for k, i in enumerate(order.tolist()):
        day = first + timedelta(days=k * DAYS // total)
        moment = datetime.fromtimestamp(before[i].published_at, UTC).astimezone(where)
        moment = moment.replace(year=day.year, month=day.month, day=day.day)
        found.append(replace(before[i], published_at=int(moment.timestamp())))
    return sorted(found, key=lambda post: post.published_at)


def _changed(draft: PostDraft, spec: ScenarioSpec) -> PostDraft:
    if spec.media is not None:
        draft = replace(draft, media=spec.media)
    if spec.text_len is None:
        return draft
    longer = spec.text_len / draft.text_len if draft.text_len else None
    words, lines = draft.n_words, draft.n_lines
    return replace(
        draft,
        text=None,
        text_len=spec.text_len,
        n_words=None if longer is None or words is None else round(words * longer),
        n_lines=None if longer is None or lines is None else max(1, round(lines * longer)),
    )


# ---------------------------------------------------------------- futures


def _alike(history: ChannelHistory, as_of: int) -> float:
    """Correlation of neighbouring posts' log views beside their level, at least 0."""
    rest = levelled(history, as_of - BACK_DAYS * DAY, as_of + 1).residual
    if len(rest) < LEAST_POSTS or np.ptp(rest) == 0:
        return 0.0
    return float(np.clip(np.corrcoef(rest[:-1], rest[1:])[0, 1], 0.0, 0.9))


def _simulated(foretold: Sequence[Quantiles], shared: Floats, alike: float, rng: Generator) -> Floats:
    """Views a day in each future: posts of two half-normal logs around the median (split normal)."""
    low, middle, high = (
        np.log(np.maximum([getattr(q, name) for q in foretold], 1.0)) for name in ("q10", "q50", "q90")
    )
    own = rng.normal(size=(len(shared), len(middle)))
    z = np.sqrt(alike) * shared[:, None] + np.sqrt(1 - alike) * own
    spread = np.where(z < 0, middle - low, high - middle) / _Z90
    return np.asarray(np.exp(middle + z * spread).sum(axis=1) / DAYS, dtype=float)


def _range(values: Floats) -> Range:
    low, low_80, high_80, high = np.quantile(values, [0.025, 0.1, 0.9, 0.975]).tolist()
    return Range(float(values.mean()), low_80, high_80, low, high)


# ---------------------------------------------------------------- what must be said


def _warnings(
    history: ChannelHistory, spec: ScenarioSpec, planned: Sequence[PlannedPost], as_of: int
) -> tuple[str, ...]:
    """Where the scenario leaves what the channel has done in the last year."""
    seen = np.flatnonzero(
        album_representatives(history)
        & (history.published_at > as_of - BACK_DAYS * DAY)
        & (history.published_at <= as_of)
    )
    hour, _, day = local(history.channel.timezone, history.published_at[seen])
    found = []
    if spec.posts_per_day is not None:
        most = float(np.quantile(np.unique(day, return_counts=True)[1], 0.95))
        if spec.posts_per_day > most:
            found.append(
                f"{spec.posts_per_day:g} posts a day are more than the channel has done (95 % of days: {most:g})"
            )
    if spec.hour is not None and (n := int((hour == spec.hour).sum())) < LEAST_SEEN:
        found.append(f"the channel has published {n} posts at {spec.hour} h: the model extrapolates")
    if spec.media is not None and (n := int((history.media[seen] == spec.media).sum())) < LEAST_SEEN:
        found.append(f"the channel has published {n} posts with {spec.media}: the model extrapolates")
    if spec.text_len is not None:
        lengths = history.attributes[seen, ATTRIBUTES.index("text_len")]
        known = lengths[~np.isnan(lengths)]
        low, high = np.quantile(known, [0.02, 0.98]) if len(known) else (np.nan, np.nan)
        if not len(known):
            found.append("the lengths of the channel's texts are not known: the model extrapolates")
        elif not low <= spec.text_len <= high:
            found.append(f"texts of {spec.text_len} are unusual for the channel (96 %: {low:.0f} to {high:.0f})")
    if spec.hour is not None and len(planned) > DAYS:
        found.append("several posts a day at one hour: what they take from each other there is not known")
    return tuple(found)


def _notes(spec: ScenarioSpec, slope: Elasticity, more: float) -> tuple[str, ...]:
    notes = [
        "ranges are of what would be seen, with the posts' luck; the model's own error in the effect is not in them"
    ]
    if spec.posts_per_day is None:
        return tuple(notes)
    if slope.estimate.value is None:
        bound = "at most" if more > 1 else "at least"
        notes.insert(0, f"what posts take from each other is not known ({slope.estimate.missing}): {bound} this much")
    else:
        notes.insert(0, "fatigue is what went with more posts on the channel's days, which need not be their effect")
    return tuple(notes)
