"""What a model sees of a post: the one definition that training and serving share.

A row holds only what was known at its moment `as_of`: attributes of the post itself, the clock in the channel's zone,
cadence and subscribers, the channel's matured results, and (after publishing) the post's own early views. Removing or
changing anything that became known later changes no number in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from core.clock import DAY, HOUR
from core.errors import InsufficientData, InvalidInput, NoData
from core.history import ATTRIBUTES, ChannelHistory, Floats, Ints, target_values
from core.schemas.channels import PostDraft
from core.schemas.predictions import KNOWN_AGES_H, METRIC_OF, TARGET_AGE_H, Target
from training.early import EarlyResults
from training.levels import LOOKBACK, MIN_HISTORY, WINDOW, WINDOWS, Level, LogSeries, leaders, level, median
from training.localtime import clock_features, local_time, zone_of
from training.names import (
    AGE,
    AUDIENCE,
    CADENCE,
    CONTENT,
    COUNTS,
    EARLY,
    EFFECTS,
    FEATURES,
    MEDIA,
    PLACE,
    RESULTS,
    SCHEMA,
    TIME,
)

__all__ = ["FEATURES", "SCHEMA", "FeatureBuilder", "FeatureRow", "attributes_of", "predictable"]

#: Pseudo-posts that hold an effect of hour, weekday, media, ... at zero.
_EFFECT_PRIOR = 8.0
#: Effects are means over at most this many matured posts.
_EFFECT_WINDOW = 150


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """A model's input for one post at one moment.

    vector: float32, in the order of FEATURES, NaN where something is not known. base_log: natural logarithm that a
    prediction starts from, for each target that can be asked at this age: the channel's rolling median, moved by the
    post's own early views where there are some. level_log: the rolling median alone, the honest yardstick.
    history: matured posts that the level rests on (at most WINDOW).
    """

    vector: NDArray[np.float32]
    base_log: dict[Target, float]
    level_log: dict[Target, float]
    history: int


def attributes_of(draft: PostDraft) -> Floats:
    """A draft's numeric attributes in the order of core.history.ATTRIBUTES, NaN where not known."""
    given = [getattr(draft, name) for name in ATTRIBUTES]
    return np.array([float("nan") if value is None else float(value) for value in given])


def predictable(targets: Sequence[Target], known_age_h: int) -> tuple[Target, ...]:
    """Targets that are still ahead at an age; early views are not used for a source with one reading a post."""
    if "views_final" in targets and known_age_h:
        return ()
    return tuple(t for t in targets if TARGET_AGE_H[t] > known_age_h)


