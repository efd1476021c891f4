"""What each strategy changes and what it leaves as it was, on an audience whose rules are known."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load

from core.clock import DAY
from core.errors import InsufficientData, InvalidInput
from core.history import ChannelHistory
from core.schemas.models import Strategy
from tests.training.audience import START, QuietReporter, make_history
from training.dataset import Dataset, build, split_share, to_parquet
from training.engagement import Incumbent, Prepared, Trained, finish, prepare
from training.fit import HEAD, Fit, FitParams, consolidated, network_of
from training.layout import HEADER, WEIGHTS
from training.loop import LoopConfig, LoopResult, TrainingStopped, train_loop
from training.model import EngagementModel
from training.online import corrected
from training.strategies import plan

FOREVER = 2**40
FIRST = START + 35 * DAY
SMALL = FitParams(hidden=(8,), lr=3e-3, dropout=0.0)


@pytest.fixture(scope="module")
def audience() -> list[ChannelHistory]:
    return [make_history(number, posts=170) for number in (1, 3)]


@pytest.fixture(scope="module")
def rows(audience: list[ChannelHistory]) -> Dataset:
    return build(audience, FOREVER)


@pytest.fixture(scope="module")
def champion(audience: list[ChannelHistory]) -> Incumbent:
    params = {"hidden": [8], "lr": 3e-3, "epochs": 8, "patience": 3, "folds": 2}
    prepared = prepare(audience, until=FIRST, params=params, seed=3)
    first = finish(prepared, train_loop(prepared.loop_config(), QuietReporter()))
    return Incumbent(1, EngagementModel.from_artifact(first.files), FIRST)


def warmed(
    audience: list[ChannelHistory], champion: Incumbent, strategy: Strategy, **params: object
) -> tuple[Prepared, LoopResult]:
    prepared = prepare(
        audience, until=FOREVER, strategy=strategy, params=params, seed=3, champion=champion, warm=champion
    )
    return prepared, train_loop(prepared.loop_config(), QuietReporter())


# ---------------------------------------------------------------- what holds the weights


def held(rows: Dataset, strength: float, epochs: int) -> Fit:
    fit = Fit(rows, dataclasses.replace(SMALL, ewc=strength), seed=1)
    hold = consolidated(fit.net, rows, strength, seed=1) if strength else None
    held = Fit(rows, fit.params, seed=1, warm=fit.weights(), hold=hold)
    for _ in range(epochs):
        held.epoch()
    return held


def test_the_gradient_of_the_ewc_penalty_is_not_zero_once_weights_have_moved(rows: Dataset) -> None:
    fit = held(rows, 10.0, 0)
    assert float(fit.penalty().detach()) == 0
    with torch.no_grad():
        for parameter in fit.net.parameters():
            parameter.add_(0.1)
    fit.penalty().backward()  # type: ignore[no-untyped-call]
    moved = [p.grad for p in fit.net.parameters() if p.grad is not None]
    assert sum(float(g.abs().sum()) for g in moved) > 0
    assert fit.net.start.grad is not None
    assert float(fit.net.start.grad.abs().max()) > 0


def test_weights_move_less_under_strong_ewc_than_without(rows: Dataset) -> None:
    def distance(strength: float) -> float:
        begin, end = held(rows, strength, 0).net, held(rows, strength, 4).net
        return float((end.start - begin.start).detach().pow(2).sum())

    assert distance(1e3) < 0.3 * distance(0.0)


def test_ewc_reaches_the_loop_with_the_rows_that_the_champion_learned_from(
    audience: list[ChannelHistory], champion: Incumbent
) -> None:
    given: dict[str, object] = {"anchor": 0.0, "epochs": 3, "folds": 2, "patience": 3}
    prepared, held = warmed(audience, champion, "incremental", ewc=1e3, **given)
    config = prepared.loop_config()
    assert config.old is not None
    free = train_loop(
        dataclasses.replace(config, params=config.params | {"ewc": 0.0}, old=None, fixed_epochs=3), QuietReporter()
    )
    held = train_loop(dataclasses.replace(config, fixed_epochs=3), QuietReporter())
    begin = load(champion.model.weights())

    def moved(result: LoopResult) -> float:
        return float((load(result.final)["start"] - begin["start"]).pow(2).sum())

    assert moved(held) < 0.5 * moved(free)


# ---------------------------------------------------------------- transfer: the head alone


def test_transfer_changes_the_head_and_nothing_else(audience: list[ChannelHistory], champion: Incumbent) -> None:
    prepared, result = warmed(audience, champion, "transfer", epochs=4, patience=4)
    if result.epochs == 0:
        result = train_loop(dataclasses.replace(prepared.loop_config(), fixed_epochs=2), QuietReporter())
    before, after = load(champion.model.weights()), load(result.final)
    for name, value in before.items():
        assert torch.equal(value, after[name]) == (name not in HEAD), name


def test_transfer_to_a_channel_that_the_version_never_saw_validates_on_all_of_it(
    audience: list[ChannelHistory], champion: Incumbent
) -> None:
    noted = champion.model.notes | {"channels": ["c1"]}
    specialist = dataclasses.replace(champion, model=dataclasses.replace(champion.model, notes=noted))
    given = {"until": FIRST, "strategy": "transfer", "seed": 3, "warm": specialist, "channels": ("c3",)}
    prepared = prepare(audience[1:], **given)  # type: ignore[arg-type]
    assert prepared.since is None
    assert prepare(audience[:1], **(given | {"channels": ("c1",)})).since == FIRST  # type: ignore[arg-type]
    result = train_loop(prepared.loop_config(), QuietReporter())
    trained = finish(prepared, result)
    assert trained.params["channels"] == ["c3"]
    assert EngagementModel.from_artifact(trained.files).notes["channels"] == ["c3"]
    assert len(result.curve) > 1


# ---------------------------------------------------------------- online: the network as it is


def online(audience: list[ChannelHistory], start: Incumbent, until: int = FOREVER) -> Trained:
    return corrected(prepare(audience, until=until, strategy="online", seed=3, champion=start, warm=start))


def test_online_leaves_the_network_bit_for_bit_and_stores_a_corrector(
    audience: list[ChannelHistory], champion: Incumbent
) -> None:
    trained = online(audience, champion)
    assert trained.files[WEIGHTS] == champion.model.weights()
    model = EngagementModel.from_artifact(trained.files)
    model.check_golden(trained.files)
    assert model.corrector is not None
    assert int(model.corrector.n.sum()) == trained.params["corrector"]["outcomes"] > 100
    assert "corrector" in json.loads(trained.files[HEADER])
    assert (trained.lineage.strategy, trained.lineage.parent) == ("online", 1)
    versus = trained.evaluation.versus_champion
    assert versus is not None
    assert versus.verdict != "worse"


def test_online_goes_on_from_an_online_version_without_learning_twice(
    audience: list[ChannelHistory], champion: Incumbent
) -> None:
    end = max(int(h.reading_ts.max()) for h in audience)
    middle = (FIRST + end) // 2
    first = Incumbent(2, EngagementModel.from_artifact(online(audience, champion, middle).files), middle)
    second = EngagementModel.from_artifact(online(audience, first).files)
    whole = EngagementModel.from_artifact(online(audience, champion).files)
    assert second.corrector is not None
    assert whole.corrector is not None
    np.testing.assert_array_equal(second.corrector.n, whole.corrector.n)
    assert first.model.corrector is not None
    assert int(first.model.corrector.n.sum()) < int(second.corrector.n.sum())


def test_online_without_news_is_too_little_data(audience: list[ChannelHistory], champion: Incumbent) -> None:
    with pytest.raises(InsufficientData):
        online(audience, champion, FIRST)


# ---------------------------------------------------------------- continual: slice by slice


@pytest.fixture(scope="module")
def by_slices(rows: Dataset) -> LoopConfig:
    params = dataclasses.asdict(dataclasses.replace(SMALL, ewc=1.0))
    before = to_parquet(split_share(rows).before)
    return LoopConfig(before, to_parquet(rows), params, seed=4, epochs=2, slices=3)


def test_continual_reports_what_every_slice_did_to_the_others(by_slices: LoopConfig) -> None:
    reporter = QuietReporter()
    result = train_loop(by_slices, reporter)
    memory = result.memory
    assert memory is not None
    assert np.array(memory.errors).shape == (3, 3)
    assert all(n > 0 for n in memory.posts)
    assert memory.errors[0][0] < memory.before[0]
    assert memory.forgetting >= 0
    own, last = np.diagonal(np.array(memory.errors)), np.array(memory.errors[-1])
    assert memory.backward_transfer == pytest.approx(float((own - last)[:-1].mean()))
    assert [p.epoch for p in reporter.progress] == list(range(1, 13))
    assert reporter.progress[-1].epochs == 12
    assert result.calibration.trust.max() > 0


def test_continual_goes_on_from_a_checkpoint_and_ends_where_the_whole_run_ends(by_slices: LoopConfig) -> None:
    whole = train_loop(by_slices, QuietReporter())
    often = dataclasses.replace(by_slices, checkpoint_every=1)
    broken = QuietReporter(stop_after=4)
    with pytest.raises(TrainingStopped):
        train_loop(often, broken)
    resumed = QuietReporter(checkpoint=broken.checkpoints[-1])
    again = train_loop(often, resumed)
    assert resumed.progress[0].epoch == 5
    assert again.final == whole.final
    assert again.memory == whole.memory


def test_continual_from_a_version_takes_what_it_knew_as_the_first_slice(
    audience: list[ChannelHistory], champion: Incumbent
) -> None:
    prepared, result = warmed(audience, champion, "continual", epochs=2, slices=3)
    trained = finish(prepared, result)
    memory = trained.evaluation.memory
    assert memory is not None
    assert memory.edges[1] == FIRST + 1
    assert memory.errors[0] == pytest.approx(memory.before)
    assert set(trained.params["memory"]) == {"forgetting", "backward_transfer"}
    assert trained.params["slices"] == 3
    assert not torch.equal(load(result.final)["head"], load(champion.model.weights())["head"])


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize("strategy", ["incremental", "online", "transfer"])
def test_what_starts_from_a_version_asks_for_one(strategy: Strategy) -> None:
    with pytest.raises(InvalidInput, match="warm_start"):
        plan(strategy, {}, None)


def test_settings_that_a_strategy_does_not_have_are_refused() -> None:
    for strategy, given in (
        ("online", {"lr": 0.1}),
        ("transfer", {"head_only": False}),
        ("batch", {"head_only": True}),
        ("batch", {"slices": 3}),
    ):
        with pytest.raises(InvalidInput):
            plan(strategy, given, (8,))  # type: ignore[arg-type]


def test_a_network_of_a_state_answers_as_the_fit_did(rows: Dataset) -> None:
    fit = Fit(rows, SMALL, seed=1)
    fit.epoch()
    x = torch.from_numpy(rows.x)
    assert torch.equal(network_of(fit.weights(), SMALL).quantiles(x), fit.net.quantiles(x))
