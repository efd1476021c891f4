from __future__ import annotations

import numpy as np
import pytest

from core.errors import InvalidInput, Refused
from core.history import Floats
from training.stream.learner import LearnerParams
from training.stream.mixture import Mixture, log_loss
from training.stream.online import FadingRidge, Transitions
from training.stream.predictor import StreamPredictor
from training.stream.trace import LabelTrace

QUICK = LearnerParams(first_steps=100, hidden=(16, 16), recent=300, kept=300)


def stream(task: str, n: int, seed: int = 1) -> tuple[Floats, np.ndarray]:
    """A rule that turns round half-way; labels that hang together over time."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    level = np.convolve(rng.normal(size=n + 20), np.ones(20) / 4, "valid")[:n]
    value = x[:, 0] * np.where(np.arange(n) < n / 2, 1, -1) + level
    return x, (value > 0).astype(np.int64) if task == "classification" else value


def walk(task: str, x: Floats, y: np.ndarray, chunk: int, warm: int = 300) -> tuple[Floats, StreamPredictor]:
    predictor = StreamPredictor(task, x.shape[1], 3, QUICK)  # type: ignore[arg-type]
    predictor.begin(x[:warm], y[:warm], chunk)
    frozen, out = predictor.frozen(x), []
    for start in range(warm, len(y), chunk):
        out.append(predictor.predict(x[start : start + chunk], frozen[:, start : start + chunk]))
        predictor.learn(y[start : start + chunk])
    return np.concatenate(out), predictor


@pytest.mark.parametrize(("task", "chunk"), [("classification", 40), ("regression", 40), ("regression", 2)])
def test_the_future_changes_no_earlier_answer(task: str, chunk: int) -> None:
    x, y = stream(task, 380)
    answers, _ = walk(task, x, y, chunk)
    cut = 340  # rows from here on are other ones
    other_x, other_y = x.copy(), y.copy()
    other_x[cut:] = 1e6
    other_y[cut:] = 1 - y[cut:]
    changed, _ = walk(task, other_x, other_y, chunk)
    assert (answers[: cut - 300] == changed[: cut - 300]).all()
    assert (answers[cut - 300 :] != changed[cut - 300 :]).any()


def test_labels_may_come_at_any_delay() -> None:
    x, y = stream("regression", 420)
    predictor = StreamPredictor("regression", 4, 3, QUICK)
    predictor.begin(x[:300], y[:300], 10)
    for at in range(300, 420):
        predictor.predict(x[at : at + 1])
        if at >= 310:
            predictor.learn(y[at - 10 : at - 9])
    assert predictor.waiting == 10
    predictor.learn(y[410:])
    with pytest.raises(Refused):
        predictor.learn(y[:1])
    with pytest.raises(Refused):
        StreamPredictor("regression", 4, 3).predict(x)
    predictor.predict(x[:1])
    with pytest.raises(InvalidInput):
        predictor.learn(np.array([np.nan]))


def test_it_follows_a_rule_that_turns_round() -> None:
    x, y = stream("classification", 2000)
    answers, predictor = walk("classification", x, y, 50, warm=400)
    late = answers[-500:].argmax(axis=1)
    static = predictor.frozen(x[-500:])[0].argmax(axis=1)
    assert (late == y[-500:]).mean() > (static == y[-500:]).mean() + 0.2
    weights = dict(zip(predictor.members, predictor.mixture.weights(), strict=True))
    assert weights["boosted"] < weights["recent"]


def test_known_labels_are_used_at_once() -> None:
    x, y = (v[:450] for v in stream("regression", 1000))
    at_once, _ = walk("regression", x, y, 1)
    late, _ = walk("regression", x, y, 100)
    assert np.abs(at_once[:, 0] - y[300:]).mean() < 0.8 * np.abs(late[:, 0] - y[300:]).mean()


def test_a_class_may_appear_at_any_row() -> None:
    x, y = stream("classification", 700)
    y[400:] = np.where(x[400:, 1] > 0.5, 2, y[400:])
    answers, _ = _ragged(x, y)
    assert answers[-100:].shape[1] == 3
    assert (answers[-100:].argmax(axis=1)[y[-100:] == 2] == 2).mean() > 0.3
    assert answers.sum(axis=1) == pytest.approx(1)


def _ragged(x: Floats, y: np.ndarray) -> tuple[Floats, StreamPredictor]:
    predictor = StreamPredictor("classification", 4, 3, QUICK)
    predictor.begin(x[:300], y[:300], 20)
    out = np.zeros((400, 3))
    for start in range(0, 400, 20):
        answer = predictor.predict(x[300 + start : 320 + start])
        out[start : start + 20, : answer.shape[1]] = answer
        predictor.learn(y[300 + start : 320 + start])
    return out, predictor


@pytest.mark.parametrize("relative", [False, True])
def test_a_mixture_is_hardly_worse_than_its_best_member_and_changes_its_mind(relative: bool) -> None:
    mixture = Mixture(3, relative)
    total, rng = np.zeros(4), np.random.default_rng(1)
    for chunk in range(120):
        good = 0 if chunk < 60 else 1
        losses = np.full((3, 50), 2.0) + rng.random((3, 50))
        losses[good] -= 1.8
        total += [*losses.sum(axis=1), float(mixture.weights() @ losses.sum(axis=1))]
        mixture.update(losses)
    assert mixture.weights().argmax() == 1
    assert mixture.weights().min() > 0.001
    assert total[3] < 0.75 * total[:3].min()  # far better than any one member over both halves


def test_one_confident_mistake_costs_a_bounded_loss() -> None:
    p = np.array([[[1.0, 0.0]], [[0.5, 0.5]]])
    loss = log_loss(p, np.array([1]))
    assert loss[0, 0] == pytest.approx(-np.log(1e-3))
    assert loss[1, 0] == pytest.approx(np.log(2))


def test_transitions_learn_a_cycle() -> None:
    cycle = Transitions(3)
    labels = np.arange(60) % 3
    cycle.update(labels[:-1], labels[1:])
    assert cycle.answer(1).argmax() == 2
    cycle.widen(4)
    assert cycle.answer(3) == pytest.approx(np.full(4, 0.25))


def test_the_linear_model_follows_without_diverging() -> None:
    rng = np.random.default_rng(2)
    x = np.column_stack([np.ones(6000), rng.normal(size=6000)])
    y = np.where(np.arange(6000) < 2000, 2.0, -3.0) * x[:, 1] + 1
    ridge = FadingRidge(2)
    for start in range(0, 6000, 10):
        ridge.update(x[start : start + 10], y[start : start + 10])
        assert np.isfinite(ridge.answer(x[:1])).all()
    assert ridge.answer(np.array([[1.0, 1.0]]))[0] == pytest.approx(-2, abs=0.7)


def test_the_trace_fades_with_distance_and_grows_at_the_end() -> None:
    trace = LabelTrace(2)
    trace.update(np.eye(2)[[0, 0, 1]])
    near, far = trace.inputs(np.array([1, 200]))
    assert near[0] == 1
    assert near[4] == pytest.approx(1 - trace.slow[1])
    assert np.abs(far[[0, 1, 2, 4, 5]]).max() < 1e-6
    assert far[[3, 6]] == pytest.approx(trace.slow)
    trace.widen(3)
    assert trace.inputs(np.array([1]))[0, :7] == pytest.approx(near)
