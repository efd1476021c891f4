"""Reports that are sent by themselves: when they are due, once a period, channel and target, whoever dies."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from actors.alerts_fusion.reports import desk, schedules, words
from actors.analytics_fusion.actor import Analytics
from bench._made_channel import T0, Plan, make
from bench._receiver import Receiver
from core.clock import DAY, HOUR
from core.delivery import senders
from core.errors import AnalyticBotError, InvalidInput, NotConfigured, NotFound, Refused, ServiceUnavailable
from core.schemas.alerts import Target
from core.schemas.report_schedules import ReportSchedule, ReportSpec
from core.schemas.reports import Report
from core.settings import AlertSettings
from core.store.database import Database
from core.store.report_schedules import ReportFiles
from core.store.watch_lists import WatchListStore
from tests.actors.alert_world import AlertWorld
from tests.core.mail_server import MailServer

LOG, HOOK = Target("log"), Target("webhook", "https://h.example/s3cret")
WEEKLY = ReportSpec("weekly", ("made",), at="09:00", timezone="Europe/Berlin")
FEW = Plan(posts=lambda day: 1)
MONDAY = T0 + 19 * DAY + 8 * HOUR  # 2025-01-20, 09:00 in Berlin


@dataclass
class Asked:
    """Analytics that counts, and fails as asked."""

    real: Analytics
    trouble: dict[str, AnalyticBotError] = field(default_factory=dict)
    content: bytes | None = None
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def overview(self, channel: str, days: int = 30, until: int | None = None) -> Any:
        self.calls.append(("overview", channel, days, until))
        if channel in self.trouble:
            raise self.trouble[channel]
        return self.real.overview(channel, days, until)

    def report(self, channel: str, format: Any, days: int = 30, until: int | None = None) -> Report:
        self.calls.append((format, channel, days, until))
        return Report(f"{channel}.{format}", "text/html; charset=utf-8", self.content or f"<p>{channel}</p>".encode())


@pytest.fixture
def world(sqlite_database: Database) -> AlertWorld:
    """Eighteen days of two channels."""
    made = AlertWorld(sqlite_database, make(18, 5, FEW))
    made.analytics = Asked(Analytics(sqlite_database, made.clock))  # type: ignore[assignment]
    made.feed(T0 + 18 * DAY)
    AlertWorld(sqlite_database, make(18, 6, FEW, name="other"), clock=made.clock).feed(T0 + 18 * DAY)
    return made


def schedule(world: AlertWorld, spec: ReportSpec = WEEKLY) -> ReportSchedule:
    return world.service().schedule_report(spec, spec.name)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


# ---------------------------------------------------------------- when


@pytest.mark.parametrize(
    ("changes", "after", "dues"),
    [
        ({}, "2025-01-18T00:00", ["2025-01-20T08:00", "2025-01-27T08:00"]),
        ({}, "2025-01-20T08:00", ["2025-01-27T08:00"]),
        ({}, "2025-01-20T07:59", ["2025-01-20T08:00"]),
        ({"weekday": 6}, "2025-03-24T00:00", ["2025-03-30T07:00", "2025-04-06T07:00"]),  # summer time begins
        ({"period": "daily", "at": "02:30"}, "2025-03-29T02:00", ["2025-03-30T01:30", "2025-03-31T00:30"]),  # left out
        ({"period": "daily", "at": "02:30"}, "2025-10-25T12:00", ["2025-10-26T00:30", "2025-10-27T01:30"]),  # doubled
        ({"period": "monthly", "day": 28}, "2025-01-28T08:00", ["2025-02-28T08:00", "2025-03-28T08:00"]),
    ],
)
def test_a_report_is_due_at_its_time_in_its_zone(changes: dict[str, Any], after: str, dues: list[str]) -> None:
    moment = at(after)
    for due in dues:
        moment = schedules.next_due(replace(WEEKLY, **changes), moment)
        assert moment == at(due)


def test_a_report_is_of_the_days_since_the_one_before() -> None:
    def days(spec: ReportSpec, due: str) -> int:
        found = schedules.due_now(ReportSchedule("s", spec, 0, None, at(due)), at(due))
        assert found is not None
        return found.days

    assert days(WEEKLY, "2025-01-20T08:00") == 7
    monthly = replace(WEEKLY, period="monthly")
    assert [days(monthly, f"2025-0{m}-01T{h}:00") for m, h in ((2, "08"), (3, "08"), (4, "07"))] == [31, 28, 31]
    assert days(replace(WEEKLY, period="daily"), "2025-03-30T07:00") == 1  # a day of 23 hours


# ---------------------------------------------------------------- once


def test_a_due_report_is_sent_once_to_every_target(world: AlertWorld) -> None:
    world.out = type(world.out)(AlertSettings(telegram_token=SecretStr("t")))
    spec = replace(WEEKLY, channels=("made", "other"), format="html", targets=(LOG, HOOK, Target("telegram", "5")))
    found = schedule(world, spec)
    assert found.next_due == MONDAY
    assert "s3cret" not in repr((found, world.service().report_schedules()))
    world.clock.time = MONDAY - 1
    assert world.service().send_reports().reports == 0
    world.clock.time = MONDAY + 40
    assert world.service().send_reports().reports == 2
    assert world.service().send_reports().reports == 0
    world.told()
    world.told()
    assert sorted((t.kind, m.subject) for t, m in world.out.sent) == sorted(
        (kind, f"weekly: {channel}") for kind in ("log", "webhook", "telegram") for channel in ("made", "other")
    )
    assert len({m.id for _, m in world.out.sent}) == 6
    (first, *_) = [m for t, m in world.out.sent if t.kind == "webhook"]
    assert first.attachment is not None
    assert first.attachment.content == b"<p>made</p>"
    told = json.loads(first.document)["report"]
    assert (told["channel"], told["days"], told["until"], told["file"]["bytes"]) == ("made", 7, MONDAY, 11)
    assert told["path"] == f"/v1/channels/made/report?format=html&days=7&until={MONDAY}"
    assert ("html", "made", 7, MONDAY) in world.analytics.calls  # type: ignore[union-attr]
    again = world.service().report_schedule(found.id)
    assert (again.last_due, again.next_due) == (MONDAY, MONDAY + 7 * DAY)


def test_killed_in_between_each_is_still_sent_once(world: AlertWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule(world, replace(WEEKLY, channels=("made", "other"), targets=(LOG, HOOK), format="csv"))
    world.clock.time = MONDAY
    for name in ("_made", "stands", "done"):  # before the first, after the first, after both
        owner = desk.ReportDesk if name == "_made" else desk.ReportScheduleStore
        real, calls = getattr(owner, name), [0]

        def killed(*arguments: Any, real: Any = real, calls: list[int] = calls, name: str = name) -> Any:
            calls[0] += 1
            if name != "stands" or calls[0] == 2:
                raise KeyboardInterrupt
            return real(*arguments)

        monkeypatch.setattr(owner, name, killed)
        with pytest.raises(KeyboardInterrupt):
            world.service().send_reports()
        monkeypatch.undo()
    world.service().send_reports()
    world.told()
    assert sorted((t.kind, m.subject) for t, m in world.out.sent) == [
        (kind, f"weekly: {channel}") for kind in ("log", "webhook") for channel in ("made", "other")
    ]


def test_of_missed_periods_the_latest_is_sent_and_the_others_are_said(world: AlertWorld) -> None:
    schedule(world)
    world.clock.time = MONDAY + 15 * DAY
    report = world.service().send_reports()
    assert (report.reports, report.missed) == (1, 2)
    world.told()
    (_, message) = world.out.sent[0]
    assert message.text.splitlines()[-1] == (
        "not sent, because the service was away when they were due: 2025-01-20 09:00, 2025-01-27 09:00"
    )
    assert json.loads(message.document)["report"]["until"] == MONDAY + 14 * DAY
    assert words.missed(range(0, 10 * DAY, DAY), "UTC").count("1970") == 5


def test_a_message_says_the_overview_with_the_names_of_its_figures(world: AlertWorld) -> None:
    schedule(world)
    world.clock.time = MONDAY
    world.service().send_reports()
    world.told()
    (_, message) = world.out.sent[0]
    lines = message.text.splitlines()
    assert lines[:2] == ["weekly", "made, 7 days to 2025-01-19, beside the 7 before"]
    figures = {f.metric: f for f in Analytics(world.database, world.clock).overview("made", 7, MONDAY).figures}
    posts = figures["posting_rate"].value
    assert any(line.startswith(f"posts (posting_rate): {posts:.4g}") for line in lines)
    assert any(line.startswith("not known: engagement (err): ") for line in lines)
    assert message.attachment is None


def test_what_does_not_answer_is_asked_again_and_what_cannot_be_is_said(world: AlertWorld) -> None:
    schedule(world, replace(WEEKLY, channels=("made", "other")))
    world.clock.time = MONDAY
    asked: Any = world.analytics
    asked.trouble = {
        "made": NotFound("no channel 'made'"),
        "other": ServiceUnavailable("analytics_fusion is not running"),
    }
    service = world.service()
    assert service.send_reports().failed == 1
    assert "analytics_fusion is not running" in service.health().did
    asked.trouble.pop("other")
    assert service.send_reports().reports == 0  # not before a minute is over
    world.wall.advance(61)
    assert service.send_reports().reports == 1
    assert service.health().status == "ok"
    world.told()
    assert sorted(m.text.splitlines()[1][:22] for _, m in world.out.sent) == [
        "made: no report: no ch",
        "other, 7 days to 2025-",
    ]


def test_a_watch_list_is_read_when_it_is_due(world: AlertWorld) -> None:
    lists = WatchListStore(world.database)
    lists.put("mine", ["made"], 0)
    schedule(world, replace(WEEKLY, channels=(), watch_list="mine"))
    lists.put("mine", ["other", "@nowhere"], 0)
    world.clock.time = MONDAY
    assert world.service().send_reports().reports == 2
    lists.remove("mine")
    world.clock.time = MONDAY + 7 * DAY
    assert world.service().send_reports().reports == 1
    world.told()
    said = [m.text.splitlines()[1] for _, m in world.out.sent]
    assert said[0].startswith("other, 7 days to")
    assert said[1] == "@nowhere: no report: no channel '@nowhere': import its data, or see the list of channels"
    assert said[2].startswith("no watch list 'mine'")


def test_a_removed_schedule_sends_nothing_more(world: AlertWorld) -> None:
    found = schedule(world)
    assert schedule(world).id == found.id  # the same key
    world.service().remove_report_schedule(found.id)
    world.clock.time = MONDAY
    assert world.service().send_reports().reports == 0
    with pytest.raises(NotFound):
        world.service().remove_report_schedule(found.id)


def test_a_file_too_large_is_named_and_old_ones_are_forgotten(
    world: AlertWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "MOST_BYTES", 100)
    schedule(world, replace(WEEKLY, format="html"))
    asked: Any = world.analytics
    asked.content = b"x" * 101
    world.clock.time = MONDAY
    world.service().send_reports()
    world.told()
    assert world.out.sent[0][1].attachment is None
    assert "101 bytes, too many to be sent: it is at /v1/channels/made/report?" in world.out.sent[0][1].text
    asked.content = b"x"
    world.out.trouble["log"] = Refused("no")
    world.clock.time = MONDAY + 7 * DAY
    world.service().send_reports()
    world.service().deliver()
    (dead,) = world.service().deliveries(state="dead")
    files = ReportFiles(world.database)
    assert files.forget(MONDAY + 7 * DAY + 1) == 1
    world.out.trouble.clear()
    world.service().retry_delivery(dead.id)
    world.service().deliver()
    assert [d.reason for d in world.service().deliveries(state="dead")] == ["made.html is kept no longer"]


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"timezone": "Europe/Nowhere"}, "tz"),
        ({"at": "9"}, "at"),
        ({"at": "24:00"}, "at"),
        ({"weekday": 7}, "weekday"),
        ({"day": 31}, "day"),
        ({"format": "stone"}, "format"),
        ({"channels": ()}, "channels"),
        ({"channels": ("made", "made")}, "channels"),
        ({"channels": tuple(f"c{i}" for i in range(21))}, "channels"),
        ({"watch_list": "mine"}, "channels"),
        ({"targets": ()}, "targets"),
        ({"targets": (LOG, LOG)}, "targets"),
        ({"name": " "}, "name"),
    ],
)
def test_schedules_that_cannot_work_are_refused_by_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as wrong:
        schedules.checked(replace(WEEKLY, **changes), lambda _: None)
    assert wrong.value.details["field"] == field


def test_what_is_not_there_is_named(world: AlertWorld) -> None:
    with pytest.raises(NotFound, match="@nowhere"):
        schedule(world, replace(WEEKLY, channels=("@nowhere",)))
    with pytest.raises(NotFound, match="'nobody'"):
        schedule(world, replace(WEEKLY, channels=(), watch_list="nobody"))
    with pytest.raises(NotConfigured, match="TELEGRAM_TOKEN"):
        schedule(world, replace(WEEKLY, targets=(Target("telegram", "5"),)))


# ---------------------------------------------------------------- the ways out

FILE = Report("made.html", "text/html; charset=utf-8", "<p>Отчёт</p>".encode())
MESSAGE = senders.Message("d1", "weekly: made", "weekly\n" + "figures" * 200, '{"id":"d1"}', FILE)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def settings(**changes: Any) -> AlertSettings:
    return AlertSettings(webhook_secret=SecretStr("s"), telegram_token=SecretStr("1:t"), allow_private=True, **changes)


def test_a_mail_has_the_file_beside_its_text() -> None:
    mail = MailServer()
    out = senders.Senders(settings(smtp_host="127.0.0.1", smtp_port=mail.port, smtp_security="none"))
    out.send(Target("email", "me@example.org"), MESSAGE, T0)
    mail.close()
    (got,) = mail.taken
    text, file = got.get_payload()
    assert "figuresfigures" in text.get_payload()
    assert (file.get_filename(), file.get_content_type()) == ("made.html", "text/html")
    assert file.get_payload(decode=True) == FILE.content


def test_telegram_gets_a_document_with_a_caption(receiver: Receiver) -> None:
    out = senders.Senders(settings(telegram_url=f"http://127.0.0.1:{receiver.port}"))
    out.send(Target("telegram", "-100"), MESSAGE, T0)
    ((path, headers, body),) = receiver.requests
    assert path == "/bot1:t/sendDocument"
    assert headers["content-type"].startswith("multipart/form-data; boundary=")
    boundary = headers["content-type"].partition("boundary=")[2].encode()
    parts = {
        p.split(b'name="')[1].split(b'"')[0]: p.partition(b"\r\n\r\n")[2][:-2]
        for p in body.split(b"--" + boundary)[1:-1]
    }
    assert parts[b"chat_id"] == b"-100"
    assert parts[b"document"] == FILE.content
    assert len(parts[b"caption"].decode()) == 1024
    assert b'filename="made.html"' in body


def test_a_webhook_has_a_small_file_in_it_and_of_a_large_one_its_name(receiver: Receiver) -> None:
    out, target = senders.Senders(settings()), Target("webhook", receiver.url)
    out.send(target, MESSAGE, T0)
    body = json.loads(receiver.requests[0][2])
    assert (body["id"], base64.b64decode(body["content_base64"])) == ("d1", FILE.content)
    large = replace(FILE, content=b"x" * (senders.MOST_INLINE + 1))
    out.send(target, replace(MESSAGE, attachment=large), T0)
    assert receiver.requests[1][2] == b'{"id":"d1"}'
