"""Fixtures that every layer's tests share: databases on both engines, a clock moved by hand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from core.clock import ManualClock
from core.store.database import Database
from tests.databases import Schemas, empty_sqlite

# Made-up cases are the same in every run: what fails, fails again.
settings.register_profile("fixed", derandomize=True)
settings.load_profile("fixed")

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("ANALYTICBOT_TEST_DATA", ROOT.parent / "shared" / "data"))
PG_URL = os.environ.get("TEST_DATABASE_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(time=1_735_689_600)  # 2025-01-01 00:00 UTC


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Iterator[Database]:
    """An empty SQLite database with all tables."""
    database = empty_sqlite(tmp_path / "test.db")
    yield database
    database.dispose()


@pytest.fixture(scope="session")
def pg_schemas() -> Iterator[Schemas]:
    """Schemas in the PostgreSQL server; skips, and says so, where none answers."""
    schemas = Schemas(PG_URL)
    if not schemas.answers():
        pytest.skip(f"no PostgreSQL at {PG_URL} (set TEST_DATABASE_URL)")
    yield schemas
    schemas.close()


@pytest.fixture
def pg_database(pg_schemas: Schemas) -> Iterator[Database]:
    """An empty schema of its own in the PostgreSQL server."""
    with pg_schemas.database() as database:
        yield database


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.pg)])
def database(request: pytest.FixtureRequest) -> Database:
    """Every store test runs on both engines."""
    name = "sqlite_database" if request.param == "sqlite" else "pg_database"
    result: Database = request.getfixturevalue(name)
    return result


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The development data beside the checkout; skips where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"no development data at {DATA} (set ANALYTICBOT_TEST_DATA)")
    return DATA
