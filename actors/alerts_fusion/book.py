"""Writes what happened to alerts: the alert, what is told of it and when time will change it, in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from actors.alerts_fusion import lifecycle, telling
from actors.alerts_fusion.posts import Seen
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
            if one.step in ("raise", "hold") and not known:  # hold: somebody ended it while this was being judged
                self._write(connection, channel, one.rule, _raised(one, channel, now), "raised", now)
                counts["raised"] += 1
            elif known and one.step != "resolve":
                self._write(connection, channel, one.rule, _held(known[0][1], one, now), None, now)
            elif known:
                ended = lifecycle.resolved(known[0][1], one.reason, now)
                self._write(connection, channel, one.rule, ended, "resolved", now)
                counts["resolved"] += 1
        return counts

    def publish(self, connection: Connection, rule: StoredRule, seen: Sequence[tuple[Channel, Seen]], now: int) -> int:
        """Raise an alert for each post that has none of this rule, and tell them together; how many were new."""
        alerts = [(channel, _of_post(rule, channel, one, now)) for channel, one in seen]
        fresh = [
            (alert, channel.timezone)
            for channel, alert in alerts
            if self.alerts.add(connection, channel.id, alert, lifecycle.next_at(alert, rule.spec))
        ]
        if fresh:
            told = telling.of_posts(fresh, rule.spec, now)
            telling.write(self.deliveries, connection, told, fresh[0][1])
        return len(fresh)

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


def _of_post(rule: StoredRule, channel: Channel, seen: Seen, now: int) -> Alert:
    spec = rule.spec
    return Alert(
        id=derived_id("alert", rule.id, channel.id, seen.key),
        rule_id=rule.id,
        rule=spec.name,
        channel=channel.name,
        metric="post" if spec.overperforms is None else "overperformance",
        kind=spec.kind,
        severity=spec.severity,
        state="firing",
        onset=seen.published_at,
        until=seen.at,
        raised_at=now,
        reason=seen.reason,
        unit="" if spec.overperforms is None else "ratio",
        value=seen.value,
        reference=seen.reference,
        n=seen.n,
        updated_at=now,
        post_id=seen.post_id,
        link=seen.link,
        ends_at=now + lifecycle.POST_OPEN_S,
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
