"""The part of both clients about reports that are sent by themselves."""

from __future__ import annotations

from cluster.client.calls import Call, _get, _name, _post
from cluster.client.transport import AsyncSender, Sender
from core.codec import to_plain
from core.schemas.report_schedules import ReportSchedule, ReportSpec

_AT = "/v1/reports/schedules"


def _listed() -> Call[tuple[ReportSchedule, ...]]:
    return _get(tuple[ReportSchedule, ...], _AT)


def _one(schedule_id: str) -> Call[ReportSchedule]:
    return _get(ReportSchedule, f"{_AT}/{_name(schedule_id)}")


def _add(report: ReportSpec, key: str | None) -> Call[ReportSchedule]:
    return _post(ReportSchedule, _AT, to_plain(report), key)


def _removed(schedule_id: str) -> Call[ReportSchedule]:
    return Call(ReportSchedule, "DELETE", f"{_AT}/{_name(schedule_id)}")


class Reports:
    """Reports that are sent every day, week or month."""

    def __init__(self, send: Sender) -> None:
        self._send = send

    def schedule(self, report: ReportSpec, *, key: str | None = None) -> ReportSchedule:
        """Send a report again and again; InvalidInput, NotConfigured and NotFound say what is wrong with it."""
        return self._send(_add(report, key))

    def list(self) -> tuple[ReportSchedule, ...]:
        """By the moment at which they are due."""
        return self._send(_listed())

    def get(self, schedule_id: str) -> ReportSchedule:
        """One schedule; NotFound."""
        return self._send(_one(schedule_id))

    def remove(self, schedule_id: str) -> ReportSchedule:
        """Send no more of it; NotFound."""
        return self._send(_removed(schedule_id))


class AsyncReports:
    """Like Reports; every method is awaited."""

    def __init__(self, send: AsyncSender) -> None:
        self._send = send

    async def schedule(self, report: ReportSpec, *, key: str | None = None) -> ReportSchedule:
        """Send a report again and again; InvalidInput, NotConfigured and NotFound say what is wrong with it."""
        return await self._send(_add(report, key))

    async def list(self) -> tuple[ReportSchedule, ...]:
        """By the moment at which they are due."""
        return await self._send(_listed())

    async def get(self, schedule_id: str) -> ReportSchedule:
        """One schedule; NotFound."""
        return await self._send(_one(schedule_id))

    async def remove(self, schedule_id: str) -> ReportSchedule:
        """Send no more of it; NotFound."""
        return await self._send(_removed(schedule_id))
