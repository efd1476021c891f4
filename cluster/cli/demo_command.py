"""demo: the main job end to end, on your channels or on simulated ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster.cli.context import settings


def demo(
    data: Annotated[Path | None, typer.Option(help="your channels; simulated ones unless given")] = None,
    steps: Annotated[int, typer.Option(min=10, help="steps that the replay is cut into")] = 160,
    once: Annotated[bool, typer.Option("--once", help="take everything down after the story")] = False,
) -> None:
    """Import, replay, predict, learn, roll out, and take a bad model back."""
    from cluster.story.run import run

    run(settings(), data, once, steps=steps)
