"""The prediction log: one row a key, cursors that miss nothing, pairs only where both versions spoke."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from core.errors import NotFound
from core.schemas.predictions import Quantiles, Target
from core.store import schema
from core.store.database import Database
from core.store.ids import new_id
from core.store.predictions import PredictionLog, PredictionRow
from tests.tallies import first_attempts


def answer(q50: float) -> dict[Target, Quantiles]:
    return {"views_24h": Quantiles(q50 / 2, q50, q50 * 2)}


def row(**changes: object) -> PredictionRow:
    base = PredictionRow(
        id=new_id(),
        channel_id=5,
        post_id=11,
        model="engagement",
        version=1,
        arm="stable",
        epoch=1,
        known_age_h=0,
        published_at=100,
        as_of=100,
        answer=answer(80.0),
        latency_ms=3.5,
        at=100,
        features=np.array([1.0, np.nan, 3.0], dtype=np.float32).tobytes(),
        usual=75.0,
        history=12,
        warnings=("only 12 posts",),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def settle(database: Database, prediction_id: str, value: float, target: str = "views_24h") -> None:
    values = {"prediction_id": prediction_id, "target": target, "value": value, "known_at": 9, "joined_at": 9}
    with database.write() as connection:
        database.append(connection, schema.outcome, [values])


def test_a_row_comes_back_as_it_was_stored(database: Database) -> None:
    log = PredictionLog(database)
    (stored,) = log.append([row(key="k")])
    assert log.get(stored.id) == replace(stored, key=None)
    assert log.by_key("k") == stored
    assert stored.seq > 0


def test_the_same_key_gives_the_stored_row_and_no_second_one(database: Database) -> None:
    log = PredictionLog(database)
    (first,) = log.append([row(key="k")])
    again, other = log.append([row(key="k", version=2), row(key="other")])
    assert again == first
    assert other.id != first.id
    assert first_attempts(database)[0] == 2


def test_a_key_repeated_inside_one_group_is_stored_once(database: Database) -> None:
    a, b = PredictionLog(database).append([row(key="k"), row(key="k")])
    assert a == b


def test_writers_racing_for_a_key_agree_on_one_row(database: Database) -> None:
    log = PredictionLog(database)
    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(lambda _: log.append([row(key="k")])[0].id, range(12)))
    assert len(set(ids)) == 1


def test_keys_and_rows_belong_to_their_tenant(database: Database) -> None:
    mine, theirs = PredictionLog(database), PredictionLog(database, tenant="other")
    (stored,) = mine.append([row(key="k")])
    (foreign,) = theirs.append([row(key="k")])
    assert foreign.id != stored.id
    assert theirs.predictions_of(5, [11]) == (replace(foreign, key=None),)
    with pytest.raises(NotFound):
        theirs.get(stored.id)


def test_recent_features_are_the_newest_rows_oldest_first(database: Database) -> None:
    log = PredictionLog(database)
    log.append([row(features=np.full(2, i, dtype=np.float32).tobytes()) for i in range(5)])
    log.append([row(features=None, arm="failed", answer={}), row(version=2)])
    assert log.recent_features("engagement", 1, 3).tolist() == [[2, 2], [3, 3], [4, 4]]
    assert log.recent_features("engagement", 9, 3).shape == (0, 0)


def test_predictions_and_outcomes_of_posts_are_found(database: Database) -> None:
    log = PredictionLog(database)
    first, second, _ = log.append([row(post_id=1), row(post_id=2), row(post_id=3)])
    settle(database, second.id, 42.0)
    assert [r.id for r in log.predictions_of(5, [2, 1, 2])] == [first.id, second.id]
    assert [(o.target, o.value) for o in log.outcomes(second.id)] == [("views_24h", 42.0)]
    assert log.outcomes(first.id) == ()
