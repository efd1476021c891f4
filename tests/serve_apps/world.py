"""A small world for serving tests: one channel with measured posts, a clock at its end, two registered versions."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np

from core.artifacts import ArtifactStore
from core.clock import HOUR, ManualClock
from core.errors import NotFound
from core.schemas.models import Lineage, NewVersion, Signature
from core.schemas.predictions import (
    ENGAGEMENT,
    KNOWN_AGES_H,
    TARGETS,
    Prediction,
    PredictionRequest,
    SettledPrediction,
    Target,
)
from core.schemas.rollouts import TrafficSplit
from core.store import schema
from core.store.database import Database
from core.store.ids import channel_id
from core.store.registry import Registry
from tests.serve_apps.stand_in import StandIn

START = 1_735_689_600
POSTS = 60
GAP = 8 * HOUR


@dataclass(frozen=True)
class World:
    """What a serving test is given."""

    database: Database
    clock: ManualClock
    artifacts: ArtifactStore
    channel_id: int
    name: str = "@town"

    def split(self, epoch: int = 1, **changes: object) -> TrafficSplit:
        """Everything to version 1, unless changed."""
        values: dict[str, object] = {
            "model": ENGAGEMENT,
            "epoch": epoch,
            "stable": 1,
            "canary": None,
            "weight": 0.0,
            "shadow": False,
            "lease_s": 30.0,
            "abandon_s": 300.0,
            "renewals": 0,
        }
        return TrafficSplit(**(values | changes))  # type: ignore[arg-type]


def fill(database: Database, name: str, seed: int, *, level: float = 1000.0, final_only: bool = False) -> int:
    """A channel with POSTS posts every eight hours, each read at six ages (or once, late)."""
    rng = np.random.default_rng(seed)
    channel = channel_id("default", name)
    shares = {96: 1.0} if final_only else {1: 0.2, 4: 0.4, 14: 0.6, 24: 0.7, 50: 0.9, 72: 1.0}
    posts, readings = [], []
    for i in range(POSTS):
        at, final = START + i * GAP, level * float(np.exp(rng.normal(0, 0.3)))
        posts.append({"channel_id": channel, "post_id": i + 1, "published_at": at, "text_len": 200, "media": "photo"})
        readings += [
            {
                "channel_id": channel,
                "post_id": i + 1,
                "ts": at + age * HOUR,
                "views": int(final * share),
                "precision": 0,
            }
            for age, share in shares.items()
            if at + age * HOUR <= START + POSTS * GAP
        ]
    row = {
        "id": channel,
        "tenant": "default",
        "name": name,
        "timezone": "UTC",
        "source": "bundle",
        "created_at": START,
        "data_version": 1,
    }
    with database.write() as connection:
        connection.execute(schema.channel.insert(), [row])
        connection.execute(schema.post.insert(), posts)
        connection.execute(schema.post_snapshot.insert(), readings)
    return channel


def tiny_model(shift: float, targets: tuple[Target, ...] = TARGETS) -> dict[str, bytes]:
    """An untrained network's artifact that says "the channel's usual", moved by `shift` (natural log)."""
    import torch

    from training.calibration import Calibration
    from training.features import FEATURES, SCHEMA
    from training.model import EngagementModel
    from training.network import EngagementNet

    torch.manual_seed(0)
    net = EngagementNet(len(FEATURES), len(TARGETS), (8,))
    with torch.no_grad():
        net.start.view(-1, len(TARGETS), 3)[..., 0] += shift
    signature = Signature(FEATURES, targets, SCHEMA)
    medians = np.zeros((len(KNOWN_AGES_H), len(FEATURES)))
    model = EngagementModel(net.eval(), signature, Calibration.none(), (8,), medians=medians)
    return model.to_artifact(np.random.default_rng(1).normal(size=(4, len(FEATURES))).astype(np.float32))


def register(world: World, files: dict[str, bytes], key: str) -> int:
    """Store an artifact and register it under the next number."""
    from training.features import FEATURES, SCHEMA

    new = NewVersion(
        model=ENGAGEMENT,
        sha256=world.artifacts.put(files),
        signature=Signature(FEATURES, TARGETS, SCHEMA),
        params={},
        metrics=None,
        lineage=Lineage(None, START, START, 60, "0" * 64, "test", 0, "batch"),
        key=key,
    )
    return Registry(world.database).register(new, START).version


class Bench:
    """A prediction service in this process over the world's stores, and its canary's stand-in."""

    def __init__(self, world: World) -> None:
        from core.store.channels import ChannelStore
        from core.store.predictions import PredictionLog
        from serve_apps.loading import ModelLoader
        from serve_apps.predictor.arms import HandleArm, LocalArm
        from serve_apps.predictor.question import Questions
        from serve_apps.predictor.recorder import Recorder
        from serve_apps.predictor.service import PredictionService
        from serve_apps.predictor.traffic import Traffic

        self.world = world
        self.loader = ModelLoader(world.database, world.artifacts, ENGAGEMENT)
        self.log = PredictionLog(world.database)
        self.recorder = Recorder(self.log)
        self.canary: StandIn | None = None
        self.loaded: list[int] = []

        def load(version: int) -> LocalArm:
            self.loaded.append(version)
            return LocalArm(version, self.loader.load(version))

        def connect(version: int) -> HandleArm:
            if self.canary is None:
                raise NotFound(f"no application canary-{ENGAGEMENT}-{version}")
            return HandleArm(version, self.canary, timeout_s=0.05)

        self.traffic = Traffic(ENGAGEMENT, load, connect, world.clock, probe_s=0.05)
        self.questions = Questions(ChannelStore(world.database), world.clock)
        self.service = PredictionService(self.questions, self.traffic, self.recorder, self.log, world.clock)

    def serve(self, split: TrafficSplit) -> None:
        """Apply a split and let the router do what it needs."""
        self.traffic.apply(split)
        self.traffic.tick()

    def trial(self, weight: float, *, epoch: int = 2, shadow: bool = False) -> StandIn:
        """Version 2 on trial with a share."""
        self.canary = StandIn(2, self.loader.load(2))
        self.serve(self.world.split(epoch=epoch, canary=2, weight=weight, shadow=shadow))
        return self.canary

    def ask(self, *requests: PredictionRequest, pin: int | None = None) -> list[Prediction]:
        """Answers to requests that come at once; background work is finished afterwards."""

        async def run() -> list[Prediction]:
            answers = await asyncio.gather(*(self.service.predict(request, pin) for request in requests))
            await self.service.drain()
            for worker in self.service._workers:
                worker.cancel()
            self.service._workers = []
            return list(answers)

        return asyncio.run(run())

    def ask_for(self, prediction_id: str) -> SettledPrediction:
        """A logged prediction."""
        return asyncio.run(self.service.get(prediction_id))

    def one(self, pin: int | None = None, **changes: object) -> Prediction:
        """The answer to one request about a stored post."""
        values: dict[str, object] = {"channel": "@town", "post_id": 55} | changes
        return self.ask(PredictionRequest(**values), pin=pin)[0]  # type: ignore[arg-type]
