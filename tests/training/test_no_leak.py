"""A prediction does not know the future: neither what it is fitted to nor what it is made from."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.audience import make_history
from tests.training.test_features import rebuilt
from training.dataset import build
from training.features import FeatureBuilder
from training.peers import Peers


@pytest.mark.parametrize("known_age_h", [0, 1, 4, 24])
def test_another_future_changes_no_prediction(known_age_h: int) -> None:
    """Readings, posts and subscribers after the moment of a prediction removed or made up anew."""
    history = make_history(posts=110, seed=5, forwards=True)
    builder = FeatureBuilder(history)
    moment = builder.early_known_at(95, known_age_h)
    assert moment is not None
    other = rebuilt(history, as_of=moment, keep=95, seed=7)
    learned, learned_otherwise = (build([h], moment) for h in (history, other))
    assert learned.sha256() == learned_otherwise.sha256()
    peers = Peers.fit(learned, 1)
    row = builder.stored(95, known_age_h)
    place = other.index_of(int(history.post_ids[95]))
    assert place is not None
    again = FeatureBuilder(other).stored(place, known_age_h, as_of=moment)
    ages = np.array([(0, 1, 4, 24).index(known_age_h)])
    one, two = (peers.steps(r.vector[None], ages) for r in (row, again))
    np.testing.assert_array_equal(one, two)
    assert row.base_log == again.base_log
    assert np.abs(one).max() > 0
