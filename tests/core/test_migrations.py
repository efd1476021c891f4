from __future__ import annotations

import multiprocessing
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from core.errors import StorageBroken
from core.store import schema
from core.store.database import Database
from core.store.migrate import check, head, proposal, revision, upgrade


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'fresh' / 'new.db'}")
    yield database
    database.dispose()


@pytest.fixture
def emptied(database: Database) -> Database:
    """On both engines, without the tables that the shared fixture makes."""
    schema.metadata.drop_all(database.engine)
    return database


def ddl(database: Database) -> dict[str, str]:
    with database.read() as c:
        rows = c.execute(
            text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name != 'alembic_version'")
        )
        return {name: re.sub(r"\s+", " ", sql) for name, sql in rows}


def test_migrated_tables_are_those_of_the_schema(emptied: Database) -> None:
    assert upgrade(emptied) == head() == revision(emptied)
    assert check(emptied) == ()
    assert proposal(emptied).count("op.") == 0
    assert set(inspect(emptied.engine).get_table_names()) == {*schema.metadata.tables, "alembic_version"}


def test_on_sqlite_even_the_statements_are_the_same(fresh: Database, sqlite_database: Database) -> None:
    upgrade(fresh)
    migrated, made = ddl(fresh), ddl(sqlite_database)
    assert migrated.keys() == made.keys()
    for name, statement in made.items():
        assert sorted(re.split(r", ?", migrated[name])) == sorted(re.split(r", ?", statement)), name


def test_upgrading_again_does_nothing(emptied: Database) -> None:
    upgrade(emptied)
    with emptied.write() as c:
        c.execute(schema.tenant.insert(), {"id": "kept", "created_at": 1})
    upgrade(emptied)
    with emptied.read() as c:
        assert c.execute(text("SELECT id FROM tenant")).scalar_one() == "kept"


def _upgrade(url: str, start: object, results: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    try:
        results.put(upgrade(Database(url)))  # type: ignore[attr-defined]
    except Exception as error:
        results.put(repr(error))  # type: ignore[attr-defined]


def test_processes_that_upgrade_at_once_wait_for_each_other(emptied: Database) -> None:
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(3), context.Queue()
    workers = [context.Process(target=_upgrade, args=(emptied.url, start, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    answers = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert answers == [head()] * 3
    assert check(emptied) == ()


def test_a_difference_of_the_tables_is_named(emptied: Database) -> None:
    upgrade(emptied)
    with emptied.write() as c:
        c.execute(text("ALTER TABLE mention RENAME COLUMN dst_name TO dst"))
    problems = check(emptied)
    assert any("add column mention dst_name" in line for line in problems), problems


def test_a_database_that_was_never_migrated_says_what_to_run(emptied: Database) -> None:
    (problem,) = check(emptied)
    assert "analyticbot db upgrade" in problem


def test_tables_of_unknown_origin_are_left_alone(database: Database) -> None:
    with pytest.raises(StorageBroken, match="no migration made"):
        upgrade(database)


def test_a_newer_databases_revision_is_refused(emptied: Database) -> None:
    upgrade(emptied)
    with emptied.write() as c:
        c.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StorageBroken, match="newer version"):
        upgrade(emptied)
    assert "9999" in check(emptied)[0]


def test_a_damaged_file_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.db"
    path.write_bytes(b"no database at all" * 300)
    with pytest.raises(StorageBroken, match="damaged"):
        upgrade(Database(f"sqlite:///{path}"))
    (problem,) = check(Database(f"sqlite:///{path}"))
    assert "damaged" in problem
    assert "\n" not in problem


def test_damage_inside_the_file_is_found(fresh: Database) -> None:
    upgrade(fresh)
    path = Path(fresh.url.removeprefix("sqlite:///"))
    with fresh.write() as c:
        c.exec_driver_sql("INSERT INTO tenant SELECT hex(randomblob(20)), 1 FROM alembic_version, pragma_function_list")
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.close()
    fresh.dispose()
    data = bytearray(path.read_bytes())
    data[-6000:-2000] = b"\xff" * 4000
    path.write_bytes(data)
    assert any("damaged" in line or "malformed" in line for line in check(Database(fresh.url)))


def test_a_locked_database_is_one_clear_line(fresh: Database) -> None:
    upgrade(fresh)
    path = fresh.url.removeprefix("sqlite:///")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with fresh.read() as c:
        c.exec_driver_sql("PRAGMA busy_timeout=50")  # of the pooled connection that upgrade takes next
    with pytest.raises(StorageBroken, match=r"locked .*another process"):
        upgrade(fresh)
    holder.rollback()
    holder.close()
    assert upgrade(fresh) == head()


def test_a_read_only_database_is_one_clear_line(fresh: Database) -> None:
    upgrade(fresh)
    with fresh.read() as c:
        c.exec_driver_sql("PRAGMA query_only=ON")  # what SQLite says of a read-only file, whoever runs the test
    refusal = pytest.raises(StorageBroken, match=r"readonly database \(the file or its folder may not be written")
    with refusal, fresh.write() as c:
        c.execute(schema.tenant.insert(), {"id": "x", "created_at": 1})


def test_a_place_that_cannot_hold_a_database_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageBroken, match=r"folder of the database cannot be made .*file"):
        upgrade(Database(f"sqlite:///{tmp_path / 'file' / 'x' / 'a.db'}"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageBroken, match=r"unable to open database file \(does its folder exist"):
        upgrade(Database(f"sqlite:///{tmp_path / 'folder'}"))


def test_a_server_that_does_not_answer_is_one_clear_line() -> None:
    with pytest.raises(StorageBroken, match="DATABASE_URL"):
        upgrade(Database("postgresql+psycopg://nobody@127.0.0.1:1/none"))
