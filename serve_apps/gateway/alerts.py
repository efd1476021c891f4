"""Routes about alerts: rules, what they raised, who was told, a digest, and fresh posts live."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from core.clock import DAY, HOUR
from core.errors import InvalidInput
from core.schemas.alerts import (
    Alert,
    AlertRule,
    AlertState,
    Backtest,
    DefaultRules,
    Delivery,
    DeliveryState,
    Digest,
    Live,
    RuleSpec,
    Target,
)
from core.store.ids import new_id
from serve_apps.gateway.channels import Moment
from serve_apps.gateway.reply import cached, in_thread, json
from serve_apps.gateway.services import GatewayParts

Limit = Annotated[int, Query(ge=1, le=1000)]
Days = Annotated[int, Query(ge=1, le=400, description="days of stored history")]
#: as long as a derived key of default rules
Key = Annotated[str | None, Header(alias="Idempotency-Key", max_length=64)]


class RuleBody(BaseModel):
    """Store a rule."""

    model_config = ConfigDict(extra="forbid")

    rule: RuleSpec
    enabled: bool = True


class SwitchBody(BaseModel):
    """Let a rule watch, or rest."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool


class DefaultsBody(BaseModel):
    """Store the usual rules for a channel."""

    model_config = ConfigDict(extra="forbid")

    channel: str = Field(min_length=1, max_length=200)
    targets: tuple[Target, ...] = Field((Target("log"),), min_length=1, max_length=10)


class AcknowledgeBody(BaseModel):
    """Take care of an alert."""

    model_config = ConfigDict(extra="forbid")

    by: str = Field(min_length=1, max_length=100, description="who")


class SnoozeBody(BaseModel):
    """Say nothing of an alert for a while: `until`, or for so many hours from now."""

    model_config = ConfigDict(extra="forbid")

    until: int | None = Field(None, ge=0, description="epoch seconds")
    hours: float | None = Field(None, gt=0, le=90 * 24)


def build(parts: GatewayParts) -> APIRouter:
    """The routes."""
    routes = APIRouter()
    _rules(routes, parts)
    _raised(routes, parts)
    return routes


def _rules(routes: APIRouter, parts: GatewayParts) -> None:
    alerts = parts.services.alerts

    @routes.get("/v1/alerts/rules", response_model=tuple[AlertRule, ...], tags=["alerts"])
    async def rules(request: Request, channel: str | None = None) -> Response:
        """Rules by name; of one channel: its own and those for every channel."""
        return cached(request, await in_thread(alerts.rules, channel))

    @routes.post("/v1/alerts/rules", response_model=AlertRule, status_code=201, tags=["alerts"])
    async def add(body: RuleBody, key: Key = None) -> Response:
        """Store a rule; an error says what would do instead. Try it with `/v1/alerts/backtest` first."""
        rule = await in_thread(alerts.add_rule, body.rule, key or new_id(), body.enabled)
        return json(rule, 201, {"Location": f"/v1/alerts/rules/{rule.id}"})

    @routes.post("/v1/alerts/defaults", response_model=DefaultRules, status_code=201, tags=["alerts"])
    async def defaults(body: DefaultsBody) -> Response:
        """Store the usual rules that suit a channel's data; called again it adds what suits since."""
        return json(await in_thread(alerts.add_defaults, body.channel, body.targets), 201)

    @routes.post("/v1/alerts/backtest", response_model=Backtest, tags=["alerts"])
    async def backtest(body: RuleSpec, days: Days = 90) -> Response:
        """What a rule would have raised on stored history; stores and tells nothing."""
        return json(await in_thread(alerts.backtest, body, days))

    @routes.get("/v1/alerts/rules/{rule_id}", response_model=AlertRule, tags=["alerts"])
    async def rule(request: Request, rule_id: str) -> Response:
        """One rule."""
        return cached(request, await in_thread(alerts.rule, rule_id))

    @routes.put("/v1/alerts/rules/{rule_id}/enabled", response_model=AlertRule, tags=["alerts"])
    async def switch(rule_id: str, body: SwitchBody) -> Response:
        """Let a rule watch or rest; resting ends its open alerts."""
        return json(await in_thread(alerts.switch_rule, rule_id, body.enabled))

    @routes.delete("/v1/alerts/rules/{rule_id}", response_model=AlertRule, tags=["alerts"])
    async def remove(rule_id: str) -> Response:
        """Take a rule away; what it raised stays."""
        return json(await in_thread(alerts.remove_rule, rule_id))


def _raised(routes: APIRouter, parts: GatewayParts) -> None:
    alerts = parts.services.alerts

    @routes.get("/v1/alerts", response_model=tuple[Alert, ...], tags=["alerts"])
    async def listed(
        request: Request,
        channel: str | None = None,
        state: AlertState | None = None,
        since: Moment = None,
        limit: Limit = 100,
    ) -> Response:
        """Alerts, newest first; since: raised then or later, or open since then."""
        return cached(request, await in_thread(alerts.alerts, channel, state, since, limit))

    @routes.get("/v1/alerts/digest", response_model=Digest, tags=["alerts"])
    async def digest(request: Request, since: Moment = None, until: Moment = None) -> Response:
        """Alerts of a period, the last 24 hours unless given."""
        end = parts.clock.now() if until is None else until
        return cached(request, await in_thread(alerts.digest, end - DAY if since is None else since, until))

    @routes.get("/v1/alerts/deliveries", response_model=tuple[Delivery, ...], tags=["alerts"])
    async def deliveries(
        request: Request, alert: str | None = None, state: DeliveryState | None = None, limit: Limit = 100
    ) -> Response:
        """What was told to whom, newest first; `dead` ones were given up."""
        return cached(request, await in_thread(alerts.deliveries, alert, state, limit))

    @routes.post("/v1/alerts/deliveries/{delivery_id}/retry", response_model=Delivery, tags=["alerts"])
    async def retry(delivery_id: str) -> Response:
        """Try a delivery that was given up again."""
        return json(await in_thread(alerts.retry_delivery, delivery_id))

    @routes.get("/v1/alerts/{alert_id}", response_model=Alert, tags=["alerts"])
    async def alert(request: Request, alert_id: str) -> Response:
        """One alert."""
        return cached(request, await in_thread(alerts.alert, alert_id))

    @routes.post("/v1/alerts/{alert_id}/ack", response_model=Alert, tags=["alerts"])
    async def acknowledge(alert_id: str, body: AcknowledgeBody) -> Response:
        """Somebody takes care of it: it is not escalated."""
        return json(await in_thread(alerts.acknowledge, alert_id, body.by))

    @routes.post("/v1/alerts/{alert_id}/snooze", response_model=Alert, tags=["alerts"])
    async def snooze(alert_id: str, body: SnoozeBody) -> Response:
        """Say nothing of it for a while; told again if it is still there then."""
        if (body.until is None) == (body.hours is None):
            raise InvalidInput("say either until or hours", field="until")
        until = parts.clock.now() + round((body.hours or 0) * HOUR) if body.until is None else body.until
        return json(await in_thread(alerts.snooze, alert_id, until))

    @routes.get("/v1/live", response_model=Live, tags=["live"])
    async def live(request: Request, channel: str) -> Response:
        """Posts younger than 48 hours: views per hour, and views beside the channel's usual at the same age."""
        return cached(request, await in_thread(alerts.live, channel))
