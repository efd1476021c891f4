"""What the alerts domain offers."""

from __future__ import annotations

from typing import Protocol

from core.protocols.common import Consumer
from core.schemas.alerts import (
    Alert,
    AlertReport,
    AlertRule,
    AlertState,
    Backtest,
    DefaultRules,
    Delivery,
    DeliveryReport,
    DeliveryState,
    Digest,
    Live,
    RuleSpec,
    Target,
)
from core.schemas.report_schedules import ReportSchedule, ReportSpec, ReportsSent


class AlertsService(Consumer, Protocol):
    """Watches rules, and tells people until somebody took it."""

    def rules(self, channel: str | None = None) -> tuple[AlertRule, ...]:
        """Stored rules by name; of one channel: its own and those for every channel. NotFound."""
        ...

    def rule(self, rule_id: str) -> AlertRule:
        """One rule; NotFound."""
        ...

    def add_rule(self, spec: RuleSpec, key: str, enabled: bool = True) -> AlertRule:
        """Store a rule; the same key gives the same rule.

        InvalidInput (unknown metric, wrong unit, unknown zone, a private address ...), NotConfigured (a target that
        nobody set up), NoData and InsufficientData (a channel that cannot be judged), NotFound (its channel).
        """
        ...

    def add_defaults(self, channel: str, targets: tuple[Target, ...] = (Target("log"),)) -> DefaultRules:
        """Store the usual rules that suit a channel's data; called again it adds what suits since, and gives all.

        NotFound; InsufficientData when none of them suits.
        """
        ...

    def switch_rule(self, rule_id: str, enabled: bool) -> AlertRule:
        """Let a rule rest, which ends its open alerts, or watch again; NotFound."""
        ...

    def remove_rule(self, rule_id: str) -> AlertRule:
        """Take a rule away and end its open alerts; what it raised stays. NotFound."""
        ...

    def backtest(self, spec: RuleSpec, days: int = 90) -> Backtest:
        """What a rule, stored or not, would have raised in the last days of stored history."""
        ...

    def alerts(
        self,
        channel: str | None = None,
        state: AlertState | None = None,
        since: int | None = None,
        limit: int = 100,
    ) -> tuple[Alert, ...]:
        """Newest first; since: raised then or later, or open since then."""
        ...

    def alert(self, alert_id: str) -> Alert:
        """One alert; NotFound."""
        ...

    def acknowledge(self, alert_id: str, by: str) -> Alert:
        """Somebody takes care of it: it is not escalated. Refused when it is resolved."""
        ...

    def snooze(self, alert_id: str, until: int) -> Alert:
        """Say nothing of it until then; told again if it is still there. Refused when it is resolved."""
        ...

    def digest(self, since: int, until: int | None = None) -> Digest:
        """Alerts of a period, until now unless given."""
        ...

    def deliveries(
        self, alert_id: str | None = None, state: DeliveryState | None = None, limit: int = 100
    ) -> tuple[Delivery, ...]:
        """What was told or is to be told, newest first."""
        ...

    def retry_delivery(self, delivery_id: str) -> Delivery:
        """Try one that was given up again; NotFound, Refused unless it is dead."""
        ...

    def live(self, channel: str) -> Live:
        """Fresh posts: how fast they are read, beside what is usual at their age."""
        ...

    def schedule_report(self, spec: ReportSpec, key: str) -> ReportSchedule:
        """Send a report again and again; the same key gives the same schedule. Due for the first time after now.

        InvalidInput (unknown zone, form, a private address ...), NotConfigured (a target that nobody set up), NotFound
        (a channel, a watch list).
        """
        ...

    def report_schedules(self) -> tuple[ReportSchedule, ...]:
        """All, by the moment at which they are due."""
        ...

    def report_schedule(self, schedule_id: str) -> ReportSchedule:
        """One; NotFound."""
        ...

    def remove_report_schedule(self, schedule_id: str) -> ReportSchedule:
        """Send no more of it; what is written for delivery stays. NotFound."""
        ...

    def send_reports(self) -> ReportsSent:
        """Write the reports that are due for delivery."""
        ...

    def catch_up(self) -> AlertReport:
        """Judge what newly arrived data and the passing of time bring about."""
        ...

    def deliver(self) -> DeliveryReport:
        """Send what is due."""
        ...
