"""Forgetting over tasks in turn with 2,000 rows kept: the default against naive learning, replay, penalties and joint.

    python -m bench.continual [--data ../shared/data/drift/bike_hour.csv.gz] [--seeds 2] [--json FILE]

Task sequences are made up and seeded: sensors whose gains and offsets move while classes come and go (gas-like); the
same inputs whose clusters change class (contradicting: the concepts of insects); a growing, seasonal level (regression;
with --data the quarters of bike). R[i, j] is the accuracy, or minus the mean absolute error, on held-out rows of task j
after learning task i. Exits 1 below a bar: ACC's gap to joint training, and the newest task's gap to naive learning.

The default is a committee of three, as in training/stream/predictor.py: one network on the new rows, two on half new
rows and half reservoir. For the present they are weighed by their losses before each label came. Where rules contradict
one another no single answer to the same input can serve both present and past: a question about an old task is put to
the networks with the reservoir ("default, past asked", which the bars are held to); "default" gives the present's
answer to everything and is printed beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench._streams import read
from core.history import Floats
from training.stream.memory import Memory
from training.stream.metrics import TaskScores, task_scores
from training.stream.mixture import Mixture, log_loss
from training.stream.network import Adam, StreamNet, Task
from training.stream.penalties import Distillation, Ewc, L2sp
from training.stream.scaling import Encoder

KEPT, BATCH, STEPS, CHUNK = 2_000, 64, 600, 100
TASKS, ROWS, HELD = 5, 1_500, 500
BARS = {"gas-like": 0.005, "contradicting": 0.06, "regression": 0.02}
NEWEST = 0.01
STRATEGIES = ("naive", "reservoir", "recent", "ewc", "l2sp", "lwf", "default", "default, past asked", "joint")


@dataclass(frozen=True, slots=True)
class Part:
    """One task: rows to learn and rows held out."""

    x: Floats
    y: NDArray[Any]
    held_x: Floats
    held_y: NDArray[Any]


def gas_like(seed: int) -> list[Part]:
    """Six substances on 24 sensors; gains and offsets wander from task to task, two substances are absent from each."""
    rng = np.random.default_rng(seed)
    centre, gain, offset = rng.normal(size=(6, 24)) * 1.2, np.ones(24), np.zeros(24)
    parts = []
    for task in range(TASKS):
        share = np.ones(6)
        share[[2 * task % 6, (2 * task + 1) % 6]] = 0.0
        y = rng.choice(6, ROWS + HELD, p=share / share.sum())
        strength = rng.uniform(0.5, 1.5, (len(y), 1))
        x = (strength * centre[y] + rng.normal(size=(len(y), 24)) * 0.6) * gain + offset
        parts.append(_part(x, y))
        gain, offset = gain * np.exp(rng.normal(size=24) * 0.2), offset + rng.normal(size=24) * 0.8
    return parts


def contradicting(seed: int) -> list[Part]:
    """Forty clusters in 10 columns; with every task a third of them takes another of six classes."""
    rng = np.random.default_rng(seed)
    centre, rule = rng.normal(size=(40, 10)) * 1.5, rng.integers(0, 6, 40)
    parts = []
    for _ in range(TASKS):
        cluster = rng.integers(0, 40, ROWS + HELD)
        parts.append(_part(centre[cluster] + rng.normal(size=(ROWS + HELD, 10)) * 0.5, rule[cluster]))
        changed = rng.choice(40, 13, replace=False)
        rule = rule.copy()
        rule[changed] = (rule[changed] + rng.integers(1, 6, 13)) % 6
    return parts


def growing(seed: int) -> list[Part]:
    """A daily pattern times weather: the weather's range moves with the task, and the level of the target grows."""
    rng = np.random.default_rng(seed)
    parts = []
    for task in range(TASKS):
        n = ROWS + HELD
        hour, rest = rng.integers(0, 24, n), rng.random(n) < 2 / 7
        warmth = 0.5 + 0.35 * np.sin(2 * np.pi * task / 4) + rng.normal(size=n) * 0.12
        rush = np.exp(-((hour - 8) ** 2) / 4) + np.exp(-((hour - 17) ** 2) / 6)
        leisure = np.exp(-((hour - 14) ** 2) / 18)
        level = 1.5 + 2 * np.where(rest, leisure, rush) + 1.5 * warmth - 2 * np.maximum(warmth - 0.75, 0) + 0.08 * task
        x = np.stack([hour, rest, warmth, np.full(n, task / 4), rng.normal(size=n)], axis=1)
        parts.append(_part(x, level + rng.normal(size=n) * 0.25))
    return parts


