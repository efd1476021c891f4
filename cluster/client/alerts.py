"""The alerts' part of both clients."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.client import alert_calls as calls
from cluster.client.transport import AsyncSender, Sender
from core.schemas.alerts import (
    Alert,
    AlertRule,
    AlertState,
    Backtest,
    DefaultRules,
    Delivery,
    DeliveryState,
    Digest,
    RuleSpec,
    Target,
)


class Alerts:
    """Rules, what they raised, and who was told."""

    def __init__(self, send: Sender) -> None:
        self._send = send

    def rules(self, channel: str | None = None) -> tuple[AlertRule, ...]:
        """By name; of one channel: its own and those for every channel."""
        return self._send(calls.alert_rules(channel))

    def rule(self, rule_id: str) -> AlertRule:
        """One rule."""
        return self._send(calls.alert_rule(rule_id))

    def add(self, spec: RuleSpec, *, enabled: bool = True, key: str | None = None) -> AlertRule:
        """Store a rule; InvalidInput, NotConfigured and InsufficientData say what would do instead."""
        return self._send(calls.add_alert_rule(spec, enabled, key))

    def add_defaults(self, channel: str, targets: Sequence[Target] = (Target("log"),)) -> DefaultRules:
        """Store the usual rules that suit a channel's data."""
        return self._send(calls.add_default_rules(channel, targets))

    def backtest(self, spec: RuleSpec, days: int = 90) -> Backtest:
        """What a rule would have raised on stored history; stores and tells nothing."""
        return self._send(calls.backtest(spec, days))

    def enable(self, rule_id: str) -> AlertRule:
        """Let a rule watch."""
        return self._send(calls.switch_alert_rule(rule_id, True))

    def disable(self, rule_id: str) -> AlertRule:
        """Let a rule rest, which ends its open alerts."""
        return self._send(calls.switch_alert_rule(rule_id, False))

    def remove(self, rule_id: str) -> AlertRule:
        """Take a rule away; what it raised stays."""
        return self._send(calls.remove_alert_rule(rule_id))

    def list(
        self, channel: str | None = None, state: AlertState | None = None, since: int | None = None, limit: int = 100
    ) -> tuple[Alert, ...]:
        """Newest first; since: raised then or later, or open since then."""
        return self._send(calls.alerts(channel, state, since, limit))

    def get(self, alert_id: str) -> Alert:
        """One alert."""
        return self._send(calls.alert(alert_id))

    def acknowledge(self, alert_id: str, by: str) -> Alert:
        """Take care of it; Refused when it is resolved."""
        return self._send(calls.acknowledge(alert_id, by))

    def snooze(self, alert_id: str, *, until: int | None = None, hours: float | None = None) -> Alert:
        """Say nothing of it until then, or for so long; Refused when it is resolved."""
        return self._send(calls.snooze(alert_id, until, hours))

    def digest(self, since: int | None = None, until: int | None = None) -> Digest:
        """Alerts of a period, the last 24 hours unless given."""
        return self._send(calls.digest(since, until))

    def deliveries(
        self, alert_id: str | None = None, state: DeliveryState | None = None, limit: int = 100
    ) -> tuple[Delivery, ...]:
        """What was told to whom, newest first."""
        return self._send(calls.deliveries(alert_id, state, limit))

    def retry(self, delivery_id: str) -> Delivery:
        """Try a delivery that was given up again."""
        return self._send(calls.retry_delivery(delivery_id))


class AsyncAlerts:
    """Like Alerts; every method is awaited."""

    def __init__(self, send: AsyncSender) -> None:
        self._send = send

    async def rules(self, channel: str | None = None) -> tuple[AlertRule, ...]:
        """By name; of one channel: its own and those for every channel."""
        return await self._send(calls.alert_rules(channel))

    async def rule(self, rule_id: str) -> AlertRule:
        """One rule."""
        return await self._send(calls.alert_rule(rule_id))

    async def add(self, spec: RuleSpec, *, enabled: bool = True, key: str | None = None) -> AlertRule:
        """Store a rule; InvalidInput, NotConfigured and InsufficientData say what would do instead."""
        return await self._send(calls.add_alert_rule(spec, enabled, key))

    async def add_defaults(self, channel: str, targets: Sequence[Target] = (Target("log"),)) -> DefaultRules:
        """Store the usual rules that suit a channel's data."""
        return await self._send(calls.add_default_rules(channel, targets))

    async def backtest(self, spec: RuleSpec, days: int = 90) -> Backtest:
        """What a rule would have raised on stored history; stores and tells nothing."""
        return await self._send(calls.backtest(spec, days))

    async def enable(self, rule_id: str) -> AlertRule:
        """Let a rule watch."""
        return await self._send(calls.switch_alert_rule(rule_id, True))

    async def disable(self, rule_id: str) -> AlertRule:
        """Let a rule rest, which ends its open alerts."""
        return await self._send(calls.switch_alert_rule(rule_id, False))

    async def remove(self, rule_id: str) -> AlertRule:
        """Take a rule away; what it raised stays."""
        return await self._send(calls.remove_alert_rule(rule_id))

    async def list(
        self, channel: str | None = None, state: AlertState | None = None, since: int | None = None, limit: int = 100
    ) -> tuple[Alert, ...]:
        """Newest first; since: raised then or later, or open since then."""
        return await self._send(calls.alerts(channel, state, since, limit))

    async def get(self, alert_id: str) -> Alert:
        """One alert."""
        return await self._send(calls.alert(alert_id))

    async def acknowledge(self, alert_id: str, by: str) -> Alert:
        """Take care of it; Refused when it is resolved."""
        return await self._send(calls.acknowledge(alert_id, by))

    async def snooze(self, alert_id: str, *, until: int | None = None, hours: float | None = None) -> Alert:
        """Say nothing of it until then, or for so long; Refused when it is resolved."""
        return await self._send(calls.snooze(alert_id, until, hours))

    async def digest(self, since: int | None = None, until: int | None = None) -> Digest:
        """Alerts of a period, the last 24 hours unless given."""
        return await self._send(calls.digest(since, until))

    async def deliveries(
        self, alert_id: str | None = None, state: DeliveryState | None = None, limit: int = 100
    ) -> tuple[Delivery, ...]:
        """What was told to whom, newest first."""
        return await self._send(calls.deliveries(alert_id, state, limit))

    async def retry(self, delivery_id: str) -> Delivery:
        """Try a delivery that was given up again."""
        return await self._send(calls.retry_delivery(delivery_id))
