"""The command `analyticbot`: every command takes --json; exit codes are 0 done, 1 failed, 2 wrongly asked.

An error is one line on standard error. `ANALYTICBOT_DEBUG=1` shows where it came from.
"""

from __future__ import annotations

import os
import sys

from core.errors import AnalyticBotError


def main(arguments: list[str] | None = None) -> None:
    """Run a command line (the process's own unless given) and leave with its exit code."""
    from cluster.cli.commands import app

    try:
        app(args=arguments, prog_name="analyticbot")
    except AnalyticBotError as error:
        if os.environ.get("ANALYTICBOT_DEBUG"):
            raise
        print(f"analyticbot: {error.message}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        # The reader of a pipe (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
