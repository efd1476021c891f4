"""train, tune, tasks, workflows, drift: asked of the running service."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, cast

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cluster.cli.context import AsJson, console, settings, show_json, table, when
from cluster.client import Bot, connect
from core.codec import from_plain
from core.errors import Broken, InvalidInput
from core.schemas.models import FROM_A_VERSION, PostingTime, Score, TaskState, TrainingTask
from core.schemas.monitoring import StreamDrift
from core.schemas.predictions import ENGAGEMENT
from core.schemas.workflows import LoopView, Switch, Workflow

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

Model = Annotated[str, typer.Option(help="name of the model")]
Wait = Annotated[bool, typer.Option(help="follow it to its end, or return at once")]


def train(
    model: Model = ENGAGEMENT,
    strategy: Annotated[
        str, typer.Option(help="batch, incremental, online, transfer, continual, tuned, or bandit: when to publish")
    ] = "batch",
    channel: Annotated[list[str] | None, typer.Option(help="learn from this one alone; may be repeated")] = None,
    start_from: Annotated[
        int | None, typer.Option("--from", min=1, help="version to start from; the champion unless given")
    ] = None,
    after: Annotated[list[str] | None, typer.Option(help="a task that must be done first; may be repeated")] = None,
    timeout: Annotated[float | None, typer.Option(min=1, help="seconds after which an attempt is ended")] = None,
    wait: Wait = True,
    json: AsJson = False,
) -> None:
    """Train a version beside the champion; it is registered, not put into service (see rollout start)."""
    with connect(settings=settings()) as bot:
        champion = next((v.version for v in bot.models[model].versions() if "champion" in v.aliases), None)
        warm = (start_from or champion) if strategy in FROM_A_VERSION else None
        task = bot.tasks.submit(
            "train",
            model=model,
            strategy=strategy,
            channels=channel or [],
            warm_start=warm,
            compare_with=None if strategy == "bandit" else champion,
            after=after or [],
            timeout_s=timeout,
        )
        _finish(bot, task, wait, json)


def tasks(
    task: Annotated[str | None, typer.Argument(help="one with its result")] = None,
    model: Annotated[str | None, typer.Option(help="of one model")] = None,
    state: Annotated[str | None, typer.Option(help="queued, running, done, failed or cancelled")] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="stop the one that is named")] = False,
    json: AsJson = False,
) -> None:
    """The learner's queue: what was asked for, how far it is, and what came of it."""
    if cancel and task is None:
        raise typer.BadParameter("name the task to cancel")
    with connect(settings=settings()) as bot:
        if task is not None:
            found: tuple[TrainingTask, ...] = (bot.tasks.cancel(task) if cancel else bot.tasks.get(task),)
        else:
            found = bot.tasks.list(model, None if state is None else from_plain(TaskState, state))  # type: ignore[arg-type]
    if json:
        show_json(found)
        return
    rows = [(t.id, t.kind, t.request.strategy, t.state, t.attempt, t.reason or "", when(t.created_at)) for t in found]
    table(None, ("task", "kind", "strategy", "state", "attempt", "failure", "queued"), rows)
    if task is not None:
        _show_task(found[0])


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
        out.print(f"{task.kind} {task.id}: {task.state}" + (f", {task.error}" if task.error else ""))
    elif result.posting_times:
        _show_times(result.posting_times)
    elif result.best_params is not None:
        out.print(f"{len(result.trials)} trials in {result.seconds:.1f} s, best: {result.best_params}")
    else:
        out.print(f"version {result.version} in {result.seconds:.1f} s")
        if result.evaluation is not None:
            show_scores(result.evaluation.scores)


def _show_times(found: Sequence[PostingTime]) -> None:
    rows = [
        (t.channel, t.gap, "", "", t.posts)
        if t.weekday is None or t.hour is None
        else (
            t.channel,
            f"{_WEEKDAYS[t.weekday]} {t.hour:02}:00 {t.timezone}",
            f"x {t.rise:.2f} ({t.low:.2f} .. {t.high:.2f})",
            f"{t.probability:.0%}",
            f"{t.n} of {t.posts}",
        )
        for t in found
    ]
    table("when to publish", ("channel", "time", "views against the usual, 90 %", "is the best", "posts"), rows)


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
    cancel: Annotated[str | None, typer.Option(help="end the workflow named, and say why")] = None,
    json: AsJson = False,
) -> None:
    """The loop that keeps models right: what it did, and where it stands."""
    view = None
    with connect(settings=settings()) as bot:
        if start:
            found: tuple[Workflow, ...] = (bot.workflows.start(model=model),)
        elif cancel is not None:
            if workflow is None:
                raise InvalidInput("name the workflow to end", field="workflow")
            found = (bot.workflows.cancel(workflow, cancel),)
        elif workflow:
            found = (bot.workflows.get(workflow),)
        else:
            found, view = bot.workflows.list(model), bot.workflows.loop(model)
    if json:
        show_json(found)
        return
    if view is not None:
        _show_loop(view)
    rows = [(w.id, w.trigger, str(w.step), when(w.created_at), when(w.updated_at)) for w in found]
    table(None, ("workflow", "trigger", "step", "begun", "last step"), rows)
    if workflow:
        steps = [(e.seq, when(e.at), str(e.to_step), e.reason) for e in found[0].events]
        table("history", ("", "at", "step", "reason"), steps)


def loop(
    switch: Annotated[str | None, typer.Argument(help="auto_train or auto_rollout")] = None,
    to: Annotated[str | None, typer.Argument(help="on, off, or default (as the settings say)")] = None,
    model: Model = ENGAGEMENT,
    json: AsJson = False,
) -> None:
    """What the loop may do by itself, and its budget; with a switch and a word: change it."""
    words: dict[str | None, bool | None] = {"on": True, "off": False, "default": None}
    if switch is not None and to not in words:
        raise InvalidInput(f"{switch} is switched on, off or default", field="to")
    with connect(settings=settings()) as bot:
        # The service refuses a switch that it does not know, and names those it does.
        view = (
            bot.workflows.loop(model)
            if switch is None
            else bot.workflows.switch(cast(Switch, switch), words[to], model=model)
        )
    if json:
        show_json(view)
    else:
        _show_loop(view)


def _show_loop(view: LoopView) -> None:
    words = {True: "on", False: "off"}
    console().print(
        f"{view.model}: automatic training {words[view.auto_train]}, roll-out {words[view.auto_rollout]}; "
        f"{view.spent.trainings} of {view.trainings_a_week} trainings and {view.spent.seconds:.0f} of "
        f"{view.training_s_a_week:.0f} s used in seven days; waits for {view.waiting_for}"
    )


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
    moved = [s for s in report.streams if s.alarms]
    if moved:
        columns = ("followed", "answers of", "what", "since about", "before", "since then", "sd", "alarms", "of")
        table("streams with alarms", columns, [_stream(s) for s in moved])
    if report.streams:
        waiting = sum(s.needs > 0 for s in report.streams)
        console().print(
            f"{len(report.streams)} streams are followed: {len(moved)} had alarms"
            + (f", {waiting} need more values before they can judge" if waiting else "")
        )
    for line in report.notes:
        console().print(line)


def _stream(s: StreamDrift) -> tuple[object, ...]:
    what = f"{s.watched} ({s.kind})" if s.watched == "errors" else s.watched
    before, after = (f if f is None or s.watched == "errors" else f"{f:.2%}" for f in (s.before, s.after))
    group = f"{s.group} views" if s.group else "all"
    return s.stream, group, what, when(s.onset_estimate), before, after, s.effect, s.alarms, s.n
