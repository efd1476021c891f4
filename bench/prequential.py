"""Learning on a stream, scored before each label comes: static, last label, always rebuilt, and the default predictor.

    python -m bench.prequential --data ../shared/data/drift/elec2.csv.gz --task classification --chunk 100 --out p.csv
    python -m bench.prequential --data ../shared/data/drift/bike_hour.csv.gz --task regression --chunk 1 --out p.csv

The file is a CSV (or .gz) in order of time with a column `target`; Elec2 and bike are known by their own columns. The
first 20 % are the warm-up, the rest is scored: accuracy, or mean absolute error. Rows come in chunks of N: N are
predicted, then their N labels arrive (1: labels at once). --out gets one line a scored row; --rows reads the first.
Without --data both development files beside the checkout are run, at chunks of 100 and 1. Exits 1 below a bar.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge

from bench._streams import Stream, read
from core.history import Floats
from training.stream.frozen import boosted
from training.stream.learner import LearnerParams, StreamLearner
from training.stream.metrics import absolute_error, accuracy
from training.stream.network import Task
from training.stream.predictor import StreamPredictor
from training.stream.scaling import RunningScale

WARM = 0.2
REBUILD_EVERY, REBUILD_ON = 1_000, 4_000
#: (stream, chunk): the score that the default predictor has to reach.
BARS = {("elec2", 100): 0.79, ("bike", 100): 0.295, ("elec2", 1): 0.86, ("bike", 1): 0.27}
CHEAPER = 10.0
DEFAULT, SINGLE, REBUILT = "default", "one network", "always rebuilt"
STATIC = ("static boosted", "static linear", "static network")


@dataclass(slots=True)
class Run:
    """Answers (n scored rows each: class numbers or values) and seconds of learning by method."""

    answers: dict[str, NDArray[Any]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    rebuilds: int = 0


def run(x: Floats, y: NDArray[Any], task: Task, chunk: int, seed: int = 1) -> Run:
    """Every method over one stream; what is learned at a row comes from rows whose labels arrived before it."""
    warm = int(len(y) * WARM)
    out = Run()
    _static(out, x, y, task, warm, seed)
    _rebuilt(out, x, y, task, warm, chunk, seed)
    _single(out, x, y, task, warm, chunk, seed)
    _default(out, x, y, task, warm, chunk, seed)
    starts = (np.arange(len(y) - warm) // chunk) * chunk + warm
    out.answers["last label"] = y[starts - 1]
    return out


def _static(out: Run, x: Floats, y: NDArray[Any], task: Task, warm: int, seed: int) -> None:
    out.answers["static boosted"] = boosted(task, seed).fit(x[:warm], y[:warm]).predict(x[warm:])
    scale = RunningScale(x.shape[1], float("inf"))
    scale.update(x[:warm])
    linear = LogisticRegression(max_iter=500) if task == "classification" else Ridge()
    out.answers["static linear"] = linear.fit(scale(x[:warm]), y[:warm]).predict(scale(x[warm:]))
    network = StreamLearner(task, x.shape[1], seed, LearnerParams.single())
    network.learn(x[:warm], y[:warm])
    out.answers["static network"] = _decided(network.answers(x[warm:])[0], task)


def _rebuilt(out: Run, x: Floats, y: NDArray[Any], task: Task, warm: int, chunk: int, seed: int) -> None:
    answers = []
    every = max(REBUILD_EVERY // chunk, 1) * chunk
    out.seconds[REBUILT] = 0.0
    for start in range(warm, len(y), every):
        before = time.process_time()
        model = boosted(task, seed).fit(x[max(start - REBUILD_ON, 0) : start], y[max(start - REBUILD_ON, 0) : start])
        out.seconds[REBUILT] += time.process_time() - before
        out.rebuilds += 1
        answers.append(model.predict(x[start : start + every]))
    out.answers[REBUILT] = np.concatenate(answers)


def _single(out: Run, x: Floats, y: NDArray[Any], task: Task, warm: int, chunk: int, seed: int) -> None:
    network = StreamLearner(task, x.shape[1], seed, LearnerParams.single())
    network.learn(x[:warm], y[:warm])
    _along(
        out, SINGLE, task, range(warm, len(y), chunk), len(y), chunk,
        lambda a, b: network.answers(x[a:b])[0], lambda a, b: network.learn(x[a:b], y[a:b])
    )  # fmt: skip


def _default(out: Run, x: Floats, y: NDArray[Any], task: Task, warm: int, chunk: int, seed: int) -> None:
    predictor = StreamPredictor(task, x.shape[1], seed)
    predictor.begin(x[:warm], y[:warm], chunk)
    # A static member's answer depends on its row alone, so all are asked at once; nothing else sees later rows.
    frozen = predictor.frozen(x[warm:])
    _along(
        out, DEFAULT, task, range(warm, len(y), chunk), len(y), chunk,
        lambda a, b: predictor.predict(x[a:b], frozen[:, a - warm : b - warm]), lambda a, b: predictor.learn(y[a:b])
    )  # fmt: skip
    out.weights = dict(zip(predictor.members, predictor.mixture.weights().round(3).tolist(), strict=True))


def _along(
    out: Run, name: str, task: Task, starts: range, end: int, chunk: int,
    predict: Callable[[int, int], Floats], learn: Callable[[int, int], None],
) -> None:  # fmt: skip
    answers, seconds = [], 0.0
    for start in starts:
        stop = min(start + chunk, end)
        answers.append(_decided(predict(start, stop), task))
        before = time.process_time()
        learn(start, stop)
        seconds += time.process_time() - before
    out.answers[name], out.seconds[name] = np.concatenate(answers), seconds


def _decided(answers: Floats, task: Task) -> NDArray[Any]:
    return answers.argmax(axis=1) if task == "classification" else answers[:, 0]


def report(stream: Stream, task: Task, chunk: int, result: Run) -> dict[str, Any]:
    """Print figures beside their bars; returns them."""
    truth = stream.y[int(len(stream.y) * WARM) :]
    measure, sign = (accuracy, 1) if task == "classification" else (absolute_error, -1)
    scores = {name: measure(answers, truth) for name, answers in result.answers.items()}
    named = "accuracy" if sign > 0 else "mean absolute error"
    print(f"{stream.name or 'stream'}: {len(truth)} rows scored, labels every {chunk}; {stream.note}; {named}")
    order = (*STATIC, "last label", REBUILT, SINGLE, DEFAULT)
    for name in order:
        cost = f"   learning {1e6 * result.seconds[name] / len(truth):7.1f} us a row" if name in result.seconds else ""
        print(f"  {name:15} {scores[name]:.4f}{cost}")
    print(f"  default's weights at the end: {', '.join(f'{n} {w:.2f}' for n, w in result.weights.items())}")
    static = max(STATIC, key=lambda n: sign * scores[n])
    passed = {f"default no worse than {static}": sign * (scores[DEFAULT] - scores[static]) >= 0}
    bar = BARS.get((stream.name, chunk))
    if bar is not None:
        passed[f"default reaches {bar}"] = sign * (scores[DEFAULT] - bar) >= 0
    ratios = {name: result.seconds[REBUILT] / max(result.seconds[name], 1e-9) for name in (SINGLE, DEFAULT)}
    as_fresh = len(truth) / max(min(chunk, REBUILD_EVERY), LearnerParams().block) / max(result.rebuilds, 1)
    print(
        f"  rebuilding every {REBUILD_EVERY} rows costs {ratios[SINGLE]:.1f} x one network's learning and "
        f"{ratios[DEFAULT]:.1f} x the default's; as often as they learn, {ratios[SINGLE] * as_fresh:.0f} x and "
        f"{ratios[DEFAULT] * as_fresh:.0f} x"
    )
    # The default learns whenever labels come: a rebuild that is as fresh happens as often.
    cheap = f"default {CHEAPER:g} x cheaper than rebuilding as often, no worse"
    passed[cheap] = ratios[DEFAULT] * as_fresh >= CHEAPER and sign * (scores[DEFAULT] - scores[REBUILT]) >= 0
    for name, ok in passed.items():
        print(f"  {'pass' if ok else 'MISS'}  {name}")
    return {
        "stream": stream.name, "chunk": chunk, "rows": len(truth), "scores": scores, "ratios": ratios,
        "seconds": result.seconds, "weights": result.weights, "passed": passed,
    }  # fmt: skip


def write(path: Path, stream: Stream, task: Task, result: Run) -> None:
    """One line a scored row: its number, the label and each method's answer, classes by their names in the file."""
    warm = int(len(stream.y) * WARM)
    columns: dict[str, Any] = {"row": np.arange(warm, len(stream.y)), "label": stream.y[warm:], **result.answers}
    if task == "classification":
        names = np.array(stream.labels)
        columns = {n: v if n == "row" else names[v.astype(int)] for n, v in columns.items()}
    pd.DataFrame(columns).to_csv(path, index=False)


