"""The learning strategies beside a rebuild: seconds, error on the newest posts, and what was forgotten of the old ones.

    python -m bench.learning [--data DIR] [--timezone ZONE] [--channels 20] [--days 150] [--seed 7] [--json FILE]

DIR is anything that can be imported; without it channels are simulated whose audience changes its taste at 60 % of the
span. A version is built from what was known then; 20 % of the span later every strategy makes its successor, and the
network that would go into service forecasts the last 20 %. Errors are mean |log|, natural, each post counting once.
Seconds are those of rows, fit and evaluation together, in one process on one core. `naive` is the incremental fit on
the new rows alone, with nothing that holds it: what replay and pull are there for. `since` is a rebuild of the posts
published since the change, which the loop makes where errors moved: it is told the moment here. Forgotten is how much
the network's own error on the old posts rose. What is served rises more: how far the network is trusted is learned anew
from the newest posts, on which it was wrong, and that is no loss of memory.

Bars: incremental at least ten times cheaper than the rebuild (batch) and not worse on the newest posts (paired, margin
0.05); incremental forgets no more of the old posts than naive does.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench._channels import load
from bench._reporter import Silent
from core.clock import DAY
from core.history import ChannelHistory, Floats
from core.ingest.simulator.config import SimulatorConfig
from core.ingest.simulator.simulate import simulate
from core.schemas.models import FROM_A_VERSION, Memory, Strategy
from training.bandit import Bandit, taught
from training.dataset import Dataset, build, learned_since
from training.engagement import Incumbent, Prepared, Trained, finish, log_quantiles, prepare
from training.evaluate import MARGIN, compare
from training.loop import train_loop
from training.model import EngagementModel
from training.online import corrected

CHEAPER = 10.0
BUILT, CUT = 0.6, 0.8
SUCCESSORS: tuple[Strategy, ...] = ("batch", "incremental", "online", "transfer", "continual")


@dataclass(frozen=True)
class Made:
    """A version and what it took."""

    model: EngagementModel
    seconds: float
    epochs: int | None
    memory: Memory | None


def make(histories: list[ChannelHistory], strategy: Strategy, until: int, start: Incumbent | None, seed: int) -> Made:
    """Train as the learner does."""
    begin = time.monotonic()
    warm = start if strategy in FROM_A_VERSION else None
    prepared = prepare(histories, until=until, strategy=strategy, seed=seed, champion=start, warm=warm)
    trained = corrected(prepared) if strategy == "online" else _fitted(prepared)
    return _made(trained, begin)


def naive(histories: list[ChannelHistory], until: int, start: Incumbent, seed: int) -> Made:
    """The incremental fit on new rows alone, held by nothing, for as many epochs as its folds choose."""
    begin = time.monotonic()
    prepared = prepare(histories, until=until, strategy="incremental", seed=seed, champion=start, warm=start)
    new = tuple(learned_since(rows, start.data_until) for rows in prepared.fitted)
    free = replace(prepared.plan, params=replace(prepared.plan.params, anchor=0.0, keep=0.0))
    return _made(_fitted(replace(prepared, plan=free, fitted=(new[0], new[1]))), begin)


def since(histories: list[ChannelHistory], until: int, start: Incumbent, seed: int, changed: int) -> Made:
    """A rebuild of what was published since the audience changed."""
    begin = time.monotonic()
    return _made(_fitted(prepare(histories, until=until, seed=seed, champion=start, published_from=changed)), begin)


def _fitted(prepared: Prepared) -> Trained:
    return finish(prepared, train_loop(prepared.loop_config(), Silent()))


def _made(trained: Trained, begin: float) -> Made:
    seconds = time.monotonic() - begin
    model = EngagementModel.from_artifact(trained.files)
    return Made(model, seconds, trained.params.get("epochs"), trained.evaluation.memory)


def error(logs: Floats, rows: Dataset) -> float:
    """Mean |log error| of medians (n x T), each post counting once."""
    off = np.abs(rows.actual - logs)
    known = np.isfinite(off)
    here = known.any(axis=1)
    per_row = (np.where(known, off, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1))[here]
    _, number = np.unique(rows.posts[here], return_inverse=True)
    return float((np.bincount(number, per_row) / np.bincount(number)).mean())


def served(model: EngagementModel, rows: Dataset) -> float:
    """Error of what is answered."""
    return error(log_quantiles(model, rows)[:, :, 1], rows)


def remembered(model: EngagementModel, rows: Dataset) -> float:
    """Error of the network's own medians, however far they are trusted."""
    return error(rows.base + model.raw(rows.x)[:, :, 1], rows)


