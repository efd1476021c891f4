"""Reads columns of readings out of SQL as text, one row a post: a third of the time that rows of numbers take.

A driver makes a Python object of every value it returns. Here the engine joins the values of a post into one text,
and numpy parses the texts of all posts at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import BigInteger, ColumnElement, Connection, Select, Table, Text, and_, cast, func, select

from core.history import Ints
from core.schemas.channels import Precision
from core.schemas.predictions import Metric
from core.store import schema

IN_CHUNK = 500  # ids in one IN list; engines and drivers limit the number of parameters


def view_readings(connection: Connection, channel_id: int, *, published_from: int | None = None) -> Ints:
    """Post id, time, views and precision of every reading of views: 4 x rows, in order of (post id, time).

    The precision is EXACT or TIME_ASSUMED; readings that were rounded count as exact in time, which they are.

    published_from: only those of posts published then or later.
    """
    table = schema.post_snapshot
    return _read(connection, table, table.c.views, _of_channel(table, channel_id, published_from))


def view_readings_of(connection: Connection, channel_id: int, post_ids: Sequence[int]) -> Ints:
    """The same of some posts."""
    table, parts = schema.post_snapshot, [np.zeros((4, 0), dtype=np.int64)]
    ordered = sorted(int(i) for i in post_ids)
    for start in range(0, len(ordered), IN_CHUNK):
        where = [table.c.channel_id == channel_id, table.c.post_id.in_(ordered[start : start + IN_CHUNK])]
        parts.append(_read(connection, table, table.c.views, where))
    return np.concatenate(parts, axis=1)


def count_readings(
    connection: Connection, channel_id: int, metric: Metric, *, published_from: int | None = None
) -> Ints:
    """The same of another count; reactions are the sum over the kinds in each reading."""
    if metric != "reactions":
        table = schema.post_snapshot
        return _read(connection, table, table.c[metric], _of_channel(table, channel_id, published_from))
    table = schema.reaction_snapshot
    total = cast(func.sum(table.c.count), BigInteger)
    where = _of_channel(table, channel_id, published_from)
    query = select(table.c.post_id, table.c.ts, total).where(*where).group_by(table.c.post_id, table.c.ts)
    rows = np.array(tuples(connection, query.order_by(table.c.post_id, table.c.ts)), dtype=np.int64).reshape(-1, 3)
    return np.vstack([rows.T, np.full(len(rows), int(Precision.EXACT))])


def _of_channel(table: Table, channel_id: int, published_from: int | None) -> list[ColumnElement[bool]]:
    where, post = [table.c.channel_id == channel_id], schema.post
    if published_from is not None:
        recent = select(post.c.post_id).where(post.c.channel_id == channel_id, post.c.published_at >= published_from)
        where.append(table.c.post_id.in_(recent))
    return where


def newest_counts(connection: Connection, channel_id: int, as_of: int | None) -> Sequence[tuple[Any, ...]]:
    """(post id, views, forwards, replies) of every post: each count's newest reading, None where there is none.

    In order of publication, then id.
    """
    post, table = schema.post, schema.post_snapshot
    known = [] if as_of is None else [table.c.ts <= as_of]
    newest = [
        select(column)
        .where(table.c.channel_id == post.c.channel_id, table.c.post_id == post.c.post_id, column.is_not(None), *known)
        .order_by(table.c.ts.desc())
        .limit(1)
        .scalar_subquery()
        for column in (table.c.views, table.c.forwards, table.c.replies)
    ]
    published = [] if as_of is None else [post.c.published_at <= as_of]
    query = select(post.c.post_id, *newest).where(post.c.channel_id == channel_id, *published)
    return tuples(connection, query.order_by(post.c.published_at, post.c.post_id))


def _read(
    connection: Connection, table: Table, value: ColumnElement[Any], where: Sequence[ColumnElement[bool]]
) -> Ints:
    wanted = and_(*where, value.is_not(None))
    assumed = func.count().filter(table.c.precision == int(Precision.TIME_ASSUMED))
    query = (
        select(table.c.post_id, func.count(), _joined(table.c.ts), _joined(value), assumed)
        .where(wanted)
        .group_by(table.c.post_id)
        .order_by(table.c.post_id)
    )
    rows = tuples(connection, query)
    if not rows:
        return np.zeros((4, 0), dtype=np.int64)
    ids, n, ts, values, uncertain = zip(*rows, strict=True)
    lengths, unsure = np.array(n, dtype=np.int64), np.array(uncertain, dtype=np.int64)
    precision = np.repeat(np.where(unsure == lengths, int(Precision.TIME_ASSUMED), int(Precision.EXACT)), lengths)
    found = np.stack([np.repeat(np.array(ids, dtype=np.int64), lengths), _parsed(ts), _parsed(values), precision])
    if ((unsure > 0) & (unsure < lengths)).any():
        _mark(connection, table, wanted, found)
    # Engines join values in the order in which they read them, which is that of the key, but do not promise it.
    if (np.diff(found[1]) < 0)[np.diff(found[0]) == 0].any():
        found = found[:, np.lexsort((found[1], found[0]))]
    return found


def _mark(connection: Connection, table: Table, wanted: ColumnElement[bool], found: Ints) -> None:
    """Set the precision reading by reading, for sources where some posts have both kinds of time."""
    query = select(table.c.post_id, table.c.ts).where(wanted, table.c.precision == int(Precision.TIME_ASSUMED))
    unsure = {(row[0], row[1]) for row in tuples(connection, query)}
    keys = zip(found[0].tolist(), found[1].tolist(), strict=True)
    found[3] = [int(Precision.TIME_ASSUMED if key in unsure else Precision.EXACT) for key in keys]


def _joined(column: ColumnElement[Any]) -> ColumnElement[str]:
    return func.aggregate_strings(cast(column, Text), ",")


def _parsed(texts: Sequence[str]) -> Ints:
    return np.fromstring(",".join(texts), dtype=np.int64, sep=",")


def tuples(connection: Connection, query: Select[Any]) -> Sequence[tuple[Any, ...]]:
    """The driver's own tuples: wrapping them as rows doubles the time, and a predictor waits for this."""
    cursor = connection.execute(query).cursor
    return cursor.fetchall() if cursor is not None else []
