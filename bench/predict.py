"""What serving adds to a prediction, and whether requests fail while versions change under load.

    python -m bench.predict                          # a predictor of its own, simulated channels
    python -m bench.predict --rps 20 --seconds 60    # longer load, with a promotion and a roll-back in it
    python -m bench.predict --url http://127.0.0.1:8000 --channel @x --post 12    # a running application

The alternative measured in the same run: the same network called in this process, with and without its features.
Bars (2 idle cores): HTTP p50 at most 15 ms above the call in process; no failed request under 20 a second while one
version is promoted and another rolled back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx2

from bench._serving import Stage, ray_serve, stage
from core.schemas.predictions import ENGAGEMENT, PredictionRequest

OVERHEAD_MS = 15.0


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Median, 95 % quantile and largest, milliseconds."""
    ordered = sorted(seconds)
    at = [ordered[min(int(len(ordered) * q), len(ordered) - 1)] * 1000 for q in (0.5, 0.95, 1.0)]
    return dict(zip(("p50_ms", "p95_ms", "max_ms"), (round(value, 3) for value in at), strict=True))


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def in_process(made: Stage, n: int) -> dict[str, dict[str, float]]:
    """The network alone, with its features, and the durable log row, each warm and one at a time."""
    import numpy as np

    from core.store.channels import ChannelStore
    from core.store.ids import new_id
    from core.store.predictions import PredictionLog, PredictionRow
    from serve_apps.loading import ModelLoader
    from serve_apps.predictor.arms import LocalArm
    from serve_apps.predictor.question import Questions

    arm = LocalArm(1, ModelLoader(made.database, made.artifacts, ENGAGEMENT).load(1))
    store = ChannelStore(made.database)
    asking = Questions(store, made.clock)
    wanted = [PredictionRequest(channel, post_id=post) for channel, post in made.posts]
    questions = [asking.ask(asking.channel(request.channel), request) for request in wanted]
    log, row = PredictionLog(made.database), PredictionRow("", 1, 1, "bench", 1, "stable", 1, 0, 0, 0, {}, 0, 0)
    features = np.zeros(60, dtype=np.float32).tobytes()

    def with_features(request: PredictionRequest) -> None:
        arm.answer(asking.ask(asking.channel(request.channel), request))

    def stored() -> None:
        log.append([replace(row, id=new_id(), features=features)])

    takes = {
        "model": [timed(partial(arm.answer, q)) for q, _ in zip(cycle(questions), range(n), strict=False)],
        "features+model": [timed(partial(with_features, r)) for r, _ in zip(cycle(wanted), range(n), strict=False)],
        "durable log row": [timed(stored) for _ in range(n)],
    }
    return {name: quantiles(values) for name, values in takes.items()}


def over_http(url: str, posts: Sequence[tuple[str, int]], n: int) -> dict[str, float]:
    """One request at a time on one connection, warm."""
    takes = []
    with httpx2.Client(base_url=url, timeout=30) as client:
        for i, (channel, post) in zip(range(n + len(posts)), cycle(posts), strict=False):
            begun = time.perf_counter()
            answer = client.post("/v1/predictions", json={"channel": channel, "post_id": post})
            took = time.perf_counter() - begun
            if answer.status_code != 200:
                raise SystemExit(f"{url}: {answer.status_code} {answer.text}")
            if i >= len(posts):  # the first round warms
                takes.append(took)
    return quantiles(takes)


@dataclass
class Load:
    """Requests at a constant rate, sent whether or not the earlier ones have been answered."""

    url: str
    posts: Sequence[tuple[str, int]]
    rps: float
    arms: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    takes: list[float] = field(default_factory=list)

    async def run(self, seconds: float, meanwhile: Callable[[], None] | None) -> None:
        """Send for a while; `meanwhile` runs in a thread beside it, and sending goes on until it is done."""
        limits = httpx2.Limits(max_connections=100)
        async with (
            httpx2.AsyncClient(base_url=self.url, timeout=30, limits=limits) as client,
            asyncio.TaskGroup() as group,
        ):
            other = asyncio.get_running_loop().run_in_executor(None, meanwhile) if meanwhile else None
            begun = time.monotonic()
            for sent, (channel, post) in enumerate(cycle(self.posts), start=1):
                done = other is None or other.done()
                if done and time.monotonic() - begun >= seconds:
                    break
                group.create_task(self._one(client, channel, post))
                await asyncio.sleep(max(0.0, begun + sent / self.rps - time.monotonic()))
            if other is not None:
                await other

    async def _one(self, client: httpx2.AsyncClient, channel: str, post: int) -> None:
        begun = time.perf_counter()
        try:
            answer = await client.post("/v1/predictions", json={"channel": channel, "post_id": post})
        except httpx2.HTTPError as error:
            self.failures.append(repr(error))
            return
        self.takes.append(time.perf_counter() - begun)
        if answer.status_code == 200:
            body = answer.json()
            self.arms[f"{body['arm']} v{body['version']}"] += 1
        else:
            self.failures.append(f"{answer.status_code} {answer.text[:200]}")

    def result(self) -> dict[str, Any]:
        """Figures of the load."""
        return {
            "rps": self.rps,
            "requests": len(self.takes) + sum(1 for f in self.failures if not f[:3].isdigit()),
            "failed": len(self.failures),
            "first_failures": self.failures[:3],
            "answered_by": dict(self.arms),
            **quantiles(self.takes),
        }


