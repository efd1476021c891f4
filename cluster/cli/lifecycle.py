"""up, down, status, plan."""

from __future__ import annotations

import typer

from cluster.cli.context import AsJson, console, running, settings, show_json, table, when
from cluster.resources import Plan
from core.errors import ServiceUnavailable


def up(json: AsJson = False) -> None:
    """Start what is missing, wait until it can answer, and say how long each part took."""
    from cluster.up import up as bring_up

    config, out = settings(), console()
    done = bring_up(config, lambda name, seconds: None if json else out.print(f"  {name:<10} {seconds:6.1f} s"))
    if json:
        show_json(
            {
                "url": done.state.http_url,
                "dashboard": done.state.dashboard_url,
                "seconds": round(done.seconds, 2),
                "phases": {name: round(value, 2) for name, value in done.phases.items()},
                "started": done.started,
            }
        )
        return
    began = ", ".join(done.started) or "nothing: all of it ran already"
    out.print(f"ready after {done.seconds:.1f} s at {done.state.http_url} (API at /docs); started: {began}")
    out.print(f"Ray's dashboard: {done.state.dashboard_url} (asks for the token in {done.state.token_file})")


def down(json: AsJson = False) -> None:
    """End every process that `up` started; stored data stays."""
    from cluster.down import down as bring_down

    config = settings()
    stopped = bring_down(config)
    if json:
        show_json({"was_running": stopped.was_running, "ended": stopped.ended, "seconds": round(stopped.seconds, 2)})
    elif not stopped.was_running and not stopped.ended:
        console().print(f"nothing ran in {config.home}")
    else:
        console().print(f"ended {stopped.ended} processes in {stopped.seconds:.1f} s; none is left")


def status(json: AsJson = False) -> None:
    """Each service's health, really asked, and the memory of the whole."""
    from cluster import processes
    from cluster.client import connect

    config = settings()
    known = running(config)
    with connect(settings=config) as bot:
        ready = bot.ready()
        services = bot.health()
    members = processes.footprints(processes.members(known.head, known.id)) if known.head else []
    pss = sum(f.pss_mb for f in members)
    if json:
        show_json(
            {
                "url": known.http_url,
                "ready": ready,
                "started_at": known.started_at,
                "processes": len(members),
                "pss_mb": round(pss),
                "rss_mb": round(sum(f.rss_mb for f in members)),
                "services": services,
            }
        )
    else:
        rows = [(h.service, h.status, h.did, str(h.pid or "-")) for h in services]
        table(None, ("service", "status", "checked by", "pid"), rows)
        word = "ready" if ready else "NOT ready"
        console().print(
            f"{word} at {known.http_url}, up since {when(known.started_at)} UTC; "
            f"{len(members)} processes, {pss:,.0f} MB (proportional)"
        )
    if not ready:
        raise ServiceUnavailable("not every service answers: see the table above and docs/runbook.md")


def plan(json: AsJson = False) -> None:
    """Who gets how much of this machine, and whether it fits."""
    from cluster.up import make_plan

    _, made = make_plan(settings())
    if json:
        show_json(made)
    else:
        show_plan(made)
    if made.problems:
        raise typer.Exit(1)


def show_plan(made: Plan) -> None:
    """The table of who wants what."""
    rows: list[tuple[object, ...]] = [
        (
            s.service,
            f"{s.kind}, on demand" if s.on_demand else s.kind,
            s.instances,
            f"{s.cpu:g}",
            s.memory_mb,
            f"{s.gpu:g} on {', '.join(map(str, s.gpus))}" if s.gpu else "-",
        )
        for s in made.shares
    ]
    rows.append(("Ray and Serve", "system", 1, "-", made.system_memory_mb, "-"))
    rows.append(("object store", "system", 1, "-", made.object_store_mb, "-"))
    rows.append(("kept free", "tuning, jobs", "-", f"{made.spare_cpu:g}", "-", "-"))
    table(f"profile {made.profile}", ("service", "kind", "processes", "CPU each", "MB each", "GPU each"), rows)
    out = console()
    gpus = f", {len(made.machine.gpu_memory_mb)} GPU" if made.machine.gpu_memory_mb else ""
    out.print(
        f"wanted: {made.cpu:.2f} CPU, {made.memory_mb:,} MB; "
        f"there: {made.machine.cpus} CPU, {made.machine.memory_mb:,} MB{gpus}"
    )
    for line in (*made.notes, *made.problems):
        out.print(line)
