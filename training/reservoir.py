"""A uniform sample of posts that is kept without being stored: every post has a rank of its own, the lowest ones stay.

The ranks are a hash of channel, post and seed. As posts arrive, the sample changes exactly like a reservoir (a newcomer
displaces one of those kept, or is left out), and whoever has the stored posts has the same sample: it is not copied
into artifacts, where a corrected or deleted post would live on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.history import Ints

Ranks = NDArray[np.uint64]


def ranks(channel: Ints, post_id: Ints, seed: int, stream: int = 0) -> Ranks:
    """A pseudo-random number for each post (n), the same wherever and whenever it is asked for.

    stream: another one has independent numbers, as a second choice among posts that were kept for their ranks needs.
    The mixing function is that of SplitMix64 (Steele, Lea, Flood 2014).
    """
    with np.errstate(over="ignore"):
        mixed = _mix(
            channel.astype(np.uint64)
            ^ np.uint64(np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0])
        )
        return _mix(mixed ^ post_id.astype(np.uint64))


def lowest(channel: Ints, post_id: Ints, count: int, seed: int) -> Ints:
    """Places of the `count` posts of the lowest ranks (all where there are fewer), in the given order."""
    if len(post_id) <= count:
        return np.arange(len(post_id), dtype=np.int64)
    found: Ints = np.sort(np.argpartition(ranks(channel, post_id, seed), count)[:count]).astype(np.int64)
    return found


def _mix(z: Ranks) -> Ranks:
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
