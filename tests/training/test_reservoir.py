from __future__ import annotations

import numpy as np
import pytest

from training.reservoir import lowest, ranks


def kept(posts: int, seed: int = 1) -> set[tuple[int, int]]:
    channel, post = np.repeat([11, 12], posts), np.tile(np.arange(posts), 2)
    chosen = lowest(channel, post, 200, seed)
    return {(int(channel[i]), int(post[i])) for i in chosen}


def test_a_newcomer_displaces_one_or_is_left_out() -> None:
    before, after = kept(1_000), kept(1_001)
    assert len(before) == len(after) == 200
    assert len(before - after) == len(after - before) <= 2
    assert all(post == 1_000 for _, post in after - before)


def test_order_of_arrival_does_not_matter_and_the_seed_does() -> None:
    channel, post = np.repeat([11, 12], 500), np.tile(np.arange(500), 2)
    shuffled = np.random.default_rng(0).permutation(1_000)
    one, two = lowest(channel, post, 50, 3), shuffled[lowest(channel[shuffled], post[shuffled], 50, 3)]
    assert set(one) == set(two)
    assert kept(1_000, 1) != kept(1_000, 2)


def test_every_post_is_as_likely_to_stay() -> None:
    share = ranks(np.full(20_000, 5), np.arange(20_000), 7).astype(float) / 2.0**64
    assert np.quantile(share, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.01)
    assert abs(np.corrcoef(share[:-1], share[1:])[0, 1]) < 0.03


def test_a_second_choice_among_those_kept_has_numbers_of_its_own() -> None:
    channel, post = np.full(5_000, 5), np.arange(5_000)
    chosen = lowest(channel, post, 1_000, 7)
    second = ranks(channel[chosen], post[chosen], 7, stream=1).astype(float) / 2.0**64
    assert np.quantile(second, [0.2, 0.8]) == pytest.approx([0.2, 0.8], abs=0.05)


def test_fewer_than_fit_are_all_kept() -> None:
    assert list(lowest(np.array([1, 1]), np.array([5, 6]), 10, 1)) == [0, 1]
