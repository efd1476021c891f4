"""Executions in a prediction log as four numbers, for tests that count."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from core.store.database import Database
from core.store.evidence import EvidenceLog, Executed

MODEL = "engagement"


def tally(parts: Iterable[Executed]) -> tuple[int, int, int, int]:
    """Executions and failures of stable, executions and failures of the canary."""
    n = {"stable": [0, 0], "canary": [0, 0]}
    for part in parts:
        n[part.side][0] += part.n
        n[part.side][1] += part.events["errors"]
    return (*n["stable"], *n["canary"])  # type: ignore[return-value]


def first_attempts(
    database: Database, after: int = 0, epochs: Collection[int] | None = None
) -> tuple[int, int, int, int]:
    """Of requests, by the version asked first."""
    return tally(part for part in EvidenceLog(database).first_attempts(MODEL, after, epochs)[0] if part.first)


def background(database: Database, version: int, after: int = 0) -> tuple[int, int]:
    """Background scorings of a version, and how many failed."""
    return tally(EvidenceLog(database).background(MODEL, version, "stable", after)[0])[:2]
