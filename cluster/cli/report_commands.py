"""reports schedule, list, remove: reports that the running service sends by itself."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cluster.cli.alert_commands import said, target, whole
from cluster.cli.context import AsJson, console, settings, show_json, table, when
from cluster.client import connect
from core.codec import from_plain
from core.errors import InvalidInput
from core.schemas.report_schedules import ReportSchedule, ReportSpec

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
reports = typer.Typer(help="Reports that are sent every day, week or month.", no_args_is_help=True)


@reports.command("schedule")
def schedule(
    name: Annotated[str, typer.Argument(help="how it is called")],
    channel: Annotated[list[str] | None, typer.Option(help="a channel; may be repeated")] = None,
    watch_list: Annotated[str | None, typer.Option(help="the channels of a watch list instead")] = None,
    every: Annotated[str, typer.Option(help="daily, weekly or monthly")] = "weekly",
    at: Annotated[str, typer.Option(help="HH:MM")] = "09:00",
    timezone: Annotated[str, typer.Option(help="that the time is of, like Europe/Moscow")] = "UTC",
    weekday: Annotated[str, typer.Option(help="of a weekly one: monday to sunday")] = "monday",
    day: Annotated[int, typer.Option(help="of a monthly one: 1 to 28")] = 1,
    format: Annotated[str, typer.Option(help="message, html, pdf, csv, xlsx, json or parquet")] = "message",
    to: Annotated[list[str] | None, typer.Option(help="log, webhook:URL, telegram:CHAT or email:ADDRESS")] = None,
    json: AsJson = False,
) -> None:
    """Send a report of channels to somebody again and again."""
    if weekday.lower() not in WEEKDAYS:
        raise InvalidInput(f"{weekday!r} is no weekday: {', '.join(WEEKDAYS)}", field="weekday")
    given: dict[str, Any] = {
        "name": name,
        "channels": channel or [],
        "watch_list": watch_list,
        "period": every,
        "at": at,
    }
    given |= {"timezone": timezone, "weekday": WEEKDAYS.index(weekday.lower()), "day": day, "format": format}
    given["targets"] = [target(text) for text in to or ["log"]]
    with connect(settings=settings()) as bot:
        found = bot.reports.schedule(from_plain(ReportSpec, given))
    said(found, f"{found.id[:12]} is sent first at {when(found.next_due)} UTC", json)


@reports.command("list")
def list_schedules(json: AsJson = False) -> None:
    """Every schedule, the next one first."""
    with connect(settings=settings()) as bot:
        found = bot.reports.list()
    if json:
        show_json(found)
        return
    rows = [
        (
            s.id[:12],
            s.spec.name,
            f"watch list {s.spec.watch_list}" if s.spec.watch_list is not None else ", ".join(s.spec.channels),
            _rhythm(s),
            s.spec.format,
            ", ".join(t.kind for t in s.spec.targets),
            when(s.last_due),
            when(s.next_due),
        )
        for s in found
    ]
    table(None, ("id", "name", "channels", "when", "as", "to", "last, UTC", "next, UTC"), rows)
    if not rows:
        console().print("no reports are sent by themselves: `analyticbot reports schedule NAME --channel @x --to ...`")


@reports.command("remove")
def remove(schedule: Annotated[str, typer.Argument(help="id, as listed")], json: AsJson = False) -> None:
    """Send no more of it."""
    with connect(settings=settings()) as bot:
        found = bot.reports.remove(whole(schedule, [s.id for s in bot.reports.list()]))
    said(found, f"{found.spec.name} is sent no more", json)


def _rhythm(found: ReportSchedule) -> str:
    spec = found.spec
    on = {"daily": "", "weekly": f" on {WEEKDAYS[spec.weekday]}", "monthly": f" on day {spec.day}"}[spec.period]
    return f"{spec.period}{on} at {spec.at} {spec.timezone}"
