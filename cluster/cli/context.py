"""What commands share: settings, the database, and answers shown to people or programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from cluster import environment, state
from cluster.state import HeadState
from core.clock import Clock, SystemClock
from core.codec import to_plain
from core.errors import InvalidInput, ServiceUnavailable, StorageBroken
from core.settings import Settings
from core.store.database import Database, StoredClock

AsJson = Annotated[bool, typer.Option("--json", help="one JSON document instead of text")]


def settings() -> Settings:
    """From the environment; InvalidInput names the variable."""
    try:
        return environment.absolute(Settings())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = "__".join(str(part).upper() for part in first["loc"])
        variable = name if name in ("DATABASE_URL", "REDIS_URL") else f"ANALYTICBOT_{name}"
        raise InvalidInput(f"{variable}: {first['msg']}", field=variable) from error


def running(config: Settings) -> HeadState:
    """The running deployment; ServiceUnavailable says how to start one."""
    known = state.running(config)
    if known is None:
        raise ServiceUnavailable(f"nothing runs in {config.home}: start it with `analyticbot up`")
    return known


def database(config: Settings) -> Database:
    """The database, at the present schema; StorageBroken says what to do when it is not."""
    from core.store import migrate

    found = Database(config.database)
    at = migrate.revision(found)
    if at != migrate.head():
        raise StorageBroken(
            f"the database is {'empty' if at is None else 'at revision ' + at}: run `analyticbot db upgrade`"
        )
    return found


def clock(config: Settings, found: Database) -> Clock:
    """The time that services go by."""
    return StoredClock(found) if config.clock == "replay" else SystemClock()


# ---------------------------------------------------------------- showing


def console() -> Console:
    """Standard output; plain text when piped."""
    width = None if sys.stdout.isatty() else 200
    return Console(highlight=False, soft_wrap=True, width=width)


def show_json(value: Any) -> None:
    """A schema or plain data as one JSON document."""
    print(json.dumps(to_plain(value), ensure_ascii=False, indent=2))


def table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Rows under heads; numbers to the right."""
    body = [[cell(value) for value in row] for row in rows]
    out = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, name in enumerate(columns):
        numbers = bool(body) and all(_numeric(row[i]) for row in body)
        out.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in body:
        out.add_row(*row)
    console().print(out)


def cell(value: object) -> str:
    """A value for a person; a dash for none."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def when(ts: int | None) -> str:
    """A moment in UTC."""
    return "-" if ts is None else datetime.fromtimestamp(ts, UTC).strftime("%Y-%m-%d %H:%M")


def _numeric(text: str) -> bool:
    return text == "-" or text.replace(",", "").replace(".", "").replace("-", "").replace("%", "").isdigit()
