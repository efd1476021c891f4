"""Which rows of a stream are kept: a window of the newest and a uniform sample of all, and how batches mix the two."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput, NoData

Ints = NDArray[np.int64]
Arrays = dict[str, NDArray[Any]]


class Reservoir:
    """Places of a uniform sample without replacement of everything seen (Vitter 1985, algorithm R).

    After n rows each of them is kept with probability capacity / n, whatever n and however the rows came in parts.
    """

    def __init__(self, capacity: int, rng: np.random.Generator) -> None:
        self.capacity = _positive(capacity)
        self.seen = 0
        self._rng = rng

    def __len__(self) -> int:
        return min(self.seen, self.capacity)

    def places(self, n: int) -> Ints:
        """Where each of the next n rows goes: 0..capacity-1, or -1 (not kept). A later row may take an earlier's."""
        count = np.arange(self.seen + 1, self.seen + n + 1)
        self.seen += n
        drawn = (self._rng.random(n) * count).astype(np.int64)
        place = np.where(count <= self.capacity, count - 1, drawn)
        return np.where(place < self.capacity, place, -1)


class Window:
    """Places of the newest rows in a ring."""

    def __init__(self, capacity: int) -> None:
        self.capacity = _positive(capacity)
        self.seen = 0

    def __len__(self) -> int:
        return min(self.seen, self.capacity)

    def places(self, n: int) -> Ints:
        """Where each of the next n rows goes; with n above the capacity the later rows take the earlier's places."""
        out = (self.seen + np.arange(n, dtype=np.int64)) % self.capacity
        self.seen += n
        return out

    def newest(self, n: int) -> Ints:
        """Places of the n newest rows (fewer when fewer are kept), oldest first."""
        n = min(n, len(self))
        return (self.seen - n + np.arange(n, dtype=np.int64)) % self.capacity


class Memory:
    """Rows kept: `recent` newest and a reservoir of `kept`, in one table, so that one index reaches both.

    A row is a tuple of columns (each n x anything, the same n). Everything random comes from the generator.
    """

    def __init__(self, recent: int, kept: int, rng: np.random.Generator) -> None:
        self.window = Window(recent)
        self.reservoir = Reservoir(kept, rng)
        self.columns: list[NDArray[Any]] = []
        self._rng = rng

    def __len__(self) -> int:
        return len(self.window) + len(self.reservoir)

    def add(self, *columns: NDArray[Any]) -> None:
        """Keep rows, the oldest first; InvalidInput when the columns differ from those kept."""
        n = len(columns[0])
        if not self.columns:
            room = self.window.capacity + self.reservoir.capacity
            self.columns = [np.zeros((room, *c.shape[1:]), dtype=c.dtype) for c in columns]
        shapes = [c.shape[1:] for c in columns]
        if [c.shape[1:] for c in self.columns] != shapes or any(len(c) != n for c in columns):
            raise InvalidInput(f"rows of shapes {shapes} do not fit those kept")
        ring, place = self.window.places(n), self.reservoir.places(n)
        taken = place >= 0
        for mine, new in zip(self.columns, columns, strict=True):
            mine[ring] = new
            mine[self.window.capacity + place[taken]] = new[taken]

    def draw(self, shape: tuple[int, int], share: float, fresh: int = 0, fresh_share: float = 0.0) -> Ints:
        """Indices (steps x batch) drawn with replacement: a mix for every step.

        fresh_share of a batch comes from the `fresh` newest rows; of the rest, `share` from the window and the
        remainder from the reservoir (.5: half recent, half reservoir). NoData when nothing is kept.
        """
        if not len(self.window):
            raise NoData("no row was learned yet")
        steps, batch = shape
        first = round(batch * fresh_share) if fresh else 0
        recent = round((batch - first) * share)
        old = batch - first - recent
        parts = [
            self._from(self.window.newest(fresh), (steps, first)),
            self._from(np.arange(len(self.window)), (steps, recent)),
            self._from(self.window.capacity + np.arange(len(self.reservoir)), (steps, old)),
        ]
        return np.concatenate(parts, axis=1)

    def everything(self) -> Ints:
        """Indices of all rows kept; a row may be both in the window and in the reservoir."""
        return np.concatenate([np.arange(len(self.window)), self.window.capacity + np.arange(len(self.reservoir))])

    def rows(self, at: Ints) -> list[NDArray[Any]]:
        """The columns at indices."""
        return [c[at] for c in self.columns]

    def pad(self, column: int, width: int) -> None:
        """Widen a column (n x w) with zeros to n x width."""
        if self.columns and self.columns[column].shape[1] < width:
            c = self.columns[column]
            self.columns[column] = np.pad(c, ((0, 0), (0, width - c.shape[1])))

    def state(self) -> Arrays:
        """Everything needed to go on, as arrays; the generator's state is not part of it (see `rng_state`)."""
        seen = np.array([self.window.seen, self.reservoir.seen], dtype=np.int64)
        return {"seen": seen} | {f"column.{i}": c for i, c in enumerate(self.columns)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state of a memory of the same sizes."""
        self.window.seen, self.reservoir.seen = (int(v) for v in state["seen"])
        self.columns = [state[f"column.{i}"].copy() for i in range(len(state) - 1)]

    def _from(self, places: Ints, shape: tuple[int, int]) -> Ints:
        return places[self._rng.integers(0, max(len(places), 1), shape)] if shape[1] else np.empty(shape, np.int64)


def rng_state(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A generator's state as bytes in an array."""
    return np.frombuffer(json.dumps(rng.bit_generator.state).encode(), dtype=np.uint8)


def restored_rng(state: NDArray[np.uint8]) -> np.random.Generator:
    """A generator that goes on from a stored state (PCG64, numpy's default)."""
    rng = np.random.default_rng(0)
    rng.bit_generator.state = json.loads(state.tobytes())
    return rng


def _positive(capacity: int) -> int:
    if capacity < 1:
        raise InvalidInput(f"a memory keeps at least one row, not {capacity}", field="capacity")
    return capacity
