"""Writes a bundle of simulated channels (docs/bulk-format.md) and the truth behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.clock import DAY, HOUR
from core.ingest.simulator.audience import AFTER, BEFORE, MEDIA, log_effect, share_of_views
from core.ingest.simulator.config import SimulatorConfig

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
TABLES = ("channels", "posts", "views", "subscribers", "reactions", "mentions")


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """What was planted, for tests and benches; the product never reads it."""

    config: dict[str, Any]
    drift_at: int | None
    events: list[dict[str, Any]] = field(default_factory=list)  # channel, kind, at, size


@dataclass(slots=True)
class _Planted:
    """Events of one channel."""

    purge_day: int | None = None
    bought_day: int | None = None
    hit_post: int | None = None


def simulate(config: SimulatorConfig, out: Path, kind: Literal["csv", "parquet"] = "csv") -> GroundTruth:
    """Write channels, posts, views with forwards, subscribers, reactions and mentions below `out`, and the truth."""
    out.mkdir(parents=True, exist_ok=True)
    drift_at = None if config.drift_at is None else config.start + int(config.days * DAY * config.drift_at)
    truth = GroundTruth(config=asdict(config), drift_at=drift_at)
    columns: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for name, table in _channels(config, drift_at, truth):
        columns[name].append(table)
    for name, parts in columns.items():
        table = pa.concat_tables([pa.table(part) for part in parts])
        if kind == "csv":
            pacsv.write_csv(table, out / f"{name}.csv")
        else:
            pq.write_table(table, out / f"{name}.parquet", compression="zstd")
    (out / "ground_truth.json").write_text(json.dumps(asdict(truth), indent=1))
    return truth


def _channels(
    config: SimulatorConfig, drift_at: int | None, truth: GroundTruth
) -> Iterator[tuple[str, dict[str, Any]]]:
    for i in range(config.channels):
        # A stream of its own for each channel: adding channels does not change the others.
        rng = np.random.default_rng([config.seed, i])
        name = f"sim{i + 1:02d}"
        planted = _plant(config, i)
        yield (
            "channels",
            {
                "channel": [name],
                "title": [f"Simulated channel {i + 1}"],
                "category": [("news", "tech", "fun")[i % 3]],
                "source": ["simulator"],
            },
        )
        subscriber_ts, subscribers = _subscribers(config, rng, planted)
        yield (
            "subscribers",
            {"channel": [name] * len(subscriber_ts), "ts": _times(subscriber_ts), "subscribers": subscribers},
        )
        posts = _posts(config, rng)
        final = _final_views(config, rng, posts, subscriber_ts, subscribers, drift_at, planted)
        yield "posts", _post_table(name, posts)
        views = _view_table(config, rng, name, posts, final, drift_at)
        yield "views", views | {"forwards": _forwards(config, i, views)}
        yield "reactions", _reaction_table(config, rng, name, posts, final)
        yield "mentions", _mention_table(config, rng, name, i, posts)
        truth.events.extend(_events(config, name, planted, posts))


def _plant(config: SimulatorConfig, i: int) -> _Planted:
    if not config.anomalies or config.days < 20:
        return _Planted()
    return _Planted(
        purge_day=int(config.days * 0.3) if i % 4 == 0 else None,
        bought_day=int(config.days * 0.4) if i % 4 == 1 else None,
        hit_post=int(config.posts_per_day * config.days * 0.35) if i % 4 == 2 else None,
    )


def _events(config: SimulatorConfig, name: str, planted: _Planted, posts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if planted.purge_day is not None:
        yield {"channel": name, "kind": "purge", "at": config.start + planted.purge_day * DAY, "size": -0.05}
    if planted.bought_day is not None:
        yield {"channel": name, "kind": "bought", "at": config.start + planted.bought_day * DAY, "size": 0.08}
    if planted.hit_post is not None and planted.hit_post < len(posts["published_at"]):
        at = int(posts["published_at"][planted.hit_post])
        yield {"channel": name, "kind": "hit", "at": at, "size": 3.0, "post_id": planted.hit_post + 1}


def _subscribers(config: SimulatorConfig, rng: np.random.Generator, planted: _Planted) -> tuple[Ints, Ints]:
    """Readings every four hours: steady growth with weekly noise, and the planted jumps."""
    n = config.days * 6
    ts = config.start + np.arange(n) * 4 * HOUR + rng.integers(0, 60, n)
    size = float(np.exp(rng.normal(9.2, 0.8)))
    growth = rng.normal(0.0006, 0.0003)
    steps = growth / 6 + rng.normal(0, 0.00008, n)
    if planted.purge_day is not None:
        steps[planted.purge_day * 6] -= 0.05
    if planted.bought_day is not None:
        steps[planted.bought_day * 6 : planted.bought_day * 6 + 3] += 0.08 / 3
    return ts.astype(np.int64), np.rint(size * np.exp(np.cumsum(steps))).astype(np.int64)


def _posts(config: SimulatorConfig, rng: np.random.Generator) -> dict[str, Any]:
    """Posts at working and evening hours, with attributes as an importer would derive them from texts."""
    rate = config.posts_per_day * np.exp(rng.normal(0, 0.25))
    per_day = rng.poisson(rate, config.days)
    day = np.repeat(np.arange(config.days), per_day)
    n = len(day)
    hour = np.clip(rng.normal(15, 4.0, n), 6, 23.5)
    published = np.sort(config.start + day * DAY + (hour * HOUR).astype(np.int64)).astype(np.int64)
    published += np.arange(n)  # no two posts in the same second
    text_len = np.rint(np.exp(rng.normal(5.7, 0.8, n))).clip(0, 4096)
    return {
        "published_at": published,
        "media": rng.choice(len(MEDIA), n, p=[0.3, 0.35, 0.15, 0.05, 0.15]),
        "text_len": text_len,
        "n_words": np.rint(text_len / 6.2),
        "n_links": rng.poisson(0.7, n).astype(float),
        "n_hashtags": rng.poisson(0.5, n).astype(float),
        "n_mentions": rng.poisson(0.2, n).astype(float),
        "n_emoji": rng.poisson(1.2, n).astype(float),
        "n_lines": 1 + np.rint(text_len / 120),
        "has_question": (rng.random(n) < 0.15).astype(float),
        "is_ad": (rng.random(n) < 0.08).astype(float),
    }


def _final_views(
    config: SimulatorConfig,
    rng: np.random.Generator,
    posts: dict[str, Any],
    subscriber_ts: Ints,
    subscribers: Ints,
    drift_at: int | None,
    planted: _Planted,
) -> Floats:
    """Views at 14 days: subscribers x reach x what the taste of the day makes of the attributes x noise."""
    published: Ints = posts["published_at"]
    local = (published % DAY) / HOUR
    weekday = ((published // DAY + 3) % 7).astype(float)  # 1970-01-01 was a Thursday
    args = (posts["media"], posts["text_len"], posts["n_links"], posts["is_ad"], local, weekday)
    effect = log_effect(BEFORE, *args)
    if drift_at is not None:
        effect = np.where(published >= drift_at, log_effect(AFTER, *args), effect)
    reach = rng.normal(np.log(0.35), 0.25)
    size = np.log(subscribers[np.searchsorted(subscriber_ts, published, side="right").clip(1) - 1])
    log_views = size + reach + effect + rng.normal(0, config.noise, len(published))
    if planted.hit_post is not None and planted.hit_post < len(published):
        log_views[planted.hit_post] += np.log(4.0)
    views: Floats = np.exp(log_views)
    return views


def _post_table(name: str, posts: dict[str, Any]) -> dict[str, Any]:
    n = len(posts["published_at"])
    table: dict[str, Any] = {"channel": [name] * n, "post_id": np.arange(1, n + 1)}
    table["published_at"] = _times(posts["published_at"])
    table["media"] = np.array(MEDIA)[posts["media"]]
    for column in (
        "text_len",
        "n_words",
        "n_links",
        "n_hashtags",
        "n_mentions",
        "n_emoji",
        "n_lines",
        "has_question",
        "is_ad",
    ):
        table[column] = posts[column].astype(np.int64)
    return table


def _view_table(
    config: SimulatorConfig,
    rng: np.random.Generator,
    name: str,
    posts: dict[str, Any],
    final: Floats,
    drift_at: int | None,
) -> dict[str, Any]:
    """Readings of each post on its channel's polling grid, cumulative and never falling."""
    published: Ints = posts["published_at"]
    end = config.start + config.days * DAY
    every = int(config.reading_every_h * HOUR)
    grid = np.concatenate([np.arange(0, 4 * DAY + 1, every), np.arange(4 * DAY + 12 * HOUR, 7 * DAY + 1, 12 * HOUR)])
    # The first poll after publication, then on: ages differ from post to post as they do in real collections.
    phase = (-(published - config.start) % every)[:, None]
    ts = published[:, None] + phase + grid[None, :] + rng.integers(0, 60, (len(published), len(grid)))
    age_h = (ts - published[:, None]) / HOUR
    late = np.zeros(len(published), dtype=bool) if drift_at is None else published >= drift_at
    speed = np.where(late, AFTER.speed, BEFORE.speed)[:, None]
    mean = final[:, None] * share_of_views(age_h, speed * np.exp(rng.normal(0, 0.12, (len(published), 1))))
    steps = np.diff(mean, axis=1, prepend=0.0)
    views = np.cumsum(rng.poisson(np.maximum(steps, 0)), axis=1)
    keep = (ts < end) & (age_h > 0.02)
    row, column = np.nonzero(keep)
    return {
        "channel": [name] * len(row),
        "post_id": row + 1,
        "ts": _times(ts[row, column]),
        "views": views[row, column],
    }


