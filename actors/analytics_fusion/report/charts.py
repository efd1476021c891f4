"""Line charts of daily series: where everything lies, and the same as SVG; days that nobody watched are holes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from core.buckets import shown
from core.schemas.analytics import SeriesPoint

WIDTH, HEIGHT, LEFT, RIGHT, BELOW, ABOVE = 720, 200, 64, 8, 22, 8

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart in its own units, WIDTH x HEIGHT, y counted from the top."""

    runs: tuple[tuple[Point, ...], ...]  # neighbouring days that have a value
    levels: tuple[tuple[float, str], ...]  # y of a line across, and its label
    ends: tuple[tuple[float, str], ...]  # x of the first and the last day, and their dates


def plot(points: Sequence[SeriesPoint], timezone: str) -> Plot | None:
    """Where the values of a daily series lie; None where no day has one."""
    known = [point.value for point in points if point.value is not None]
    if not known:
        return None
    low, high = min(known), max(known)
    low = 0.0 if 0 < low < 0.5 * high else low
    span = (high - low) or 1.0
    first, last = points[0].ts, max(points[-1].ts, points[0].ts + 1)

    def x(ts: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (ts - first) / (last - first)

    def y(value: float) -> float:
        return ABOVE + (HEIGHT - ABOVE - BELOW) * (1 - (value - low) / span)

    return Plot(
        tuple(tuple((x(ts), y(value)) for ts, value in run) for run in _runs(points)),
        tuple((y(at), f"{at:,.0f}" if abs(at) >= 1000 else f"{at:,.4g}") for at in (low, low + span / 2, low + span)),
        tuple((x(ts), shown(ts, timezone)) for ts in (first, last)),
    )


def svg(drawn: Plot, title: str) -> str:
    """The chart as SVG: no script, no foreign file."""
    marks = []
    for run in drawn.runs:
        if len(run) == 1:
            marks.append(f'<circle cx="{run[0][0]:.1f}" cy="{run[0][1]:.1f}" r="2"/>')
        else:
            marks.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in run)}"/>')
    grid = "".join(
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
        for y, label in drawn.levels
    )
    dates = "".join(
        f'<text x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{date}</text>'
        for (x, date), anchor in zip(drawn.ends, ("start", "end"), strict=True)
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
        f'<g class="grid">{grid}{dates}</g><g class="line">{"".join(marks)}</g></svg>'
    )


def _runs(points: Sequence[SeriesPoint]) -> list[list[tuple[int, float]]]:
    runs: list[list[tuple[int, float]]] = [[]]
    for point in points:
        if point.value is not None:
            runs[-1].append((point.ts, point.value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]
