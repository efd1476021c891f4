"""Runs the training loop through Ray Train: inside this process for small fits, in worker processes for long ones."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import ray.train
import torch
from ray.train import Checkpoint, DataConfig, FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.collective import broadcast_from_rank_zero
from ray.train.torch import TorchTrainer

from core.errors import AnalyticBotError, Broken
from core.schemas.models import TrainingProgress
from training.dataset import from_table, in_order
from training.gpu import apply_gpu_share
from training.loop import LoopConfig, LoopResult, Reporter, Rows, TrainingStopped, train_loop

_STATE = "state.safetensors"
#: The parts of a config that are rows: workers get them through Ray Data, from one Parquet file.
_ROWS = ("judged", "final", "old")
_DATASET, _PART = "rows", ".part"
#: Bytes of the file that one task reads.
_BLOCK = 64 * 2**20


def run_loop(
    config: LoopConfig, reporter: Reporter, *, name: str, storage: Path, workers: int = 0, max_failures: int = 2
) -> LoopResult:
    """Run the loop to its end.

    name: unique to this attempt (Ray Train resumes a run of the same name without a word). workers 0: in this process,
    no others are started; more: Ray Train workers that share every batch (DistributedDataParallel). Their rows lie as
    Parquet below `storage`, which every node must see, and come through Ray Data; there too are the checkpoints from
    which a run goes on when a worker dies, at most `max_failures` times; the reporter must then be picklable. Raises
    TrainingStopped, the loop's own errors, and Broken when workers keep dying.
    """
    datasets: dict[str, Any] = {}
    if workers:
        datasets = {_DATASET: _dataset(config, storage / f"{name}-rows")}
        config = replace(config, judged=b"", final=b"", old=None)
    trainer = TorchTrainer(
        cast(Callable[[dict[Any, Any]], None], _worker),
        train_loop_config={"config": config, "reporter": reporter, "local": workers == 0, "shared": workers > 0},
        datasets=datasets,
        # Every worker needs every row: it takes its share of each batch itself, as the loop has drawn it.
        dataset_config=DataConfig(datasets_to_split=[]),
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=workers > 0 and torch.cuda.is_available()),
        run_config=RunConfig(
            name=name, storage_path=str(storage.absolute()), failure_config=FailureConfig(max_failures=max_failures)
        ),
    )
    try:
        outcome = cast(Any, trainer.fit()).return_value
    except TrainingFailedError as failed:
        raise _cause(failed) from failed
    finally:
        # The result is returned by value: what the run left on disk served only to go on after a death.
        for folder in (storage / name, storage / f"{name}-rows"):
            shutil.rmtree(folder, ignore_errors=True)
    if isinstance(outcome, TrainingStopped):
        raise outcome
    if not isinstance(outcome, LoopResult):
        raise Broken(f"training run {name} ended without a result")
    return outcome


def _dataset(config: LoopConfig, folder: Path) -> Any:
    """The config's rows as one Parquet file below a folder, and the Ray dataset that reads it.

    One dataset for all parts, told apart by a column: each dataset brings processes of its own.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    import ray.data

    folder.mkdir(parents=True, exist_ok=True)
    parts = {name: getattr(config, name) for name in _ROWS if getattr(config, name) is not None}
    tables = [pq.read_table(BytesIO(blob)) for blob in parts.values()]
    named = [t.append_column(_PART, pa.array([n] * len(t), pa.string())) for n, t in zip(parts, tables, strict=True)]
    path = (folder / "rows.parquet").absolute()
    pq.write_table(pa.concat_tables(named), path)
    # The newer reader starts 32 actors that read footers, whatever the number of files: minutes on a small machine.
    context = ray.data.DataContext.get_current()
    newer, context.use_datasource_v2 = context.use_datasource_v2, False
    try:
        return ray.data.read_parquet(str(path), override_num_blocks=max(1, path.stat().st_size // _BLOCK))
    finally:
        context.use_datasource_v2 = newer


def _read() -> Rows:
    """All parts, each in its own order: Ray Data gives blocks as they come, and no result may depend on that."""
    import pyarrow as pa
    import pyarrow.compute as pc

    shard: Any = ray.train.get_dataset_shard(_DATASET)
    table = pa.concat_tables(shard.iter_batches(batch_size=None, batch_format="pyarrow"))
    found = {}
    for name in pc.unique(table.column(_PART)).to_pylist():
        found[name] = in_order(from_table(table.filter(pc.equal(table.column(_PART), name))))
    return Rows(**found)


def _worker(given: dict[str, Any]) -> LoopResult | TrainingStopped:
    config, reporter = given["config"], given["reporter"]
    # These networks are too small to share between threads: they would spend their time waiting for each other.
    torch.set_num_threads(1)
    if given["local"]:
        return train_loop(replace(config, device=apply_gpu_share()), reporter)
    context = ray.train.get_context()
    mine = replace(
        config,
        rank=context.get_world_rank(),
        world=context.get_world_size(),
        checkpoint_every=config.checkpoint_every or 5,
        device="cuda" if torch.cuda.is_available() else "cpu",
    )
    try:
        return train_loop(mine, _SharedReporter(reporter, mine.rank), _read() if given["shared"] else None)
    except TrainingStopped as stopped:
        return stopped  # returned, because Ray Train would begin again after a raise


@dataclass(frozen=True, slots=True)
class _SharedReporter:
    """Speaks for all workers: the first one tells and asks, the others do as it was told."""

    inner: Reporter
    rank: int

    def report(self, progress: TrainingProgress, checkpoint: bytes | None) -> None:
        if self.rank == 0:
            self.inner.report(progress, None)
        if checkpoint is None:
            return
        metrics = {"epoch": progress.epoch, "loss": progress.loss}
        with _folder(checkpoint if self.rank == 0 else None) as folder:
            ray.train.report(metrics, checkpoint=None if folder is None else Checkpoint.from_directory(folder))

    def should_stop(self) -> bool:
        asked = self.inner.should_stop() if self.rank == 0 else False
        return bool(broadcast_from_rank_zero(asked))

    def restored(self) -> bytes | None:
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            return None
        with checkpoint.as_directory() as folder:
            return (Path(folder) / _STATE).read_bytes()


@contextlib.contextmanager
def _folder(state: bytes | None) -> Iterator[str | None]:
    if state is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / _STATE).write_bytes(state)
        yield folder


def _cause(failed: TrainingFailedError) -> AnalyticBotError:
    for error in getattr(failed, "worker_failures", {}).values():
        inner = getattr(error, "cause", error)
        if isinstance(inner, AnalyticBotError):
            return inner
    return Broken(f"training workers failed: {str(failed).splitlines()[0]}")
