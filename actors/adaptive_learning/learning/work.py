"""Does one task: loads the data, runs the training, the study or the bandit, stores and registers what comes of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from actors.adaptive_learning.learning.reporting import TaskReporter
from core.artifacts import ArtifactStore
from core.clock import Clock
from core.codec import to_json
from core.errors import InsufficientData, InvalidInput
from core.history import ChannelHistory
from core.protocols import VersioningService
from core.schemas.channels import Channel
from core.schemas.models import NewVersion, PostingTime, TrainingProgress, TrainingResult, TrainingTask
from core.schemas.predictions import ENGAGEMENT
from core.settings import Settings
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.feedback import FeedbackStore
from core.store.series import SeriesStates
from core.store.tasks import TaskStore
from training.artifacts import load_model
from training.bandit import Bandit, taught
from training.corrections import Corrections
from training.dataset import to_parquet
from training.engagement import Incumbent, finish, prepare
from training.loop import TrainingStopped
from training.online import corrected
from training.train import run_loop

#: Where learned posting times are kept (core.store.series): a state a channel, named by its id.
SERVICE, SERIES = "learner", "posting_time:{channel}"


@dataclass(frozen=True)
class Work:
    """Everything that a task needs. This module imports torch and Ray: only the learner's own thread imports it."""

    database: Database
    artifacts: ArtifactStore
    clock: Clock
    settings: Settings
    versioning: VersioningService
    home: Path

    def do(self, task: TrainingTask, interrupted: Callable[[], bool]) -> TrainingResult:
        """Do a task. Raises TrainingStopped when it was cancelled or interrupted, else whatever went wrong."""
        if task.model != ENGAGEMENT:
            raise InvalidInput(f"there is no model {task.model!r} to train; there is {ENGAGEMENT!r}", field="model")
        begin = time.monotonic()
        if task.kind == "tune":
            result = self._study(task, interrupted)
        elif task.request.strategy == "bandit":
            result = self._posting_times(task, interrupted)
        else:
            result = self._train(task, interrupted)
        return replace(result, seconds=time.monotonic() - begin)

    def _train(self, task: TrainingTask, interrupted: Callable[[], bool]) -> TrainingResult:
        request, workers = task.request, self.settings.train_workers
        reporter = self._reporter(task, None if workers else interrupted)
        until = self._until(task)
        champion, warm = self._incumbent(task, request.compare_with), self._incumbent(task, request.warm_start)
        prepared = prepare(
            self._histories(task, reporter),
            until=until,
            strategy=request.strategy,
            params=request.params,
            seed=self.settings.seed,
            champion=champion,
            warm=warm,
            channels=request.channels,
            corrections=self._corrections(until),
            published_from=request.published_from,
        )
        if reporter.should_stop():
            raise TrainingStopped("stopped before the first epoch, as asked")
        if request.strategy == "online":
            trained = corrected(prepared)
        else:
            name = f"{task.id}-{task.attempt}"
            config = prepared.loop_config(request.budget_s)
            outcome = run_loop(config, reporter, name=name, storage=self.home / "train", workers=workers)
            trained = finish(prepared, outcome)
        if reporter.should_stop():
            raise TrainingStopped("stopped before it was registered, as asked")
        sha256 = self.artifacts.put(trained.files)
        new = NewVersion(
            task.model, sha256, trained.signature, trained.params, trained.evaluation, trained.lineage, key=task.id
        )
        return TrainingResult(0.0, self.versioning.register(new).version, trained.evaluation)

    def _study(self, task: TrainingTask, interrupted: Callable[[], bool]) -> TrainingResult:
        from training.tune import study  # seconds of imports that a training does without

        until = self._until(task)
        reporter = self._reporter(task, interrupted)
        rows = prepare(self._histories(task, reporter), until=until, seed=self.settings.seed).split.before

        def tell(done: int, best: float) -> None:
            reporter.report(TrainingProgress(done, 0, best, best))

        found = study(
            to_parquet(rows),
            seed=self.settings.seed,
            name=task.id,
            storage=self.home / "tune",
            budget_s=task.request.budget_s,
            should_stop=reporter.should_stop,
            on_trials=tell,
        )
        if reporter.should_stop():
            raise TrainingStopped("the study was stopped, as asked")
        return TrainingResult(0.0, best_params=found.best_params, trials=found.trials)

    def _posting_times(self, task: TrainingTask, interrupted: Callable[[], bool]) -> TrainingResult:
        """Learn every channel's hours of the week from its stored posts, keep what was learned, and say what is best.

        From the beginning each time: readings that arrive late change results that were counted before.
        """
        until, reporter = self._until(task), self._reporter(task, interrupted)
        found: list[PostingTime] = []
        gaps: list[InsufficientData] = []
        channels = self._channels(task)
        for number, channel in enumerate(channels, 1):
            bandit = Bandit()
            taught(bandit, self._store.history(channel, as_of=until), until)
            with self.database.write() as connection:
                name = SERIES.format(channel=channel.id)
                SeriesStates(self.database).save(connection, SERVICE, name, to_json(bandit.to_plain()), until)
            try:
                found.append(self._best_time(channel, bandit))
            except InsufficientData as gap:
                gaps.append(gap)
                found.append(PostingTime(channel.name, channel.timezone, int(bandit.n.sum()), gap=str(gap)))
            reporter.report(TrainingProgress(number, len(channels), 0.0, None))
            if reporter.should_stop():
                raise TrainingStopped(f"stopped after {number} of {len(channels)} channels, as asked")
        if gaps and len(gaps) == len(found):
            raise gaps[0]
        return TrainingResult(0.0, posting_times=tuple(found))

    def _best_time(self, channel: Channel, bandit: Bandit) -> PostingTime:
        choice = bandit.recommend(np.random.default_rng([self.settings.seed, channel.id]))
        return PostingTime(
            channel.name,
            channel.timezone,
            choice.posts,
            choice.weekday,
            choice.hour,
            math.exp(choice.mean),
            math.exp(choice.low),
            math.exp(choice.high),
            choice.probability,
            choice.n,
        )

    def _reporter(self, task: TrainingTask, interrupted: Callable[[], bool] | None) -> TaskReporter:
        limit = task.request.limit_s
        return TaskReporter(TaskStore(self.database), self.clock, task.id, task.attempt, interrupted, limit)

    def _until(self, task: TrainingTask) -> int:
        # Set when the task was queued, so that a second attempt sees the same data.
        return self.clock.now() if task.request.until is None else task.request.until

    @property
    def _store(self) -> ChannelStore:
        return ChannelStore(self.database, self.settings.tenant)

    def _channels(self, task: TrainingTask) -> tuple[Channel, ...]:
        """Those that the request names, or all; NotFound."""
        names = dict.fromkeys(task.request.channels)
        return tuple(self._store.channel(name) for name in names) if names else self._store.channels()

    def _histories(self, task: TrainingTask, reporter: TaskReporter) -> list[ChannelHistory]:
        """Channels as they were known when the task was queued; loading many takes a while, and can be stopped."""
        until, found = self._until(task), []
        for channel in self._channels(task):
            found.append(self._store.history(channel, as_of=until, counts=True))
            if reporter.should_stop():
                raise TrainingStopped("stopped while the data was read, as asked")
        return found

    def _corrections(self, until: int) -> Corrections:
        stored = FeedbackStore(self.database, self.settings.tenant).corrections(until)
        return Corrections.of(stored, self.settings.correction_weight)

    def _incumbent(self, task: TrainingTask, number: int | None) -> Incumbent | None:
        if number is None:
            return None
        version = self.versioning.get(task.model, number)
        return Incumbent(number, load_model(self.artifacts, version.sha256), version.lineage.data_until)
