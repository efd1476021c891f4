"""How well the engagement model does on real channels: time-ordered holdout, beside the baselines.

    python -m bench.engagement [--data DIR] [--timezone ZONE] [--shares 0.15 0.22 0.30 0.40] [--seed 7] [--json FILE]

DIR is anything that can be imported (default: ANALYTICBOT_TEST_DATA/channels/tracked). For each share the newest part
of the posts is held out; nothing that became known later than its beginning is learned from. Errors are mean |log|,
natural; AUC is of "above the channel's own rolling median". Printed last: the ratio of the model's error to the rolling
median's and to gradient boosting's over all slices and shares, weighted by rows.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from core.clock import SystemClock
from core.codec import to_plain
from core.history import ChannelHistory
from core.ingest.importer import import_path
from core.schemas.models import Evaluation, TrainingProgress
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.migrate import upgrade
from training.dataset import split_share
from training.engagement import finish, prepare
from training.loop import train_loop

DEFAULT = Path(os.environ.get("ANALYTICBOT_TEST_DATA", "../shared/data")) / "channels" / "tracked"


class Silent:
    """A reporter that nobody listens to."""

    def report(self, progress: TrainingProgress, checkpoint: bytes | None) -> None:
        """Nothing to tell."""

    def should_stop(self) -> bool:
        """Never."""
        return False

    def restored(self) -> bytes | None:
        """Nothing to go on from."""
        return None


def main() -> int:
    """Print the figures; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT)
    parser.add_argument("--timezone", default="Europe/Moscow")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.15, 0.22, 0.30, 0.40])
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options, _ = parser.parse_known_args()
    import torch

    torch.set_num_threads(1)
    histories = _load(options.data, options.timezone)
    until = max(int(h.reading_ts.max(initial=0)) for h in histories)
    prepared = prepare(histories, until=until, seed=options.seed)
    everything = prepared.data
    print(f"{options.data.name}: {len(histories)} channels, {everything.n_posts} posts with outcomes")
    found: dict[str, Any] = {}
    for share in options.shares:
        begin = time.monotonic()
        split = split_share(everything, share)
        compared = np.ones(len(split.after), dtype=bool)
        prepared = replace(prepared, split=split, fitted=(split.before, split.before), compared=compared)
        evaluation = finish(prepared, train_loop(prepared.loop_config(), Silent())).evaluation
        spent = time.monotonic() - begin
        print(
            f"\nheld out {share:.0%}: {split.before.n_posts} posts before, {split.after.n_posts} after, {spent:.1f} s"
        )
        _show(evaluation)
        found[f"{share:g}"] = to_plain(evaluation)
    ratios = _ratios(found)
    print("\nmodel / rolling median {model_to_median:.3f}, model / boosting {model_to_boosting:.3f}".format(**ratios))
    if options.json:
        options.json.write_text(json.dumps(ratios | {"evaluations": found}, indent=1))
    return 0


def _load(data: Path, timezone: str) -> list[ChannelHistory]:
    with tempfile.TemporaryDirectory(prefix="bench-engagement-") as scratch:
        database = Database(f"sqlite:///{scratch}/channels.db")
        upgrade(database)
        import_path(data, database, clock=SystemClock(), timezone=timezone)
        store = ChannelStore(database)
        histories = [store.history(channel) for channel in store.channels()]
        database.dispose()
    return histories


def _show(evaluation: Evaluation) -> None:
    print(f"{'target':11} {'known h':>7} {'n':>5}  median  boosting  model [95 %]            AUC   coverage")
    slices = {who: {(s.target, s.known_age_h): s for s in scores} for who, scores in evaluation.scores.items()}
    for place, ours in slices["model"].items():
        boosted = slices["gradient_boosting"].get(place)
        auc = "-" if ours.auc is None else f"{ours.auc:.2f}"
        print(
            f"{ours.target:11} {ours.known_age_h:7} {ours.n:5}  {slices['rolling_median'][place].mae_log:.4f}"
            f"  {'-' if boosted is None else format(boosted.mae_log, '.4f'):8}"
            f"  {ours.mae_log:.4f} [{ours.mae_log_low:.4f}, {ours.mae_log_high:.4f}]  {auc:4}  {ours.coverage:.2f}"
        )


def _ratios(found: dict[str, Any]) -> dict[str, float]:
    sums = dict.fromkeys(("model", "rolling_median", "gradient_boosting"), 0.0)
    for evaluation in found.values():
        for who in sums:
            sums[who] += sum(s["n"] * s["mae_log"] for s in evaluation["scores"][who])
    return {
        "model_to_median": sums["model"] / sums["rolling_median"],
        "model_to_boosting": sums["model"] / sums["gradient_boosting"],
    }


if __name__ == "__main__":
    raise SystemExit(main())
