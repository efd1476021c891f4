"""Tells people what a roll-out decided, only after it is stored, in order, and again until somebody took it.

The audit log is the outbox: whatever is written there beyond the row that was told last is still to be told. A crash
between telling and noting it tells twice; nothing is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from pydantic import SecretStr

from actors.adaptive_learning.deployment.record import Record, name
from core.codec import from_json, to_json
from core.errors import Broken, ServiceUnavailable
from core.schemas.rollouts import RolloutNotice
from core.store.database import Database
from core.store.rollouts import RolloutStore, StoredEvent

_log = structlog.get_logger(__name__)

#: Rows without a decision that may pile up before the row told last is moved past them.
SILENT_ROWS = 100


class Sink(Protocol):
    """Where notices go; ServiceUnavailable when one cannot be taken now."""

    def send(self, notice: RolloutNotice) -> None:
        """Hand one over."""
        ...


class LogSink:
    """Notices as lines of the log."""

    def send(self, notice: RolloutNotice) -> None:
        """Write it."""
        _log.info(
            "rollout",
            id=notice.rollout,
            model=notice.model,
            phase=notice.phase,
            holds=list(notice.holds),
            reason=notice.reason,
        )


@dataclass(frozen=True)
class WebhookSink:
    """Notices as JSON, posted to one address; anything but a 2xx answer is tried again."""

    url: SecretStr
    timeout_s: float = 5.0

    def send(self, notice: RolloutNotice) -> None:
        """Post it; ServiceUnavailable when it was not taken. The address, which may hold a key, is never shown."""
        import httpx2

        headers = {"Content-Type": "application/json", "Idempotency-Key": f"{notice.rollout}:{notice.seq}"}
        try:
            answer = httpx2.post(
                self.url.get_secret_value(), content=to_json(notice), headers=headers, timeout=self.timeout_s
            )
        except httpx2.HTTPError as error:
            raise ServiceUnavailable(f"the webhook does not answer: {type(error).__name__}") from error
        if not 200 <= answer.status_code < 300:
            raise ServiceUnavailable(f"the webhook answered {answer.status_code}")


@dataclass(frozen=True)
class Notices:
    """Delivers to every sink what is new; a sink that fails holds back the rest of that roll-out until the next try."""

    store: RolloutStore
    sinks: Sequence[Sink]

    @staticmethod
    def of(database: Database, webhook: SecretStr | None) -> Notices:
        """The log, and the webhook where one is set."""
        sinks: tuple[Sink, ...] = (LogSink(),) if webhook is None else (LogSink(), WebhookSink(webhook))
        return Notices(RolloutStore(database), sinks)

    def deliver(self, model: str) -> int:
        """Tell what was not told; how many decisions were."""
        return sum(self._of_rollout(rollout_id, told) for rollout_id, told in self.store.unnotified(model))

    def _of_rollout(self, rollout_id: str, told: int) -> int:
        rows, last = self.store.decisions_after(rollout_id, told)
        for sent, row in enumerate(rows):
            try:
                self._send(rollout_id, row)
            except Broken as error:
                _log.warning("notice not taken yet", rollout=rollout_id, seq=row.seq, error=str(error))
                return sent
            self.store.notified(rollout_id, row.seq)
        if not rows and last - told >= SILENT_ROWS:
            self.store.notified(rollout_id, last)
        return len(rows)

    def _send(self, rollout_id: str, row: StoredEvent) -> None:
        record = from_json(Record, row.record)
        notice = RolloutNotice(
            rollout=rollout_id,
            model=record.model,
            seq=row.seq,
            at=row.at,
            challenger=record.challenger,
            stable=record.stable,
            phase=name(record),
            weight=record.weight,
            holds=tuple(str(hold) for hold in record.holds),
            reason=record.reason,
        )
        for sink in self.sinks:
            sink.send(notice)
