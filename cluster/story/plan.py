"""Decides what a story the data can carry: where history ends, how time is cut, when which prediction is asked.

Pure: looks at the staged data as a whole, but only to make a timetable. No measured value leaves this module; the live
database receives readings when the replay reaches their time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.clock import DAY, HOUR
from core.errors import InsufficientData, NoData
from core.history import NEVER, ChannelHistory, target_values, views_at
from core.schemas.predictions import KNOWN_AGES_H, TARGET_AGE_H, Target

#: The first training needs this many posts with a measured target, the roll-outs of both acts about as many again.
LABELS_TO_TRAIN = 60
LABELS_TO_ROLL_OUT = 60
#: Steps that the live part of the data is cut into.
STEPS = 160


@dataclass(frozen=True, slots=True)
class Visit:
    """A prediction to ask when the replay reaches `as_of`."""

    as_of: int
    channel: str
    post_id: int
    known_age_h: int

    @property
    def key(self) -> str:
        """Makes asking twice harmless."""
        return f"story:{self.channel}:{self.post_id}:{self.known_age_h}"


@dataclass(frozen=True, slots=True)
class Survey:
    """What was imported, counted."""

    channels: int
    posts: int
    readings: int
    subscriber_readings: int
    labels: dict[Target, int]  # posts with a measured target
    first: int
    last: int

    @property
    def days(self) -> float:
        """Span of the posts and readings."""
        return (self.last - self.first) / DAY


@dataclass(frozen=True, slots=True)
class Timetable:
    """History is fed at once up to `live_from`; from there the replay goes in steps to `end`."""

    live_from: int
    end: int
    step_s: int
    visits: tuple[Visit, ...]  # in order of as_of, all after live_from
    labels_before: int
    labels_after: int
    single_reading: bool  # outcomes rest on the assumption in core.history.target_values

    @property
    def steps(self) -> int:
        """How many steps the replay takes."""
        return -(-(self.end - self.live_from) // self.step_s)


def survey(histories: Sequence[ChannelHistory]) -> Survey:
    """Count what there is; NoData when there is not one post."""
    posts = sum(h.n for h in histories)
    if posts == 0:
        raise NoData("nothing to show: the import holds no posts")
    times = (
        [h.published_at for h in histories] + [h.reading_ts for h in histories] + [h.subscriber_ts for h in histories]
    )
    labels: dict[Target, int] = {}
    for history in histories:
        for target in history.targets:
            known = int((target_values(history, target).known_at < NEVER).sum())
            labels[target] = labels.get(target, 0) + known
    return Survey(
        channels=len(histories),
        posts=posts,
        readings=sum(len(h.reading_ts) for h in histories),
        subscriber_readings=sum(len(h.subscriber_ts) for h in histories),
        labels=labels,
        first=int(min(t.min() for t in times if len(t))),
        last=int(max(t.max() for t in times if len(t))),
    )


def timetable(histories: Sequence[ChannelHistory], *, steps: int = STEPS, history_share: float = 0.45) -> Timetable:
    """Cut the data's own time; InsufficientData when the labels do not carry a training and two roll-outs.

    history_share: share of the labels known before the replay begins.
    """
    label_times = np.sort(np.concatenate([_label_times(h) for h in histories] or [np.empty(0, dtype=np.int64)]))
    needed = LABELS_TO_TRAIN + LABELS_TO_ROLL_OUT
    if len(label_times) < needed:
        raise InsufficientData("posts with a measured view target", needed=needed, have=len(label_times))
    live_from = int(label_times[max(LABELS_TO_TRAIN, int(len(label_times) * history_share)) - 1])
    visits = sorted((v for h in histories for v in _visits(h) if v.as_of > live_from), key=lambda v: (v.as_of, v.key))
    end = int(max(label_times[-1], visits[-1].as_of if visits else 0)) + 1
    return Timetable(
        live_from=live_from,
        end=end,
        step_s=max(HOUR, -(-(end - live_from) // steps)),
        visits=tuple(visits),
        labels_before=int((label_times <= live_from).sum()),
        labels_after=int((label_times > live_from).sum()),
        single_reading=any(h.single_reading for h in histories),
    )


def _label_times(history: ChannelHistory) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """When the first target of each post becomes known."""
    if not history.targets:
        return np.empty(0, dtype=np.int64)
    known_at = target_values(history, history.targets[0]).known_at
    return known_at[known_at < NEVER]


def _visits(history: ChannelHistory) -> list[Visit]:
    """A prediction before publishing, and one whenever the views at 1, 4 and 24 hours become known."""
    if not history.targets:
        return []
    name = history.channel.name
    found = [Visit(int(t), name, int(p), 0) for t, p in zip(history.published_at, history.post_ids, strict=True)]
    if history.single_reading:
        return found
    longest = max(TARGET_AGE_H[target] for target in history.targets)
    for age in KNOWN_AGES_H[1:]:
        if age >= longest:
            continue
        for t, p in zip(views_at(history, age * HOUR).known_at, history.post_ids, strict=True):
            if t < NEVER:
                found.append(Visit(int(t), name, int(p), age))
    return found
