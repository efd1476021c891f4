"""Services killed with -9 under load lose nothing and double nothing; and the audit that says so would notice."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx2
import numpy as np
import pytest

from bench import _power_audit, power_loss
from bench._power_load import FEEDBACK, PREDICTIONS, Asked, Call, Load
from core.schemas.predictions import Quantiles
from core.store.database import Database
from core.store.predictions import PredictionLog, PredictionRow

ANSWER = {"views_24h": Quantiles(1.0, 2.0, 3.0)}


@pytest.mark.cluster
@pytest.mark.timeout(300)
def test_two_kills_lose_nothing() -> None:
    result = power_loss.run(2, 7, channels=3)
    assert result["kills"] == 2
    assert result["unanswered"] > 0
    assert result["acknowledged"]["predictions"] > 0
    assert [bar for bar, kept in result["bars"].items() if not kept] == []


def row(number: int, **changes: Any) -> PredictionRow:
    values = {"id": f"{number:032d}", "key": f"prediction-{number}", "answer": ANSWER}
    plain = {"channel_id": 1, "post_id": 5, "model": "engagement", "version": 1, "arm": "stable", "epoch": 1}
    times = {"known_age_h": 0, "published_at": 0, "as_of": 0, "latency_ms": 1.0, "at": 0}
    return PredictionRow(**(plain | times | values | changes))


def told(stored: PredictionRow) -> Call:
    targets = {"views_24h": {"q10": 1.0, "q50": 2.0, "q90": 3.0}}
    return Call(str(stored.key), PREDICTIONS, {}, {"id": stored.id, "version": 1, "targets": targets}, 1)


def test_the_audit_notices_what_is_lost_doubled_or_changed(sqlite_database: Database) -> None:
    good, changed = row(1), row(2, answer={"views_24h": Quantiles(1.0, 2.5, 3.0)})
    twice, lost = row(3, key=None), row(4)
    PredictionLog(sqlite_database).append([good, changed, twice])
    found = _power_audit.predictions(sqlite_database, [told(good), told(replace(changed)), told(lost)])
    assert found.expected == 3
    assert found.missing == ["prediction-4"]
    assert [line.split(":")[0] for line in found.differing] == ["prediction-2"]
    assert found.doubled == [f"no key, {twice.id}"]
    assert not found.whole


class Server:
    """Loses the connection after it stored, now and then, as a killed one does."""

    def __init__(self, lose: int, forget: bool = False) -> None:
        self.stored: dict[str, str] = {}
        self.asked, self.lose, self.forget = 0, lose, forget

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        key = request.headers["Idempotency-Key"]
        if self.forget:
            self.stored.pop(key, None)
        known = key in self.stored
        name = self.stored.setdefault(key, f"{self.asked:032d}")
        if self.asked == self.lose:
            raise httpx2.ReadError("gone", request=request)
        if request.url.path == FEEDBACK:
            return httpx2.Response(200, json=[{"id": name, "duplicate": known, "status": "accepted"}])
        targets = {"views_24h": {"q10": 1.0, "q50": 2.0, "q90": 3.0}}
        return httpx2.Response(200, json={"id": name, "version": 1, "targets": targets})


class Calling(Load):
    """Load over a server in this process."""

    server: Server

    def _client(self, url: str) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url=url, transport=httpx2.MockTransport(self.server))


def calling(server: Server) -> Calling:
    posts = tuple(Asked(at, "@town", at) for at in range(1, 50))
    load = Calling(posts, lambda: 40, np.random.default_rng(3))
    load.server = server
    return load


def test_an_unanswered_request_is_sent_again_with_its_key_and_settles() -> None:
    load = calling(Server(lose=4))
    load.waiting.extend(load._new() for _ in range(6))
    asyncio.run(load.settle("http://server"))
    assert load.counts["unanswered"] == 1
    assert load.unsettled == []
    assert load.wrong == []
    assert len(load.server.stored) == 6


def test_an_acknowledged_request_that_gets_another_answer_is_wrong() -> None:
    load = calling(Server(lose=0, forget=True))
    load.waiting.extend(load._new() for _ in range(3))
    asyncio.run(load.settle("http://server"))
    load._look_again()
    asyncio.run(load.settle("http://server"))
    assert len(load.wrong) > 0
