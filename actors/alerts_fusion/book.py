"""Writes what happened to alerts: the alert, what is told of it and when time will change it, in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from actors.alerts_fusion import lifecycle, telling
from actors.alerts_fusion.watch import Happened
from core.schemas.alerts import About, Alert
from core.schemas.channels import Channel
from core.store.alert_rules import AlertStore, StoredRule
from core.store.deliveries import DeliveryStore
from core.store.ids import derived_id


@dataclass(frozen=True)
class Book:
    """The one writer of alerts and of what is told about them."""

    alerts: AlertStore
    deliveries: DeliveryStore

    def enter(self, connection: Connection, channel: Channel, happened: Sequence[Happened], now: int) -> Counter[str]:
        """Raise, bring up to date and resolve, in order; how many were raised and resolved."""
        counts: Counter[str] = Counter()
        for one in happened:
            known = self.alerts.open_of(connection, one.rule.id, channel.id)
            if one.step == "raise" and not known:
                self._write(connection, channel, one.rule, _raised(one, channel, now), "raised", now)
                counts["raised"] += 1
            elif known and one.step in ("raise", "hold"):
                self._write(connection, channel, one.rule, _held(known[0][1], one, now), None, now)
            elif known and one.step == "resolve":
                ended = lifecycle.resolved(known[0][1], one.reason, now)
                self._write(connection, channel, one.rule, ended, "resolved", now)
                counts["resolved"] += 1
        return counts

    def change(
        self, connection: Connection, channel: Channel, rule: StoredRule, alert: Alert, about: About | None, now: int
    ) -> None:
        """Write an alert as somebody or time left it, and tell it where `about` says so."""
        self._write(connection, channel, rule, alert, about, now)

    def _write(
        self, connection: Connection, channel: Channel, rule: StoredRule, alert: Alert, about: About | None, now: int
    ) -> None:
        self.alerts.save(connection, channel.id, alert, lifecycle.next_at(alert, rule.spec))
        if about is not None:
            told = telling.notices(about, alert, rule.spec, now, channel.timezone)
            telling.write(self.deliveries, connection, told, channel.timezone)


def _raised(one: Happened, channel: Channel, now: int) -> Alert:
    spec = one.rule.spec
    return Alert(
        id=derived_id("alert", one.rule.id, channel.id, one.since, now),
        rule_id=one.rule.id,
        rule=spec.name,
        channel=channel.name,
        metric=one.metric,
        kind=spec.kind,
        severity=spec.severity,
        state="firing",
        onset=one.since,
        until=one.until,
        raised_at=now,
        reason=one.reason,
        unit=one.unit,
        value=one.found.value,
        reference=one.found.reference,
        n=one.found.n,
        findings=one.findings,
        updated_at=now,
    )


def _held(alert: Alert, one: Happened, now: int) -> Alert:
    """The alert with what is known now; of findings those that joined are added."""
    if one.findings:
        joined = tuple(dict.fromkeys((*alert.findings, *one.findings)))
        fresh = [i for i in one.findings if i not in alert.findings]
        reason = f"{alert.reason}; {one.reason}" if fresh else alert.reason
        return replace(alert, findings=joined, reason=reason, until=one.until, updated_at=now)
    found = one.found
    return replace(
        alert,
        value=found.value,
        reference=found.reference,
        n=found.n,
        reason=one.reason,
        until=one.until,
        updated_at=now,
    )
