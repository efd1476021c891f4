"""Shares of a prediction: they sum, they belong to what they say, and unknown values are values too."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from core.errors import NoData
from core.history import ChannelHistory
from core.schemas.models import Signature
from core.schemas.predictions import KNOWN_AGES_H, TARGETS
from tests.training.audience import make_history
from training.calibration import Calibration
from training.contributions import TOLERANCE, explain
from training.corrector import Corrector
from training.dataset import build
from training.features import FEATURES, SCHEMA, FeatureBuilder
from training.fit import Fit, FitParams, network_of
from training.model import EngagementModel
from training.names import GROUPS
from training.peers import MEMBERS, Peers


@pytest.fixture(scope="module")
def audience() -> list[ChannelHistory]:
    return [make_history(number, posts=120) for number in (1, 3)]


@pytest.fixture(scope="module")
def model(audience: list[ChannelHistory]) -> EngagementModel:
    """All members take part, so that each one's shares are put to the test."""
    data, equal = build(audience, 2**40), np.full((len(MEMBERS), len(TARGETS), len(KNOWN_AGES_H)), 1 / len(MEMBERS))
    fit = Fit(data, FitParams(hidden=(12, 12), lr=3e-3), 1)
    for _ in range(8):
        fit.epoch()
    return EngagementModel(
        network_of(fit.weights(), fit.params).eval(),
        Signature(FEATURES, data.targets, SCHEMA),
        dataclasses.replace(Calibration.none(), mix=equal),
        fit.params.hidden,
        peers=Peers.fit(data, 1),
        medians=data.medians(),
    )


def taught(model: EngagementModel) -> EngagementModel:
    """With a corrector that moves answers."""
    rng, corrector = np.random.default_rng(1), Corrector()
    x = np.zeros((60, len(model.signature.features)), dtype=np.float32)
    quantiles = np.sort(rng.normal(0, 0.2, (60, len(TARGETS), 3)), axis=2)
    actual = quantiles[:, :, 1] * 1.5 + 0.1
    ages = rng.integers(0, 4, 60)
    corrector.learn(quantiles, x, ages, actual, np.zeros_like(actual, dtype=np.int64))
    return dataclasses.replace(model, corrector=corrector)


@pytest.mark.parametrize("known_age_h", [0, 1, 4, 24])
@pytest.mark.parametrize("corrected", [False, True])
def test_shares_sum_to_prediction_minus_baseline(
    model: EngagementModel, audience: list[ChannelHistory], known_age_h: int, corrected: bool
) -> None:
    used, builder = taught(model) if corrected else model, FeatureBuilder(audience[0])
    rng = np.random.default_rng(known_age_h)
    for index in (60, 75, 110):
        row = builder.stored(index, known_age_h)
        x = row.vector.copy()
        x[20:][rng.random(len(x) - 20) < 0.15] = np.nan  # what is not known, too
        base, level = row.base_log["views_72h"], row.level_log["views_72h"]
        found = explain(used, x, base, level, "views_72h")
        predicted = base + float(used.residuals(x[None])[0, TARGETS.index("views_72h"), 1])
        assert sum(c.share_log for c in found.features()) == pytest.approx(
            predicted - found.baseline_log, abs=TOLERANCE
        )
        assert sum(c.share_log for c in found.groups()) == pytest.approx(predicted - found.baseline_log, abs=TOLERANCE)
        assert {c.feature for c in found.groups()} <= set(GROUPS)
        for c in found.features():
            assert c.effect == pytest.approx(math.exp(c.share_log) - 1)
            assert (c.value is None) == bool(np.isnan(x[used.signature.features.index(c.feature)]))


def test_the_post_as_usual_has_nothing_to_explain(model: EngagementModel) -> None:
    assert model.medians is not None
    found = explain(model, model.medians[0].astype(np.float32), 7.0, 7.0, "views_24h")
    assert found.features() == ()
    assert found.baseline_log == pytest.approx(7.0, abs=0.3)


def test_what_the_audience_likes_is_named(model: EngagementModel, audience: list[ChannelHistory]) -> None:
    """Videos do better by 0.3 there, and nothing else does: that is found where the kind of media is told."""
    builder = FeatureBuilder(audience[1])
    of_media: dict[object, list[float]] = {"video": [], "photo": []}
    for index in range(80, 115):
        row = builder.stored(index, 0)
        found = explain(model, row.vector, row.base_log["views_72h"], row.level_log["views_72h"], "views_72h")
        named = [c.share_log for c in found.features() if c.feature.startswith("media_")]
        of_media[audience[1].media[index]].append(sum(named))
    assert np.mean(of_media["video"]) - np.mean(of_media["photo"]) == pytest.approx(0.3, abs=0.12)
    assert min(of_media["video"]) > max(of_media["photo"])


def test_early_views_move_the_starting_point(model: EngagementModel, audience: list[ChannelHistory]) -> None:
    row = FeatureBuilder(audience[0]).stored(80, 24)
    base, level = row.base_log["views_72h"], row.level_log["views_72h"]
    here, moved = (explain(model, row.vector, base + up, level, "views_72h").shares for up in (0.0, 0.2))
    place = model.signature.features.index("early_deviation")
    assert moved[place] - here[place] == pytest.approx(0.2)
    np.testing.assert_array_equal(np.delete(moved, place), np.delete(here, place))


def test_a_version_without_medians_explains_nothing(model: EngagementModel) -> None:
    assert model.medians is not None
    with pytest.raises(NoData, match="train it again"):
        explain(dataclasses.replace(model, medians=None), model.medians[0].astype(np.float32), 7.0, 7.0, "views_24h")
