"""Logs: one set-up for every process, and the request id that follows a question from the gateway to a job.

Readable lines at a terminal, one JSON object a line in production (`ANALYTICBOT_LOG_FORMAT`). A process that nobody
set up (an actor, a replica, a job) sets itself up from the environment at its first log line. Logs carry identities
and counts, never post texts or secrets.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO, cast

import structlog

from core.store.ids import new_id

FORMATS = ("console", "json")
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def configure(log_format: str = "console", level: str = "info", stream: TextIO | None = None) -> None:
    """Set this process up; calling it again replaces the earlier set-up.

    log_format: console or json; level: debug, info, warning or error; stream: standard error unless given.
    Raises ValueError naming what is allowed.
    """
    if log_format not in FORMATS:
        raise ValueError(f"log format {log_format!r}: one of {', '.join(FORMATS)}")
    if level not in LEVELS:
        raise ValueError(f"log level {level!r}: one of {', '.join(LEVELS)}")
    out = stream or sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_request_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[structlog.typing.Processor]
    if log_format == "json":
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    else:
        # The default shows every variable of every frame: slow with arrays, and a way for secrets into logs.
        plain = structlog.dev.plain_traceback
        last = [structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=plain)]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )


def configure_from_environment() -> None:
    """Set this process up as `ANALYTICBOT_LOG_FORMAT` and `ANALYTICBOT_LOG_LEVEL` say, with the usual defaults."""
    configure(os.environ.get("ANALYTICBOT_LOG_FORMAT", "console"), os.environ.get("ANALYTICBOT_LOG_LEVEL", "info"))


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose lines carry `service=name`; sets the process up when nobody did."""
    if not structlog.is_configured():
        configure_from_environment()
    return cast(structlog.stdlib.BoundLogger, structlog.get_logger(service=name))


def request_id() -> str | None:
    """The request that this context works for."""
    return _request_id.get()


@contextmanager
def request(identity: str | None = None) -> Iterator[str]:
    """Work for a request: log lines inside carry its id (a new one unless given), the one before comes back after."""
    current = identity or new_id()
    token = _request_id.set(current)
    try:
        yield current
    finally:
        _request_id.reset(token)


def _add_request_id(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    current = _request_id.get()
    if current is not None:
        event.setdefault("request_id", current)
    return event
