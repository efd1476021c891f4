from __future__ import annotations

import pickle
import threading

import pytest
from sqlalchemy import select, update

from core.errors import StorageBroken
from core.store import schema
from core.store.database import Database, StoredClock


def test_database_travels_as_its_url(database: Database) -> None:
    copy = pickle.loads(pickle.dumps(database))
    with database.write() as c:
        c.execute(schema.tenant.insert(), {"id": "a", "created_at": 1})
    with copy.read() as c:
        assert c.execute(select(schema.tenant.c.id)).scalars().all() == ["a"]
    copy.dispose()


def test_an_error_rolls_the_whole_transaction_back(database: Database) -> None:
    with pytest.raises(KeyError), database.write() as c:
        c.execute(schema.tenant.insert(), {"id": "a", "created_at": 1})
        raise KeyError
    with database.read() as c:
        assert c.execute(select(schema.tenant)).all() == []


def test_concurrent_read_modify_write_loses_no_update(sqlite_database: Database) -> None:
    offset = schema.consumer_offset
    with sqlite_database.write() as c:
        c.execute(offset.insert(), {"consumer": "x", "seq": 0})

    def count() -> None:
        for _ in range(25):
            with sqlite_database.write() as c:
                n = c.execute(select(offset.c.seq)).scalar_one()
                c.execute(update(offset).values(seq=n + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with sqlite_database.read() as c:
        assert c.execute(select(offset.c.seq)).scalar_one() == 100


def test_a_damaged_file_is_named(tmp_path) -> None:
    path = tmp_path / "bad.db"
    path.write_bytes(b"this is no database" * 500)
    with pytest.raises(StorageBroken, match="damaged"), Database(f"sqlite:///{path}").read() as c:
        c.execute(select(schema.tenant))


def test_replay_time_is_read_from_the_database(database: Database) -> None:
    stored = StoredClock(database)
    assert stored.now() > 1_700_000_000
    with database.write() as c:
        c.execute(schema.replay_clock.insert(), {"id": 1, "now": 42, "source": "x", "state": "{}"})
    assert stored.now() == 42