def main() -> int:
    """0 when every bar is reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a CSV file, or the folder of the development data")
    parser.add_argument("--task", choices=("classification", "regression"))
    parser.add_argument("--chunk", type=int)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rows", type=int)
    options = parser.parse_args()
    found = []
    for path, task in _files(options.data, options.task):
        stream = read(path, task, options.rows)
        for chunk in (options.chunk,) if options.chunk else (100, 1):
            result = run(stream.x, stream.y, task, chunk)
            found.append(report(stream, task, chunk, result))
            if options.out is not None:
                write(options.out, stream, task, result)
    if not found:
        print("no stream: name a file with --data and its --task")
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1))
    return 0 if found and all(all(f["passed"].values()) for f in found) else 1


def _files(data: Path | None, task: Task | None) -> list[tuple[Path, Task]]:
    if data is not None and data.is_file():
        return [(data, task)] if task else []
    folder = data or Path(__file__).resolve().parents[2] / "shared" / "data"
    both: tuple[tuple[str, Task], ...] = (("elec2.csv.gz", "classification"), ("bike_hour.csv.gz", "regression"))
    paths = [(at / name, kind) for name, kind in both for at in (folder, folder / "drift")]
    return [(path, kind) for path, kind in paths if path.is_file()]


if __name__ == "__main__":
    sys.exit(main())
