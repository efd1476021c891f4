"""What a row costs in a batch, in a lower precision, compiled: whether micro-batching and the rest pay.

    python -m bench.serving [--data DIR] [--device cpu] [--rows 256] [--json FILE]

The network has the usual size (untrained: the arithmetic is the same). Figures are microseconds a row, the median of
repeated calls; the alternative in the same run is one row a call in float32. Beside them: what a row costs that no
batch makes cheaper, its features from the stored history. --device cuda measures the same on a GPU.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench._serving import Stage, stage
from core.schemas.predictions import ENGAGEMENT, PredictionRequest
from core.store.channels import ChannelStore
from serve_apps.loading import ModelLoader
from serve_apps.predictor.question import Question, Questions
from training.gpu import accelerated

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def main() -> int:
    """Print the figures; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a bundle to import instead of simulated channels")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--seconds", type=float, default=0.5, help="for each figure")
    parser.add_argument("--json", type=Path)
    options, _ = parser.parse_known_args()
    with stage(options.data, seeds=(1,)) as made:
        questions, features = _questions(made, max(SIZES))
        result: dict[str, Any] = {"features_us": features, "network_us": {}}
        print(f"features of a row, one at a time: {features:.0f} us")
        print(f"{'rows':>18}" + "".join(f"{size:>8}" for size in SIZES))
        for name, precision, compiled in (
            ("float32", "float32", False),
            ("bfloat16", "bfloat16", False),
            ("float32 compiled", "float32", True),
        ):
            model = ModelLoader(made.database, made.artifacts, ENGAGEMENT, options.device).load(1)
            try:
                model = accelerated(model, precision, compiled)
                figures = {size: _per_row(model, questions[:size], options.seconds) for size in SIZES}
            except Exception as error:  # no compiler, say: a figure less, not a bench less
                print(f"{name:>18}  {type(error).__name__}: {str(error).splitlines()[0][:90]}")
                continue
            result["network_us"][name] = figures
            print(f"{name:>18}" + "".join(f"{figures[size]:8.1f}" for size in SIZES))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))
    return 0


def _questions(made: Stage, n: int) -> tuple[list[Question], float]:
    asking = Questions(ChannelStore(made.database), made.clock)
    wanted = [PredictionRequest(channel, post_id=post) for channel, post in made.posts[:n]]
    asked = [(asking.channel(request.channel), request) for request in wanted]
    for channel, request in asked:
        asking.ask(channel, request)  # histories are prepared
    took, found = list[float](), list[Question]()
    for channel, request in asked:
        begun = time.perf_counter()
        found.append(asking.ask(channel, request))
        took.append(time.perf_counter() - begun)
    return found, statistics.median(took) * 1e6


def _per_row(model: Any, questions: list[Question], seconds: float) -> float:
    rows = np.stack([q.vector for q in questions])
    targets = questions[0].base_log
    base = {t: np.array([q.base_log.get(t, np.nan) for q in questions]) for t in targets}
    call: Callable[[], Any] = lambda: model.predict(rows, base)  # noqa: E731
    call()
    took, until = list[float](), time.perf_counter() + seconds
    while len(took) < 20 or time.perf_counter() < until:
        begun = time.perf_counter()
        call()
        took.append(time.perf_counter() - begun)
    return statistics.median(took) / len(questions) * 1e6


if __name__ == "__main__":
    raise SystemExit(main())
