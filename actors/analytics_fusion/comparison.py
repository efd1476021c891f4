"""Channels side by side: the figures of each one's own period, in the order of the metric dictionary."""

from __future__ import annotations

from collections.abc import Sequence

from core import metrics
from core.schemas.analytics import Figure, Overview
from core.schemas.channel_studies import ChannelComparison, ComparedMetric

MOST = 20  # channels


def compare(overviews: Sequence[Overview], days: int) -> ChannelComparison:
    """Every metric that at least one of the channels has; those that none has are named in the notes."""
    by_channel = [{figure.metric: figure for figure in overview.figures} for overview in overviews]
    rows, nowhere = [], []
    for name, metric in metrics.METRICS.items():
        figures = [found.get(name) for found in by_channel]
        if all(figure is None for figure in figures):
            continue
        if all(figure is None or figure.value is None for figure in figures):
            nowhere.append(name)
            continue
        told = tuple(figure or Figure(name, metric.unit, None, 0, missing="not measured") for figure in figures)
        rows.append(ComparedMetric(name, metric.unit, metric.better, told))
    notes = [f"{overview.channel}: {note}" for overview in overviews for note in overview.notes]
    if nowhere:
        notes.append(f"none of the channels has: {', '.join(nowhere)}")
    if len({(overview.since, overview.until) for overview in overviews}) > 1:
        notes.append("each channel's days are those of its own time zone")
    return ChannelComparison(tuple(o.channel for o in overviews), days, tuple(rows), tuple(notes))
