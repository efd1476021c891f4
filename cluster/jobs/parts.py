"""Work over all channels in shards, each a set of Parquet parts that is whole or absent and says what it was made from.

A job that was killed goes on where it stopped, and a finished one changes nothing: a shard whose parts carry the
fingerprint of the data as it is now is left alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from core.schemas.channels import Channel

CHANNELS_A_SHARD = 50
_FINGERPRINT = b"analyticbot.fingerprint"

Columns = Mapping[str, Literal["string", "int64", "float64"]]
Rows = list[dict[str, Any]]
#: Rows of a shard by the name of their table.
Tables = Mapping[str, Rows]


@dataclass(frozen=True, slots=True)
class Shard:
    """Some channels, always the same for the same set of channels."""

    number: int
    channels: tuple[Channel, ...]

    def fingerprint(self, *about: object) -> str:
        """Changes with the data of a channel, and with anything else that the parts are made from."""
        parts = [*map(str, about), *(f"{c.id}:{c.data_version}" for c in self.channels)]
        return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def shards(channels: Sequence[Channel], size: int = CHANNELS_A_SHARD) -> tuple[Shard, ...]:
    """Channels in order of id, cut into shards."""
    ordered = sorted(channels, key=lambda channel: channel.id)
    return tuple(Shard(i // size, tuple(ordered[i : i + size])) for i in range(0, len(ordered), size))


@dataclass(frozen=True, slots=True)
class Parts:
    """The folder of a job's result. tables: columns by table; the last one is written last and stands for its shard."""

    folder: Path
    tables: Mapping[str, Columns]

    def path(self, table: str, number: int) -> Path:
        """Where a shard's part of a table lies."""
        return self.folder / f"{table}-{number:04d}.parquet"

    def is_current(self, number: int, fingerprint: str) -> bool:
        """Whether all parts of a shard are there and the last one was made from this."""
        import pyarrow.parquet as pq
        from pyarrow import ArrowInvalid

        *others, last = self.tables
        try:
            metadata = pq.read_schema(self.path(last, number)).metadata or {}
        except (FileNotFoundError, ArrowInvalid):
            return False
        there = all(self.path(table, number).exists() for table in others)
        return there and metadata.get(_FINGERPRINT) == fingerprint.encode()

    def write(self, number: int, tables: Tables, fingerprint: str) -> None:
        """All parts of a shard."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, columns in self.tables.items():
            _write(self.path(name, number), tables[name], columns, fingerprint)

    def finish(self, total: int, facts: Mapping[str, Any]) -> None:
        """Parts of shards that are no longer there go; then `done.json` says that the result is complete."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.glob("*.parquet"):
            if int(path.stem.rsplit("-", 1)[1]) >= total:
                path.unlink()
        partial = self.folder / f"done.{os.getpid()}.tmp"
        partial.write_text(json.dumps({**facts, "parts": total}))
        partial.replace(self.folder / "done.json")


@dataclass(frozen=True, slots=True)
class Task:
    """How to make a shard's parts, and what they are made from. work: picklable; may run twice (a worker may die)."""

    fingerprint: str
    work: Callable[[], Tables]


def spread(parts: Parts, tasks: Mapping[int, Task], num_cpus: float = 0.1) -> Iterator[tuple[int, Tables]]:
    """Make the parts of shards (by number) over the cluster, yielding them as they get ready; needs a connected Ray.

    Parts that are true already are left alone and not yielded.
    """
    import ray

    run = ray.remote(num_cpus=num_cpus, max_retries=3)(_run)
    todo = {n: task for n, task in tasks.items() if not parts.is_current(n, task.fingerprint)}
    pending = {run.remote(task.work): number for number, task in todo.items()}
    while pending:
        (ready,), _ = ray.wait(list(pending), num_returns=1)
        number = pending.pop(ready)
        tables: Tables = ray.get(ready)
        parts.write(number, tables, todo[number].fingerprint)
        yield number, tables


def _run(task: Callable[[], Tables]) -> Tables:
    return task()


def _write(path: Path, rows: Rows, columns: Columns, fingerprint: str) -> None:
    """Under another name, then renamed: a part is whole or absent."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64()}
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    table = pa.Table.from_pylist(rows, schema=schema).replace_schema_metadata({_FINGERPRINT: fingerprint})
    partial = path.with_suffix(f".{os.getpid()}.tmp")
    pq.write_table(table, partial, compression="zstd")
    partial.replace(path)
