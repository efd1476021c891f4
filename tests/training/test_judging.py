"""Calibration, evaluation, baselines, strategies and the reference window: the parts around the network."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from core.codec import from_json, to_json
from core.errors import ArtifactCorrupt, InvalidInput
from core.schemas.models import Evaluation
from core.schemas.predictions import KNOWN_AGES_H, TARGETS
from tests.training.audience import make_history
from training.baselines import gradient_boosting, rolling_median
from training.calibration import Calibration, calibrate
from training.dataset import Dataset, build, split_share
from training.evaluate import bootstrap_mean, compare, evaluate, scores, verdict
from training.fit import FitParams
from training.reference import from_arrow, make_reference, to_arrow
from training.strategies import RECENT, RESERVOIR, choose_posts, damage, plan


@pytest.fixture(scope="module")
def data() -> Dataset:
    return build([make_history(number) for number in (1, 3)], 2**40)


def with_noise(data: Dataset, sd: float, seed: int) -> Dataset:
    noise = np.random.default_rng(seed).normal(0, sd, data.base.shape)
    return dataclasses.replace(data, actual=np.where(np.isfinite(data.actual), data.base + noise, np.nan))


def test_intervals_cover_what_they_promise_whatever_the_network_said(data: Dataset) -> None:
    seen, fresh = with_noise(data, 0.2, 1), with_noise(data, 0.2, 2)
    ages = np.searchsorted(KNOWN_AGES_H, data.known_age)
    for gap in (0.01, 1.0):
        raw = np.zeros((len(data), len(TARGETS), 3))
        raw[:, :, 0], raw[:, :, 2] = -gap, gap
        q = calibrate(seen, raw).apply(raw, ages, data.x)
        known = np.isfinite(fresh.residual)
        inside = (fresh.residual >= q[:, :, 0]) & (fresh.residual <= q[:, :, 2])
        assert inside[known].mean() == pytest.approx(0.8, abs=0.04)


def test_steps_that_tell_nothing_are_not_trusted_and_true_ones_are(data: Dataset) -> None:
    noisy = with_noise(data, 0.2, 3)
    raw = np.zeros((len(data), len(TARGETS), 3))
    raw[:, :, 0], raw[:, :, 2] = -0.1, 0.1
    truth = np.nan_to_num(noisy.residual)[:, :, None]
    assert calibrate(noisy, raw + truth).trust[:2].min() == 1.0
    lies = np.random.default_rng(9).normal(0, 0.2, truth.shape)
    assert calibrate(noisy, raw + lies).trust[:2].max() <= 0.2


def test_without_outcomes_the_network_is_believed(data: Dataset) -> None:
    blank = dataclasses.replace(data, actual=np.full_like(data.actual, np.nan))
    found = calibrate(blank, np.zeros((len(data), len(TARGETS), 3)))
    np.testing.assert_array_equal(found.trust, Calibration.none().trust)
    np.testing.assert_array_equal(found.stretch, Calibration.none().stretch)


def test_scores_are_the_errors_of_each_slice(data: Dataset) -> None:
    off = data.actual + 0.1
    found = {(s.target, s.known_age_h): s for s in scores(data, np.stack([off - 0.2, off, off + 0.2], axis=2), 0)}
    assert set(found) == {("views_24h", a) for a in (0, 1, 4)} | {("views_72h", a) for a in (0, 1, 4, 24)}
    one = found["views_72h", 4]
    assert one.mae_log == pytest.approx(0.1)
    assert one.coverage == 1.0
    assert one.auc is not None
    assert one.auc > 0.85
    assert one.n == int(((data.known_age == 4) & np.isfinite(data.residual[:, 1])).sum())


def test_a_single_value_has_no_coverage_and_one_class_no_auc(data: Dataset) -> None:
    high = dataclasses.replace(data, actual=data.level + 1)
    found = scores(high, high.level, 0)
    assert {s.coverage for s in found} == {None}
    assert {s.auc for s in found} == {None}


def test_the_interval_of_a_mean_holds_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    held = 0
    for trial in range(200):
        values = rng.normal(0, 1, 40)
        low, high = bootstrap_mean(values, np.arange(40), trial)
        held += low <= 0 <= high
    assert 0.88 <= held / 200 <= 0.99


def test_posts_not_rows_are_drawn() -> None:
    values = np.repeat(np.random.default_rng(5).normal(0, 1, 30), 10)
    rows = bootstrap_mean(values, np.arange(300), 0)
    posts = bootstrap_mean(values, np.repeat(np.arange(30), 10), 0)
    assert posts[1] - posts[0] > 2 * (rows[1] - rows[0])


@pytest.mark.parametrize(
    ("n", "low", "high", "expected"),
    [
        (100, -0.03, -0.01, "better"),
        (100, -0.01, 0.02, "not_worse"),
        (100, 0.01, 0.02, "not_worse"),
        (100, 0.01, 0.09, "worse"),
        (100, -0.01, 0.09, "undecided"),
        (10, -0.03, -0.01, "undecided"),
    ],
)
def test_a_verdict_needs_evidence(n: int, low: float, high: float, expected: str) -> None:
    assert verdict(n, low, high, 0.05) == expected


def test_a_comparison_is_paired_and_counts_each_post_once(data: Dataset) -> None:
    noise = np.random.default_rng(6).normal(0, 0.5, data.actual.shape)
    ours, theirs = data.actual + noise, data.actual + noise + np.sign(noise) * 0.02
    everything = np.ones(len(data), dtype=bool)
    found = compare(data, ours, theirs, everything, 0.05, 0)
    assert found is not None
    assert found.mean == pytest.approx(-0.02)
    assert found.n == data.n_posts
    assert found.verdict == "better"
    assert compare(data, ours, theirs, ~everything, 0.05, 0) is None


def test_an_evaluation_travels_as_json(data: Dataset) -> None:
    forecasts = {"model": np.repeat(data.level[:, :, None], 3, axis=2), "champion": data.level}
    evaluation = evaluate(data, forecasts, seed=1)
    assert evaluation.versus_champion is not None
    assert evaluation.versus_champion.mean == 0
    assert from_json(Evaluation, to_json(evaluation)) == evaluation


def test_boosting_beats_the_median_where_there_is_something_to_learn(data: Dataset) -> None:
    split = split_share(data)
    day = split.after.known_age == 0
    trees = gradient_boosting(split.before, split.after, 0)
    errors = [np.nanmean(np.abs(split.after.actual - p)[day]) for p in (trees, rolling_median(split.after))]
    assert errors[0] < 0.8 * errors[1]
    assert np.isnan(trees[:, TARGETS.index("views_final")]).all()


def test_boosting_takes_columns_without_any_value(data: Dataset) -> None:
    x = data.x.copy()
    x[:, 5], x[:, 6] = np.nan, 1.0
    out = gradient_boosting(dataclasses.replace(data, x=x), data, 0)
    assert np.isfinite(out[data.known_age == 0, 0]).all()


def test_replay_takes_the_newest_posts_and_a_sample_of_the_older_ones() -> None:
    histories = [make_history(1, posts=1500, per_day=30), make_history(2, posts=1500, per_day=30)]
    masks = choose_posts(histories, 2**40, seed=1)
    chosen = np.concatenate([h.published_at[m] for h, m in zip(histories, masks, strict=True)])
    everything = np.sort(np.concatenate([h.published_at for h in histories]))
    assert len(chosen) == RECENT + RESERVOIR
    assert set(everything[-RECENT:]) <= set(chosen)
    older = chosen[chosen < everything[-RECENT]]
    assert np.quantile(older, 0.5) == pytest.approx(np.quantile(everything[:-RECENT], 0.5), rel=1e-4)
    again = choose_posts(histories, 2**40, seed=1)
    assert all((a == b).all() for a, b in zip(masks, again, strict=True))
    cut = choose_posts(histories, int(everything[500]), seed=1)
    assert sum(int(m.sum()) for m in cut) == 501


def test_damage_breaks_the_join_and_nothing_else(data: Dataset) -> None:
    broken = damage(data, 1)
    assert np.nanstd(broken.residual) > 3 * np.nanstd(data.residual)
    assert set(np.round(broken.actual[np.isfinite(broken.actual)], 9)) <= set(
        np.round(data.actual[np.isfinite(data.actual)], 9)
    )


def test_a_request_s_parameters_reach_the_fit() -> None:
    found = plan("tuned", {"lr": 0.001, "hidden": [8, 8], "batch": 64, "folds": 2, "channel_marks": True}, None)
    assert found.params == FitParams(lr=0.001, hidden=(8, 8), batch=64, channel_marks=True)
    assert found.folds == 2


@pytest.mark.parametrize(
    "given",
    [{"batch": 1.5}, {"lr": True}, {"dropout": 0.95}, {"channel_marks": 1}, {"hidden": "64"}, {"folds": 0}],
)
def test_impossible_parameters_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(given))):
        plan("batch", given, None)


def test_a_warm_start_keeps_its_layers() -> None:
    assert plan("incremental", {}, (32,)).params.hidden == (32,)
    with pytest.raises(InvalidInput, match="hidden"):
        plan("incremental", {"hidden": [64]}, (32,))


def test_a_reference_window_comes_back_as_it_was(data: Dataset) -> None:
    predicted = np.repeat(data.level[:, :, None], 3, axis=2)
    reference = make_reference(data, data.take(data.known_age == 0), predicted[data.known_age == 0], 1)
    back = from_arrow(to_arrow(reference))
    assert back.features == reference.features
    np.testing.assert_array_equal(back.x, reference.x)
    assert set(back.residuals) == {"views_24h", "views_72h"}
    for target, errors in reference.residuals.items():
        np.testing.assert_array_equal(back.residuals[target], errors)


def test_a_reference_that_is_none_is_corrupt() -> None:
    with pytest.raises(ArtifactCorrupt):
        from_arrow(b"nothing of the kind")
