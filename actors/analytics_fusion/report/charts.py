"""Line charts as SVG: no script, no foreign file; days that nobody watched are holes in the line."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from core.buckets import shown
from core.schemas.analytics import SeriesPoint

WIDTH, HEIGHT, LEFT, BELOW, ABOVE = 720, 200, 64, 22, 8


def line(points: Sequence[SeriesPoint], title: str, timezone: str) -> str:
    """A chart of a daily series; a sentence where no day has a value."""
    known = [point for point in points if point.value is not None]
    if not known:
        return f"<p>{escape(title)}: no day has a value.</p>"
    low, high = min(p.value or 0.0 for p in known), max(p.value or 0.0 for p in known)
    low = min(low, 0.0) if low > 0 and low < 0.5 * high else low
    span = (high - low) or 1.0
    first, last = points[0].ts, max(points[-1].ts, points[0].ts + 1)

    def x(ts: int) -> float:
        return LEFT + (WIDTH - LEFT - 8) * (ts - first) / (last - first)

    def y(value: float) -> float:
        return ABOVE + (HEIGHT - ABOVE - BELOW) * (1 - (value - low) / span)

    marks = []
    for run in _runs(points):
        if len(run) == 1:
            marks.append(f'<circle cx="{x(run[0][0]):.1f}" cy="{y(run[0][1]):.1f}" r="2"/>')
        else:
            marks.append(f'<polyline points="{" ".join(f"{x(ts):.1f},{y(value):.1f}" for ts, value in run)}"/>')
    grid = "".join(
        f'<line x1="{LEFT}" x2="{WIDTH - 8}" y1="{y(at):.1f}" y2="{y(at):.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y(at) + 4:.1f}" text-anchor="end">{at:,.4g}</text>'
        for at in (low, low + span / 2, low + span)
    )
    dates = "".join(
        f'<text x="{x(ts):.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{shown(ts, timezone)}</text>'
        for ts, anchor in ((first, "start"), (last, "end"))
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
        f'<g class="grid">{grid}{dates}</g><g class="line">{"".join(marks)}</g></svg>'
    )


def _runs(points: Sequence[SeriesPoint]) -> list[list[tuple[int, float]]]:
    """Neighbouring days that have a value."""
    runs: list[list[tuple[int, float]]] = [[]]
    for point in points:
        if point.value is not None:
            runs[-1].append((point.ts, point.value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]
