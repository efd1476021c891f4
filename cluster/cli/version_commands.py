"""models list, show, verify, compare, prune, history, deployment (others: service_commands): asked of the service.

`analyticbot models [MODEL]` alone lists the versions.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cluster.cli import service_commands
from cluster.cli.context import AsJson, console, settings, show_json, table, when
from cluster.cli.model_commands import Model, show_scores
from cluster.client import connect
from core.schemas.models import PairedComparison
from core.schemas.predictions import ENGAGEMENT
from core.schemas.versions import SliceComparison

Number = Annotated[int, typer.Argument(min=1, help="number of the version")]


class _ListUnlessSaid(TyperGroup):
    """Takes what is no command of the group as a question for the list: `models`, `models --json`, `models NAME`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


models = typer.Typer(help="Versions: list, verify, compare, prune, and which are in charge.", cls=_ListUnlessSaid)


@models.command("list")
def list_versions(
    model: Annotated[str, typer.Argument(help="name of the model")] = ENGAGEMENT,
    version: Annotated[int | None, typer.Option(min=1, help="one version in full, as `show` does")] = None,
    json: AsJson = False,
) -> None:
    """Versions, what they learned from, and which is in service."""
    if version is not None:
        show(version, model, json)
        return
    with connect(settings=settings()) as bot:
        versions = bot.models[model].versions()
    if json:
        show_json(versions)
        return
    rows = [
        (
            v.version,
            v.semantic,
            ", ".join(v.aliases),
            v.lineage.strategy,
            v.lineage.posts,
            "" if v.lineage.published_from is None else when(v.lineage.published_from),
            when(v.created_at),
            v.sha256[:12] if v.pruned_at is None else f"pruned {when(v.pruned_at)}",
        )
        for v in versions
    ]
    table(None, ("version", "number", "in service as", "strategy", "posts", "only since", "made", "artifact"), rows)
    if not rows:
        console().print("no version yet: analyticbot train")


@models.command()
def show(number: Number, model: Model = ENGAGEMENT, json: AsJson = False) -> None:
    """One version in full, and how it does in service."""
    with connect(settings=settings()) as bot:
        view = bot.models[model]
        found, metrics = view.version(number), view.metrics(number)
    if json:
        show_json({"version": found, "in_service": metrics})
        return
    console().print(f"{model} v{number} ({found.semantic}): {found.lineage}; in service: {metrics.requests:,} requests")
    show_scores(found.metrics.scores if found.metrics else {})


@models.command()
def verify(number: Number, model: Model = ENGAGEMENT, json: AsJson = False) -> None:
    """Check that a version may be put into service: bytes, signature, features, stored predictions."""
    with connect(settings=settings()) as bot:
        found = bot.models[model].verify(number)
    if json:
        show_json(found)
        return
    console().print(
        f"{model} v{number} ({found.semantic}) is good: {', '.join(found.checks)} of artifact {found.sha256[:12]} "
        f"({found.bytes:,} bytes in {len(found.files)} files)"
    )


@models.command()
def compare(first: Number, second: Number, model: Model = ENGAGEMENT, json: AsJson = False) -> None:
    """The second version against the first, on the same posts."""
    with connect(settings=settings()) as bot:
        found = bot.models[model].compare(first, second)
    if json:
        show_json(found)
        return
    basis = found.basis.replace("_", " ")
    title = (
        f"{model} v{second} against v{first}, posts of {when(found.posts_from)} .. {when(found.posts_until)}: {basis}"
    )
    columns = ("target", "known age", "score", "n", f"v{first}", f"v{second}", "worse by", f"v{second} is")
    table(title, columns, [_slice(s) for s in found.slices])
    console().print(_overall(found.paired, first, second))
    for note in found.notes:
        console().print(note)


@models.command()
def prune(
    keep: Annotated[int, typer.Option(min=1, help="how many of the newest versions stay in any case")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would go")] = False,
    model: Model = ENGAGEMENT,
    json: AsJson = False,
) -> None:
    """Give up artifacts of old versions that no alias names, no roll-out uses and nothing else needs."""
    with connect(settings=settings()) as bot:
        report = bot.models[model].prune(keep, dry_run=dry_run)
    if json:
        show_json(report)
        return
    done = "would go" if dry_run else "pruned"
    rows = [(k.version, k.semantic, "kept", "; ".join(k.reasons)) for k in report.kept]
    rows += [
        (p.version, p.semantic, done, f"artifact stays with {p.shared_with}" if p.shared_with else p.sha256[:12])
        for p in report.pruned
    ]
    table(None, ("version", "number", "", "why"), sorted(rows, reverse=True))
    verb = "would be deleted" if dry_run else "deleted"
    console().print(f"{len(report.deleted)} artifacts {verb}, {report.freed_bytes:,} bytes")


@models.command()
def history(model: Model = ENGAGEMENT, json: AsJson = False) -> None:
    """Every change of every alias, newest first."""
    with connect(settings=settings()) as bot:
        changes = bot.models[model].history()
    if json:
        show_json(changes)
        return
    rows = [(when(c.at), c.alias, _version(c.from_version), _version(c.to_version), c.actor, c.reason) for c in changes]
    table(None, ("at", "alias", "from", "to", "by", "reason"), rows)
    if not rows:
        console().print(f"no alias of {model} was ever set")


@models.command()
def deployment(model: Model = ENGAGEMENT, json: AsJson = False) -> None:
    """Which versions are in charge, since when, by whom and why, and what routers are told."""
    with connect(settings=settings()) as bot:
        found = bot.models[model].deployment()
    if json:
        show_json(found)
        return
    rows = [(a.alias, f"v{a.version}", a.semantic, when(a.since), a.by, a.reason) for a in found.aliases]
    table(None, ("alias", "version", "number", "since", "by", "reason"), rows)
    split, out = found.split, console()
    if split is None:
        out.print("routers: nothing was ever put into service")
    else:
        canary = "" if split.canary is None else f", v{split.canary} {split.weight:.0%}"
        stable = 1.0 if split.canary is None else 1.0 - split.weight
        out.print(f"routers: v{split.stable} {stable:.0%}{canary} (epoch {split.epoch})")
    for rollout in found.open_rollouts:
        out.print(f"roll-out {rollout} is open: analyticbot rollout status {rollout}")
    for difference in found.differences:
        out.print(f"differs: {difference}")


models.command()(service_commands.slo)
models.command()(service_commands.alerts)
models.command()(service_commands.degradation)
models.command()(service_commands.levels)
models.command()(service_commands.feedback)


def _slice(s: SliceComparison) -> tuple[object, ...]:
    interval = None if s.low is None or s.high is None else f"{s.low:+.3f} .. {s.high:+.3f}"
    return s.target, f"{s.known_age_h} h", s.metric, s.n, f"{s.first:.3f}", f"{s.second:.3f}", interval, s.verdict


def _overall(paired: PairedComparison | None, first: int, second: int) -> str:
    if paired is None:
        return f"no paired comparison of v{first} and v{second} is stored"
    return (
        f"|log error| of v{second} - v{first} over {paired.n:,} posts: {paired.mean:+.4f} "
        f"(95 % {paired.low:+.4f} .. {paired.high:+.4f}): {paired.verdict.replace('_', ' ')}"
    )


def _version(number: int | None) -> str | None:
    return None if number is None else f"v{number}"
