"""What alerts say: one plain sentence with the figures that they rest on."""

from __future__ import annotations

from collections.abc import Sequence

from actors.alerts_fusion.measure import Measured
from core.buckets import shown
from core.schemas.alerts import Alert, Notice, RuleSpec
from core.schemas.analytics import AnomalyFinding
from core.schemas.channels import Channel
from core.schemas.forecasts import LedgerEntry

#: notices that a digest spells out
MOST_LISTED = 50
_EXCERPT, _BEFORE = 120, 40  # characters of an excerpt, and of what it shows before the place
_VERBS = {"raised": "", "escalated": "not acknowledged: ", "reminded": "still: ", "resolved": "over: "}
_REFERENCES = {
    "same_window_4_weeks": "the median of the same days in the 4 weeks before",
    "previous_period": "the equal period before",
}


def value_reason(spec: RuleSpec, unit: str, found: Measured, since: int, until: int, timezone: str) -> str:
    """Why a measured value is beyond a rule's threshold."""
    assert found.value is not None
    first, last = shown(since, timezone), shown(until - 1, timezone)[:10]
    days = first if spec.window_days == 1 else f"{first} to {last}"
    text = f"{spec.metric} on {days}: {figure(found.value, unit)}"
    if spec.kind == "change" and found.measure is not None and found.reference is not None:
        than = _REFERENCES[spec.reference]
        text += f", {found.measure:+.0%} against {than} ({figure(found.reference, unit)})"
    elif spec.kind == "baseline" and found.measure is not None and found.reference is not None:
        text += f", {found.measure:.2f} times the median of the 28 windows before ({figure(found.reference, unit)})"
    elif found.foretold is not None and found.measure is not None:
        text += f", {_forecast(found.foretold, found.measure, unit, timezone)}"
    text += f"; the rule's bound is {spec.direction} {_bound(spec, unit)}"
    if found.away is not None:
        text += f" and {spec.noise:g} usual deviations (it is {found.away:+.1f})"
    return f"{text}; n {found.n}"


def age_reason(spec: RuleSpec, hours: float, newest: int, timezone: str) -> str:
    """Why data is stale."""
    return f"no data since {shown(newest, timezone)} ({hours:.1f} h): the rule's bound is {spec.threshold:g} hours"


def finding_reason(findings: tuple[AnomalyFinding, ...], timezone: str) -> str:
    """What the anomaly service found."""
    lines = [
        f"{f.metric} {f.direction} ({f.kind}, {f.severity}) from {shown(f.onset, timezone)}: "
        f"{f.observed:,.6g} instead of {f.expected:,.6g}"
        for f in findings
    ]
    return "; ".join(lines)


def post_reason(channel: Channel, published_at: int, hits: Sequence[str], text: str | None, at: int = 0) -> str:
    """What a post is, and the part of its text around a place."""
    said = f" wrote {', '.join(hits)}" if hits else " published"
    part = excerpt(text, at)
    return f"{channel.name}{said} at {shown(published_at, channel.timezone)}" + ("" if part is None else f": “{part}”")


def overperformance(times: float, views: float, usual: float, age_h: float, n: int) -> str:
    """How much more a post was read than usual."""
    return f"{views:,.0f} views after {age_h:.1f} h, {times:.2f} times the usual {usual:,.0f} (n {n})"


def excerpt(text: str | None, at: int = 0) -> str | None:
    """One line of at most 120 characters of a text, around a place in it."""
    if text is None or not text.strip():
        return None
    begin = at - _BEFORE if at > _EXCERPT - _BEFORE else 0
    line = " ".join(text[begin:].split())
    cut = line if len(line) <= _EXCERPT else line[: _EXCERPT - 1].rstrip() + "…"
    return f"…{cut}" if begin else cut


def subject(notice: Notice) -> str:
    """A heading, one line."""
    if notice.report is not None:
        return f"{notice.report.schedule}: {notice.report.channel}".replace("\n", " ")
    if notice.alert is None:
        return f"{len(notice.notices)} alerts"
    a = notice.alert
    return f"[{a.severity}] {_VERBS[notice.about]}{a.rule} in {a.channel}".replace("\n", " ")


def told(about: str, alert: Alert, timezone: str) -> str:
    """The text of a notice about one alert."""
    head = f"[{alert.severity}] {_VERBS[about]}{alert.rule} in {alert.channel}"
    if about == "resolved":
        return f"{head}\n{alert.resolution}\nraised {shown(alert.raised_at, timezone)}: {alert.reason}"
    return f"{head}\n{alert.reason}"


def digested(notices: tuple[Notice, ...], until: int, timezone: str) -> str:
    """The text of several notices together; of very many the first ones."""
    listed = [notice.text for notice in notices[:MOST_LISTED]]
    if len(notices) > MOST_LISTED:
        listed.append(f"and {len(notices) - MOST_LISTED} more")
    return "\n\n".join((f"{len(notices)} notices by {shown(until, timezone)}", *listed))


def figure(value: float, unit: str) -> str:
    """A number for a person, with its unit."""
    if unit == "fraction":
        return f"{value:.2%}"
    if unit == "1/day":
        return f"{value:.2%} a day"
    number = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.4g}"
    return f"{number} {unit}"


def _bound(spec: RuleSpec, unit: str) -> str:
    assert spec.threshold is not None
    if spec.kind == "change":
        return f"{spec.threshold:+.0%}"
    if spec.kind == "forecast":
        return f"{spec.threshold:g} half-widths"
    return f"{spec.threshold:g} times" if spec.kind == "baseline" else figure(spec.threshold, unit)


def _forecast(said: LedgerEntry, away: float, unit: str, timezone: str) -> str:
    point = said.point
    band = f"95 % between {figure(point.lo95, unit)} and {figure(point.hi95, unit)}"
    days = "a day" if point.horizon_days == 1 else f"{point.horizon_days} days"
    when = f"forecast {shown(said.made_at, timezone)}, {days} ahead"
    return f"expected {figure(point.mean, unit)} ({band}; {when}), {away:+.2f} half-widths of the band away"
