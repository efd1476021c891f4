"""Who is told what about an alert, and when: decides the deliveries, and writes them into the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from actors.alerts_fusion import quiet, wording
from core.schemas.alerts import ON_POSTS, About, Alert, Notice, RuleSpec, Target
from core.store.deliveries import DeliveryStore
from core.store.ids import derived_id

#: posts that a rule tells one by one when they come at once; more are one digest
MOST_SINGLY = 3


@dataclass(frozen=True, slots=True)
class Told:
    """One notice to one target; digest: together with the others that wait for the same moment."""

    target: Target
    notice: Notice
    not_before: int
    digest: bool = False


def notices(about: About, alert: Alert, spec: RuleSpec, now: int, timezone: str) -> tuple[Told, ...]:
    """What has to be told; nothing of a snoozed alert, nor of an end that the rule does not want told or a post has."""
    silent = not spec.tell_resolved or spec.kind in ON_POSTS
    if alert.snoozed_until is not None or (about == "resolved" and silent):
        return ()
    held_until = quiet.ends(spec.quiet, alert.severity, now)
    text = wording.told(about, alert, timezone)
    return tuple(
        Told(
            target,
            Notice(delivery_id(about, alert, now, target), about, now, text, alert),
            now if held_until is None else held_until,
            held_until is not None and spec.quiet is not None and spec.quiet.then == "digest",
        )
        for target in _targets(about, alert, spec)
    )


def of_posts(raised: Sequence[tuple[Alert, str]], spec: RuleSpec, now: int) -> tuple[Told, ...]:
    """What one rule raised about posts at one time: one by one where they are few, else as one digest a target.

    raised: alerts with the zones of their channels.
    """
    told = [one for alert, timezone in raised for one in notices("raised", alert, spec, now, timezone)]
    if len(raised) <= MOST_SINGLY or any(one.digest for one in told):
        return tuple(told)
    grouped = []
    for target in dict.fromkeys(one.target for one in told):
        mine = [one for one in told if one.target == target]
        identity = derived_id("posts", target.kind, target.address, *(one.notice.id for one in mine))
        text = wording.digested(tuple(one.notice for one in mine), now, raised[0][1])
        listed = tuple(one.notice for one in mine[: wording.MOST_LISTED])
        grouped.append(Told(target, Notice(identity, "digest", now, text, notices=listed), mine[0].not_before))
    return tuple(grouped)


def delivery_id(about: About, alert: Alert, now: int, target: Target) -> str:
    """The same for the same thing told to the same target."""
    return derived_id("delivery", alert.id, about, now, target.kind, target.address)


def write(store: DeliveryStore, connection: Connection, told: Sequence[Told], timezone: str) -> None:
    """Into the outbox, in the transaction of what is told."""
    for one in told:
        if one.digest:
            _into_digest(store, connection, one, timezone)
        else:
            alert = one.notice.alert
            store.add(connection, None if alert is None else alert.id, one.target, one.notice, one.not_before)


def _into_digest(store: DeliveryStore, connection: Connection, told: Told, timezone: str) -> None:
    """One delivery gathers what waits for the end of the same quiet hours at a target."""
    identity = derived_id("digest", store.tenant, told.target.kind, told.target.address, told.not_before)
    known = store.pending(connection, identity)
    held = (*known.notices, told.notice) if known is not None else (told.notice,)
    text = wording.digested(held, told.not_before, timezone)
    notice = Notice(identity, "digest", told.notice.at, text, notices=held)
    if known is None:
        store.add(connection, None, told.target, notice, told.not_before)
    elif told.notice.id not in {n.id for n in known.notices}:
        store.rewrite(connection, replace(notice, at=known.at))


def _targets(about: About, alert: Alert, spec: RuleSpec) -> tuple[Target, ...]:
    own, beyond = spec.targets, spec.escalation.targets if spec.escalation is not None else ()
    if about == "escalated":
        return beyond or own
    if alert.escalated_at is not None:
        return tuple(dict.fromkeys((*own, *beyond)))
    return own
