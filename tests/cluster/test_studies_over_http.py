"""Closer looks as programs and people meet them: the client over a real port, and the command line."""

from __future__ import annotations

import asyncio
import json
import zipfile
from pathlib import Path

import httpx2
import pytest

from cluster import connect, connect_async
from cluster.client import Bot
from core.clock import DAY
from core.errors import InvalidInput, NoData, NotFound
from tests.cluster.conftest import Deployment
from tests.cluster.test_cli import Run, imported, run  # noqa: F401
from tests.serve_apps.world import START


@pytest.fixture
def bot(deployment: Deployment) -> Bot:
    return connect(deployment.url)


def test_one_channel_is_looked_at(bot: Bot) -> None:
    town = bot.channels["@town"]
    curve = town.curve(5)
    assert [point.age_h for point in curve.points] == [1, 4, 12, 24, 48, 72, 168]
    assert curve.points[3].views is not None
    assert town.mix(days=19).posts > 40
    assert {sign.name for sign in town.quality(days=19).signs} >= {"unexplained_jump", "even_pace"}
    assert town.trend("posts", days=19).n == 19
    assert town.before_after("posts", START + 9 * DAY, days=8).difference.n == 16
    assert town.percentiles(days=10).figures
    assert [row.er for row in town.posts(limit=2, order="er")] == [None, None]
    with pytest.raises(NoData, match="which posts of '@town' are ads"):
        town.ads(price=100)
    with pytest.raises(NotFound):
        town.curve(99_999)
    with pytest.raises(InvalidInput):
        town.trend("consistency")
    with pytest.raises(InvalidInput):
        town.ads(price=-1)


def test_reports_come_as_files(bot: Bot, deployment: Deployment) -> None:
    page = bot.channels["@town"].report(days=10)
    assert page.startswith(b"<!doctype html>")
    assert bot.channels["@town"].report("csv", 10).startswith(b'"channel","kind"')
    assert bot.channels["@town"].report("parquet", 10)[:4] == b"PAR1"
    assert bot.channels["@town"].report("pdf", 10).startswith(b"%PDF-")
    answer = httpx2.get(f"{deployment.url}/v1/channels/@town/report", params={"days": 10})
    assert answer.headers["content-type"].startswith("text/html")
    assert 'filename="_town.html"' in answer.headers["content-disposition"]
    assert httpx2.get(f"{deployment.url}/v1/channels/@town/report", params={"format": "doc"}).status_code == 422


def test_watch_lists_and_competitors(bot: Bot) -> None:
    assert bot.watch_lists.put("a b?c", ["@town", "@elsewhere"]).channels == ("@town", "@elsewhere")
    assert [each.name for each in bot.watch_lists.lists()] == ["a b?c"]
    assert bot.watch_lists.get("a b?c").channels[1] == "@elsewhere"
    with pytest.raises(NoData, match="none of them is stored: @elsewhere"):
        bot.channels["@town"].competition(watch_list="a b?c")
    assert bot.channels["@town"].candidates().candidates == ()
    with pytest.raises(InvalidInput):
        bot.watch_lists.put("x", [])
    bot.watch_lists.remove("a b?c")
    bot.watch_lists.remove("a b?c")
    with pytest.raises(NotFound):
        bot.watch_lists.get("a b?c")
    with pytest.raises(InvalidInput):
        bot.compare(["@town"])


def test_the_awaited_client_gets_the_same(deployment: Deployment, bot: Bot) -> None:
    async def ask() -> tuple[object, ...]:
        async with connect_async(deployment.url) as there:
            town = there.channels["@town"]
            await there.watch_lists.put("w", ["@town"])
            return await town.mix(days=10), await town.report("csv", 10), await there.watch_lists.remove("w")

    mix, report, nothing = asyncio.run(ask())
    assert (mix, report, nothing) == (bot.channels["@town"].mix(days=10), bot.channels["@town"].report("csv", 10), None)


# ---------------------------------------------------------------- the command line


@pytest.fixture
def then(monkeypatch: pytest.MonkeyPatch, imported: Path) -> None:  # noqa: F811
    """The end of the simulated days."""
    from core.clock import SystemClock

    monkeypatch.setattr(SystemClock, "now", lambda self: 1_736_121_600 + 12 * DAY)


@pytest.mark.usefixtures("then")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("posts sim01 --limit 3 --order er", "of usual"),
        ("posts sim01 --curve 5", "168 h"),
        ("mix sim01 --days 12", "others held equal"),
        ("ads sim01 --days 12 --price 50", "reach at 24 h"),
        ("quality sim01 --days 12", "unexplained_jump"),
        ("trend sim01 views_gained --days 12", "needs 14 days with a value"),
        ("trend sim01 posts --days 5 --at 2025-01-12", "needs 7 days"),
        ("percentiles sim01 --days 5", "needs 5 other channels"),
        ("compare sim01 sim02 --days 5", "posting_rate"),
        ("competitors sim01 --other sim02 --days 5", "share of voice"),
        ("competitors sim01 --find", "nearness"),
        ("watch-lists", "no watch lists"),
    ],
)
def test_every_command_speaks_to_people_and_programs(run: Run, words: str, told: str) -> None:  # noqa: F811
    code, out, err = run(*words.split())
    assert (code, err) == (0, "")
    assert told in out
    code, out, _ = run(*words.split(), "--json")
    assert code == 0
    json.loads(out)


@pytest.mark.usefixtures("then")
def test_watch_lists_by_command(run: Run) -> None:  # noqa: F811
    assert run("watch-lists", "set", "mine", "sim02", "@x")[1] == "mine: sim02, @x\n"
    assert "mine" in run("watch-lists")[1]
    assert "sim02" in run("competitors", "sim01", "--watch-list", "mine", "--days", "5")[1]
    assert run("watch-lists", "remove", "mine")[0] == 0
    assert run("competitors", "sim01", "--watch-list", "mine")[0] == 1


@pytest.mark.usefixtures("then")
def test_reports_by_command(run: Run, tmp_path: Path) -> None:  # noqa: F811
    page = tmp_path / "r.html"
    assert run("report", "sim01", "-o", str(page), "--days", "5")[0] == 0
    assert page.read_text().startswith("<!doctype html>")
    book = tmp_path / "r.xlsx"
    assert run("report", "sim01", "-o", str(book), "--days", "5")[0] == 0
    assert zipfile.is_zipfile(book)
    code, _, err = run("report", "sim01", "-o", str(tmp_path / "r.doc"))
    assert (code, err) == (1, "analyticbot: no report as 'doc': use one of json, csv, parquet, html, pdf, xlsx\n")
    assert not (tmp_path / "r.doc").exists()
    assert "is no day" in run("trend", "sim01", "posts", "--at", "yesterday")[2]
