"""Where a channel's figures lie among comparable channels: those of its size and subject that are stored here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core import metrics
from core.schemas.analytics import Overview
from core.schemas.channel_studies import Percentile, Percentiles

LEAST = 5  # other channels that a percentile needs
#: lower ends of the size bands, subscribers
BANDS = (0, 1_000, 5_000, 20_000, 100_000, 500_000)
#: counts of a channel's size say nothing about how it does; the others are percentiles worth giving
_LEFT_OUT = ("subscribers",)


@dataclass(frozen=True, slots=True)
class Member:
    """A channel's figures of a period, as they are stored."""

    channel_id: int
    category: str | None
    figures: Mapping[str, float]  # metric to value; `subscribers` among them where known


def band(subscribers: float | None) -> str | None:
    """The size band of a channel; None where its size is not known."""
    if subscribers is None:
        return None
    i = int(np.searchsorted(BANDS, subscribers, side="right")) - 1
    upper = f"{BANDS[i + 1]:,}" if i + 1 < len(BANDS) else None
    return f"{BANDS[i]:,} to {upper} subscribers" if upper else f"{BANDS[i]:,} subscribers or more"


def choose(own: Member, others: Sequence[Member]) -> tuple[str, tuple[Member, ...]]:
    """The narrowest cohort with at least five others: size and category, size alone, category alone, everybody."""
    size = band(own.figures.get("subscribers"))
    same_size = [m for m in others if size is not None and band(m.figures.get("subscribers")) == size]
    same_kind = [m for m in others if own.category is not None and m.category == own.category]
    options = [
        (f"{size}, category {own.category}", [m for m in same_size if m in same_kind]),
        (str(size), same_size),
        (f"category {own.category}, any size", same_kind),
        ("all stored channels", list(others)),
    ]
    return next(
        ((name, tuple(chosen)) for name, chosen in options if len(chosen) >= LEAST), (options[-1][0], tuple(others))
    )


def percentiles(overview: Overview, own: Member, others: Sequence[Member], notes: Sequence[str] = ()) -> Percentiles:
    """Every figure of an overview among the cohort's."""
    cohort, members = choose(own, others)
    rows = []
    for figure in overview.figures:
        if figure.metric in _LEFT_OUT:
            continue
        values = np.array([m.figures[figure.metric] for m in members if figure.metric in m.figures])
        median = float(np.median(values)) if len(values) else None
        unit = metrics.METRICS[figure.metric].unit
        why = figure.missing
        if why is None and len(values) < LEAST:
            why = f"needs {LEAST} other channels with this figure, has {len(values)}"
        place = None if why is not None or figure.value is None else rank(figure.value, values)
        rows.append(Percentile(figure.metric, unit, figure.value, place, median, len(values), why))
    return Percentiles(
        overview.channel, overview.since, overview.until, cohort, len(members), tuple(rows), tuple(notes)
    )


def rank(value: float, others: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """The share of others that lie below a value, ties counted half."""
    return float((np.sum(others < value) + 0.5 * np.sum(others == value)) / len(others))