def change_versions(made: Stage, predictor: Any) -> None:
    """Version 2: 10 → 50 → 100 % → promoted. Version 3: 10 %, then back."""
    from ray import serve

    from core.store.splits import SplitStore
    from serve_apps.canary import CanaryFactory, canary_name

    splits, build = SplitStore(made.database), CanaryFactory(made.database, made.artifacts)
    epoch = 1

    def tell(stable: int, canary: int | None = None, weight: float = 0.0) -> None:
        nonlocal epoch
        epoch += 1
        split = splits.write(made.split(epoch, stable, canary, weight), made.clock)
        predictor.broadcast("apply_split", split).results(timeout_s=10)
        while predictor.split_report.remote().result(timeout_s=10).epoch != epoch:
            time.sleep(0.1)

    def trial(stable: int, version: int, weights: Sequence[float]) -> None:
        serve.run(build(ENGAGEMENT, version), name=canary_name(ENGAGEMENT, version), route_prefix=None)
        tell(stable, version)
        while not predictor.split_report.remote().result(timeout_s=10).canary_ready:
            time.sleep(0.1)
        for weight in weights:
            tell(stable, version, weight)
            time.sleep(3)

    trial(1, 2, (0.1, 0.5, 1.0))
    tell(2)
    serve.delete(canary_name(ENGAGEMENT, 2))
    trial(2, 3, (0.1,))
    tell(2)
    serve.delete(canary_name(ENGAGEMENT, 3))


def own(args: argparse.Namespace) -> dict[str, Any]:
    """Everything, on a predictor of its own."""
    from core.settings import Settings
    from core.store.splits import SplitStore
    from serve_apps.predictor.app import PredictorParts, build_predictor

    with stage(args.data) as made, ray_serve() as url:
        from ray import serve

        SplitStore(made.database).write(made.split(1, 1), made.clock)
        parts = PredictorParts(made.database, made.artifacts, Settings(), made.clock)
        predictor = serve.run(build_predictor(parts), name="predictor", route_prefix="/v1/predictions")
        local = in_process(made, args.n)
        http = over_http(url, made.posts, args.n)
        load = Load(url, made.posts, args.rps)
        asyncio.run(load.run(args.seconds, lambda: change_versions(made, predictor)))
        again = in_process(made, args.n)  # before and after: the machine may have had other work
    base = statistics.mean(m["features+model"]["p50_ms"] for m in (local, again))
    alone = statistics.mean(m["model"]["p50_ms"] for m in (local, again))
    return {
        "in_process": local,
        "http": http,
        "overhead_ms": {
            "over features+model": round(http["p50_ms"] - base, 3),
            "over model": round(http["p50_ms"] - alone, 3),
        },
        "ratio": {
            "http / features+model": round(http["p50_ms"] / base, 2),
            "http / model": round(http["p50_ms"] / alone, 2),
        },
        "load": load.result(),
        "bars": {
            f"overhead <= {OVERHEAD_MS:g} ms": http["p50_ms"] - alone <= OVERHEAD_MS,
            "no failed request": not load.failures,
        },
    }


def running(args: argparse.Namespace) -> dict[str, Any]:
    """Latency and load of an application that runs already."""
    posts = [(args.channel, args.post)]
    load = Load(args.url, posts, args.rps)
    http = over_http(args.url, posts, args.n)
    asyncio.run(load.run(args.seconds, None))
    return {"http": http, "load": load.result(), "bars": {"no failed request": not load.failures}}


def main() -> int:
    """Exit code 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a bundle to import instead of simulated channels")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--url", help="measure a running application; needs --channel and --post")
    parser.add_argument("--channel")
    parser.add_argument("--post", type=int)
    parser.add_argument("--n", type=int, default=300, help="requests one at a time")
    parser.add_argument("--rps", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=20.0, help="of constant load, at least")
    args = parser.parse_args()
    if args.url and not (args.channel and args.post):
        parser.error("--url needs --channel and --post: what to ask about")
    result = running(args) if args.url else own(args)
    text = json.dumps(result, indent=2)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")
    return 0 if all(result["bars"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
