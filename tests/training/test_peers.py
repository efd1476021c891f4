"""Trees and a linear model beside the network: what they are, that they are stored, and who counts how much."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import ArtifactCorrupt
from core.schemas.predictions import TARGETS
from tests.training.audience import make_history
from training.calibration import calibrate
from training.dataset import Dataset, build
from training.peers import Peers
from training.trees import ASKED, Trees, boosted, moving


@pytest.fixture(scope="module")
def data() -> Dataset:
    return build([make_history(number, posts=150) for number in (1, 2)], 2**40)


@pytest.fixture(scope="module")
def peers(data: Dataset) -> Peers:
    return Peers.fit(data, 1)


def test_trees_answer_as_those_they_were_read_from(data: Dataset) -> None:
    """With unknown values on both sides of the questions; `fit` compares all rows it learned from as well."""
    trees = Trees.fit(data, 1)
    x = data.x.copy()
    x[np.random.default_rng(1).random(x.shape) < 0.2] = np.nan
    known = np.isfinite(data.residual[:, 1])
    columns = moving(data.x[known])
    own = boosted(
        data.x[known][:, columns],
        data.residual[known, 1],
        data.weight[known],
        1,
        60,
        rate=0.1,
        leaves=16,
        depth=4,
        asked=ASKED,
    )
    np.testing.assert_allclose(trees.steps(x)[:, 1], own.predict(x[:, columns]), atol=1e-6)
    assert np.isfinite(trees.steps(x)).all()
    assert (trees.steps(x)[:, TARGETS.index("views_final")] == 0).all()


def test_each_member_that_learns_explains_much_of_what_the_audience_likes(data: Dataset, peers: Peers) -> None:
    usual = np.nanmean(np.abs(data.residual))
    for steps in (peers.trees.steps(data.x), peers.linear.steps(data.x, data.ages)):
        assert np.nanmean(np.abs(data.residual - steps)) < 0.8 * usual


def test_stored_peers_give_the_same_bits(data: Dataset, peers: Peers) -> None:
    again = Peers.of(peers.to_bytes())
    np.testing.assert_array_equal(again.steps(data.x, data.ages), peers.steps(data.x, data.ages))


def test_one_row_alone_says_what_it_says_among_others(data: Dataset, peers: Peers) -> None:
    alone = np.concatenate([peers.steps(data.x[i : i + 1], data.ages[i : i + 1]) for i in range(20)], axis=1)
    np.testing.assert_allclose(alone, peers.steps(data.x, data.ages)[:, :20], atol=1e-12)


def test_other_bytes_are_corrupt(peers: Peers) -> None:
    from safetensors.numpy import load, save

    for blob in (b"", b"x" * 100):
        with pytest.raises(ArtifactCorrupt, match="cannot be read"):
            Peers.of(blob)
    flat = load(peers.to_bytes())
    wild = {
        "trees.feature": flat["trees.feature"] + 1000,
        "trees.answer": flat["trees.answer"] * np.nan,
        "trees.threshold": flat["trees.threshold"][:, :-1].copy(),
        "linear.weights": flat["linear.weights"] + np.inf,
        "linear.start": flat["linear.start"][:1],
    }
    for name, array in wild.items():
        with pytest.raises(ArtifactCorrupt, match="cannot be read"):
            Peers.of(save(flat | {name: array}))


@pytest.mark.parametrize("right", [0, 1, 2])
def test_the_member_that_is_right_out_of_fold_gets_the_weight(data: Dataset, right: int) -> None:
    rng = np.random.default_rng(right)
    truth = np.where(np.isfinite(data.residual), data.residual, 0.0)
    opinions = [rng.normal(0, 0.3, truth.shape) for _ in range(3)]
    opinions[right] = truth
    raw = np.stack([opinions[0] - 0.1, opinions[0], opinions[0] + 0.1], axis=2)
    found = calibrate(data, raw, np.stack(opinions[1:]))
    np.testing.assert_allclose(found.mix[right], 1, atol=1e-9)
    assert (found.trust[0] == 1).all()
    np.testing.assert_allclose(found.mix.sum(axis=0), 1)
    middle = found.apply(raw, data.ages, data.x, np.stack(opinions[1:]))[:, :, 1]
    np.testing.assert_allclose(middle, truth, atol=1e-9)


def test_members_whose_errors_cancel_share_the_weight(data: Dataset) -> None:
    truth = np.where(np.isfinite(data.residual), data.residual, 0.0)
    off = np.random.default_rng(1).normal(0, 0.3, truth.shape)
    raw = np.stack([truth - 0.1, truth, truth + 0.1], axis=2) + 5.0
    found = calibrate(data, raw, np.stack([truth + off, truth - off]))
    np.testing.assert_allclose(found.mix[1:], 0.5, atol=1e-9)
