"""How a simulated audience reacts: the share of a post's views by age, and what a post's attributes do to its reach."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Shares of 14-day views as measured on real channels: age in hours, share.
_AGES_H = np.array([0.05, 0.25, 1.0, 4.0, 24.0, 72.0, 168.0, 336.0])
_SHARES = np.array([0.0, 0.06, 0.16, 0.30, 0.47, 0.64, 0.85, 1.0])

MEDIA = ("none", "photo", "video", "poll", "webpage")


@dataclass(frozen=True, slots=True)
class Taste:
    """Effects on log views; the drift swaps one Taste for another."""

    media: tuple[float, ...]  # by MEDIA
    length: float  # per unit of log(text length / 300)
    link: float  # per link, up to three
    ad: float
    evening: float  # 18-22 h against the rest of the day
    weekend: float
    speed: float  # of the view curve: 2 reaches the same share at half the age


BEFORE = Taste(
    media=(0.0, 0.10, 0.30, 0.15, -0.10), length=0.10, link=-0.06, ad=-0.15, evening=0.18, weekend=-0.15, speed=1.0
)
AFTER = Taste(
    media=(0.0, 0.30, -0.25, 0.05, 0.10), length=-0.15, link=0.04, ad=-0.30, evening=-0.05, weekend=0.10, speed=1.8
)


def share_of_views(age_h: Floats, speed: float | Floats) -> Floats:
    """Share of 14-day views that a post has at an age, linear in the logarithm of age between measured points."""
    shares: Floats = np.interp(np.log(np.maximum(age_h * speed, _AGES_H[0])), np.log(_AGES_H), _SHARES)
    return shares


def log_effect(
    taste: Taste, media: NDArray[np.int64], text_len: Floats, links: Floats, ad: Floats, hour: Floats, weekday: Floats
) -> Floats:
    """What a post's attributes add to its log views."""
    effect: Floats = (
        np.array(taste.media)[media]
        + taste.length * np.log(np.maximum(text_len, 20) / 300)
        + taste.link * np.minimum(links, 3)
        + taste.ad * ad
        + taste.evening * ((hour >= 18) & (hour <= 22))
        + taste.weekend * (weekday >= 5)
    )
    return effect
