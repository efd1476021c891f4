"""How serious a finding is: magnitude x duration x direction, in four bands."""

from __future__ import annotations

from math import sqrt
from typing import Literal

from actors.anomaly_analysis.scales import GROWTH, POSTING

Severity = Literal["low", "medium", "high", "critical"]

BANDS: tuple[tuple[float, Severity], ...] = ((1.2, "critical"), (0.6, "high"), (0.3, "medium"), (0.0, "low"))

#: this share of the subscribers gained or lost in a day weighs as much as losing all of a day's views; the median
#: channel of the development data grows 1.8 % a month, so it is more than a usual month
BASE_SHARE = 0.03
#: a rise weighs half of a fall of the same size: it is good news to look at, not harm
RISE_WEIGHT = 0.5
#: how often to post is the owner's own choice: it is told, and weighs half
POSTING_WEIGHT = 0.5
#: so many widths of a series' own noise damp the magnitude: a busy day in a jumpy channel is not serious
NOISE_WIDTHS = 1.0


def impact(
    metric: str, direction: str, observed: float, expected: float, noise: float, days: int, base: float | None = None
) -> float:
    """Weight of an episode, from 0; a day without any views in a perfectly even channel weighs 1.

    observed, expected: totals over the episode; noise: usual deviation of one day; days: length; base: subscribers
    before it (for growth; without one, growth is weighed by what was expected and its noise).
    """
    mean_change = abs(observed - expected) / days
    usual = abs(expected) / days
    if metric == GROWTH and base:
        usual = BASE_SHARE * base
    if metric == POSTING:
        noise = max(noise, sqrt(usual + 1.0))  # chance alone moves counts by their root
    measure = usual + NOISE_WIDTHS * noise
    magnitude = mean_change / measure if measure > 0 else 0.0
    weight = (RISE_WEIGHT if direction == "up" else 1.0) * (POSTING_WEIGHT if metric == POSTING else 1.0)
    return magnitude * sqrt(days) * weight


def severity(direction: str, weight: float) -> Severity:
    """The band; a rise is never critical, that word is for harm."""
    band = next(name for least, name in BANDS if weight >= least)
    return "high" if direction == "up" and band == "critical" else band
