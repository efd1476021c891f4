"""How well content models do on real channels: held out in order of time, beside the classes' shares.

    python -m bench.content [--data DIR ...] [--seed 7] [--holdout 0.22] [--json FILE]

DIR is anything that can be imported (default: news-ru, tracked, desktop-export and telethon of
ANALYTICBOT_TEST_DATA/channels, each by itself). The newest share of the posts is judged by a model that learned from
posts whose outcomes were known before. "prior" says the classes' shares, "channel prior" those inside the channel.
"answered" are the posts for which the model speaks: what it is right in there is beside the channel's usual class on
the same posts. Printed last of each: how a channel's own later posts and foreign ones lie among its posts.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from core.clock import SystemClock
from core.codec import to_plain
from core.errors import ImportRefused, InsufficientData
from core.ingest.importer import import_path
from core.schemas.content import ContentEvaluation, TaskEvaluation
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.migrate import upgrade
from training.content.rows import ChannelPosts, rows_of
from training.content.train import evaluate_content

ROOT = Path(os.environ.get("ANALYTICBOT_TEST_DATA", "../shared/data")) / "channels"
DEFAULT = ("news-ru", "tracked", "desktop-export", "telethon")


def main() -> int:
    """Print the figures; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", default=[ROOT / name for name in DEFAULT])
    parser.add_argument("--timezone", default="Europe/Moscow", help="zone of times that carry none")
    parser.add_argument("--holdout", type=float, default=0.22)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options, _ = parser.parse_known_args()
    found: dict[str, Any] = {}
    for data in options.data:
        begun = time.monotonic()
        channels, until = _load(data, options.timezone)
        rows = rows_of(channels, until)
        with_text = sum(bool(text) for text in rows.texts)
        print(f"\n{data.name}: {len(channels)} channels, {len(rows)} posts, {with_text} with a text")
        try:
            evaluation = evaluate_content(
                rows, tuple(c.history.channel.id for c in channels), options.seed, options.holdout
            )
        except InsufficientData as gap:
            print(gap.message)
            continue
        _show(evaluation)
        print(f"{time.monotonic() - begun:.0f} s")
        found[data.name] = to_plain(evaluation)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    return 0


def _load(data: Path, timezone: str) -> tuple[list[ChannelPosts], int]:
    with tempfile.TemporaryDirectory(prefix="bench-content-") as scratch:
        database = Database(f"sqlite:///{scratch}/channels.db")
        upgrade(database)
        clock = SystemClock()
        try:
            import_path(data, database, clock=clock, timezone=timezone)
        except ImportRefused as refused:
            raise SystemExit(str(refused)) from refused
        store, until = ChannelStore(database), clock.now()
        channels = [ChannelPosts.read(store, channel, until) for channel in store.channels()]
        database.dispose()
    return channels, until


def _show(evaluation: ContentEvaluation) -> None:
    for task, judged in evaluation.tasks.items():
        print(f"{task}: {judged.n} posts held out; {', '.join(f'{c} {s:.0%}' for c, s in judged.shares.items())}")
        _show_task(judged)
    topic = evaluation.topic
    shown = [f"{name} {value:.2f}" for name, value in (("own", topic.at_home), ("foreign", topic.abroad)) if value]
    auc = "" if topic.auc is None else f", AUC {topic.auc:.3f}"
    print(f"topic: {topic.posts} posts of {topic.channels} channels; mean percentile {', '.join(shown) or '-'}{auc}")


def _show_task(judged: TaskEvaluation) -> None:
    for name, score in judged.scores.items():
        print(f"  {name:14} log loss {score.log_loss:.4f}  right {score.accuracy:.1%}")
    if judged.calibration_error is not None:
        print(f"  calibration error {judged.calibration_error:.3f}")
    if judged.accuracy_answered is not None:
        print(
            f"  answered {judged.answered:.0%}: right {judged.accuracy_answered:.1%}, the usual class there "
            f"{judged.usual_answered:.1%}"
        )
    if judged.gap is not None:
        print(f"  silent: {judged.gap}")


if __name__ == "__main__":
    raise SystemExit(main())
