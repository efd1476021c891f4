"""The loop through Ray Train and Ray Tune; one local Ray for both."""

from __future__ import annotations

import dataclasses
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from core.schemas.models import TrainingProgress
from tests.training.audience import QuietReporter, make_history
from training.dataset import Dataset, build, split_share, to_parquet
from training.fit import FitParams
from training.loop import LoopConfig, TrainingStopped, train_loop


@pytest.fixture(scope="module")
def data() -> Dataset:
    return build([make_history(number, posts=100) for number in (1, 2)], 2**40)


@pytest.fixture(scope="module")
def config(data: Dataset) -> LoopConfig:
    params = dataclasses.asdict(FitParams(hidden=(8,), lr=3e-3))
    return LoopConfig(to_parquet(split_share(data).before), to_parquet(data), params, seed=4, epochs=6, patience=3)


@pytest.fixture(scope="module")
def ray_session() -> Iterator[None]:
    os.environ["RAY_AUTH_MODE"] = "disabled"
    import ray

    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")
    with tempfile.TemporaryDirectory(prefix="rt", dir="/tmp", ignore_cleanup_errors=True) as folder:
        ray.init(
            address="local",
            num_cpus=4,
            include_dashboard=False,
            object_store_memory=80_000_000,
            _temp_dir=folder,
            log_to_driver=False,
        )
        yield
        ray.shutdown()


@dataclasses.dataclass
class FileReporter:
    """Picklable: leaves a line for each report, says stop once there are enough of them."""

    path: str
    stop_after: int | None = None

    def report(self, progress: TrainingProgress, checkpoint: bytes | None) -> None:
        with Path(self.path).open("a") as stream:
            stream.write(f"{progress.epoch}\n")

    def should_stop(self) -> bool:
        lines = Path(self.path).read_text().splitlines()
        return self.stop_after is not None and len(lines) >= self.stop_after

    def restored(self) -> bytes | None:
        return None


@dataclasses.dataclass
class DeadlyReporter(FileReporter):
    """Kills its own process, once, after a report."""

    kill_at: int = 0

    def report(self, progress: TrainingProgress, checkpoint: bytes | None) -> None:
        super().report(progress, checkpoint)
        mark = Path(self.path + ".killed")
        if progress.epoch == self.kill_at and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def test_in_this_process_no_ray_is_started_and_the_result_is_the_loop_s_own(config: LoopConfig, tmp_path: Path) -> None:
    import ray

    from training.train import run_loop

    result = run_loop(config, QuietReporter(), name="local", storage=tmp_path)
    assert result.final == train_loop(config, QuietReporter()).final
    assert not ray.is_initialized()
    with pytest.raises(TrainingStopped):
        run_loop(config, QuietReporter(stop_after=2), name="stopped", storage=tmp_path)


@pytest.mark.ray
def test_a_killed_worker_goes_on_from_its_last_checkpoint_and_ends_with_the_same_weights(
    config: LoopConfig, tmp_path: Path, ray_session: None
) -> None:
    """Its rows come through Ray Data both times; a loop in this process that nobody disturbs is the yardstick."""
    from training.train import run_loop

    whole = QuietReporter()
    undisturbed = train_loop(config, whole)
    kill_at = len(undisturbed.curve) + 1  # the folds have ended, the first network is half fitted
    assert len(whole.progress) > kill_at + 1
    reporter = DeadlyReporter(str(tmp_path / "progress"), kill_at=kill_at)
    every = dataclasses.replace(config, checkpoint_every=2)
    result = run_loop(every, reporter, name="one", storage=tmp_path / "runs", workers=1)
    epochs = [int(line) for line in Path(reporter.path).read_text().splitlines()]
    assert epochs[:kill_at] == list(range(1, kill_at + 1))
    again = epochs[kill_at]  # the last report before a death may be lost, no more
    assert kill_at - 3 <= again <= kill_at + 1
    assert epochs[kill_at:] == list(range(again, len(whole.progress) + 1))
    assert result.final == undisturbed.final
    assert result.judged == undisturbed.judged
    assert result.curve == undisturbed.curve
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.ray
def test_two_workers_share_every_batch(config: LoopConfig, tmp_path: Path, ray_session: None) -> None:
    from safetensors.torch import load

    from training.train import run_loop

    still = dataclasses.replace(config, fixed_epochs=2, params=config.params | {"dropout": 0.0, "batch": 64})
    reporter = FileReporter(str(tmp_path / "progress"))
    shared = load(run_loop(still, reporter, name="two", storage=tmp_path / "runs", workers=2).final)
    alone = load(train_loop(still, QuietReporter()).final)
    assert Path(reporter.path).read_text().splitlines() == ["1", "2", "3", "4"]
    # Halves of a batch have their own mean: the same steps but for which outcomes are missing.
    for name, value in alone.items():
        assert torch.allclose(shared[name], value, atol=0.02), name


def test_a_worker_that_is_told_to_stop_returns_because_a_raise_would_start_it_again(
    config: LoopConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only Ray's side of the worker is stood in for: one of one, nothing to resume."""
    import ray.train
    from ray.train.v2.api.context import LocalTrainContext

    from training import train

    (tmp_path / "progress").touch()
    monkeypatch.setattr(ray.train, "get_context", lambda: LocalTrainContext("alone"))
    monkeypatch.setattr(ray.train, "get_checkpoint", lambda: None)
    monkeypatch.setattr(train, "broadcast_from_rank_zero", lambda asked: asked)
    reporter = FileReporter(str(tmp_path / "progress"), stop_after=2)
    outcome = train._worker({"config": config, "reporter": reporter, "local": False, "shared": False})
    assert isinstance(outcome, TrainingStopped)
    assert len(Path(reporter.path).read_text().splitlines()) == 2


@pytest.mark.ray
def test_a_study_is_never_worse_than_the_defaults_and_goes_on_where_it_was(
    data: Dataset, tmp_path: Path, ray_session: None
) -> None:
    from training.tune import METRIC, study

    seen: list[int] = []
    asked = threading.Event()
    found = study(
        to_parquet(split_share(data).before),
        seed=1,
        name="study",
        storage=tmp_path,
        budget_s=60,
        trials=3,
        concurrent=2,
        should_stop=asked.is_set,
        on_trials=lambda done, best: seen.append(done),
    )
    assert len(found.trials) == 3
    default = next(t for t in found.trials if t["lr"] == FitParams().lr and t["dropout"] == FitParams().dropout)
    assert found.trials[0][METRIC] <= default[METRIC]
    assert found.best_params == {k: found.trials[0][k] for k in found.best_params}
    assert max(seen) == 3
    FitParams(**found.best_params)
    again = study(to_parquet(split_share(data).before), seed=1, name="study", storage=tmp_path, budget_s=60, trials=3)
    assert again.best_params == found.best_params
