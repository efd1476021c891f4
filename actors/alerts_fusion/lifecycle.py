"""What becomes of an alert: raised, acknowledged, snoozed, escalated, resolved. Alerts in, alerts out."""

from __future__ import annotations

from dataclasses import replace

from core.clock import DAY
from core.errors import InvalidInput, Refused
from core.schemas.alerts import SEVERITIES, About, Alert, RuleSpec

LONGEST_SNOOZE_S = 90 * DAY
#: an alert about a post is open for so long, and for as long again after a reminder
POST_OPEN_S = DAY


def acknowledged(alert: Alert, by: str, now: int) -> Alert:
    """Somebody takes care of it; the first word counts."""
    _open(alert, "acknowledged")
    if alert.state == "acknowledged":
        return alert
    return replace(
        alert, state="acknowledged", acknowledged_at=now, acknowledged_by=by, snoozed_until=None, updated_at=now
    )


def snoozed(alert: Alert, until: int, now: int) -> Alert:
    """Nothing is said of it until then."""
    _open(alert, "snoozed")
    if not now < until <= now + LONGEST_SNOOZE_S:
        raise InvalidInput(f"snooze until {until}: between now ({now}) and 90 days from it", field="until")
    return replace(alert, state="snoozed", snoozed_until=until, updated_at=now)


def resolved(alert: Alert, why: str, now: int) -> Alert:
    """It is over."""
    return replace(alert, state="resolved", resolved_at=now, resolution=why, updated_at=now)


def passed(alert: Alert, spec: RuleSpec, now: int) -> tuple[Alert, About | None]:
    """What time alone does by now: the end of a snooze, an escalation, or the end of a post's alert; one a call."""
    if alert.state == "snoozed" and alert.snoozed_until is not None and alert.snoozed_until <= now:
        ends_at = None if alert.ends_at is None else now + POST_OPEN_S
        return replace(alert, state="firing", snoozed_until=None, ends_at=ends_at, updated_at=now), "reminded"
    due = _escalation(alert, spec)
    if due is not None and due <= now:
        step = SEVERITIES[min(SEVERITIES.index(alert.severity) + 1, len(SEVERITIES) - 1)]
        return replace(alert, severity=step, escalated_at=now, updated_at=now), "escalated"
    if alert.state in ("firing", "acknowledged") and alert.ends_at is not None and alert.ends_at <= now:
        return resolved(alert, "the post is a day old news", now), "resolved"
    return alert, None


def next_at(alert: Alert, spec: RuleSpec) -> int | None:
    """When `passed` will have something to do."""
    if alert.state in ("snoozed", "resolved"):
        return alert.snoozed_until if alert.state == "snoozed" else None
    return min((at for at in (_escalation(alert, spec), alert.ends_at) if at is not None), default=None)


def _escalation(alert: Alert, spec: RuleSpec) -> int | None:
    waiting = alert.state == "firing" and alert.acknowledged_at is None and alert.escalated_at is None
    return alert.raised_at + spec.escalation.after_s if waiting and spec.escalation is not None else None


def _open(alert: Alert, what: str) -> None:
    if alert.state == "resolved":
        raise Refused(f"alert {alert.id} is resolved and cannot be {what}", alert=alert.id)
