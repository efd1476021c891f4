"""The linear member: what a few wild posts do to it, and what it learns of the clock from little."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from core.history import Floats
from core.schemas.predictions import TARGETS
from tests.training.audience import make_history
from training.dataset import Dataset, build
from training.linear import Linear
from training.names import PLACE

T = TARGETS.index("views_24h")


@pytest.fixture(scope="module")
def data() -> Dataset:
    return build([make_history(1, posts=150)], 2**40)


def with_rule(data: Dataset, feature: str, effect: float, noise: float) -> tuple[Dataset, Floats]:
    """Rows before publishing whose only rule is one feature, of standard deviation 1; and the rule's own steps."""
    rng = np.random.default_rng(3)
    rows = data.take(data.known_age == 0)
    x = rows.x.copy()
    x[:, PLACE[feature]] = rng.normal(0, 1, len(rows))
    rule = effect * x[:, PLACE[feature]].astype(float)
    actual = rows.base.copy()
    actual[:, T] += rule + rng.normal(0, noise, len(rows))
    return dataclasses.replace(rows, x=x, actual=actual), rule


def test_a_few_posts_that_went_viral_do_not_turn_it(data: Dataset) -> None:
    rows, _ = with_rule(data, "recent_3", 0.1, 0.05)
    actual = rows.actual.copy()
    actual[np.argsort(rows.x[:, PLACE["recent_3"]])[:6], T] += 4.0  # six of the posts with the lowest values
    wild = dataclasses.replace(rows, actual=actual)
    calm, turned = (Linear.fit(r).weights[0, T, PLACE["recent_3"]] for r in (rows, wild))
    assert calm > 0.04
    assert turned > 0.5 * calm


def test_the_clock_is_held_less_than_what_else_there_is(data: Dataset) -> None:
    learned = {}
    for feature in ("hour_cos", "recent_3"):
        rows, rule = with_rule(data, feature, 0.1, 0.05)
        steps = Linear.fit(rows).steps(rows.x, rows.ages)[:, T]
        learned[feature] = np.cov(steps, rule)[0, 1] / np.var(rule)
    assert learned["hour_cos"] > 0.85 > learned["recent_3"] > 0.3
