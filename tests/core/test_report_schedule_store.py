"""Schedules of reports and their files on both engines."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from core.errors import NotFound
from core.schemas.report_schedules import ReportSpec
from core.schemas.reports import Report
from core.store.database import Database
from core.store.report_schedules import ReportFiles, ReportScheduleStore

SPEC = ReportSpec("weekly", ("@town",))
FILE = Report("town.html", "text/html", b"\x00<p>\xff")


def test_a_schedule_is_stored_once_a_key_and_due_in_order(database: Database) -> None:
    store = ReportScheduleStore(database)
    later, sooner = store.add(SPEC, "a", 5, 30), store.add(replace(SPEC, name="b"), "b", 5, 20)
    assert store.add(SPEC, "a", 6, 99) == later
    assert store.all() == (sooner, later)
    assert store.all(due_by=20) == (sooner,)
    assert ReportScheduleStore(database, "other").all() == ()
    with pytest.raises(NotFound):
        ReportScheduleStore(database, "other").get(later.id)


def test_what_is_done_is_due_no_more_and_what_is_removed_does_not_stand(database: Database) -> None:
    store = ReportScheduleStore(database)
    found = store.add(SPEC, "a", 5, 20)
    with database.write() as connection:
        assert store.stands(connection, found)
        store.done(connection, found.id, 20, 40)
        assert not store.stands(connection, found)  # somebody wrote this period meanwhile
    now = store.get(found.id)
    assert (now.last_due, now.next_due, store.all(due_by=39)) == (20, 40, ())
    store.remove(found.id)
    with database.write() as connection:
        assert not store.stands(connection, now)
    assert store.add(SPEC, "a", 5, 20).id != found.id  # the key may be used again


def test_a_file_is_kept_as_it_was_first_made(database: Database) -> None:
    files = ReportFiles(database)
    with database.write() as connection:
        kept = files.add(connection, "f", FILE, 5)
        assert files.add(connection, "f", replace(FILE, content=b"other"), 6) == kept
    assert (kept.bytes, kept.sha256) == (5, sha256(FILE.content).hexdigest())
    assert files.get("f") == FILE
    assert ReportFiles(database, "other").get("f") is None
    assert (files.forget(5), files.forget(6), files.get("f")) == (0, 1, None)