class FeatureBuilder:
    """Rows of one channel.

    Made once for a version of the channel's data (some milliseconds); a row then takes a fraction of one. A history
    may be cut to its newest posts: rows look back over LOOKBACK posts at most.
    """

    def __init__(self, history: ChannelHistory) -> None:
        # Builders of many channels are kept: the series hold what is needed of other counts than views.
        self.history = replace(history, counts={})
        self.targets = history.targets
        counted = leaders(history)
        self._published: Ints = history.published_at[counted]
        self._early = EarlyResults(history, counted)
        self._late: dict[Target, LogSeries] = {
            target: LogSeries.of(history, target_values(history, target), counted, METRIC_OF[target])
            for target in self.targets
        }
        self._zone = zone_of(history.channel.timezone)
        local = [local_time(int(ts), self._zone) for ts in history.published_at]
        self._hour = np.array([hour for hour, _ in local], dtype=float)
        self._weekday = np.array([day for _, day in local], dtype=np.int64)
        self._length = np.log1p(history.attributes[:, ATTRIBUTES.index("text_len")])
        self._ad = history.attributes[:, ATTRIBUTES.index("is_ad")]

    def early_known_at(self, index: int, known_age_h: int) -> int | None:
        """When a stored post's views at an age became known; None: they are not (yet), or the source has none."""
        if known_age_h == 0:
            return int(self.history.published_at[index])
        return self._early.known_at(index, known_age_h)

    def target(self, target: Target) -> LogSeries:
        """Measured results of a target, as logarithms."""
        return self._late[target]

    def stored(self, index: int, known_age_h: int = 0, as_of: int | None = None) -> FeatureRow:
        """Row of a stored post; as_of defaults to the first moment at which its views at the age are known."""
        if as_of is None:
            self._ahead(known_age_h, index)
            as_of = self.early_known_at(index, known_age_h)
            if as_of is None:
                raise self._no_early(index, known_age_h)
        return self.row(
            published_at=int(self.history.published_at[index]),
            attributes=self.history.attributes[index],
            media=self.history.media[index],
            known_age_h=known_age_h,
            as_of=as_of,
            index=index,
        )

    def row(
        self,
        *,
        published_at: int,
        attributes: Floats,
        media: str | None,
        as_of: int,
        known_age_h: int = 0,
        index: int | None = None,
    ) -> FeatureRow:
        """Row of a post at a moment.

        attributes: as in core.history.ATTRIBUTES. index: position in the history, None for a draft (age 0 only).
        Raises NoData for a source without views, InsufficientData below MIN_HISTORY matured posts or when the early
        views asked for are not known at `as_of`, InvalidInput for an unknown age or early views of a draft.
        """
        ahead = self._ahead(known_age_h, index)
        self._check_early(index, known_age_h, as_of)
        earliest = max(int(np.searchsorted(self.history.published_at, as_of, side="right")) - LOOKBACK, 0)
        known = {t: self._late[t].known(as_of, earliest, index) for t in self.targets}
        found = {t: level(self._late[t].log[known[t]], WINDOWS[METRIC_OF[t]]) for t in ahead}
        levels = {t: of_target for t, of_target in found.items() if of_target is not None}
        if not levels:
            raise self._no_level(max(len(places) for places in known.values()))
        values = np.full(len(FEATURES), np.nan)
        first = next(iter(levels))
        self._put(values, TIME, clock_features(local_time(published_at, self._zone)))
        self._put(values, AGE, [float(age == known_age_h) for age in KNOWN_AGES_H])
        matured = self._late[first].index[known[first]]
        residuals = self._late[first].log[known[first]] - levels[first].log
        self._put(values, CONTENT, self._content(attributes, media, matured))
        self._put(values, CADENCE, self._cadence(published_at, as_of, known_age_h))
        self._put(values, AUDIENCE, self._audience(as_of, levels[first].log))
        self._put(values, RESULTS, self._results(levels[first], matured, residuals, as_of, earliest, index))
        self._put(values, EFFECTS, self._effects(published_at, attributes, media, matured, residuals))
        base = {t: found.log for t, found in levels.items()}
        if known_age_h and index is not None:
            self._put(values, EARLY, self._early.features(known_age_h, as_of, earliest, index))
            for t in levels:
                later = self._early.later(self._late[t], known[t], METRIC_OF[t], known_age_h, index, as_of)
                base[t] = base[t] if later is None else later
        return FeatureRow(
            values.astype(np.float32), base, {t: found.log for t, found in levels.items()}, levels[first].n
        )

    def _ahead(self, known_age_h: int, index: int | None) -> tuple[Target, ...]:
        if known_age_h not in KNOWN_AGES_H:
            raise InvalidInput(f"known_age_h must be one of {KNOWN_AGES_H}, not {known_age_h}", field="known_age_h")
        if known_age_h and index is None:
            raise InvalidInput("a draft has no early views: known_age_h must be 0", field="known_age_h")
        if not self.targets:
            raise NoData(f"{self.history.channel.name}: views unavailable from this source")
        ahead = predictable(self.targets, known_age_h)
        if not ahead:
            raise NoData(f"{self.history.channel.name}: one reading a post, so no early views to predict from")
        return ahead

    def _check_early(self, index: int | None, known_age_h: int, as_of: int) -> None:
        if known_age_h and index is not None:
            moment = self.early_known_at(index, known_age_h)
            if moment is None or moment > as_of:
                raise self._no_early(index, known_age_h)

    def _no_level(self, have: int) -> InsufficientData:
        reason = f"{self.history.channel.name}: too few posts with measured views for a level"
        return InsufficientData(reason, needed=MIN_HISTORY, have=have)

    def _no_early(self, index: int, known_age_h: int) -> InsufficientData:
        post = int(self.history.post_ids[index])
        return InsufficientData(
            f"{self.history.channel.name}: views of post {post} at {known_age_h} h are not known at that moment",
            needed=1,
            have=0,
        )

    @staticmethod
    def _put(values: Floats, names: tuple[str, ...], given: Sequence[float]) -> None:
        start = PLACE[names[0]]
        values[start : start + len(names)] = given

    def _content(self, attributes: Floats, media: str | None, matured: Ints) -> list[float]:
        counts = np.log1p(attributes[: len(COUNTS)])
        lengths = self._length[matured[-WINDOW:]]
        usual = median(lengths[np.isfinite(lengths)])
        kinds = [math.nan if media is None else float(media == kind) for kind in MEDIA]
        return [*counts, *attributes[len(COUNTS) :], *kinds, float(counts[0]) - usual]

    def _cadence(self, published_at: int, as_of: int, known_age_h: int) -> list[float]:
        # Posts of the same second belong together; what is not published at as_of does not exist yet.
        seen = min(published_at, as_of + 1)
        before = int(np.searchsorted(self._published, seen))
        after = int(np.searchsorted(self._published, as_of, side="right"))
        hours = (published_at - int(self._published[before - 1])) / HOUR if before else math.nan
        since = [before - int(np.searchsorted(self._published, published_at - days * DAY)) for days in (1, 7)]
        later = max(after - int(np.searchsorted(self._published, published_at, side="right")), 0)
        return [math.log1p(hours), *map(math.log1p, since), math.log1p(later) if known_age_h else math.nan]

    def _audience(self, as_of: int, level_log: float) -> list[float]:
        now = self._subscribers(as_of)
        growth = [now - self._subscribers(as_of - days * DAY) for days in (7, 30)]
        return [now, level_log - now, *growth]

    def _subscribers(self, moment: int) -> float:
        i = int(np.searchsorted(self.history.subscriber_ts, moment, side="right"))
        return math.log(max(float(self.history.subscribers[i - 1]), 1.0)) if i else math.nan

    def _results(
        self, usual: Level, matured: Ints, residuals: Floats, as_of: int, earliest: int, index: int | None
    ) -> list[float]:
        window = residuals[-WINDOW:]
        days = (self.history.published_at[matured[-WINDOW:]] - as_of) / DAY
        centred = days - days.mean()
        scale = float(centred @ centred)
        trend = float(centred @ np.clip(window, -1, 1)) / scale if scale > 0 else 0.0
        return [
            usual.log,
            math.log(usual.n),
            usual.spread,
            float(window[-1]),
            median(window[-3:]),
            median(window[-10:]),
            min(max(trend, -0.2), 0.2),
            self._early.momentum(as_of, earliest, index),
        ]

    def _effects(
        self, published_at: int, attributes: Floats, media: str | None, matured: Ints, residuals: Floats
    ) -> list[float]:
        """Mean residuals of matured posts like this one, each held at zero by pseudo-posts."""
        at, r = matured[-_EFFECT_WINDOW:], np.clip(residuals[-_EFFECT_WINDOW:], -1, 1)
        hour, weekday = local_time(published_at, self._zone)
        apart = np.abs(self._hour[at] - hour)
        near = np.exp(-0.5 * (np.minimum(apart, 24 - apart) / 1.5) ** 2)
        length, ad = math.log1p(attributes[0]), attributes[ATTRIBUTES.index("is_ad")]
        lengths = np.exp(-0.5 * ((self._length[at] - length) / 0.4) ** 2)
        return [
            _held_mean(near, r),
            _held_mean(self._weekday[at] == weekday, r),
            math.nan if media is None else _held_mean(self.history.media[at] == media, r),
            math.nan if math.isnan(ad) else _held_mean(self._ad[at] == ad, r),
            math.nan if math.isnan(length) else _held_mean(np.nan_to_num(lengths), r),
        ]


def _held_mean(weights: NDArray[np.generic], residuals: Floats) -> float:
    w = weights.astype(float)
    return float(w @ residuals) / (float(w.sum()) + _EFFECT_PRIOR)
