from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from safetensors.torch import load

from core.schemas.models import Signature
from tests.training.audience import QuietReporter, make_history
from training.dataset import Dataset, build, split_share, to_parquet
from training.features import FEATURES, SCHEMA
from training.fit import FitParams
from training.loop import LoopConfig, LoopResult, TrainingStopped, train_loop
from training.model import model_of

Whole = tuple[LoopResult, QuietReporter]


@pytest.fixture(scope="module")
def config() -> LoopConfig:
    data = build([make_history(number) for number in (1, 2)], 2**40)
    return config_of(data)


@pytest.fixture(scope="module")
def whole(config: LoopConfig) -> Whole:
    """One run to its end, which several tests look at."""
    reporter = QuietReporter()
    return train_loop(config, reporter), reporter


def config_of(data: Dataset, **changes: object) -> LoopConfig:
    before = split_share(data).before
    params = dataclasses.asdict(FitParams(hidden=(16, 16), lr=2e-3))
    config = LoopConfig(to_parquet(before), to_parquet(data), params, seed=4, epochs=12, patience=6)
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]


def test_the_same_input_and_seed_give_the_same_bytes(config: LoopConfig, whole: Whole) -> None:
    one, two = whole[0], train_loop(config, QuietReporter())
    assert one.final == two.final
    assert one.judged == two.judged
    assert one.curve == two.curve
    np.testing.assert_array_equal(one.calibration.stretch, two.calibration.stretch)
    shorter = dataclasses.replace(config, fixed_epochs=1)
    other = train_loop(dataclasses.replace(shorter, seed=5), QuietReporter())
    assert other.final != train_loop(shorter, QuietReporter()).final


def test_the_epoch_of_the_least_out_of_fold_loss_is_taken(whole: Whole) -> None:
    result, _ = whole
    assert result.epochs == int(np.argmin(result.curve))
    assert result.epochs > 0
    assert result.curve[result.epochs] < result.curve[0]


def test_where_nothing_can_be_learned_the_model_stays_at_the_usual() -> None:
    data = build([make_history(number, video_gain=0.0) for number in (1, 2)], 2**40)
    rng = np.random.default_rng(0)
    noise = np.where(np.isfinite(data.actual), data.base + 0.2 * rng.standard_normal(data.base.shape), np.nan)
    data = dataclasses.replace(data, actual=noise)
    result = train_loop(config_of(data), QuietReporter())
    signature = Signature(FEATURES, data.targets, SCHEMA)
    model = model_of(result.judged, signature, result.calibration, (16, 16))
    after = split_share(data).after
    ours, usual = np.abs(after.residual - model.residuals(after.x)[:, :, 1]), np.abs(after.residual)
    assert np.nanmean(ours) < 1.03 * np.nanmean(usual)


def test_progress_comes_from_inside_the_loop(whole: Whole) -> None:
    result, reporter = whole
    assert len(reporter.progress) == len(result.curve) - 1 + 2 * result.epochs
    assert all(np.isfinite(p.loss) for p in reporter.progress)
    assert reporter.progress[0].validation == pytest.approx(result.curve[1])
    assert reporter.progress[-1].epoch == reporter.progress[-1].epochs


@pytest.mark.parametrize("after", [1, 3, 14])
def test_it_stops_at_the_next_step_when_asked(config: LoopConfig, after: int) -> None:
    reporter = QuietReporter(stop_after=after)
    with pytest.raises(TrainingStopped):
        train_loop(config, reporter)
    assert len(reporter.progress) == after


def test_going_on_from_a_checkpoint_ends_where_the_whole_run_ends(config: LoopConfig, whole: Whole) -> None:
    broken = QuietReporter(stop_after=5)
    with pytest.raises(TrainingStopped):
        train_loop(dataclasses.replace(config, checkpoint_every=2), broken)
    resumed = QuietReporter(checkpoint=broken.checkpoints[-1])
    again = train_loop(dataclasses.replace(config, checkpoint_every=2), resumed)
    assert resumed.progress[0].epoch == 5
    assert again.final == whole[0].final
    assert again.curve == whole[0].curve
    np.testing.assert_array_equal(again.calibration.stretch, whole[0].calibration.stretch)


def test_a_checkpoint_of_a_final_fit_spares_the_search_and_the_fit_before_it(config: LoopConfig, whole: Whole) -> None:
    ended, told = whole
    last = len(told.progress) - 1
    broken = QuietReporter(stop_after=last)
    with pytest.raises(TrainingStopped):
        train_loop(dataclasses.replace(config, checkpoint_every=1), broken)
    resumed = QuietReporter(checkpoint=broken.checkpoints[-1])
    again = train_loop(config, resumed)
    assert [p.epoch for p in resumed.progress] == [last + 1]
    assert (again.judged, again.final, again.curve) == (ended.judged, ended.final, ended.curve)
    np.testing.assert_array_equal(again.calibration.trust, ended.calibration.trust)


def test_a_warm_start_really_starts_from_the_champion_s_weights(config: LoopConfig, whole: Whole) -> None:
    champion, _ = whole
    untouched = dataclasses.replace(config, warm=champion.final, fixed_epochs=0)
    for name, value in load(train_loop(untouched, QuietReporter()).final).items():
        if name.startswith(("weights", "biases", "head", "start")):
            assert value.equal(load(champion.final)[name]), name
    one_more = train_loop(dataclasses.replace(untouched, fixed_epochs=1), QuietReporter())
    near = float((load(one_more.final)["head"] - load(champion.final)["head"]).norm())
    cold = train_loop(dataclasses.replace(config, fixed_epochs=1), QuietReporter())
    far = float((load(cold.final)["head"] - load(champion.final)["head"]).norm())
    assert 0 < near < 0.5 * far


def test_a_spent_budget_ends_the_search_and_still_gives_a_model(config: LoopConfig) -> None:
    result = train_loop(dataclasses.replace(config, search_s=0.0), QuietReporter())
    assert len(result.curve) == 1
    assert result.epochs == 0


def test_too_few_rows_for_folds_give_a_careful_fit(config: LoopConfig) -> None:
    data = build([make_history(posts=75)], 2**40)
    tiny = data.take(np.arange(len(data)) % 8 == 0)
    result = train_loop(dataclasses.replace(config_of(data), judged=to_parquet(tiny)), QuietReporter())
    assert result.curve == ()
    assert result.epochs == 3
