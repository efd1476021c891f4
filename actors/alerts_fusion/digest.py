"""The alerts of a period at one look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from actors.alerts_fusion import due
from actors.alerts_fusion.quiet import clock_time
from core.buckets import shown
from core.schemas.alerts import OPEN, SEVERITIES, Alert, Digest


def digest(alerts: Sequence[Alert], undelivered: int, since: int, until: int, timezone: str = "UTC") -> Digest:
    """alerts: those raised in the period, resolved in it, or still open."""
    fresh = [a for a in alerts if since <= a.raised_at < until]
    ended = [a for a in alerts if a.resolved_at is not None and since <= a.resolved_at < until]
    still = [a for a in alerts if a.state in OPEN]
    ranked = sorted(
        {a.id: a for a in (*fresh, *still)}.values(),
        key=lambda a: (-SEVERITIES.index(a.severity), -a.raised_at, a.id),
    )
    by_severity: dict[str, int] = {s: n for s in reversed(SEVERITIES) if (n := sum(a.severity == s for a in fresh))}
    by_channel = dict(sorted(Counter(a.channel for a in fresh).items(), key=lambda item: (-item[1], item[0])))
    head = (
        f"{len(fresh)} raised, {len(ended)} resolved, {len(still)} open, "
        f"{shown(since, timezone)} to {shown(until, timezone)}"
    )
    lines = [f"[{a.severity}] {a.state}: {a.rule} in {a.channel}: {a.reason}" for a in ranked]
    if undelivered:
        lines.append(f"{undelivered} notices could not be delivered")
    return Digest(
        since=since,
        until=until,
        raised=len(fresh),
        resolved=len(ended),
        open=len(still),
        by_severity=by_severity,
        by_channel=by_channel,
        alerts=tuple(ranked),
        undelivered=undelivered,
        text="\n".join((head, *lines)),
    )


def last_due(at: str, timezone: str, now: int) -> int:
    """The newest moment by now at which a daily digest was due. at: HH:MM."""
    return due.last_due(clock_time(at, "digest_at"), timezone, now)
