"""What posts take from each other: views per post against posts a day, measured on the channel's own days."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from actors.predictive_intelligence.temporal import local
from core.accrual import album_representatives
from core.history import ChannelHistory, Floats
from core.intervals import block_rows, interval, lacking
from core.levels import levelled
from core.schemas.channel_studies import Estimate

LEAST_DAYS = 30
LEAST_SPREAD = 0.25  # standard deviation of log(posts a day): about as much as between 2 and 3 posts in turn
_DRAWS = 500


@dataclass(frozen=True, slots=True)
class Elasticity:
    """d log(views per post) / d log(posts a day) with its resamples (none where it is not known)."""

    estimate: Estimate
    drawn: Floats


def elasticity(history: ChannelHistory, since: int, until: int, rng: Generator) -> Elasticity:
    """Slope over days of the posts' mean log views beside their level on the log of the day's posts, weekdays equal.

    An album is one post. Resampled by blocks of days. Days with more posts differ in other ways too: it is what goes
    with more posts, not what they cause.
    """
    posts = levelled(history, since, until)
    _, weekday, day = local(history.channel.timezone, history.published_at[posts.at])
    days, first, of = np.unique(day, return_index=True, return_inverse=True)
    every, published = np.unique(
        local(history.channel.timezone, history.published_at[album_representatives(history)])[2], return_counts=True
    )
    counts = published[np.searchsorted(every, days)]  # those without views are posts too
    n = len(days)
    if n < LEAST_DAYS:
        return Elasticity(lacking(n, f"needs {LEAST_DAYS} days with posts, has {n}"), np.zeros(0))
    logs = np.log(counts.astype(float))
    if logs.std() < LEAST_SPREAD:
        why = f"the channel has published about {np.median(counts):.0f} posts on each day: nothing to compare"
        return Elasticity(lacking(n, why), np.zeros(0))
    y = np.bincount(of, weights=posts.residual) / np.bincount(of)
    x = np.concatenate([logs[:, None], np.eye(7)[weekday[first]]], axis=1)
    rows = block_rows(n, rng, _DRAWS)
    drawn = np.array([_slope(x[row], y[row]) for row in rows])
    low, high = interval(drawn)
    return Elasticity(Estimate(_slope(x, y), low, high, n), drawn)


def _slope(x: Floats, y: Floats) -> float:
    gram = x.T @ x + 1e-9 * np.eye(x.shape[1])
    return float(np.linalg.solve(gram, x.T @ y)[0])
