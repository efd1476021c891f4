"""Every error as RFC 9457 problem details: our own, validation's, the framework's, and the ones nobody expected."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core import telemetry
from core.errors import AnalyticBotError, InvalidInput, Overloaded, Unauthorized
from core.store.ids import new_id

MEDIA_TYPE = "application/problem+json"

_log = telemetry.logger("http")

_PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457 problem details; further members depend on the type (needed, have, field, ...)",
    "properties": {
        "type": {"type": "string", "examples": ["urn:analyticbot:insufficient-data"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
    "required": ["type", "title", "status", "detail"],
}


def _described(text: str) -> dict[str, Any]:
    return {"description": text, "content": {MEDIA_TYPE: {"schema": _PROBLEM}}}


#: what any route may answer, for the OpenAPI document
RESPONSES: dict[int | str, dict[str, Any]] = {
    401: _described("No API key, or an unknown one (only where keys are required)"),
    403: _described("The API key does not cover this"),
    404: _described("Not found"),
    409: _described("Refused by a rule or the present state"),
    422: _described("Invalid input, no data, or not enough of it"),
    503: _described("A service or the storage does not answer"),
}


def install(app: FastAPI) -> None:
    """Make an app answer every error as problem details, with a request id on every answer.

    Called after the app's other layers are added, so that the request id surrounds them.
    """
    app.add_exception_handler(AnalyticBotError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(Exception, _unexpected)
    app.add_middleware(RequestId)


def response(error: AnalyticBotError) -> JSONResponse:
    """One of our errors as an answer."""
    headers = {}
    if isinstance(error, Overloaded):
        headers["Retry-After"] = "1"
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    return _answer(error.problem(), headers)


def answer(problem: dict[str, Any]) -> JSONResponse:
    """Problem details that a service made, as an answer."""
    return _answer(problem)


def _answer(problem: dict[str, Any], headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(problem, problem["status"], headers=headers, media_type=MEDIA_TYPE)


async def _known(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AnalyticBotError)
    if error.status >= 500:
        _log.error("request failed", code=error.code, detail=error.message)
    return response(error)


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    faults = [{"field": _where(fault["loc"]), "reason": str(fault["msg"])} for fault in error.errors()]
    first = faults[0] if faults else {"field": "body", "reason": "cannot be read"}
    return response(InvalidInput(f"{first['field']}: {first['reason']}", field=first["field"], errors=faults))


def _where(place: tuple[Any, ...]) -> str:
    parts = [str(part) for part in place]
    return ".".join(parts[1:] if parts and parts[0] in ("body", "query", "path", "header") else parts) or "body"


async def _framework(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    codes = {404: "not-found", 405: "method-not-allowed", 413: "too-large"}
    code = codes.get(error.status_code, "http-error")
    problem = {
        "type": f"urn:analyticbot:{code}",
        "title": code.replace("-", " ").capitalize(),
        "status": error.status_code,
        "detail": str(error.detail),
    }
    return _answer(problem, dict(error.headers or {}))


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    _log.error("unexpected error", path=request.url.path, exc_info=error)
    problem = {
        "type": "urn:analyticbot:broken",
        "title": "Broken",
        "status": 500,
        "detail": "an unexpected error, which is in the log under this request's id",
        "request_id": request.scope.get("request_id"),
    }
    return _answer(problem)


class RequestId:
    """Takes a request's id from X-Request-Id, or makes one and returns it; binds it to the log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        request_id = given if 0 < len(given) <= 128 and given.isprintable() else new_id()
        scope["request_id"] = request_id

        async def answer(message: Message) -> None:
            # Whoever sent an id has it already; Serve's own layer, which does so, also adds it to the answer.
            if message["type"] == "http.response.start" and request_id != given:
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode("latin-1"))]
            await send(message)

        with telemetry.request(request_id):
            await self._app(scope, receive, answer)
