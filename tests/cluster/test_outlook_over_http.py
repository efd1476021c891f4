"""Times, links and scenarios as programs and people meet them: the client over a real port, and the command line."""

from __future__ import annotations

import asyncio
import json

import pytest
from sqlalchemy import func, select

from cluster import connect, connect_async
from cluster.client import Bot
from core.clock import DAY
from core.errors import InsufficientData, InvalidInput, NoData, NotConfigured, NotFound
from core.store import schema
from tests.cluster.conftest import Deployment
from tests.cluster.test_cli import Run, imported, run  # noqa: F401


@pytest.fixture
def bot(deployment: Deployment) -> Bot:
    return connect(deployment.url)


def logged(deployment: Deployment) -> int:
    with deployment.world.database.read() as connection:
        return connection.execute(select(func.count()).select_from(schema.prediction)).scalar_one()


def test_times_and_links_are_asked_by_name(bot: Bot) -> None:
    town = bot.channels["@town"]
    found = town.best_times()
    assert len(found.cells) == 168
    assert found.posts >= 40
    assert town.best_times() == found
    assert town.seasonality().week.missing is not None
    for ask in (town.influence, town.mention_lift, bot.links.influence, bot.links.mention_lift):
        with pytest.raises(NoData):
            ask()
    with pytest.raises(InsufficientData) as gap:
        bot.links.cross_channel("views_gained", ["@town", "a/b c"])
    assert (gap.value.needed, gap.value.have) == (2, 0)
    with pytest.raises(NotFound, match="@nowhere"):
        bot.links.cross_channel(channels=["@town", "@nowhere"])
    with pytest.raises(NotConfigured):
        town.context()
    with pytest.raises(InsufficientData):
        town.best_times(days=5)
    for ask in (bot.channels["@nowhere"].best_times, bot.channels["@nowhere"].mention_lift):
        with pytest.raises(NotFound):
            ask()
    with pytest.raises(InvalidInput):
        town.best_times(days=0)


def test_a_scenario_asks_the_model_in_service_and_leaves_no_trace(bot: Bot, deployment: Deployment) -> None:
    before = logged(deployment)
    found = bot.channels["@town"].scenario(hour=19)
    assert found.target == "views_24h"
    assert found.posts == (60, 60)
    assert found.planned.mean == pytest.approx(found.usual.mean, rel=0.05)  # this model looks at nothing
    assert "0 posts at 19 h" in found.warnings[0]
    assert found.fatigue.elasticity.value is None
    assert logged(deployment) == before
    with pytest.raises(InvalidInput, match="changes something"):
        bot.channels["@town"].scenario()
    with pytest.raises(NotFound):
        bot.channels["@nowhere"].scenario(hour=19)


def test_the_awaited_client_gets_the_same(deployment: Deployment, bot: Bot) -> None:
    async def ask() -> tuple[object, ...]:
        async with connect_async(deployment.url) as there:
            town = there.channels["@town"]
            return await town.best_times(), await town.seasonality()

    town = bot.channels["@town"]
    assert asyncio.run(ask()) == (town.best_times(), town.seasonality())


@pytest.mark.usefixtures("imported")
def test_the_commands_speak_to_people_and_programs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    from core.clock import SystemClock

    monkeypatch.setattr(SystemClock, "now", lambda self: 1_736_121_600 + 12 * DAY)
    code, out, err = run("seasonality", "sim01")
    assert (code, err) == (0, "")
    assert "rhythm of the week: needs 6 complete weeks" in out
    code, out, _ = run("influence", "--json")
    assert code == 0
    assert {rank["channel"] for rank in json.loads(out)["ranks"]} <= {"sim01", "sim02", "sim03"}
    code, _, err = run("best-times", "sim01")
    assert (code, "needed 40" in err) == (1, True)
    code, _, err = run("context", "sim01")
    assert (code, "ANALYTICBOT_CALENDAR" in err) == (1, True)
    code, _, err = run("cross-channel")
    assert (code, "needed 2" in err) == (1, True)
    code, out, _ = run("mention-lift")
    assert (code, "other moments" in out) == (0, True)
