"""A stored roll-out is proved from its log; whatever was changed, moved or cut off is noticed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import delete, select, update

from actors.adaptive_learning.deployment import audit
from bench._rollout_tape import Tape, Traffic, tape
from core.errors import NotFound, StorageBroken
from core.schemas.rollouts import RolloutConfig
from core.store import schema
from core.store.rollouts import DIGEST, NO_HASH, chained, digest

CONFIG = RolloutConfig(hold_s=(5.0, 5.0, 5.0), deadline_s=600.0)
LOG = schema.rollout_event


@pytest.fixture
def made() -> Tape:
    found = tape(CONFIG, seed=5)
    found.run(200, Traffic(rps=60.0, pairs_per_s=2.0))
    return found


def change(made: Tape, number: int, /, **values: object) -> None:
    with made.store.database.write() as connection:
        connection.execute(update(LOG).where(LOG.c.seq == number).values(**values))


def rehash(made: Tape) -> None:
    """What a forger does who knows how the chain is made."""
    with made.store.database.write() as connection:
        previous = NO_HASH
        for row in connection.execute(select(LOG).order_by(LOG.c.seq)).all():
            hashed = chained(previous, row.event, row.record, row.commands)
            values = {"previous_hash": previous, "hash": hashed}
            connection.execute(update(LOG).where(LOG.c.seq == row.seq).values(values))
            previous = hashed


def test_an_untouched_log_is_proved(made: Tape) -> None:
    assert audit.verify(made.store, made.id) == len(made.rows())


def test_a_roll_out_under_way_is_proved_too() -> None:
    going = tape(CONFIG, seed=5)
    going.run(7, Traffic())
    assert audit.verify(going.store, going.id) == len(going.rows())


def test_rows_with_a_hash_alone_show_the_phase_reason_and_holds_before_them(made: Tape) -> None:
    rows, found = made.rows(), audit.events(made.store, made.id)
    assert [event.seq for event in found] == list(range(1, len(rows) + 1))
    assert (found[0].phase, found[0].event["kind"]) == ("preparing", "requested")
    assert (found[-1].phase, found[-1].reason) == ("promoted", made.record.reason)
    for row, before, event in zip(rows[1:], found, found[1:], strict=False):
        if row.record.startswith(DIGEST):
            assert (event.phase, event.reason, event.holds) == (before.phase, before.reason, before.holds)
    assert {event.phase for event in found} >= {"canary_10", "canary_50", "canary_100"}


@pytest.mark.parametrize("column", ["event", "record", "commands"])
def test_a_changed_row_breaks_the_chain(made: Tape, column: str) -> None:
    change(made, 12, **{column: getattr(made.rows()[11], column) + " "})
    with pytest.raises(StorageBroken, match="event 12 was changed"):
        audit.verify(made.store, made.id)


def test_a_figure_changed_together_with_its_hashes_leads_elsewhere(made: Tape) -> None:
    row = next(row for row in made.rows() if '"kind":"counts"' in row.event and row.record.startswith(DIGEST))
    change(made, row.seq, event=row.event.replace('"stable_n":', '"stable_n":1'))
    rehash(made)
    with pytest.raises(StorageBroken, match=f"event {row.seq} does not lead to its record") as caught:
        audit.verify(made.store, made.id)
    assert "another version" in str(caught.value)


def test_a_forged_record_does_not_follow_from_its_event(made: Tape) -> None:
    row = next(row for row in made.rows() if row.record.startswith(DIGEST))
    change(made, row.seq, record=digest("{}"))
    rehash(made)
    with pytest.raises(StorageBroken, match=f"event {row.seq} does not lead"):
        audit.verify(made.store, made.id)


def test_an_event_of_another_version_cannot_be_read(made: Tape) -> None:
    change(made, 20, event='{"kind":"unheard_of"}')
    rehash(made)
    with pytest.raises(StorageBroken, match="event 20 cannot be read"):
        audit.verify(made.store, made.id)


def cut(made: Tape) -> None:
    with made.store.database.write() as connection:
        connection.execute(delete(LOG).where(LOG.c.seq > len(made.rows()) - 2))


def gap(made: Tape) -> None:
    with made.store.database.write() as connection:
        connection.execute(delete(LOG).where(LOG.c.seq == 15))


def swap(made: Tape) -> None:
    for old, new in ((15, 9000), (16, 15), (9000, 16)):
        change(made, old, seq=new)


def empty(made: Tape) -> None:
    with made.store.database.write() as connection:
        connection.execute(delete(LOG))


@pytest.mark.parametrize("damage", [cut, gap, swap, empty])
@pytest.mark.parametrize("forged", [False, True])
def test_rows_cut_off_taken_out_or_moved_are_noticed(made: Tape, damage: Callable[[Tape], None], forged: bool) -> None:
    damage(made)
    if forged:
        rehash(made)
    with pytest.raises(StorageBroken):
        audit.verify(made.store, made.id)


def test_the_roll_out_s_own_record_must_be_where_the_log_ends(made: Tape) -> None:
    with made.store.database.write() as connection:
        record = made.store.load(made.id).record.replace('"phase":"promoted"', '"phase":"rolled_back"')
        connection.execute(update(schema.rollout).values(record=record))
    with pytest.raises(StorageBroken, match="not where the log ends"):
        audit.verify(made.store, made.id)


def test_an_unknown_roll_out_is_not_found(made: Tape) -> None:
    for ask in (audit.verify, audit.events):
        with pytest.raises(NotFound):
            ask(made.store, "nobody")
