"""Which alerts of a model began and which ended, from those that were open and a report of its objectives. Pure.

An alert begins when a rule of its severity fires, and ends when every rule of that severity is quiet again: "not
enough data" is neither, so that a night in which nobody asks ends nothing. While a page of an objective is open no
ticket of it begins; a ticket that was open stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

from actors.adaptive_learning.monitoring.slo import burning, missed
from core.schemas.monitoring import AlertChange, AlertSeverity, BoundStatus, SloReport, SloStatus
from core.store.alerts import Open

_State = Literal["firing", "quiet", "unknown"]


def changes(model: str, open_alerts: Open, report: SloReport) -> tuple[AlertChange, ...]:
    """What is to be stored and told, pages first; `seq` is given when it is stored."""
    found: list[AlertChange] = []
    standing = set(open_alerts)
    for slo, severity, state, reason in _judged(report):
        key = (slo, severity)
        if state == "firing" and key not in standing and (slo, "page") not in standing:
            standing.add(key)
            found.append(AlertChange(model, slo, severity, "begun", report.at, reason))
        elif state == "quiet" and key in standing:
            standing.remove(key)
            found.append(AlertChange(model, slo, severity, "ended", report.at, reason))
    return tuple(found)


def _judged(report: SloReport) -> Iterator[tuple[str, AlertSeverity, _State, str]]:
    for severity in get_args(AlertSeverity):
        for status in report.events:
            yield status.name, severity, *_of_events(status, severity)
        for bound in report.outcomes:
            yield bound.name, severity, *_of_bound(bound, severity)


def _of_events(status: SloStatus, severity: AlertSeverity) -> tuple[_State, str]:
    rules = [rule for rule in status.rules if rule.severity == severity]
    firing = [rule for rule in rules if rule.state == "firing"]
    if firing:
        return "firing", burning(status, firing[0])
    left = "" if status.budget_left is None else f": {status.budget_left:.0%} of the error budget left"
    quiet = all(rule.state == "quiet" for rule in rules)
    return ("quiet", f"{status.name}: the error budget burns no longer too fast{left}") if quiet else ("unknown", "")


def _of_bound(bound: BoundStatus, severity: AlertSeverity) -> tuple[_State, str]:
    if bound.state == "insufficient":
        return "unknown", ""
    if bound.state == severity or bound.state == "page":  # what is urgent is a ticket too
        return "firing", missed(bound)
    return "quiet", f"{missed(bound)}: no longer {'' if bound.state == 'met' else 'urgently '}missed"
