"""The scoring rules of the Numenta Anomaly Benchmark, for detectors that give every row a score.

Lavin and Ahmad, "Evaluating Real-time Anomaly Detection Algorithms - the Numenta Anomaly Benchmark", ICMLA 2015. Each
labelled window is hit or missed once; a hit earns by its earliest row (a sigmoid of its place in the window), every
row outside that passes the threshold costs, less shortly after a window. One threshold serves the whole corpus.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.errors import InvalidInput
from core.history import Floats, Ints

PROBATION_SHARE, PROBATION_MOST = 0.15, 750


@dataclass(frozen=True, slots=True)
class Profile:
    """What a hit is worth, and what a false alarm and a miss cost."""

    hit: float
    false_alarm: float
    miss: float


PROFILES = {"standard": Profile(1, 0.11, 1), "low_fp": Profile(1, 0.22, 1), "low_fn": Profile(1, 0.11, 2)}


@dataclass(frozen=True, slots=True)
class Labelled:
    """One file's rows that count: window (n; -1: outside), worth (n; of a hit there, or the negative cost), start."""

    window: Ints
    worth: Floats
    start: int  # rows before it are probation
    windows: int


def probation(rows: int) -> int:
    """Rows at the beginning of a file that never count."""
    return min(int(PROBATION_SHARE * rows), PROBATION_MOST)


def sigmoid(place: Floats) -> Floats:
    """Worth at a place relative to a window: -1 at its begin, 0 at its last row, then by window lengths after it."""
    return np.where(place > 3.0, -1.0, 2.0 / (1.0 + np.exp(np.minimum(5.0 * place, 700.0))) - 1.0)


def labelled(rows: int, windows: Sequence[tuple[int, int]]) -> Labelled:
    """windows: first and last row of each, in order, inclusive."""
    at, window, worth = np.arange(rows), np.full(rows, -1), np.full(rows, -1.0)
    whole = float(sigmoid(np.array([-1.0]))[0])
    for number, (first, last) in enumerate(windows):
        width = last - first + 1
        inside = slice(first, last + 1)
        window[inside] = number
        worth[inside] = sigmoid(-(last - at[inside] + 1) / width) / whole
        after = slice(last + 1, rows)
        worth[after] = sigmoid((at[after] - last) / max(width - 1, 1))
    return Labelled(window, worth, probation(rows), len(windows))


@dataclass(frozen=True, slots=True)
class Sweep:
    """The score of every possible threshold, from the highest (nothing is found: 0) down."""

    thresholds: Floats
    scores: Mapping[str, Floats]  # by profile

    def best(self, profile: str) -> tuple[float, float]:
        """(threshold, score) chosen in hindsight."""
        top = int(np.argmax(self.scores[profile]))
        return float(self.thresholds[top]), float(self.scores[profile][top])

    def at(self, threshold: float) -> dict[str, float]:
        """Scores by profile when rows with a score of at least `threshold` are alarms."""
        passed = int(np.searchsorted(-self.thresholds, -threshold, side="right")) - 1
        return {profile: float(scores[max(passed, 0)]) for profile, scores in self.scores.items()}


def sweep(files: Sequence[Labelled], scores: Sequence[Floats]) -> Sweep:
    """All thresholds over files (each with its n scores); scores are 100 (perfect) to 0 (finds nothing) and below."""
    total = sum(f.windows for f in files)
    if not total:
        raise InvalidInput("no labelled windows: nothing to score against", field="labels")
    thresholds, gains = _gains(files, scores)
    return Sweep(thresholds, {name: normalised(gain, total, name) for name, gain in gains.items()})


def gained(files: Sequence[Labelled], scores: Sequence[Floats], threshold: float, profile: str) -> float:
    """What a threshold adds to the score of finding nothing, not normalised: adds up over files."""
    thresholds, gains = _gains(files, scores)
    passed = int(np.searchsorted(-thresholds, -threshold, side="right")) - 1
    return float(gains[profile][max(passed, 0)])


def normalised(gain: Any, windows: int, profile: str) -> Any:
    """A gain on the scale from 0 (finds nothing) to 100 (hits every window at once, no false alarm)."""
    return 100.0 * gain / (windows * (PROFILES[profile].hit + PROFILES[profile].miss))


def _gains(files: Sequence[Labelled], scores: Sequence[Floats]) -> tuple[Floats, dict[str, Floats]]:
    score = np.concatenate([s[f.start :] for f, s in zip(files, scores, strict=True)])
    worth = np.concatenate([f.worth[f.start :] for f in files])
    numbered, total = [], 0
    for f in files:
        numbered.append(np.where(f.window >= 0, f.window + total, -1)[f.start :])
        total += f.windows
    window = np.concatenate(numbered)
    order = np.argsort(-score, kind="stable")
    score, worth, window = score[order], worth[order], window[order]
    rise, first = np.zeros(len(score)), np.zeros(len(score), dtype=bool)
    for number in range(total):
        rows = np.flatnonzero(window == number)
        if len(rows):
            first[rows[0]] = True
            rise[rows] = np.diff(np.maximum.accumulate(worth[rows]), prepend=0.0)
    outside = np.where(window < 0, worth, 0.0)
    last: NDArray[np.bool_] = np.append(score[1:] != score[:-1], True)
    gains = {}
    for name, profile in PROFILES.items():
        changes = profile.hit * rise + profile.miss * first + profile.false_alarm * outside
        gains[name] = np.concatenate([[0.0], np.cumsum(changes)[last]])
    return np.concatenate([[np.inf], score[last]]), gains


def read_windows(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Label windows by relative path of the file: first and last time of each."""
    content = json.loads(path.read_text())
    return {name: [(str(first), str(last)) for first, last in windows] for name, windows in content.items()}


def rows_of(timestamps: pd.Series, windows: Sequence[tuple[str, str]]) -> list[tuple[int, int]]:
    """First and last row of each window."""
    times = pd.to_datetime(timestamps)
    found = []
    for first, last in windows:
        inside = np.flatnonzero((times >= pd.Timestamp(first)) & (times <= pd.Timestamp(last)))
        if not len(inside):
            raise InvalidInput(f"no row lies in the window from {first} to {last}", field="labels")
        found.append((int(inside[0]), int(inside[-1])))
    return found
