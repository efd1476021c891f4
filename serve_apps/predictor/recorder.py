"""Makes answers durable before they are given: callers enqueue and wait, one thread commits them in groups."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass

from core import telemetry
from core.errors import AnalyticBotError, Broken, Overloaded, ServiceUnavailable
from core.store.predictions import PredictionLog, PredictionRow, ShadowRow

_log = telemetry.logger("predictor")

GROUP = 256


@dataclass(slots=True)
class _Entry:
    rows: tuple[PredictionRow, ...]
    done: Future[tuple[PredictionRow, ...]]


class Recorder:
    """One writer thread over the prediction log.

    While it commits a group, the next one gathers: the cost of a durable commit is shared by everybody who waits.
    Shadow scores ride along without anybody waiting for them; where storage fails they are counted as lost.
    """

    def __init__(self, log: PredictionLog, *, waiting: int = 1024, group: int = GROUP) -> None:
        self._log = log
        self._group = group
        self._queue: queue.Queue[_Entry | ShadowRow | None] = queue.Queue(maxsize=waiting)
        self._thread = threading.Thread(target=self._run, name="prediction-recorder", daemon=True)
        self._closed = False
        self.groups = 0
        self.shadows_lost = 0
        self._thread.start()

    def record(self, *rows: PredictionRow) -> Future[tuple[PredictionRow, ...]]:
        """Rows of one request; the future holds them as stored (another's, where the key was taken).

        Raises Overloaded when too many wait, and fails with what the storage says.
        """
        if self._closed:
            raise ServiceUnavailable("the prediction log is closed: this replica is shutting down")
        entry = _Entry(rows, Future())
        entry.done.set_running_or_notify_cancel()  # a caller that goes away must not stop what is being written
        try:
            self._queue.put_nowait(entry)
        except queue.Full:
            raise Overloaded(f"{self._queue.maxsize} answers wait to be stored; try again later") from None
        return entry.done

    def shadow(self, row: ShadowRow) -> bool:
        """Store a background score some time soon; false when there is no room."""
        try:
            self._queue.put_nowait(row)
        except queue.Full:
            self.shadows_lost += 1
            return False
        return True

    def close(self, timeout_s: float = 10.0) -> None:
        """Commit what waits, then stop."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            entries, shadows, last = self._gather()
            if entries:
                self._commit(entries)
            if shadows:
                self._commit_shadows(shadows)
            if last:
                return

    def _gather(self) -> tuple[list[_Entry], list[ShadowRow], bool]:
        entries: list[_Entry] = []
        shadows: list[ShadowRow] = []
        item = self._queue.get()
        while item is not None:
            if isinstance(item, _Entry):
                entries.append(item)
            else:
                shadows.append(item)
            if len(entries) + len(shadows) >= self._group:
                return entries, shadows, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return entries, shadows, False
        return entries, shadows, True

    def _commit(self, entries: list[_Entry]) -> None:
        self.groups += 1
        try:
            stored = iter(self._log.append([row for entry in entries for row in entry.rows]))
        except AnalyticBotError as error:  # the storage: the same for all of them
            for entry in entries:
                entry.done.set_exception(error)
        except Exception as error:
            # One row that the database refuses must not fail the others' answers.
            if len(entries) == 1:
                entries[0].done.set_exception(Broken(f"the prediction could not be stored: {_line(error)}"))
                _log.exception("a prediction could not be stored")
                return
            for entry in entries:
                self._commit([entry])
        else:
            for entry in entries:
                entry.done.set_result(tuple(next(stored) for _ in entry.rows))

    def _commit_shadows(self, shadows: list[ShadowRow]) -> None:
        try:
            self._log.add_shadows(shadows)
        except Exception:
            self.shadows_lost += len(shadows)
            _log.exception("background scores could not be stored", lost=len(shadows))


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
