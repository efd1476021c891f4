from __future__ import annotations

import numpy as np
import pytest
import torch

from core.errors import ArtifactCorrupt, Broken, InsufficientData, InvalidInput
from core.history import Floats
from training.stream.learner import LearnerParams, StreamLearner
from training.stream.network import Adam, StreamNet
from training.stream.penalties import Ewc, L2sp

QUICK = LearnerParams(first_steps=150, hidden=(16, 16), recent=300, kept=300)


def circles(n: int, seed: int, turned: bool = False) -> tuple[Floats, np.ndarray]:
    x = np.random.default_rng(seed).normal(size=(n, 3)) * 10 + 100
    inside = ((x[:, :2] - 100) ** 2).sum(axis=1) < 140
    return x, (inside != turned).astype(np.int64)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_closed_form_gradients_are_those_of_autograd(task: str) -> None:
    rng = np.random.default_rng(1)
    net = StreamNet(2, 5, 3 if task == "classification" else 1, (8, 7), rng)
    x = rng.normal(size=(2, 20, 5)).astype(np.float32)
    y = rng.integers(0, 3, (2, 20)) if task == "classification" else rng.normal(size=(2, 20)) * 3
    out = net(torch.from_numpy(x))
    if task == "classification":
        loss = torch.nn.functional.cross_entropy(out.reshape(-1, 3), torch.from_numpy(y).reshape(-1))
    else:
        loss = torch.nn.functional.huber_loss(out[:, :, 0], torch.from_numpy(y).float())
    (expected,) = torch.autograd.grad(loss * 2, net.flat)  # mean over both members' rows; the sum of means is twice it
    found = net.gradient(x, y, task)  # type: ignore[arg-type]
    assert np.abs(found - expected.numpy()).max() < 1e-6
    assert np.abs(net.answers(x) - out.detach().numpy()).max() < 1e-5


def test_widening_changes_no_answer_and_new_classes_start_unlikely() -> None:
    rng = np.random.default_rng(2)
    net = StreamNet(2, 4, 2, (6, 6), rng)
    x = rng.normal(size=(10, 4)).astype(np.float32)
    wide, place = net.widened(6, 3)
    more = np.concatenate([x, rng.normal(size=(10, 2)).astype(np.float32)], axis=1)
    assert wide.answers(more)[:, :, :2] == pytest.approx(net.answers(x), abs=1e-5)
    assert (wide.answers(more)[:, :, 2] == -3).all()
    adam = Adam(net.flat.numel(), 0.0)
    adam.first[:] = np.arange(net.flat.numel())
    assert (adam.moved(wide.flat.numel(), place).first[place] == adam.first).all()


def test_penalties_hold_a_stream_network() -> None:
    net = StreamNet(1, 3, 2, (8, 8), np.random.default_rng(3))
    x = torch.randn(1, 30, 3, generator=torch.Generator().manual_seed(1))
    loss = torch.nn.functional.cross_entropy
    ewc = Ewc.anchored(net, lambda i: loss(net(x[:, i])[0, 0], torch.tensor(i % 2)), 30, 10)
    l2sp = L2sp.anchored(net, 1.0)
    net.arrays()[0][:] += 0.1
    for hold in (ewc, l2sp):
        (gradient,) = torch.autograd.grad(hold(net), net.flat)
        assert float(gradient.abs().max()) > 0


def test_it_learns_what_changed_and_says_when_it_cannot_answer() -> None:
    learner = StreamLearner("classification", 3, seed=1, params=QUICK)
    x, y = circles(1200, 1)
    with pytest.raises(InsufficientData) as gap:
        learner.answers(x[:5])
    assert gap.value.needed == 200
    learner.learn(x, y)
    held, truth = circles(400, 2)
    assert (learner.answers(held)[0].argmax(axis=1) == truth).mean() > 0.9
    x, y = circles(1000, 3, turned=True)
    for start in range(0, 1000, 50):
        learner.learn(x[start : start + 50], y[start : start + 50])
    answers = learner.answers(held)
    assert (answers[0].argmax(axis=1) == 1 - truth).mean() > 0.8
    assert answers.sum(axis=2) == pytest.approx(1)


def test_a_class_that_comes_later_is_learned() -> None:
    learner = StreamLearner("classification", 3, seed=1, params=QUICK)
    x, y = circles(600, 1)
    learner.learn(x, y)
    assert learner.outputs == 2
    for seed in range(8):
        x, y = circles(50, 10 + seed)
        x[:25, 2], y[:25] = 160, 3  # far outside what was seen; class 2 never comes
        learner.learn(x, y)
    assert learner.outputs == 4
    x[:, 2] = 160
    assert (learner.answers(x)[0].argmax(axis=1) == 3).mean() > 0.9


def test_regression_stays_bounded_on_wild_rows() -> None:
    rng = np.random.default_rng(5)
    learner = StreamLearner("regression", 2, seed=1, params=QUICK)
    x = rng.normal(size=(600, 2)) * [1, 1e6]
    learner.learn(x, 500 + 30 * x[:, 0])
    wild = np.array([[1e300, np.nan], [-np.inf, 1e18]])
    for _ in range(30):
        learner.learn(wild, np.array([530.0, 470.0]))
    answers = learner.answers(np.concatenate([wild, x[:100]]))
    assert np.isfinite(answers).all()
    assert (np.abs(answers - 500) < 1000).all()
    assert np.abs(answers[0, 2:, 0] - 500 - 30 * x[:100, 0]).mean() < 12


def test_bad_labels_are_refused_and_broken_weights_taken_back() -> None:
    learner = StreamLearner("classification", 3, seed=1, params=QUICK)
    x, y = circles(300, 1)
    learner.learn(x, y)
    for bad in (y - 1, y + 0.5, np.where(y == 1, np.nan, 0.0), y[:-1]):
        with pytest.raises(InvalidInput):
            learner.learn(x, bad)
    with pytest.raises(InvalidInput):
        learner.answers(x[:, :2])
    assert learner.net is not None
    before = learner.net.flat.detach().clone()
    learner._optimizer.first[:] = np.nan  # stands for any arithmetic accident
    with pytest.raises(Broken):
        learner.learn(x[:50], y[:50])
    assert torch.equal(learner.net.flat.detach(), before)
    learner.learn(x[:50], y[:50])


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_stored_bytes_go_on_exactly_as_the_learner(task: str) -> None:
    learner = StreamLearner(task, 3, seed=7, params=QUICK)  # type: ignore[arg-type]
    x, y = circles(400, 1)
    extra = np.ones((400, 2), np.float32)
    learner.learn(x, y, extra)
    learner.learn(x[:60], y[:60], extra[:60])
    learner.learn(x[60:70], y[60:70], extra[60:70])  # fewer than a block: these wait
    again = StreamLearner.from_bytes(learner.to_bytes())
    for each in (learner, again):
        each.learn(x[70:200], y[70:200], extra[70:200])
    assert (learner.answers(x, extra) == again.answers(x, extra)).all()
    with pytest.raises(ArtifactCorrupt):
        StreamLearner.from_bytes(b"not a learner")
