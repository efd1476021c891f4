"""content: what a post or a draft says, as the running service answers."""

from __future__ import annotations

from typing import Annotated

import typer

from cluster.cli.context import AsJson, console, settings, show_json, table
from core.schemas.channels import PostDraft
from core.schemas.content import Judgement


def content(
    channel: str,
    post: Annotated[int | None, typer.Option(help="a stored post's id")] = None,
    text: Annotated[str | None, typer.Option(help="a draft's text")] = None,
    media: Annotated[str | None, typer.Option(help="a draft's medium: none, photo, video, ...")] = None,
    at: Annotated[int | None, typer.Option(help="when the draft is to be published, epoch seconds")] = None,
    json: AsJson = False,
) -> None:
    """How the audience would take a post, and whether it fits the channel; or why that cannot be said."""
    from cluster.client import connect

    draft = None if post is not None else PostDraft(text=text, media=media)
    with connect(settings=settings()) as bot:
        answer = bot.content(channel, post_id=post, draft=draft, published_at=at)
    if json:
        show_json(answer)
        return
    asked = {"reaction": answer.reaction, "engagement": answer.engagement, "toxicity": answer.toxicity}
    rows = [(name, judged.answer, _probabilities(judged), judged.reason or "") for name, judged in asked.items()]
    fit = answer.topic
    more = "" if fit.percentile is None else f"more like the channel than {fit.percentile:.0%} of its posts"
    rows.append(("topic", more or None, "", fit.reason or f"of {fit.posts}"))
    table(None, ("", "answer", "probabilities", "why"), rows)
    console().print(f"{answer.model} v{answer.version}")


def _probabilities(judged: Judgement) -> str:
    return ", ".join(f"{name} {p:.0%}" for name, p in (judged.probabilities or {}).items())