def quarters(path: Path, seed: int) -> list[Part]:
    """The quarters of a regression stream of two years, a fourth of each held out at random."""
    stream = read(path, "regression")
    rng = np.random.default_rng(seed)
    parts = []
    for at in np.array_split(np.arange(len(stream.y)), 8):
        at = rng.permutation(at)
        n = len(at) // 4
        parts.append(Part(stream.x[at[n:]], stream.y[at[n:]], stream.x[at[:n]], stream.y[at[:n]]))
    return parts


def _part(x: Floats, y: NDArray[Any]) -> Part:
    return Part(x[:ROWS], y[:ROWS], x[ROWS:], y[ROWS:])


class Learner:
    """Networks side by side under one strategy; scales are set by the first task and move with every later one."""

    def __init__(self, parts: list[Part], task: Task, members: int, seed: int) -> None:
        self.task, self.rng = task, np.random.default_rng(seed)
        first = parts[0]
        self.encoder = Encoder(first.x.shape[1], keep=4_000)
        regression = task == "regression"
        self.centre: float = first.y.mean() if regression else 0.0
        self.spread: float = first.y.std() if regression else 1.0
        self.outputs = int(max(p.y.max() for p in parts)) + 1 if task == "classification" else 1
        self.members = members
        self.seen = 0
        self.encoder.fit(first.x)
        self.net = StreamNet(members, self.encoder.width, self.outputs, (64, 64), self.rng)
        self.adam = Adam(self.net.flat.numel(), 0.01)

    def scales(self, x: Floats) -> None:
        """Move the normalisation along."""
        if self.seen:
            self.encoder.update(x)
        self.seen += len(x)

    def step(self, x: Floats, y: NDArray[Any], rate: float, pull: Callable[[Tensor], Tensor] | None = None) -> None:
        """One step on rows (M x B x F, M x B); pull: a penalty of the inputs, added to the loss."""
        inputs = self.encoder(x)
        weights = self.net.flat.detach().numpy()
        gradient = self.net.gradient(inputs, self.targets(y), self.task)
        if pull is not None:
            gradient = gradient + torch.autograd.grad(pull(torch.from_numpy(inputs)), self.net.flat)[0].numpy()
        self.adam.step(weights, gradient, rate)

    def targets(self, y: NDArray[Any]) -> NDArray[Any]:
        """Labels as the network learns them."""
        return y if self.task == "classification" else ((y - self.centre) / self.spread).astype(np.float32)

    def answers(self, x: Floats) -> Floats:
        """M x n x outputs probabilities or values."""
        inputs = self.encoder(x)
        out: Floats = self.net.answers(np.broadcast_to(inputs, (self.members, *inputs.shape))).astype(float)
        if self.task == "regression":
            return out * self.spread + self.centre
        out = np.exp(out - out.max(axis=2, keepdims=True))
        result: Floats = out / out.sum(axis=2, keepdims=True)
        return result

    def score(self, part: Part, weights: Floats) -> float:
        """Accuracy or minus the mean absolute error of the members' weighted answer."""
        answer = np.tensordot(weights, self.answers(part.held_x), 1)
        if self.task == "classification":
            return float((answer.argmax(axis=1) == part.held_y).mean())
        return -float(np.abs(answer[:, 0] - part.held_y).mean())


def rate_at(step: int, steps: int) -> float:
    """Learning rate: falls over the last two thirds of a task, so that what is scored has settled."""
    return 2e-3 * min(1.0, max(0.05, 1.5 * (1 - step / steps)))


