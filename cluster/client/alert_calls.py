"""The questions about alerts, as `calls` has the others."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.client.calls import Call, _get, _name, _post
from core.codec import to_plain
from core.schemas.alerts import (
    Alert,
    AlertRule,
    AlertState,
    Backtest,
    DefaultRules,
    Delivery,
    DeliveryState,
    Digest,
    Live,
    RuleSpec,
    Target,
)


def alert_rules(channel: str | None) -> Call[tuple[AlertRule, ...]]:
    """Rules by name."""
    return _get(tuple[AlertRule, ...], "/v1/alerts/rules", channel=channel)


def alert_rule(rule_id: str) -> Call[AlertRule]:
    """One rule."""
    return _get(AlertRule, f"/v1/alerts/rules/{_name(rule_id)}")


def add_alert_rule(spec: RuleSpec, enabled: bool, key: str | None) -> Call[AlertRule]:
    """Store a rule."""
    return _post(AlertRule, "/v1/alerts/rules", {"rule": to_plain(spec), "enabled": enabled}, key)


def add_default_rules(channel: str, targets: Sequence[Target]) -> Call[DefaultRules]:
    """The usual rules for a channel."""
    body = {"channel": channel, "targets": [to_plain(target) for target in targets]}
    return _post(DefaultRules, "/v1/alerts/defaults", body)


def backtest(spec: RuleSpec, days: int) -> Call[Backtest]:
    """A rule on stored history."""
    return Call(Backtest, "POST", "/v1/alerts/backtest", {"days": days}, to_plain(spec))


def switch_alert_rule(rule_id: str, enabled: bool) -> Call[AlertRule]:
    """Let a rule watch or rest."""
    return Call(AlertRule, "PUT", f"/v1/alerts/rules/{_name(rule_id)}/enabled", body={"enabled": enabled})


def remove_alert_rule(rule_id: str) -> Call[AlertRule]:
    """Take a rule away."""
    return Call(AlertRule, "DELETE", f"/v1/alerts/rules/{_name(rule_id)}")


def alerts(channel: str | None, state: AlertState | None, since: int | None, limit: int) -> Call[tuple[Alert, ...]]:
    """What was raised, newest first."""
    return _get(tuple[Alert, ...], "/v1/alerts", channel=channel, state=state, since=since, limit=limit)


def alert(alert_id: str) -> Call[Alert]:
    """One alert."""
    return _get(Alert, f"/v1/alerts/{_name(alert_id)}")


def acknowledge(alert_id: str, by: str) -> Call[Alert]:
    """Take care of an alert."""
    return _post(Alert, f"/v1/alerts/{_name(alert_id)}/ack", {"by": by})


def snooze(alert_id: str, until: int | None, hours: float | None) -> Call[Alert]:
    """Say nothing of an alert for a while."""
    body = {name: value for name, value in (("until", until), ("hours", hours)) if value is not None}
    return _post(Alert, f"/v1/alerts/{_name(alert_id)}/snooze", body)


def digest(since: int | None, until: int | None) -> Call[Digest]:
    """Alerts of a period."""
    return _get(Digest, "/v1/alerts/digest", since=since, until=until)


def deliveries(alert_id: str | None, state: DeliveryState | None, limit: int) -> Call[tuple[Delivery, ...]]:
    """What was told to whom."""
    return _get(tuple[Delivery, ...], "/v1/alerts/deliveries", alert=alert_id, state=state, limit=limit)


def retry_delivery(delivery_id: str) -> Call[Delivery]:
    """Try one that was given up again."""
    return _post(Delivery, f"/v1/alerts/deliveries/{_name(delivery_id)}/retry")


def live(channel: str) -> Call[Live]:
    """Fresh posts."""
    return _get(Live, "/v1/live", channel=channel)
