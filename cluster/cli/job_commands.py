"""jobs submit, list, logs, stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cluster.cli.context import AsJson, console, running, settings, show_json, table, when
from core.errors import Broken

if TYPE_CHECKING:
    from cluster.jobs.submission import Jobs

jobs = typer.Typer(help="Work over all channels, left to the cluster.", no_args_is_help=True)


@jobs.command(
    "submit",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": True},
)
def submit(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(help="nightly, bulk, importing, retrain or content; further arguments are the job's own")
    ],
    wait: Annotated[float, typer.Option(help="seconds to wait for its end; 0: do not wait")] = 0.0,
    json: AsJson = False,
) -> None:
    """Start a job."""
    server = _server()
    job_id = server.submit(name, context.args)
    if not wait:
        show_json({"id": job_id}) if json else console().print(f"submitted {job_id}: analyticbot jobs logs {job_id}")
        return
    info = server.wait(job_id, timeout_s=wait)
    if json:
        show_json(info)
    else:
        console().print(server.logs(job_id).rstrip("\n"), markup=False)
        console().print(f"{job_id}: {info.status}")
    if info.status != "SUCCEEDED":
        raise Broken(f"{job_id} ended as {info.status}: {info.message or 'see its logs'}", job=job_id)


@jobs.command("list")
def list_jobs(json: AsJson = False) -> None:
    """Submitted jobs, newest first."""
    found = _server().list()
    if json:
        show_json(found)
    else:
        rows = [(j.id, j.status, when(j.started_at), when(j.ended_at), j.message) for j in found]
        table(None, ("job", "status", "began", "ended", "message"), rows)


@jobs.command("logs")
def logs(job_id: str, json: AsJson = False) -> None:
    """What a job printed so far."""
    text = _server().logs(job_id)
    if json:
        show_json({"id": job_id, "logs": text})
    else:
        console().print(text.rstrip("\n"), markup=False)


@jobs.command("stop")
def stop(job_id: str, json: AsJson = False) -> None:
    """Ask a job to end."""
    stopped = _server().stop(job_id)
    if json:
        show_json({"id": job_id, "stopped": stopped})
    else:
        console().print(f"{job_id}: {'asked to end' if stopped else 'had ended already'}")


def _server() -> Jobs:
    from cluster.jobs.submission import Jobs

    config = settings()
    return Jobs(config, running(config))