def _forwards(config: SimulatorConfig, i: int, views: dict[str, Any]) -> Ints:
    """Forwards beside each reading of views: a share of them that a post keeps, so they never fall either."""
    rng = np.random.default_rng([config.seed, i, 1])  # of their own: they change nothing else
    share = np.exp(rng.normal(np.log(0.006), 0.5, int(views["post_id"].max(initial=0)) + 1))
    counted: Ints = np.floor(views["views"] * share[views["post_id"]]).astype(np.int64)
    return counted


def _reaction_table(
    config: SimulatorConfig, rng: np.random.Generator, name: str, posts: dict[str, Any], final: Floats
) -> dict[str, Any]:
    """The last reading of each post's two reactions."""
    published: Ints = posts["published_at"]
    read = np.minimum(published + 7 * DAY, config.start + config.days * DAY - 1)
    seen = final * share_of_views((read - published) / HOUR, 1.0)
    n = len(published)
    return {
        "channel": [name] * (2 * n),
        "post_id": np.tile(np.arange(1, n + 1), 2),
        "ts": _times(np.tile(read, 2)),
        "reaction": ["👍"] * n + ["👎"] * n,
        "count": np.concatenate([rng.poisson(seen * 0.008), rng.poisson(seen * 0.001)]),
    }


def _mention_table(
    config: SimulatorConfig, rng: np.random.Generator, name: str, i: int, posts: dict[str, Any]
) -> dict[str, Any]:
    """Some posts name another channel of the set."""
    published: Ints = posts["published_at"]
    chosen = np.flatnonzero(rng.random(len(published)) < 0.03)
    others = (i + 1 + rng.integers(0, max(1, config.channels - 1), len(chosen))) % config.channels
    return {
        "src_channel": pa.array([name] * len(chosen), pa.string()),
        "dst_channel": pa.array([f"sim{other + 1:02d}" for other in others], pa.string()),
        "post_id": chosen + 1,
        "published_at": _times(published[chosen]),
    }


def _times(ts: Ints) -> pa.Array:
    """Epoch seconds as ISO times without a zone: UTC, the bundle's default."""
    return pa.array(ts.astype("datetime64[s]"), pa.timestamp("s"))
