"""Forecasts as programs and people meet them: the client over a real port, and the command line."""

from __future__ import annotations

import asyncio
import json

import pytest

from cluster import connect, connect_async
from cluster.client import Bot
from core.clock import DAY
from core.errors import InvalidInput, NoData, NotFound
from tests.cluster.conftest import Deployment
from tests.cluster.test_cli import Run, imported, run  # noqa: F401
from tests.serve_apps.world import GAP, POSTS, START


@pytest.fixture
def bot(deployment: Deployment) -> Bot:
    return connect(deployment.url)


def test_a_forecast_is_given_and_kept(bot: Bot) -> None:
    town = bot.channels["@town"]
    found = town.forecast("views_gained", days=7)
    assert [p.horizon_days for p in found.points] == [1, 7]
    assert found.origin <= START + POSTS * GAP
    ledger = town.forecast_ledger("views_gained")
    assert {e.point for e in ledger.entries} >= set(found.points)
    assert ledger.pending == len(ledger.entries)
    with pytest.raises(NoData, match="no day of subscribers is known"):
        town.forecast()
    with pytest.raises(NotFound):
        bot.channels["@nowhere"].forecast()
    for days in (0, 10_000):
        with pytest.raises(InvalidInput):
            town.forecast("views_gained", days=days)


def test_the_awaited_client_gets_the_same(deployment: Deployment, bot: Bot) -> None:
    async def ask() -> tuple[object, ...]:
        async with connect_async(deployment.url) as there:
            town = there.channels["@town"]
            return await town.forecast("views_gained", 7), await town.forecast_ledger("views_gained", 1)

    forecast, ledger = asyncio.run(ask())
    town = bot.channels["@town"]
    assert (forecast, ledger) == (town.forecast("views_gained", 7), town.forecast_ledger("views_gained", 1))


@pytest.mark.usefixtures("imported")
def test_the_command_speaks_to_people_and_programs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    from core.clock import SystemClock

    monkeypatch.setattr(SystemClock, "now", lambda self: 1_736_121_600 + 12 * DAY)
    code, out, err = run("forecast", "sim01", "--days", "7")
    assert (code, err) == (0, "")
    assert "7 d" in out
    assert "from: " in out
    code, out, _ = run("forecast", "sim01", "--days", "7", "--json")
    assert [point["horizon_days"] for point in json.loads(out)["points"]] == [1, 7]
    code, out, _ = run("forecast", "sim01", "--ledger")
    assert (code, "not due yet" in out) == (0, True)
    code, _, err = run("forecast", "sim01", "--metric", "reach")
    assert (code, "use one of subscribers, views_gained" in err) == (1, True)
