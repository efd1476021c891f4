"""db, import, simulate, channels: these work without a running cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster.cli.context import AsJson, clock, console, database, settings, show_json, table, when
from core.errors import InvalidInput

db = typer.Typer(help="The database's schema.", no_args_is_help=True)


@db.command("upgrade")
def db_upgrade(json: AsJson = False) -> None:
    """Bring the database to this program's schema."""
    from core.store import migrate
    from core.store.database import Database

    revision = migrate.upgrade(Database(settings().database))
    if json:
        show_json({"revision": revision})
    else:
        console().print(f"the database is at revision {revision}")


@db.command("check")
def db_check(json: AsJson = False) -> None:
    """Look for damage and for differences from this program's schema."""
    from core.store import migrate
    from core.store.database import Database

    problems = migrate.check(Database(settings().database))
    if json:
        show_json({"problems": problems})
    else:
        for line in problems or ("the database is whole and at this program's schema",):
            console().print(line)
    if problems:
        raise typer.Exit(1)


def import_data(
    path: Annotated[Path, typer.Argument(help="a file or folder: see docs/bulk-format.md")],
    format: Annotated[str, typer.Option(help="auto, or the name of a format")] = "auto",
    timezone: Annotated[str, typer.Option(help="zone of times that carry none")] = "UTC",
    json: AsJson = False,
) -> None:
    """Import channels: a bundle, a Telegram Desktop export, a Telethon dump or a flat CSV. Safe to repeat."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from core.ingest.importer import import_path
    from core.store import migrate
    from core.store.database import Database

    config = settings()
    target = Database(config.database)
    migrate.upgrade(target)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=json) as progress:
        task = progress.add_task(f"importing {path.name}")
        report = import_path(
            path,
            target,
            config.tenant,
            format=format,
            timezone=timezone,
            on_progress=lambda done: progress.update(task, description=f"importing {path.name}: {done}"),
            clock=clock(config, target),
        )
    if json:
        show_json(report)
    else:
        for line in report.lines():
            console().print(line)


def simulate(
    out: Annotated[Path, typer.Argument(help="folder to write; it must be empty or absent")],
    channels: Annotated[int, typer.Option(min=1)] = 12,
    days: Annotated[int, typer.Option(min=2)] = 60,
    posts_per_day: Annotated[float, typer.Option()] = 3.0,
    seed: Annotated[int, typer.Option()] = 7,
    json: AsJson = False,
) -> None:
    """Write a bundle of simulated channels, with the ground truth of what was planted."""
    from core.ingest.simulator import SimulatorConfig
    from core.ingest.simulator import simulate as run

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidInput(f"{out} is not an empty folder: name another one, nothing was written", field="out")
    truth = run(SimulatorConfig(channels=channels, days=days, posts_per_day=posts_per_day, seed=seed), out)
    if json:
        show_json({"path": str(out), "truth": truth})
    else:
        console().print(f"wrote {channels} simulated channels over {days} days to {out}")
        console().print(f"what was planted: {out / 'ground_truth.json'}; import it: analyticbot import {out}")


def channels(json: AsJson = False) -> None:
    """The channels and what is stored of each."""
    from core.store.channels import ChannelStore

    config = settings()
    store = ChannelStore(database(config), config.tenant)
    found = [(channel, store.totals(channel)) for channel in store.channels()]
    if json:
        show_json([{"channel": channel, "totals": totals} for channel, totals in found])
        return
    rows = [
        (c.name, c.source, c.timezone, t.posts, t.view_readings, t.subscriber_readings, when(t.last_post))
        for c, t in found
    ]
    table(None, ("channel", "source", "zone", "posts", "view readings", "subscriber readings", "last post"), rows)
    if not rows:
        console().print("no channels yet: analyticbot import PATH, or analyticbot simulate OUT")
