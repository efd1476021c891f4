from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from core.errors import Broken, InvalidInput, NoData
from training.stream.penalties import Distillation, Ewc, L2sp, anchors, fisher_diagonal


def network(outputs: int = 1) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, outputs))


def rows(seed: int, n: int = 64) -> tuple[Tensor, Tensor]:
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))
    return x, x[:, :1] * (1.0 if seed == 1 else -1.0)


def fit(net: nn.Module, x: Tensor, y: Tensor, hold: Ewc | L2sp | None = None, steps: int = 150) -> nn.Module:
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(steps):
        loss = (net(x) - y).pow(2).mean() / 2
        loss = loss if hold is None else loss + hold(net)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net


def moved(net: nn.Module, start: dict[str, Tensor]) -> float:
    return float(sum((p - start[name]).pow(2).sum() for name, p in net.named_parameters()).detach())


def ewc(net: nn.Module, strength: float) -> Ewc:
    x, _ = rows(1)
    drawn = net(x).detach() + torch.randn(len(x), 1, generator=torch.Generator().manual_seed(5))
    return Ewc.anchored(net, lambda i: (net(x[i]) - drawn[i]).pow(2).sum() / 2, len(x), strength)


@pytest.mark.parametrize("kind", ["ewc", "l2sp"])
def test_a_penalty_pulls_back_with_a_gradient(kind: str) -> None:
    net = fit(network(), *rows(1), steps=20)
    hold = ewc(net, 10.0) if kind == "ewc" else L2sp.anchored(net, 10.0)
    assert float(hold(net).detach()) == 0
    with torch.no_grad():
        for p in net.parameters():
            p += 0.1
    net.zero_grad()
    hold(net).backward()
    gradients = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
    assert float(hold(net).detach()) > 0
    assert float(gradients.abs().max()) > 0
    assert (gradients >= 0).all()  # every weight was moved up, none is pulled further up


def test_strength_holds_the_weights_and_the_old_answers() -> None:
    old = fit(network(), *rows(1))
    start, x, y = anchors(old), *rows(1)
    nets = {s: fit(copy.deepcopy(old), *rows(2), hold=ewc(old, s)) for s in (0.0, 1.0, 1e3)}
    distance = {s: moved(net, start) for s, net in nets.items()}
    assert distance[1e3] < distance[1.0] < distance[0.0]
    assert distance[1e3] < 0.1 * distance[0.0]
    error = {s: float((net(x) - y).pow(2).mean().detach()) for s, net in nets.items()}
    assert error[1e3] < error[0.0] / 4


def test_an_anchor_stays_when_the_weights_move() -> None:
    net = network()
    hold = L2sp.anchored(net, 1.0)
    fit(net, *rows(1), steps=10)
    assert float(hold(net).detach()) == pytest.approx(moved(net, dict(hold.anchor)))
    assert float(hold(net).detach()) > 0


def test_fisher_is_the_mean_squared_gradient_of_single_rows() -> None:
    net = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        net.weight.fill_(0.0)
    x, y = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [-3.0]])
    found = fisher_diagonal(net, lambda i: (net(x[i]) - y[i]).pow(2).sum() / 2, 2)
    # gradients of the rows: -1 and 6; the square of their mean would be 6.25
    assert float(found["weight"]) == pytest.approx((1 + 36) / 2)
    assert net.weight.grad is None


def test_fisher_needs_finite_rows() -> None:
    net = network()
    with pytest.raises(NoData):
        fisher_diagonal(net, lambda i: net(torch.zeros(1, 3)).sum(), 0)
    with pytest.raises(Broken):
        fisher_diagonal(net, lambda i: net(torch.full((1, 3), float("nan"))).sum(), 1)


def test_a_stored_penalty_is_the_same_and_a_joined_one_adds_up() -> None:
    net = fit(network(), *rows(1), steps=20)
    hold = ewc(net, 5.0)
    fit(net, *rows(2), steps=20)
    again = Ewc.restored(hold.state(), 5.0)
    assert float(again(net).detach()) == float(hold(net).detach())
    assert float(hold.joined(hold)(net).detach()) == pytest.approx(2 * float(hold(net).detach()))
    assert float(hold.joined(hold, decay=0.5)(net).detach()) == pytest.approx(1.5 * float(hold(net).detach()))


def test_another_network_and_another_state_are_refused() -> None:
    hold = L2sp.anchored(network(), 1.0)
    with pytest.raises(InvalidInput):
        hold(network(outputs=2))
    with pytest.raises(InvalidInput):
        L2sp.anchored(network(), float("nan"))
    with pytest.raises(InvalidInput):
        Ewc.restored({"weights.a": torch.zeros(1)}, 1.0)


@pytest.mark.parametrize("kind", ["classes", "values"])
def test_distillation_keeps_the_old_answers(kind: str) -> None:
    old = network(outputs=3)
    hold = Distillation.frozen(old, 4.0, kind)  # type: ignore[arg-type]
    x, _ = rows(1)
    assert float(hold(x, old(x)).detach()) == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        for p in old.parameters():
            p += 0.2 * torch.randn(p.shape, generator=torch.Generator().manual_seed(7))
    before = hold(x, old(x))
    before.backward()
    assert float(before.detach()) > 0
    assert all(p.grad is None for p in hold.teacher.parameters())
    optimizer = torch.optim.SGD(old.parameters(), lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        hold(x, old(x)).backward()
        optimizer.step()
    assert float(hold(x, old(x)).detach()) < 0.2 * float(before.detach())


def test_distillation_leaves_classes_that_came_later_alone() -> None:
    old, wide = network(outputs=2), network(outputs=3)
    hold = Distillation.frozen(old, 1.0, "classes")
    x, _ = rows(1)
    answers = wide(x).detach().requires_grad_()
    hold(x, answers).backward()
    assert answers.grad is not None
    assert (answers.grad[:, 2] == 0).all()
    assert (answers.grad[:, :2] != 0).any()
