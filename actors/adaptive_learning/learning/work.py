"""Does one task: loads the data, runs the training or the study, stores the artifact, registers the version."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from actors.adaptive_learning.learning.reporting import TaskReporter
from core.artifacts import ArtifactStore
from core.clock import Clock
from core.errors import InvalidInput
from core.history import ChannelHistory
from core.protocols import VersioningService
from core.schemas.models import NewVersion, TrainingProgress, TrainingResult, TrainingTask
from core.schemas.predictions import ENGAGEMENT
from core.settings import Settings
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.tasks import TaskStore
from training.artifacts import load_model
from training.dataset import to_parquet
from training.engagement import Incumbent, finish, prepare
from training.loop import TrainingStopped
from training.train import run_loop


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
        result = self._study(task, interrupted) if task.kind == "tune" else self._train(task, interrupted)
        return replace(result, seconds=time.monotonic() - begin)

    def _train(self, task: TrainingTask, interrupted: Callable[[], bool]) -> TrainingResult:
        request, workers = task.request, self.settings.train_workers
        reporter = self._reporter(task, None if workers else interrupted)
        until = self._until(task)
        champion, warm = self._incumbent(task, request.compare_with), self._incumbent(task, request.warm_start)
        prepared = prepare(
            self._histories(until),
            until=until,
            strategy=request.strategy,
            params=request.params,
            seed=self.settings.seed,
            champion=champion,
            warm=warm,
        )
        name = f"{task.id}-{task.attempt}"
        outcome = run_loop(
            prepared.loop_config(request.budget_s), reporter, name=name, storage=self.home / "train", workers=workers
        )
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
        rows = prepare(self._histories(until), until=until, seed=self.settings.seed).split.before

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

    def _reporter(self, task: TrainingTask, interrupted: Callable[[], bool] | None) -> TaskReporter:
        return TaskReporter(TaskStore(self.database), self.clock, task.id, task.attempt, interrupted)

    def _until(self, task: TrainingTask) -> int:
        # Set when the task was queued, so that a second attempt sees the same data.
        return self.clock.now() if task.request.until is None else task.request.until

    def _histories(self, until: int) -> list[ChannelHistory]:
        store = ChannelStore(self.database, self.settings.tenant)
        return [store.history(channel, as_of=until) for channel in store.channels()]

    def _incumbent(self, task: TrainingTask, number: int | None) -> Incumbent | None:
        if number is None:
            return None
        version = self.versioning.get(task.model, number)
        return Incumbent(number, load_model(self.artifacts, version.sha256), version.lineage.data_until)