def main() -> int:
    """Print the figures; returns 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--timezone", default="Europe/Moscow")
    parser.add_argument("--channels", type=int, default=20)
    parser.add_argument("--days", type=int, default=150)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options, _ = parser.parse_known_args()
    import torch

    torch.set_num_threads(1)
    histories, changed = _histories(options)
    times = np.concatenate([h.published_at for h in histories])
    first, last = int(times.min()), int(times.max())
    built, cut = (first + int(share * (last - first)) for share in (BUILT, CUT))
    end = max(int(h.reading_ts.max(initial=0)) for h in histories)
    everything = build(histories, end)
    newest = everything.take(everything.published_at >= cut)
    old = everything.take(everything.published_at < built - 4 * DAY)
    print(f"{len(histories)} channels, {len(times)} posts, {newest.n_posts} judged on, {old.n_posts} old ones")

    parent = make(histories, "batch", built, None, options.seed)
    start = Incumbent(1, parent.model, built)
    trials: dict[str, Callable[[], Made]] = {
        s: (lambda s=s: make(histories, s, cut, start, options.seed))  # type: ignore[misc]
        for s in SUCCESSORS
    }
    trials["naive"] = lambda: naive(histories, cut, start, options.seed)
    if changed is not None:
        trials["since"] = lambda: since(histories, cut, start, options.seed, changed)
    made = {}
    for name, trial in trials.items():
        made[name] = trial()
        print(f"{name}: {made[name].seconds:.1f} s", file=sys.stderr, flush=True)
    figures = _figures(made, parent, newest, old, options.seed)
    figures["bandit"] = _bandit(histories, cut)
    passed = _judged(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    return 0 if passed else 1


def _histories(options: argparse.Namespace) -> tuple[list[ChannelHistory], int | None]:
    """And when the audience changed, where it was made to."""
    if options.data is not None:
        return load(options.data, options.timezone), None
    with tempfile.TemporaryDirectory(prefix="bench-learning-") as folder:
        config = SimulatorConfig(channels=options.channels, days=options.days, posts_per_day=4.0, seed=options.seed)
        changed = simulate(config, Path(folder), "parquet").drift_at
        return load(Path(folder), options.timezone), changed


def _figures(made: dict[str, Made], parent: Made, newest: Dataset, old: Dataset, seed: int) -> dict[str, Any]:
    rebuild = log_quantiles(made["batch"].model, newest)
    everyone = np.ones(len(newest), dtype=bool)
    before = remembered(parent.model, old)
    kept, usual = served(parent.model, newest), served(parent.model, old)
    print(f"the version before: {parent.seconds:.1f} s, error {kept:.4f} on the newest, {usual:.4f} on the old posts\n")
    print("strategy     seconds  x cheaper  epochs  newest  - batch [95 %]              verdict     old     forgotten")
    figures: dict[str, Any] = {"parent": {"seconds": parent.seconds, "newest": kept, "old": usual}}
    for name, m in made.items():
        paired = compare(newest, log_quantiles(m.model, newest), rebuild, everyone, MARGIN, seed)
        assert paired is not None
        row = {
            "seconds": m.seconds,
            "cheaper": made["batch"].seconds / m.seconds,
            "epochs": m.epochs,
            "newest": served(m.model, newest),
            "difference": [paired.mean, paired.low, paired.high],
            "verdict": paired.verdict if name != "batch" else "-",
            "old": served(m.model, old),
            "forgotten": remembered(m.model, old) - before,
        }
        if m.memory is not None:
            row |= {"forgetting": m.memory.forgetting, "backward_transfer": m.memory.backward_transfer}
        figures[name] = row
        print(
            f"{name:12} {m.seconds:7.1f}  {row['cheaper']:9.1f}  {'-' if m.epochs is None else m.epochs:>6}"
            f"  {row['newest']:.4f}  {paired.mean:+.4f} [{paired.low:+.4f}, {paired.high:+.4f}]  {row['verdict']:10}"
            f"  {row['old']:.4f}  {row['forgotten']:+.4f}"
        )
    memory = made["continual"].memory
    assert memory is not None
    print("\ncontinual, error on each slice (columns) before, and after each slice was learned:")
    for errors in (memory.before, *memory.errors):
        print("  " + "  ".join(f"{e:.4f}" for e in errors))
    print(f"  forgetting {memory.forgetting:.4f}, backward transfer {memory.backward_transfer:+.4f}")
    return figures


def _bandit(histories: list[ChannelHistory], until: int) -> dict[str, Any]:
    begin = time.monotonic()
    chances = []
    for number, history in enumerate(histories):
        bandit = Bandit()
        taught(bandit, history, until)
        if bandit.n.sum() >= 100:
            chances.append(bandit.recommend(np.random.default_rng(number)).probability)
    seconds = time.monotonic() - begin
    print(
        f"\nbandit: {len(chances)} channels in {seconds:.1f} s; chance that the recommended time is the best one:",
        end="",
    )
    print(f" {min(chances):.2f} to {max(chances):.2f}" if chances else " too few posts")
    return {"seconds": seconds, "channels": len(chances), "probabilities": chances}


def _judged(figures: dict[str, Any]) -> bool:
    ours = figures["incremental"]
    bars = {
        f"incremental x cheaper than the rebuild {ours['cheaper']:.1f} (at least {CHEAPER:g})": ours["cheaper"]
        >= CHEAPER,
        f"incremental on the newest posts: {ours['verdict']} (better or not_worse)": ours["verdict"]
        in ("better", "not_worse"),
        f"incremental forgot {ours['forgotten']:+.4f} (at most naive's {figures['naive']['forgotten']:+.4f})": ours[
            "forgotten"
        ]
        <= figures["naive"]["forgotten"],
    }
    print()
    for line, passed in bars.items():
        print(f"{'met   ' if passed else 'MISSED'}  {line}")
    return all(bars.values())


if __name__ == "__main__":
    raise SystemExit(main())
