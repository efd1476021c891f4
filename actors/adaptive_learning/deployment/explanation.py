"""Says why a roll-out went as it did, in one screen: each step taken, on which evidence, what held it and how long."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from actors.adaptive_learning.deployment.events import Tick
from actors.adaptive_learning.deployment.judge import lines
from actors.adaptive_learning.deployment.record import Record, Stage, gates, name
from actors.adaptive_learning.deployment.record import status as status_of
from actors.adaptive_learning.deployment.retrace import Retraced, retrace
from core.codec import to_plain
from core.errors import InvalidInput
from core.schemas.rollouts import Explanation, Phase, RolloutStatus
from core.store.rollouts import NO_HASH, StoredEvent, chained

#: The certificate is a step of its own, between the last share and the promotion.
CERTIFIED = "certified"
_CERTIFIED = (Stage.ALIASING, Stage.SWAPPING, Stage.RELEASING)


def explain(status: RolloutStatus, rows: Sequence[StoredEvent], late_labels: int) -> Explanation:
    """The steps of a roll-out with their evidence; each row of the log is checked on the way.

    rows: the whole log, oldest first. late_labels: outcomes that came after the decision. `verified` is false where a
    row does not fit its hash or lead where it says, and where the log does not lead to `status`; steps are then those
    that the state machine takes on the events as far as they can be read.
    """
    held: defaultdict[str, float] = defaultdict(float)
    steps: list[dict[str, Any]] = []
    whole, last, seconds = _chained(rows), None, 0.0
    try:
        for at in retrace(rows):
            if isinstance(at.event, Tick):
                seconds += at.event.seconds
                for hold in at.before.holds:
                    held[str(hold)] += at.event.seconds
            if last is None or _where(at.record) != _where(at.before):
                steps.append(_step(at, seconds, first=last is None))
            whole, last = whole and at.identical, at.record
    except InvalidInput:
        whole = False
    ends_here = last is not None and status_of(last, status.started_at, status.updated_at) == status
    return Explanation(status, tuple(steps), dict(held), late_labels, whole and ends_here, len(rows))


def screen(explanation: Explanation) -> tuple[str, ...]:
    """An explanation as lines of text: two for each step, one for each hold, and what it rests on."""
    status = explanation.status
    shown = [f"roll-out {status.id}: {status.model} v{status.stable} → v{status.challenger}, {status.phase}"]
    for step in explanation.transitions:
        shown.append(f"{step['at_s']:9.0f} s  {step['from'] or 'asked for'} → {step['to']}: {step['reason']}")
        evidence = "; ".join(
            f"{line['name']} log e {line['log_e']:.2f} of {line['needed']:.2f} (n {line['n']})"
            for line in step["evidence"]
        )
        if evidence:
            shown.append(f"{'':13}{evidence}")
    shown += [f"held by {hold} for {seconds:.0f} s" for hold, seconds in sorted(explanation.held_s.items())]
    checked = "hashes and replay agree" if explanation.verified else "NOT VERIFIED: the log does not lead here"
    late = f"; {explanation.late_labels} outcomes came after the decision" if explanation.late_labels else ""
    return (*shown, f"{explanation.events} events, {checked}{late}")


def _chained(rows: Sequence[StoredEvent]) -> bool:
    previous = NO_HASH
    for seq, row in enumerate(rows, start=1):
        if row.seq != seq or row.hash != chained(previous, row.event, row.record, row.commands):
            return False
        previous = row.hash
    return True


def _where(record: Record) -> str:
    if record.phase is Phase.TRIAL and record.stage in _CERTIFIED:
        return CERTIFIED
    return name(record)


def _step(at: Retraced, seconds: float, *, first: bool) -> dict[str, Any]:
    return {
        "seq": at.row.seq,
        "at": at.row.at,
        "at_s": seconds,
        "from": "" if first else _where(at.before),
        "to": _where(at.record),
        "reason": at.record.reason,
        "evidence": () if first else _evidence(at.before, at.record),
        "hash": at.row.hash,
    }


def _evidence(before: Record, after: Record) -> tuple[dict[str, Any], ...]:
    """What the step left asked for, and the line that was nearest to condemning the canary."""
    if before.phase is not Phase.TRIAL or after.phase in (Phase.PROMOTED, Phase.ROLLED_BACK):
        return ()  # decided before: what is left is carrying it out
    found = lines(after.book, after.config)
    wanted = {f"safety:{gate}" for gate in gates(before)} if after.phase is Phase.TRIAL else set()
    asked = [line for line in found if line.name in wanted]
    against = [line for line in found if line.name.startswith("harm:") and line.name != "harm:together"]
    asked += sorted(against, key=lambda line: line.needed - line.log_e)[:1]
    return tuple(to_plain(line) for line in asked)
