from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from core.clock import DAY, HOUR
from core.errors import ArtifactCorrupt, InsufficientData
from core.history import HistoryBuilder
from core.schemas.channels import Channel
from tests.training.audience import START, make_history
from training.bandit import ARMS, HOURS, Bandit, Prior, results, taught

PRIOR = Prior(hour=0.2, weekday=0.05, arm=0.05, noise=0.3)


def evening(best: int) -> np.ndarray:
    """True means: one hour of the day is best, weekends are a little better."""
    hour, weekday = np.arange(ARMS) % HOURS, np.arange(ARMS) // HOURS
    apart = np.minimum(np.abs(hour - best), HOURS - np.abs(hour - best))
    return np.asarray(0.4 * np.exp(-0.5 * (apart / 2.0) ** 2) + 0.05 * (weekday >= 5))


def regret(choose: Callable[[Bandit, np.random.Generator], int], means: list[np.ndarray], seed: int, **kind: float):  # type: ignore[no-untyped-def]
    """Mean regret of a post, one a day, and the bandit at the end."""
    rng = np.random.default_rng(seed)
    bandit, lost = Bandit(**kind), 0.0  # type: ignore[arg-type]
    for day, truth in enumerate(means):
        arm = choose(bandit, rng)
        lost += float(truth.max() - truth[arm])
        bandit.learn(arm, float(truth[arm] + 0.3 * rng.standard_normal()), START + day * DAY)
    return lost / len(means), bandit


def uniform(_: Bandit, rng: np.random.Generator) -> int:
    return int(rng.integers(ARMS))


def thompson(bandit: Bandit, rng: np.random.Generator) -> int:
    return bandit.choose(rng, prior=PRIOR)


def test_regret_is_less_than_that_of_uniform_choice_and_falls() -> None:
    means = [evening(20)] * 150
    ours = np.mean([regret(thompson, means, seed)[0] for seed in (1, 2)])
    theirs = np.mean([regret(uniform, means, seed)[0] for seed in (1, 2)])
    assert ours < 0.5 * theirs
    early = np.mean([regret(thompson, means[:40], seed)[0] for seed in (1, 2)])
    assert ours < 0.8 * early


def test_a_bandit_that_forgets_follows_an_audience_that_moves() -> None:
    means = [evening(20)] * 80 + [evening(8)] * 100
    moving = regret(thompson, means, 3, half_life_days=20.0)[1]
    believed = moving.posterior(PRIOR).mean
    hours = believed.reshape(-1, HOURS).mean(axis=0)
    assert abs(int(np.argmax(hours)) - 8) <= 2
    assert hours[8] > hours[20]


def test_a_recommendation_names_the_best_time_with_its_chance_and_sample() -> None:
    _, bandit = regret(uniform, [evening(20)] * 600, 4, half_life_days=10_000.0)
    choice = bandit.recommend(np.random.default_rng(1))
    assert abs(choice.hour - 20) <= 2
    assert 0 < choice.probability <= 1
    assert choice.low < choice.mean < choice.high
    assert choice.posts == 600
    assert choice.n == int(bandit.n[choice.arm]) > 0
    again = bandit.recommend(np.random.default_rng(1))
    assert again == choice
    mornings = np.arange(ARMS) % HOURS < 12
    assert bandit.recommend(np.random.default_rng(1), mornings).hour < 12


def test_without_a_difference_no_time_is_believed_to_be_the_best() -> None:
    _, bandit = regret(uniform, [np.zeros(ARMS)] * 300, 5)
    choice = bandit.recommend(np.random.default_rng(1))
    assert choice.probability < 0.3
    assert choice.low < 0 < choice.high


def test_a_rare_arm_is_drawn_towards_its_hour_and_weekday() -> None:
    bandit = Bandit()
    for weekday in range(6):
        for _ in range(20):
            bandit.learn(weekday * HOURS + 20, 0.4, START)
            bandit.learn(weekday * HOURS + 9, -0.1, START)
    belief = bandit.posterior(PRIOR).mean
    assert belief[6 * HOURS + 20] > 0.2  # never used on a Sunday
    bandit.learn(6 * HOURS + 20, -1.0, START)
    assert bandit.posterior(PRIOR).mean[6 * HOURS + 20] > 0


def test_too_little_is_said_and_not_guessed() -> None:
    bandit = Bandit()
    with pytest.raises(InsufficientData) as few:
        bandit.recommend(np.random.default_rng(0))
    assert few.value.have == 0
    for _ in range(100):
        bandit.learn(5, 0.1, START)
    with pytest.raises(InsufficientData, match="hours"):
        bandit.recommend(np.random.default_rng(0))


def test_rewards_are_against_the_usual_as_it_was_known_and_in_the_channel_s_zone() -> None:
    history = make_history(posts=150)
    found = results(history, 0, 2**40)
    assert len(found) > 100
    assert all(0 <= r.arm < ARMS for r in found)
    assert abs(float(np.median([r.reward for r in found]))) < 0.15
    half = sorted(r.known_at for r in found)[60]
    early = results(history, 0, half)
    assert early == tuple(r for r in found if r.known_at <= half)
    assert len(results(history, half, 2**40)) == len(found) - len(early)


def test_an_hour_is_the_channel_s_own() -> None:
    builder = HistoryBuilder(Channel(1, "default", "c", "Asia/Tashkent", "bundle", 1))
    for post in range(12):
        at = START + post * DAY + 15 * HOUR  # 20:00 in Tashkent; 2025-01-01 is a Wednesday
        builder.post(post, at)
        for age in (20, 24, 28):
            builder.reading(post, at + age * HOUR, 100 + post)
    arms = {r.arm for r in results(builder.build(), 0, 2**40)}
    assert {arm % HOURS for arm in arms} == {20}


def test_what_was_learned_once_is_not_learned_again_and_survives_storage() -> None:
    history = make_history(posts=150)
    bandit = Bandit()
    cut = START + 30 * DAY
    first = taught(bandit, history, cut)
    assert taught(bandit, history, cut) == 0
    back = Bandit.from_plain(json.loads(json.dumps(bandit.to_plain())))
    second = taught(back, history, 2**40)
    whole = Bandit()
    assert taught(whole, history, 2**40) == first + second
    np.testing.assert_allclose(back.total, whole.total)
    with pytest.raises(ArtifactCorrupt):
        Bandit.from_plain({"weight": [1]})
