"""Alerts as programs and people meet them: the client over a real port, and the command line."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from cluster import connect, connect_async
from cluster.client import Bot
from core.clock import HOUR
from core.errors import InsufficientData, InvalidInput, NotConfigured, NotFound, Refused
from core.schemas.alerts import QuietHours, RuleSpec, Target
from core.schemas.report_schedules import ReportSpec
from tests.cluster.conftest import Deployment
from tests.cluster.test_cli import Run, run, served  # noqa: F401

SPEC = RuleSpec("few posts", "threshold", "posting_rate", threshold=1000.0, channel="@town", window_days=2)
STALE = RuleSpec("stale", "threshold", "data_age", direction="above", threshold=1.0, channel="@town")


@pytest.fixture
def bot(deployment: Deployment) -> Bot:
    made = connect(deployment.url)
    for rule in made.alerts.rules():
        made.alerts.remove(rule.id)
    return made


def judged(deployment: Deployment, bot: Bot) -> str:
    """A rule that fires at once; the id of its alert."""
    rule = bot.alerts.add(STALE)
    deployment.world.clock.time += 3 * HOUR
    deployment.alerts.judge._swept_at = -float("inf")
    deployment.alerts.catch_up()
    (alert,) = [a for a in bot.alerts.list(state="firing") if a.rule_id == rule.id]
    return alert.id


def test_a_rule_is_tried_stored_switched_and_removed(bot: Bot) -> None:
    past = bot.alerts.backtest(SPEC, days=30)
    assert (past.alerts, past.channels[0].channel) == (1, "@town")
    assert past.channels[0].alerts[0].reason.startswith("posting_rate on ")
    rule = bot.alerts.add(SPEC, enabled=False, key="once")
    assert bot.alerts.add(SPEC, key="once") == rule
    assert not rule.enabled
    assert bot.alerts.enable(rule.id).enabled
    assert bot.alerts.rule(rule.id).spec == SPEC
    assert [r.id for r in bot.alerts.rules("@town")] == [rule.id]
    assert bot.alerts.rules("a/b c") == ()
    bot.alerts.disable(rule.id)
    bot.alerts.remove(rule.id)
    with pytest.raises(NotFound):
        bot.alerts.rule(rule.id)


def test_refusals_arrive_as_they_were_raised(bot: Bot) -> None:
    with pytest.raises(InvalidInput) as wrong:
        bot.alerts.add(replace(SPEC, metric="vtr", threshold=30.0))
    assert (wrong.value.details["field"], wrong.value.details["hint"]) == ("threshold", 0.3)
    with pytest.raises(InvalidInput, match="charisma"):
        bot.alerts.add(replace(SPEC, metric="charisma"))
    with pytest.raises(InvalidInput, match="Europe/Nowhere"):
        bot.alerts.add(replace(SPEC, quiet=QuietHours("22:00", "08:00", "Europe/Nowhere")))
    with pytest.raises(InsufficientData) as gap:
        bot.alerts.add(replace(SPEC, kind="change", threshold=-0.5, reference="previous_period", window_days=80))
    assert gap.value.needed == 160
    with pytest.raises(NotConfigured, match="WEBHOOK_SECRET"):
        bot.alerts.add(replace(SPEC, targets=(Target("webhook", "http://127.0.0.1/"),)))
    with pytest.raises(NotFound):
        bot.alerts.add(replace(SPEC, channel="@nowhere"))
    with pytest.raises(InvalidInput):
        bot.alerts.backtest(SPEC, days=1000)


def test_a_body_with_an_unknown_field_is_refused(deployment: Deployment) -> None:
    import httpx2

    body = {"rule": {"name": "r", "kind": "threshold", "metric": "posting_rate", "treshold": 1}}
    answer = httpx2.post(f"{deployment.url}/v1/alerts/rules", json=body)
    assert (answer.status_code, answer.json()["field"]) == (422, "rule.treshold")
    answer = httpx2.post(f"{deployment.url}/v1/alerts/rules", json={"rule": {"name": "r", "kind": "mood"}})
    assert (answer.status_code, answer.json()["field"]) == (422, "rule.kind")


def test_a_rule_on_forecasts_begins_its_ledger(deployment: Deployment, bot: Bot) -> None:
    fewer = RuleSpec("fewer", "forecast", "views_gained", channel="@town", horizon_days=14)
    rule = bot.alerts.add(fewer)
    assert (rule.spec.threshold, rule.spec.horizon_days, rule.not_judged) == (-1.0, 14, {})
    assert bot.alerts.backtest(fewer).channels[0].missing == (
        "no forecast was given yet for views_gained of @town, 14 days ahead"
    )
    deployment.alerts.judge._swept_at = deployment.alerts.forecasts._swept_at = -float("inf")
    deployment.alerts.catch_up()
    assert deployment.alerts.ask_forecasts() == 1
    given = bot.channels["@town"].forecast_ledger("views_gained").entries
    assert [entry.point.horizon_days for entry in given] == [1, 7, 14]
    assert bot.alerts.rule(rule.id).not_judged == {}
    with pytest.raises(InvalidInput, match="1, 7, 14, 30"):
        bot.alerts.add(replace(fewer, horizon_days=90))


def test_an_alert_is_acknowledged_and_snoozed(deployment: Deployment, bot: Bot) -> None:
    alert = judged(deployment, bot)
    assert bot.alerts.get(alert).state == "firing"
    assert bot.alerts.acknowledge(alert, "Ann").acknowledged_by == "Ann"
    assert bot.alerts.snooze(alert, hours=2).snoozed_until == deployment.world.clock.time + 2 * HOUR
    with pytest.raises(InvalidInput):
        bot.alerts.snooze(alert)
    assert bot.alerts.digest().open == 1
    (delivery,) = bot.alerts.deliveries(alert)
    assert (delivery.state, delivery.target.kind) == ("pending", "log")
    deployment.alerts.deliver()
    assert bot.alerts.deliveries(alert)[0].state == "sent"
    with pytest.raises(Refused):
        bot.alerts.retry(delivery.id)
    bot.alerts.remove(bot.alerts.rules()[0].id)
    with pytest.raises(Refused, match="resolved"):
        bot.alerts.acknowledge(alert, "Ben")
    with pytest.raises(NotFound):
        bot.alerts.get("nothing")


def test_fresh_posts_are_live(deployment: Deployment, bot: Bot) -> None:
    found = bot.channels["@town"].live()
    assert found.channel == "@town"
    assert found.reading_age_s is not None
    with pytest.raises(NotFound):
        bot.channels["@nowhere"].live()


def test_the_awaited_client_reads_the_same(deployment: Deployment) -> None:
    async def ask() -> None:
        async with connect_async(deployment.url) as waiting:
            assert isinstance(await waiting.alerts.list(), tuple)
            assert (await waiting.channels["@town"].live()).channel == "@town"

    asyncio.run(ask())


def test_a_report_is_scheduled_and_removed(deployment: Deployment, bot: Bot) -> None:
    spec = ReportSpec("weekly", ("@town",), timezone="Europe/Berlin", format="html")
    found = bot.reports.schedule(spec, key="once")
    assert bot.reports.schedule(spec, key="once") == found
    assert (found.spec, found.last_due) == (spec, None)
    assert bot.reports.list() == (found,)
    assert bot.reports.get(found.id) == found
    deployment.world.clock.time = found.next_due
    assert deployment.alerts.send_reports().reports == 1
    (delivery,) = [d for d in bot.alerts.deliveries() if d.about == "report"]
    assert delivery.state == "pending"
    assert bot.reports.get(found.id).last_due == found.next_due
    assert bot.reports.remove(found.id).id == found.id
    with pytest.raises(NotFound, match="no report schedule"):
        bot.reports.get(found.id)
    with pytest.raises(InvalidInput, match="Europe/Nowhere"):
        bot.reports.schedule(replace(spec, timezone="Europe/Nowhere"))
    with pytest.raises(NotFound, match="@nowhere"):
        bot.reports.schedule(replace(spec, channels=("@nowhere",)))


# ---------------------------------------------------------------- the command line


def test_rules_from_the_command_line(run: Run, served: Deployment, bot: Bot, tmp_path: Path) -> None:  # noqa: F811
    assert "no rules yet" in run("alerts", "rules")[1]
    words = ("few posts", "--metric", "posting_rate", "--below", "1000", "--channel", "@town")
    code, out, _ = run("alerts", "rules", "add", *words, "--backtest", "30")
    assert (code, "1 alerts on 1 channels" in out) == (0, True)
    code, out, _ = run("alerts", "rules", "add", *words, "--quiet", "22:00-08:00 Europe/Moscow", "--json")
    rule = json.loads(out)
    assert (code, rule["spec"]["quiet"]["timezone"]) == (0, "Europe/Moscow")
    assert "threshold of posting_rate below 1000" in run("alerts", "rules")[1]
    assert "rests" in run("alerts", "rules", "disable", rule["id"][:8])[1]
    assert "watches" in run("alerts", "rules", "enable", rule["id"][:8])[1]
    assert run("alerts", "rules", "remove", rule["id"])[0] == 0
    ahead = ("fewer", "--kind", "forecast", "--metric", "views_gained", "--horizon", "7", "--channel", "@town")
    code, out, _ = run("alerts", "rules", "add", *ahead, "--direction", "below", "--json")
    rule = json.loads(out)
    assert (code, rule["spec"]["threshold"], rule["spec"]["horizon_days"]) == (0, -1.0, 7)
    assert "views_gained below -1 half-widths of its forecast of 7 days before" in run("alerts", "rules")[1]
    assert run("alerts", "rules", "remove", rule["id"])[0] == 0
    file = tmp_path / "rule.json"
    file.write_text('{"name": "odd", "kind": "anomaly", "direction": "either"}')
    assert run("alerts", "rules", "add", "--file", str(file), "--disabled")[1].rstrip().endswith("rests")
    for words_, says in (
        ((*words[:-2], "--above", "3"), "one bound"),
        ((*words, "--direction", "above"), "say the direction"),
        (("r", "--metric", "vtr", "--below", "30"), "say 0.3"),
        (("r", "--kind", "mood"), "kind"),
        (("r", "--metric", "vtr", "--below", "0.1", "--to", "pigeon:home"), "kind"),
        (("--file", str(tmp_path / "absent")), "cannot be read"),
    ):
        code, _, err = run("alerts", "rules", "add", *words_)
        assert (code, err.count("\n")) == (1, 1)
        assert says in err


def test_default_rules_from_the_command_line(run: Run, served: Deployment, bot: Bot) -> None:  # noqa: F811
    code, out, _ = run("alerts", "rules", "defaults", "@town")
    assert code == 0
    assert "data is stale" in out
    assert run("alerts", "rules", "defaults", "@town", "--to", "telegram:1")[0] == 1


def test_alerts_from_the_command_line(run: Run, served: Deployment, bot: Bot) -> None:  # noqa: F811
    alert = judged(served, bot)
    assert "stale" in run("alerts")[1]
    assert [a["id"] for a in json.loads(run("alerts", "--state", "firing", "--json")[1])] == [alert]
    shown = run("alerts", "show", alert[:8])[1]
    assert "no data since" in shown
    assert "pending" in shown
    assert "acknowledged by Ann" in run("alerts", "ack", alert[:8], "--by", "Ann")[1]
    assert "snoozed until" in run("alerts", "snooze", alert[:8], "--hours", "3")[1]
    assert "1 open" in run("alerts", "digest")[1]
    assert json.loads(run("alerts", "digest", "--days", "2", "--json")[1])["open"] == 1
    assert "raised" in run("alerts", "deliveries", "--state", "pending")[1]
    assert run("alerts", "deliveries", "--retry", "nothing")[0] == 1
    assert run("alerts", "show", "nothing")[0] == 1
    assert run("alerts", "--state", "angry")[0] == 1


def test_rules_on_posts_from_the_command_line(run: Run, served: Deployment, bot: Bot) -> None:  # noqa: F811
    words = ("--kind", "competitor_post", "--posts-of", "@town")
    code, out, _ = run("alerts", "rules", "add", "all posts", *words, "--backtest", "30")
    assert (code, "@town published at" in out) == (0, True)
    assert run("alerts", "rules", "add", "all posts", *words)[0] == 0
    assert "posts" in run("alerts", "rules")[1]
    asked = ("--kind", "keyword", "--posts-of", "@town", "--word", "sale*", "--exclude", "ad")
    code, out, err = run("alerts", "rules", "add", "sale", *asked)
    assert (code, "texts of posts unavailable" in err) == (1, True)
    code, _, err = run("alerts", "rules", "add", "sale", *asked, "--word", "a|b")
    assert (code, "no regular expressions" in err) == (1, True)
    code, _, err = run("alerts", "rules", "add", "sale", "--kind", "keyword", "--watch-list", "none", "--word", "x")
    assert (code, "no watch list 'none'" in err) == (1, True)


def test_reports_from_the_command_line(run: Run, served: Deployment, bot: Bot) -> None:  # noqa: F811
    assert "no reports are sent" in run("reports", "list")[1]
    asked = ("--channel", "@town", "--every", "monthly", "--day", "3", "--at", "08:30", "--timezone", "Asia/Tashkent")
    code, out, _ = run("reports", "schedule", "monthly", *asked, "--format", "csv", "--json")
    found = json.loads(out)
    assert (code, found["spec"]["timezone"]) == (0, "Asia/Tashkent")
    assert "monthly on day 3 at 08:30 Asia/Tashkent" in run("reports", "list")[1]
    assert "is sent no more" in run("reports", "remove", found["id"][:8])[1]
    for words, says in (
        (("--at", "8"), "time of day"),
        (("--timezone", "Mars/Base"), "Mars/Base"),
        (("--weekday", "someday"), "no weekday"),
        (("--format", "stone"), "format"),
        (("--to", "telegram:1"), "TELEGRAM_TOKEN"),
    ):
        code, _, err = run("reports", "schedule", "r", "--channel", "@town", *words)
        assert (code, says in err, err.count("\n")) == (1, True, 1)


def test_live_from_the_command_line(run: Run, served: Deployment) -> None:  # noqa: F811
    code, out, _ = run("live", "@town")
    assert (code, "newest data" in out) == (0, True)
    assert json.loads(run("live", "@town", "--json")[1])["channel"] == "@town"
