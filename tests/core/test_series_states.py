"""States of streaming detectors: the last one counts, services do not see each other's, rollback takes it back."""

from __future__ import annotations

import pickle

import pytest

from core.store.database import Database
from core.store.series import SeriesStates


def test_a_series_never_stored_has_no_state(database: Database) -> None:
    assert SeriesStates(database).load("drift", "a") is None


def test_the_state_stored_last_is_the_state(database: Database) -> None:
    states = SeriesStates(database)
    for n in (1, 2):
        with database.write() as connection:
            states.save(connection, "drift", "a", f'{{"n": {n}}}', now=n)
    assert states.load("drift", "a") == '{"n": 2}'


def test_services_keep_their_states_apart(database: Database) -> None:
    states = SeriesStates(database)
    with database.write() as connection:
        states.save(connection, "drift", "a", "1", now=1)
        states.save(connection, "anomaly", "a", "2", now=1)
        states.save(connection, "anomaly", "b", "3", now=1)
    assert states.all("anomaly") == {"a": "2", "b": "3"}
    assert states.all("nobody") == {}
    assert states.some("anomaly", ["b", *(f"missing {i}" for i in range(1200))]) == {"b": "3"}


def test_a_transaction_that_fails_leaves_the_state_before(database: Database) -> None:
    states = SeriesStates(database)
    with database.write() as connection:
        states.save(connection, "drift", "a", "1", now=1)
    with pytest.raises(RuntimeError, match="killed"), database.write() as connection:
        states.save(connection, "drift", "a", "2", now=2)
        raise RuntimeError("killed")
    assert states.load("drift", "a") == "1"


def test_a_name_that_the_table_cannot_hold_is_refused(sqlite_database: Database) -> None:
    with (
        sqlite_database.write() as connection,
        pytest.raises(ValueError, match="129 characters"),
    ):
        SeriesStates(sqlite_database).save(connection, "drift", "x" * 129, "1", now=1)


def test_it_travels_to_another_process(sqlite_database: Database) -> None:
    with sqlite_database.write() as connection:
        SeriesStates(sqlite_database).save(connection, "drift", "a", "1", now=1)
    assert pickle.loads(pickle.dumps(SeriesStates(sqlite_database))).load("drift", "a") == "1"