def replay(parts: list[Part], task: Task, strategy: str, seed: int) -> Floats:
    """R of naive, reservoir or recent learning, or of a penalty (ewc, l2sp, lwf)."""
    learner = Learner(parts, task, 1, seed)
    memory = Memory(KEPT, KEPT, learner.rng)
    share = {"reservoir": 0.0, "recent": 1.0}.get(strategy)
    matrix, pull, held = np.empty((len(parts), len(parts))), None, None
    for i, part in enumerate(parts):
        learner.scales(part.x)
        for step in range(STEPS):
            at = learner.rng.integers(0, len(part.y), BATCH // 2 if share is not None and i else BATCH)
            x, y = part.x[at], part.y[at]
            if share is not None and i:
                old_x, old_y = memory.rows(memory.draw((1, BATCH // 2), share)[0])
                x, y = np.concatenate([x, old_x]), np.concatenate([y, old_y])
            learner.step(x[None], y[None], rate_at(step, STEPS), pull)
        memory.add(part.x, part.y)
        if strategy in ("ewc", "l2sp", "lwf"):
            pull, held = _pull(learner, part, strategy, held)
        matrix[i] = [learner.score(p, np.ones(1)) for p in parts]
    return matrix


def _pull(
    learner: Learner, part: Part, strategy: str, before: Ewc | None
) -> tuple[Callable[[Tensor], Tensor], Ewc | None]:
    net = learner.net
    if strategy == "lwf":
        distil = Distillation.frozen(net, 1.0, "classes" if learner.task == "classification" else "values")
        return lambda x: distil(x[0], net(x)[0]) if learner.task == "classification" else distil(x, net(x)), None
    if strategy == "l2sp":
        l2sp = L2sp.anchored(net, 0.01)
        return lambda x: l2sp(net), None
    rows = torch.from_numpy(learner.encoder(part.x[:300])[None])
    # Labels drawn from the network's own answers: rows that it fits exactly would have no gradient.
    with torch.no_grad():
        said = net(rows)[0]
    generator = torch.Generator().manual_seed(0)

    def row_loss(i: int) -> Tensor:
        answer = net(rows[:, i : i + 1])[0]
        if learner.task == "classification":
            drawn = torch.multinomial(said[i].softmax(dim=0), 1, generator=generator)
            return torch.nn.functional.cross_entropy(answer, drawn)
        off: Tensor = answer - said[i] - torch.randn(1, generator=generator)
        return off.pow(2).sum() / 2

    ewc = Ewc.anchored(net, row_loss, len(rows[0]), 100.0).joined(before)
    return lambda x: ewc(net), ewc


def default(parts: list[Part], task: Task, seed: int) -> tuple[Floats, Floats]:
    """R of the committee by the present's weights, and with old tasks asked of the network with the reservoir."""
    learner = Learner(parts, task, 3, seed)
    memory = Memory(1, KEPT, learner.rng)
    present, asked = np.empty((len(parts), len(parts))), np.empty((len(parts), len(parts)))
    for i, part in enumerate(parts):
        mixture = Mixture(3, relative=task == "regression")
        for start in range(0, len(part.y), CHUNK):
            # Each chunk is answered before it is learned; once learned, its rows are part of the task's pool.
            stop = min(start + CHUNK, len(part.y))
            mixture.update(_losses(learner, part.x[start:stop], part.y[start:stop]))
            learner.scales(part.x[start:stop])
            _steps(learner, memory, part, stop, i)
        memory.add(part.x, part.y)
        weights, past = mixture.weights(), np.array([0.0, 0.5, 0.5])
        present[i] = [learner.score(p, weights) for p in parts]
        asked[i] = [learner.score(p, weights if j >= i else past) for j, p in enumerate(parts)]
    return present, asked


def _steps(learner: Learner, memory: Memory, part: Part, stop: int, i: int) -> None:
    chunks = -(-len(part.y) // CHUNK)
    steps, done = -(-STEPS // chunks), (stop - 1) // CHUNK
    for step in range(steps):
        at = learner.rng.integers(0, stop, (3, BATCH))
        x, y = part.x[at], part.y[at]
        if i:
            x[1:, : BATCH // 2], y[1:, : BATCH // 2] = memory.rows(memory.draw((2, BATCH // 2), 0.0))
        learner.step(x, y, rate_at(done * steps + step, steps * chunks))


def _losses(learner: Learner, x: Floats, y: NDArray[Any]) -> Floats:
    answers = learner.answers(x)
    return log_loss(answers, y) if learner.task == "classification" else np.abs(answers[:, :, 0] - y)


def joint(parts: list[Part], task: Task, seed: int) -> Floats:
    """R of training from nothing on all tasks so far, as many steps a task."""
    matrix = np.empty((len(parts), len(parts)))
    for i in range(len(parts)):
        learner = Learner(parts, task, 1, seed)
        x, y = (np.concatenate([getattr(p, name) for p in parts[: i + 1]]) for name in ("x", "y"))
        learner.encoder = Encoder(x.shape[1], keep=float("inf"))
        learner.encoder.fit(x)
        learner.net = StreamNet(1, learner.encoder.width, learner.outputs, (64, 64), learner.rng)
        learner.adam = Adam(learner.net.flat.numel(), 0.01)
        steps = STEPS * (i + 1)
        for step in range(steps):
            at = learner.rng.integers(0, len(y), BATCH)
            learner.step(x[at][None], y[at][None], rate_at(step, steps))
        matrix[i] = [learner.score(p, np.ones(1)) for p in parts]
    return matrix


def compare(make: Callable[[int], list[Part]], task: Task, seeds: int) -> dict[str, TaskScores]:
    """Mean figures of every strategy over seeds."""
    found: dict[str, list[TaskScores]] = {name: [] for name in STRATEGIES}
    for seed in range(1, seeds + 1):
        parts = make(seed)
        untrained = Learner(parts, task, 1, seed)
        base = np.array([untrained.score(p, np.ones(1)) for p in parts])
        for name in ("naive", "reservoir", "recent", "ewc", "l2sp", "lwf"):
            found[name].append(task_scores(replay(parts, task, name, seed), base))
        present, asked = default(parts, task, seed)
        found["default"].append(task_scores(present, base))
        found["default, past asked"].append(task_scores(asked, base))
        found["joint"].append(task_scores(joint(parts, task, seed), base))
    names = TaskScores.__dataclass_fields__
    return {s: TaskScores(**{n: float(np.mean([getattr(f, n) for f in fs])) for n in names}) for s, fs in found.items()}


def main() -> int:
    """0 when every bar is reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a regression stream, or the folder of the development data")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    data = options.data
    if data is not None and data.is_dir():
        data = next((p for p in (data / "bike_hour.csv.gz", data / "drift" / "bike_hour.csv.gz") if p.is_file()), None)
    sequences: list[tuple[str, Task, Callable[[int], list[Part]]]] = [
        ("gas-like", "classification", gas_like),
        ("contradicting", "classification", contradicting),
        ("regression", "regression", growing if data is None else lambda seed: quarters(data, seed)),
    ]
    result: dict[str, Any] = {}
    for kind, task, make in sequences:
        found = compare(make, task, options.seeds)
        print(f"{kind} ({'made up' if kind != 'regression' or data is None else data.name}), {options.seeds} seeds")
        print(f"  {'':20}     ACC     BWT  forget.     FWT     NOW  newest")
        for name, s in found.items():
            row = (s.acc, s.bwt, s.forgetting, s.fwt, s.now, s.newest)
            print(f"  {name:20} {' '.join(f'{v:7.3f}' for v in row)}")
        chosen = found["default, past asked"]
        gap, behind = found["joint"].acc - chosen.acc, found["naive"].newest - chosen.newest
        passed = {"gap to joint": gap <= BARS[kind], "newest behind naive": behind <= NEWEST}
        figures = {"gap to joint": (gap, BARS[kind]), "newest behind naive": (behind, NEWEST)}
        for name, ok in passed.items():
            print(
                f"  {'pass' if ok else 'MISS'}  {name}: {figures[name][0]:.4f} (bar {figures[name][1]:g})", flush=True
            )
        scores = {name: asdict(s) for name, s in found.items()}
        result[kind] = {"scores": scores, "gap": gap, "behind": behind, "passed": passed}
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1))
    return 0 if all(all(r["passed"].values()) for r in result.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
