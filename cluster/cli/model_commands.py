"""train, tune, workflows, drift: asked of the running service."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cluster.cli.context import AsJson, console, settings, show_json, table, when
from cluster.client import Bot, connect
from core.errors import Broken
from core.schemas.models import Score, TrainingTask
from core.schemas.predictions import ENGAGEMENT
from core.schemas.workflows import Workflow

Model = Annotated[str, typer.Option(help="name of the model")]
Wait = Annotated[bool, typer.Option(help="follow it to its end, or return at once")]


def train(
    model: Model = ENGAGEMENT,
    strategy: Annotated[str, typer.Option(help="batch, or incremental from the champion's weights")] = "batch",
    wait: Wait = True,
    json: AsJson = False,
) -> None:
    """Train a version beside the champion; it is registered, not put into service (see rollout start)."""
    with connect(settings=settings()) as bot:
        champion = next((v.version for v in bot.models[model].versions() if "champion" in v.aliases), None)
        warm = champion if strategy == "incremental" else None
        task = bot.tasks.submit("train", model=model, strategy=strategy, warm_start=warm, compare_with=champion)
        _finish(bot, task, wait, json)


def tune(
    model: Model = ENGAGEMENT,
    budget: Annotated[float, typer.Option(min=1, help="seconds to search")] = 120.0,
    wait: Wait = True,
    json: AsJson = False,
) -> None:
    """Search for better parameters."""
    with connect(settings=settings()) as bot:
        _finish(bot, bot.tasks.submit("tune", model=model, budget_s=budget), wait, json)


def _finish(bot: Bot, task: TrainingTask, wait: bool, as_json: bool) -> None:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=as_json) as progress:
        row = progress.add_task(f"{task.kind} {task.state}")
        while wait and task.state in ("queued", "running"):
            time.sleep(0.5)
            task = bot.tasks.get(task.id)
            done = task.progress
            at = f", epoch {done.epoch} of {done.epochs}, loss {done.loss:.4f}" if done else ""
            progress.update(row, description=f"{task.kind} {task.state}{at}")
    if as_json:
        show_json(task)
    else:
        _show_task(task)
    if task.state in ("failed", "cancelled"):
        raise Broken(f"{task.kind} {task.id} {task.state}: {task.error or 'on request'}", task=task.id)


def _show_task(task: TrainingTask) -> None:
    out, result = console(), task.result
    if result is None:
        out.print(f"{task.kind} {task.id}: {task.state}")
    elif result.best_params is not None:
        out.print(f"{len(result.trials)} trials in {result.seconds:.1f} s, best: {result.best_params}")
    else:
        out.print(f"version {result.version} in {result.seconds:.1f} s")
        if result.evaluation is not None:
            show_scores(result.evaluation.scores)


def show_scores(scores: dict[str, tuple[Score, ...]]) -> None:
    """Errors of every forecaster on the holdout, slice by slice."""
    rows = [
        (name, s.target, f"{s.known_age_h} h", s.n, f"{s.mae_log:.3f}", f"{s.mae_log_low:.3f} .. {s.mae_log_high:.3f}")
        for name, found in scores.items()
        for s in found
    ]
    table("mean |log error| on held-out posts", ("forecaster", "target", "known age", "n", "error", "95 %"), rows)


def workflows(
    workflow: Annotated[str | None, typer.Argument(help="one with its history")] = None,
    model: Model = ENGAGEMENT,
    start: Annotated[bool, typer.Option("--start", help="begin a retraining by hand")] = False,
    json: AsJson = False,
) -> None:
    """The loop that keeps models right: what it did, and where it stands."""
    with connect(settings=settings()) as bot:
        if start:
            found: tuple[Workflow, ...] = (bot.workflows.start(model=model),)
        else:
            found = (bot.workflows.get(workflow),) if workflow else bot.workflows.list(model)
    if json:
        show_json(found)
        return
    rows = [(w.id, w.trigger, str(w.step), when(w.created_at), when(w.updated_at)) for w in found]
    table(None, ("workflow", "trigger", "step", "begun", "last step"), rows)
    if workflow:
        steps = [(e.seq, when(e.at), str(e.to_step), e.reason) for e in found[0].events]
        table("history", ("", "at", "step", "reason"), steps)


def drift(
    model: Annotated[str, typer.Argument(help="name of the model")] = ENGAGEMENT,
    version: Annotated[int | None, typer.Option(min=1, help="the champion unless given")] = None,
    check: Annotated[bool, typer.Option("--check", help="compare now instead of showing the last report")] = False,
    json: AsJson = False,
) -> None:
    """What moved since a version learned."""
    with connect(settings=settings()) as bot:
        view = bot.models[model]
        number = version or view.alias("champion").version
        report = view.check_drift(number) if check else view.drift(number)
    if json:
        show_json(report)
        return
    rows = [(f.feature, f"{f.effect:.3f}", f"{f.p_value:.2g}", f.rejected) for f in report.features]
    table(
        f"{model} v{number} at {when(report.at)}: severity {report.severity} "
        f"({report.recent_n} recent rows against {report.reference_n})",
        ("feature", "stability index", "p", "moved"),
        rows,
    )
    for line in report.notes:
        console().print(line)
