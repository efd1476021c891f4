"""doctor: looks at everything that a deployment needs, and says what to do about what is missing."""

from __future__ import annotations

import typer

from cluster.cli.context import AsJson, settings, show_json, table


def doctor(json: AsJson = False) -> None:
    """Check Python, disk, memory, ports, database, artifacts, Redis and the running cluster."""
    from cluster import doctor as examination

    findings = examination.examine(settings())
    if json:
        show_json(findings)
    else:
        table(None, ("check", "", "finding"), [(f.check, "ok" if f.ok else "WRONG", f.said) for f in findings])
    if not all(f.ok for f in findings):
        raise typer.Exit(1)
