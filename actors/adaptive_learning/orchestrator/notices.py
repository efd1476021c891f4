"""Tells people what was decided or observed, only after it is stored, in order, and again until somebody took it.

The stores are the outboxes: the roll-outs' audit log, and the log of promises that began or ceased to be broken.
Whatever is written there beyond what was told last is still to be told. A crash between telling and noting it tells
twice, under the same key; nothing is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Protocol

import structlog
from pydantic import SecretStr

from actors.adaptive_learning.deployment.record import Record, name
from core.codec import from_json, to_json
from core.delivery import addresses, posting
from core.errors import Broken, ServiceUnavailable
from core.schemas.monitoring import AlertChange
from core.schemas.rollouts import RolloutNotice
from core.store.alerts import AlertLog
from core.store.database import Database
from core.store.rollouts import RolloutStore, StoredEvent

_log = structlog.get_logger(__name__)

#: Rows without a decision that may pile up before the row told last is moved past them.
SILENT_ROWS = 100

Notice = RolloutNotice | AlertChange


class Sink(Protocol):
    """Where notices go; ServiceUnavailable when one cannot be taken now."""

    def send(self, notice: Notice) -> None:
        """Hand one over."""
        ...


class LogSink:
    """Notices as lines of the log."""

    def send(self, notice: Notice) -> None:
        """Write it."""
        if isinstance(notice, AlertChange):
            tell = _log.warning if notice.state == "begun" else _log.info
            tell(
                "alert",
                model=notice.model,
                slo=notice.slo,
                severity=notice.severity,
                state=notice.state,
                reason=notice.reason,
            )
            return
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

    def send(self, notice: Notice) -> None:
        """Post it; ServiceUnavailable when it was not taken. The address, which may hold a key, is never shown."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": notice.key}
        # The address is the operator's own setting: it may be a private one.
        place = addresses.parsed(self.url.get_secret_value())
        found = addresses.permitted(place, allow_private=True)
        answer = posting.post(place, found, to_json(notice).encode(), headers, self.timeout_s, "the webhook")
        problem = posting.refusal(answer, "the webhook")
        if problem is not None:
            raise ServiceUnavailable(str(problem)) from problem


@dataclass(frozen=True)
class Untold:
    """A stored notice, and how to note that it was told."""

    notice: Notice
    note: Callable[[], None]


class Outbox(Protocol):
    """Stored notices that nobody was told of."""

    def untold(self, model: str) -> Iterator[Iterator[Untold]]:
        """By stream (a roll-out, the alerts of a model), in order; asked for one after the other."""
        ...


@dataclass(frozen=True)
class RolloutOutbox:
    """Decisions of roll-outs, each roll-out a stream of its own."""

    store: RolloutStore

    def untold(self, model: str) -> Iterator[Iterator[Untold]]:
        """From the audit logs, oldest roll-out first."""
        for rollout_id, told in self.store.unnotified(model):
            yield self._of(rollout_id, told)

    def _of(self, rollout_id: str, told: int) -> Iterator[Untold]:
        rows, last = self.store.decisions_after(rollout_id, told)
        for row in rows:
            yield Untold(_decided(rollout_id, row), partial(self.store.notified, rollout_id, row.seq))
        if not rows and last - told >= SILENT_ROWS:
            self.store.notified(rollout_id, last)


@dataclass(frozen=True)
class AlertOutbox:
    """Promises that began or ceased to be broken."""

    log: AlertLog

    def untold(self, model: str) -> Iterator[Iterator[Untold]]:
        """From the log of alerts, oldest first."""
        yield (Untold(change, partial(self.log.told, change.seq)) for change in self.log.untold(model))


@dataclass(frozen=True)
class Notices:
    """Delivers to every sink what is new; a sink that fails holds back the rest of that stream until the next try."""

    outboxes: Sequence[Outbox]
    sinks: Sequence[Sink]

    @staticmethod
    def of(database: Database, webhook: SecretStr | None) -> Notices:
        """To the log, and to the webhook where one is set."""
        sinks: tuple[Sink, ...] = (LogSink(),) if webhook is None else (LogSink(), WebhookSink(webhook))
        return Notices((RolloutOutbox(RolloutStore(database)), AlertOutbox(AlertLog(database))), sinks)

    def deliver(self, model: str) -> int:
        """Tell what was not told; how many notices were."""
        return sum(map(self._tell, chain.from_iterable(outbox.untold(model) for outbox in self.outboxes)))

    def _tell(self, stream: Iterator[Untold]) -> int:
        told = 0
        for untold in stream:
            try:
                for sink in self.sinks:
                    sink.send(untold.notice)
            except Broken as error:
                _log.warning("notice not taken yet", key=untold.notice.key, error=str(error))
                break
            untold.note()
            told += 1
        return told


def _decided(rollout_id: str, row: StoredEvent) -> RolloutNotice:
    record = from_json(Record, row.record)
    return RolloutNotice(
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
