"""A channel made by rule and seed: known posts, view curves, growth and causes, as a history or as rows to store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from core.clock import DAY, HOUR
from core.history import ATTRIBUTES, ChannelHistory, Floats, Ints
from core.schemas.channels import Channel
from core.store.ids import channel_id
from core.store.ingest import Batch, ChannelRow, MentionRow, PostRow, SubscriberRow

T0 = 1_735_689_600  # 2025-01-01, a Wednesday
ROUND = 4 * HOUR
MEDIA = {"text": 0.8, "photo": 1.1, "video": 1.9}
HOURS = {8: 0.8, 13: 1.0, 19: 1.7}
_AGES = np.array([0, 1, 4, 24, 72, 168]) * HOUR
_SHARES = np.array([0, 0.19, 0.35, 0.55, 0.75, 1.0])  # of the views at 7 days


@dataclass(frozen=True)
class Plan:
    """What happens on a day (counted from 0); each is asked with the day."""

    posts: Callable[[int], int] = lambda day: 4
    media: Callable[[int], tuple[float, float, float]] = lambda day: (0.4, 0.4, 0.2)  # text, photo, video
    hours: Callable[[int], tuple[float, float, float]] = lambda day: (0.3, 0.4, 0.3)
    appeal: Callable[[int], float] = lambda day: 1.0  # of the posts published that day
    reach: Callable[[int], float] = lambda day: 1.0  # of everything that is read that day
    growth: Callable[[int], float] = lambda day: 10.0


@dataclass(frozen=True)
class Made:
    """The rows of a made channel."""

    name: str
    posts: list[tuple[int, int, str]]  # id, published_at, media
    readings: list[tuple[int, Ints, Floats]]  # post id, times, views
    subscribers: list[tuple[int, int]]
    mentions: list[tuple[str, int]] = field(default_factory=list)

    def history(self) -> ChannelHistory:
        """Everything, as it would be read from the store."""
        n = len(self.posts)
        return ChannelHistory(
            channel=Channel(channel_id("default", self.name), "default", self.name, "UTC", "bundle", 1),
            post_ids=np.array([p[0] for p in self.posts], dtype=np.int64),
            published_at=np.array([p[1] for p in self.posts], dtype=np.int64),
            attributes=np.zeros((n, len(ATTRIBUTES))),
            media=np.array([p[2] for p in self.posts], dtype=object),
            album_ids=np.full(n, -1, dtype=np.int64),
            offsets=np.cumsum([0, *[len(ts) for _, ts, _ in self.readings]], dtype=np.int64),
            reading_ts=np.concatenate([ts for _, ts, _ in self.readings]).astype(np.int64),
            reading_views=np.concatenate([v for _, _, v in self.readings]).astype(float),
            reading_exact_time=np.ones(sum(len(ts) for _, ts, _ in self.readings), dtype=bool),
            subscriber_ts=np.array([s[0] for s in self.subscribers], dtype=np.int64),
            subscribers=np.array([s[1] for s in self.subscribers], dtype=float),
        )

    def batch(self, since: int = 0, until: int = 1 << 60) -> Batch:
        """What became known in [since, until)."""
        batch = Batch()
        own = batch.channel(ChannelRow(self.name, "UTC", "bundle"))

        def inside(ts: int) -> bool:
            return since <= ts < until

        batch.posts = [PostRow(own, i, t, media=m, is_ad=False) for i, t, m in self.posts if inside(t)]
        batch.views = [
            (own, i, int(t), int(v), None, None, 0)
            for i, ts, views in self.readings
            for t, v in zip(ts, views, strict=True)
            if inside(t)
        ]
        batch.subscribers = [SubscriberRow(own, t, n) for t, n in self.subscribers if inside(t)]
        for k, (source, t) in enumerate(self.mentions):
            if inside(t):
                other = batch.channel(ChannelRow(source, "UTC", "bundle"))
                batch.posts.append(PostRow(other, 900_000 + k, t))
                batch.mentions.append(MentionRow(other, 900_000 + k, self.name, t))
        return batch


def share(age: Ints) -> Floats:
    """Views at an age (seconds) as a share of those at 7 days."""
    found: Floats = np.interp(np.log1p(np.maximum(age, 0) / HOUR), np.log1p(_AGES / HOUR), _SHARES)
    return found


def make(days: int, seed: int, plan: Plan | None = None, name: str = "made", noise: float = 0.2) -> Made:
    """Posts read every 4 hours to the age of 8 days; subscribers read every 4 hours."""
    plan, rng, end = plan or Plan(), np.random.default_rng(seed), T0 + days * DAY
    posts: list[tuple[int, int, str]] = []
    readings: list[tuple[int, Ints, Floats]] = []
    for day in range(days):
        times = []
        for _ in range(plan.posts(day)):
            hour = rng.choice(list(HOURS), p=plan.hours(day))
            medium = str(rng.choice(list(MEDIA), p=plan.media(day)))
            times.append((T0 + day * DAY + int(hour) * HOUR + int(rng.integers(0, 1800)), int(hour), medium))
        for published, hour, medium in sorted(times):
            views = 1000 * MEDIA[medium] * HOURS[hour] * plan.appeal(day) * rng.lognormal(0, noise)
            rounds = np.arange(T0, min(published + 8 * DAY, end), ROUND, dtype=np.int64)
            grid: Ints = np.concatenate([[published], rounds[rounds > published]])
            gains = views * np.diff(share(grid - published))
            gains *= [plan.reach(int((t - T0) // DAY)) for t in grid[:-1]]
            posts.append((len(posts) + 1, published, medium))
            readings.append((len(posts), grid[1:], np.round(np.cumsum(gains)).astype(np.float64)))
    subscribers, count = [], 20_000.0
    for t in range(T0, end, ROUND):
        subscribers.append((t, round(count)))
        count += plan.growth(int((t - T0) // DAY)) / 6 + rng.normal(0, 3)
    return Made(name, posts, readings, subscribers)
