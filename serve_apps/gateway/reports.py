"""Routes about reports that are sent by themselves."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from core.schemas.report_schedules import ReportSchedule, ReportSpec
from core.store.ids import new_id
from serve_apps.gateway.alerts import Key
from serve_apps.gateway.reply import cached, in_thread, json
from serve_apps.gateway.services import GatewayParts

AT = "/v1/reports/schedules"


def build(parts: GatewayParts) -> APIRouter:
    """The routes."""
    routes, alerts = APIRouter(), parts.services.alerts

    @routes.get(AT, response_model=tuple[ReportSchedule, ...], tags=["reports"])
    async def listed(request: Request) -> Response:
        """Schedules, by the moment at which they are due."""
        return cached(request, await in_thread(alerts.report_schedules))

    @routes.post(AT, response_model=ReportSchedule, status_code=201, tags=["reports"])
    async def add(body: ReportSpec, key: Key = None) -> Response:
        """Send a report of channels every day, week or month; what becomes of it is in `/v1/alerts/deliveries`."""
        found = await in_thread(alerts.schedule_report, body, key or new_id())
        return json(found, 201, {"Location": f"{AT}/{found.id}"})

    @routes.get(AT + "/{schedule_id}", response_model=ReportSchedule, tags=["reports"])
    async def one(request: Request, schedule_id: str) -> Response:
        """One schedule."""
        return cached(request, await in_thread(alerts.report_schedule, schedule_id))

    @routes.delete(AT + "/{schedule_id}", response_model=ReportSchedule, tags=["reports"])
    async def remove(schedule_id: str) -> Response:
        """Send no more of it."""
        return json(await in_thread(alerts.remove_report_schedule, schedule_id))

    return routes
