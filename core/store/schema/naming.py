"""How constraints are named, and columns that many tables begin with."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Integer, MetaData, String

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts by itself only in INTEGER PRIMARY KEY.
Seq = BigInteger().with_variant(Integer, "sqlite")


def post_key() -> tuple[Column[Any], ...]:
    """A post, as the beginning of a primary key."""
    return (
        Column("channel_id", BigInteger, primary_key=True, autoincrement=False),
        Column("post_id", BigInteger, primary_key=True, autoincrement=False),
    )


def version_key() -> tuple[Column[Any], ...]:
    """A model version, as the beginning of a primary key."""
    return (
        Column("model", String(64), primary_key=True),
        Column("version", Integer, primary_key=True, autoincrement=False),
    )
