"""Sends what is due, a target at a time in order, and several targets at the same time; decides about another try.

At least once, with the delivery's id as the key by which a receiver knows a repeated one. Once a 2xx is stored it is
never sent again; a process killed between the receiver's 2xx and that commit sends the same id once more.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from actors.alerts_fusion import wording
from core import telemetry
from core.clock import Clock
from core.codec import to_json
from core.delivery.senders import Message, Senders
from core.errors import AnalyticBotError, Refused, ServiceUnavailable
from core.schemas.alerts import DeliveryReport, Notice, Target
from core.schemas.reports import Report
from core.settings import AlertSettings
from core.store.deliveries import DeliveryStore, Outgoing
from core.store.report_schedules import ReportFiles

_AT_ONCE = 4  # targets


@dataclass
class Postman:
    """Carries deliveries out. clock: of the data; wall: the machine's; rng: of the jitter."""

    store: DeliveryStore
    senders: Senders
    settings: AlertSettings
    clock: Clock
    wall: Clock
    rng: np.random.Generator
    _draws: threading.Lock = field(default_factory=threading.Lock)

    def deliver(self) -> DeliveryReport:
        """One try of everything that is due, and of what becomes due by it; a failing target waits for its next try."""
        total: Counter[str] = Counter()
        failing: set[Target] = set()
        while True:
            outcomes = self._round(failing)
            total += outcomes
            # What an alert told later waits for what it told before: one was done with, so there may be more.
            if not outcomes["sent"] and not outcomes["dead"]:
                return DeliveryReport(total["sent"], total["failed"], total["dead"])

    def _round(self, failing: set[Target]) -> Counter[str]:
        by_target: dict[Target, list[str]] = {}
        for delivery_id, target in self.store.due(self.clock.now(), self.wall.now()):
            if target not in failing:
                by_target.setdefault(target, []).append(delivery_id)
        if not by_target:
            return Counter()
        with ThreadPoolExecutor(min(_AT_ONCE, len(by_target))) as pool:
            results = list(pool.map(self._to_target, by_target.values()))
        failing.update(target for target, states in zip(by_target, results, strict=True) if "failed" in states)
        return Counter(state for states in results for state in states)

    def _to_target(self, ids: Sequence[str]) -> list[str]:
        states: list[str] = []
        for delivery_id in ids:
            claimed = self.store.claim(delivery_id, self.wall.now())
            if claimed is None:
                continue
            states.append(self._try(claimed))
            if states[-1] == "failed":
                break
        return states

    def _try(self, out: Outgoing) -> str:
        notice = out.notice
        try:
            message = Message(out.id, wording.subject(notice), notice.text, to_json(notice), self._file(notice))
            self.senders.send(out.target, message, self.wall.now())
        except ServiceUnavailable as error:
            return self._again(out, error)
        except AnalyticBotError as error:
            return self._given_up(out, error.message)
        except Exception as error:  # a bug in one way out must neither stop the others nor be tried for ever
            telemetry.logger("alerts").exception("sending failed", delivery=out.id, target=out.target.kind)
            return self._again(out, ServiceUnavailable(f"sending failed: {type(error).__name__}"))
        self.store.settle(out.id, "sent", reason=None, sent_at=self.wall.now())
        return "sent"

    def _file(self, notice: Notice) -> Report | None:
        if notice.report is None or notice.report.file is None:
            return None
        found = ReportFiles(self.store.database, self.store.tenant).get(notice.report.file.id)
        if found is None:
            raise Refused(f"{notice.report.file.name} is kept no longer")
        return found

    def _again(self, out: Outgoing, error: ServiceUnavailable) -> str:
        if out.attempts >= self.settings.attempts:
            return self._given_up(out, f"{error.message}, after {out.attempts} tries")
        wait = max(self._wait(out.attempts), float(error.details.get("retry_after_s", 0.0)))
        retry_at = self.wall.now() + math.ceil(wait)
        self.store.settle(out.id, "failed", reason=error.message, sent_at=None, retry_at=retry_at)
        return "failed"

    def _given_up(self, out: Outgoing, reason: str) -> str:
        self.store.settle(out.id, "dead", reason=reason, sent_at=None)
        telemetry.logger("alerts").error("notice given up", delivery=out.id, target=out.target.kind, reason=reason)
        return "dead"

    def _wait(self, attempts: int) -> float:
        """Exponential back-off, of which the upper half is left to chance (equal jitter)."""
        whole = min(self.settings.longest_back_off_s, self.settings.back_off_s * 2.0 ** (attempts - 1))
        with self._draws:
            return whole / 2 + float(self.rng.uniform(0, whole / 2))
