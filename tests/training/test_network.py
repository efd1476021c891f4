from __future__ import annotations

import numpy as np
import pytest
import torch

from core.errors import Broken
from core.schemas.predictions import TARGETS
from tests.training.audience import make_history
from training.dataset import Dataset, build
from training.features import FEATURES
from training.fit import Fit, FitParams
from training.names import CHANNEL_MARKS
from training.network import EngagementNet, pinball

F, T = len(FEATURES), len(TARGETS)


@pytest.fixture(scope="module")
def rows() -> Dataset:
    return build([make_history(number) for number in (1, 2)], 2**40)


def test_an_untrained_network_says_the_usual(rows: Dataset) -> None:
    quantiles = Fit(rows, FitParams(), seed=1).quantiles(rows)
    assert np.abs(quantiles[:, :, 1]).max() == 0
    assert (quantiles[:, :, 0] < 0).all()
    assert (quantiles[:, :, 2] > 0).all()


def test_quantiles_never_cross_whatever_comes_in() -> None:
    generator = torch.Generator().manual_seed(3)
    net = EngagementNet(F, T, (16,), generator)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    x = torch.randn(200, F, generator=generator) * 100
    x[::3, ::5] = float("nan")
    x[5, 5] = float("inf")
    q = net.quantiles(x)
    assert torch.isfinite(q).all()
    assert (q[:, :, 0] <= q[:, :, 1]).all()
    assert (q[:, :, 1] <= q[:, :, 2]).all()


def test_the_pinball_loss_is_least_at_the_quantiles() -> None:
    y = torch.linspace(0, 1, 1001).unsqueeze(1)
    weight = torch.ones(1001)

    def loss(*levels: float) -> float:
        return float(pinball(torch.tensor(levels).view(1, 1, 3).expand(1001, 1, 3), y, weight))

    best = loss(0.1, 0.5, 0.9)
    assert best < min(loss(0.2, 0.5, 0.9), loss(0.1, 0.4, 0.9), loss(0.1, 0.5, 0.8))


def test_unknown_targets_and_weights_count_as_they_should() -> None:
    y = torch.tensor([[1.0], [float("nan")], [5.0]])
    q = torch.zeros(3, 1, 3)
    assert float(pinball(q, y, torch.tensor([1.0, 1.0, 0.0]))) == pytest.approx(0.5)


def test_normalisation_leaves_missing_values_out_and_constant_columns_alone() -> None:
    net = EngagementNet(F, T, (8,))
    x = torch.zeros(100, F)
    x[:, 0] = torch.arange(100.0)
    x[50:, 0] = float("nan")
    x[:, 1] = 7.0
    x[:, 2] = float("nan")
    net.normalise(x)
    assert float(net.mean[0]) == pytest.approx(24.5)
    assert float(net.scale[0]) == pytest.approx(torch.arange(50.0).std(correction=0).item(), rel=1e-5)
    assert float(net.scale[1]) == 1.0
    assert net.flagged[:3].tolist() == [1.0, 0.0, 0.0]


def test_a_running_normalisation_moves_part_of_the_way() -> None:
    net = EngagementNet(F, T, (8,))
    net.normalise(torch.zeros(300, F))
    net.normalise(torch.full((100, F), 4.0), keep=100)
    assert float(net.mean[0]) == pytest.approx(2.0)
    net.normalise(torch.full((100, F), 8.0), keep=0)
    assert float(net.mean[0]) == pytest.approx(8.0)


def test_the_network_does_not_read_what_only_names_channels(rows: Dataset) -> None:
    fit = Fit(rows, FitParams(), seed=1)
    for _ in range(5):
        fit.epoch()
    moved = rows.x.copy()
    moved[:, [FEATURES.index(name) for name in CHANNEL_MARKS]] += 3
    changed = Dataset(**{n: getattr(rows, n) for n in rows.__dataclass_fields__} | {"x": moved})
    np.testing.assert_array_equal(fit.quantiles(rows), fit.quantiles(changed))


def test_the_same_seed_gives_the_same_weights_and_another_one_others(rows: Dataset) -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed * 17)  # the global generator must not matter
        fit = Fit(rows, FitParams(), seed=seed)
        for _ in range(3):
            fit.epoch()
        return fit.net.head.detach()

    assert torch.equal(weights(5), weights(5))
    assert not torch.equal(weights(5), weights(6))


def test_the_pull_towards_the_champion_has_a_gradient(rows: Dataset) -> None:
    fit = Fit(rows, FitParams(anchor=0.1), seed=1)
    assert float(fit.penalty().detach()) == 0
    with torch.no_grad():
        fit.net.head.add_(1.0)
    penalty = fit.penalty()
    penalty.backward()  # type: ignore[no-untyped-call]
    assert fit.net.head.grad is not None
    assert float(fit.net.head.grad.min()) == pytest.approx(0.2)


def test_an_anchored_fit_stays_nearer_to_where_it_started(rows: Dataset) -> None:
    def distance(anchor: float) -> float:
        fit = Fit(rows, FitParams(anchor=anchor, dropout=0.0), seed=1)
        begin = fit.weights()
        for _ in range(5):
            fit.epoch()
        return sum(float((fit.weights()[n] - begin[n]).pow(2).sum()) for n in ("head", "weights.0"))

    assert distance(1.0) < 0.5 * distance(0.0)


def test_a_fit_goes_on_from_its_state_as_if_nothing_had_happened(rows: Dataset) -> None:
    whole, first = (Fit(rows, FitParams(), seed=2) for _ in range(2))
    for _ in range(4):
        whole.epoch()
    first.epoch()
    first.epoch()
    second = Fit(rows, FitParams(), seed=2)
    second.restore(first.state())
    second.epoch()
    second.epoch()
    assert second.epochs == 4
    for name, value in whole.weights().items():
        assert torch.equal(value, second.weights()[name]), name


def test_a_loss_that_is_not_finite_is_an_error_and_not_a_model(rows: Dataset) -> None:
    fit = Fit(rows, FitParams(), seed=1)
    with torch.no_grad():
        fit.net.head.fill_(float("nan"))
    with pytest.raises(Broken, match="not finite"):
        fit.epoch()
