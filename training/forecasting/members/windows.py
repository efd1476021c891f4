"""Pieces of many series as rows to learn from: the recent past, and the points that came after it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from core.history import Floats
from training.forecasting.batch import Batch

#: Values lie within so many units of the level: one wild one must not carry a fit away.
_CLIP = 18.0


def windows(batch: Batch, width: int, horizon: int, most: int) -> Iterator[tuple[Floats, Floats]]:
    """Normalised pasts (r x width) and what followed (r x horizon), the latest first, about `most` rows in all."""
    values = batch.filled
    last = values.shape[1] - width - horizon
    every = max((last + 1) * len(values) // most, 1)
    if batch.season > 1 and every > 1:
        every |= 1  # no multiple of an even season: every phase is met
    for begin in range(last, -1, -every):
        piece = values[:, begin : begin + width + horizon]
        piece = piece[np.isfinite(piece[:, 0])]
        if len(piece):
            past, level, unit = normalised(piece[:, :width], batch.season)
            yield past, np.clip((piece[:, width:] - level) / unit, -_CLIP, _CLIP)


def latest(batch: Batch, width: int) -> tuple[Floats, Floats, Floats]:
    """The newest past of each series, normalised; series shorter than it begin with their first value repeated."""
    values = batch.last(width).filled
    values = np.concatenate([np.full((batch.n, width - values.shape[1]), np.nan), values], axis=1)
    known = np.isfinite(values)
    first = np.where(known.any(axis=1), known.argmax(axis=1), width - 1)
    values = np.where(known, values, values[np.arange(batch.n), first][:, None])
    return normalised(values, batch.season)


def normalised(past: Floats, season: int) -> tuple[Floats, Floats, Floats]:
    """The past (r x W) from its last cycle's mean in units of its mean seasonal change; that level and unit (r x 1)."""
    level = past[:, -season:].mean(axis=1, keepdims=True)
    wide = past.shape[1] > season
    unit = np.abs(past[:, season:] - past[:, :-season]).mean(axis=1) if wide else past.std(axis=1)
    unit = np.maximum(unit, 1e-2 * np.abs(past).mean(axis=1) + 1e-9)[:, None]
    return np.clip((past - level) / unit, -_CLIP, _CLIP), level, unit
