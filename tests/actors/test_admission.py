"""A version is put on trial only with something to compare it with, under settings that can work."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest

from actors.adaptive_learning.deployment.admission import admit, check
from core.errors import InvalidInput, Refused
from core.schemas.models import Evaluation, Lineage, ModelVersion, PairedComparison, Signature
from core.schemas.rollouts import STRATEGIES, RolloutConfig, Strategy, configured

CONFIG = RolloutConfig()
NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", ()),
        ("steps", (0.5, 0.1, 1.0)),
        ("steps", (0.5, 0.5, 1.0)),
        ("steps", (0.1, 0.5, 1.1)),
        ("steps", (0.1, 0.5, 0.9)),
        ("steps", (-0.1, 0.5, 1.0)),
        ("steps", (NAN, 0.5, 1.0)),
        ("hold_s", (1.0,)),
        ("hold_s", (1.0, -1.0, 1.0)),
        ("hold_s", (1.0, NAN, 1.0)),
        ("hold_s", (1.0, 1.0, INFINITE)),
        ("gates", (("errors",),)),
        ("gates", (("errors",), ("error",), ("quality",))),
        ("gates", ((), (), ())),
        ("guards", ()),
        ("guards", ("errors", "slow_p95")),
        ("approvals", ("rise", "end")),
        ("alpha", 0.0),
        ("alpha", 1.0),
        ("alpha", NAN),
        ("beta", 0.0),
        ("error_slo", 0.0),
        ("label_coverage", 1.0),
        ("latency_ratio", 0.5),
        ("latency_ratio", INFINITE),
        ("latency_tolerance", -0.1),
        ("latency_floor_ms", NAN),
        ("quality_margin", 0.6),
        ("quality_clip", INFINITE),
        ("deadline_s", 1.0),
        ("deadline_s", INFINITE),
        ("lease_s", 0.0),
        ("lease_s", 301.0),
        ("prepare_s", 0.0),
        ("freeze", ("Fri - Mon",)),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match=f"rollout.{name}") as refused:
        check(replace(CONFIG, **{name: value}))
    assert refused.value.details["field"] == f"rollout.{name}"


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_every_strategy_can_work_as_it_is(strategy: Strategy) -> None:
    config = configured({}, {}, strategy)
    check(config)
    assert len(config.steps) == len(config.hold_s) == len(config.gates)


# ---------------------------------------------------------------- what was asked for


def test_shares_may_be_told_for_both_versions_and_must_fill_the_whole() -> None:
    told = [{"stable": 0.8, "canary": 0.2}, {"stable": 0, "canary": 1}]
    config = configured({}, {"steps": told})
    assert config.steps == (0.2, 1.0)
    assert config.gates == (("errors",), ("errors_ratio", "quality"))  # the first two of the usual ones
    check(config)


@pytest.mark.parametrize(
    "step",
    [
        {"stable": 0.8, "canary": 0.3},
        {"stable": 0.8, "canary": NAN},
        {"canary": 0.2},
        {"stable": "0.8", "canary": 0.2},
        {"stable": 0.8, "canary": 0.2, "other": 0.0},
    ],
)
def test_shares_that_do_not_fill_the_whole_are_refused(step: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"rollout\.steps"):
        configured({}, {"steps": [step, 1.0]})


@pytest.mark.parametrize(
    ("given", "field"),
    [({"step": [0.1]}, "rollout.step"), ({"alpha": "high"}, "alpha"), ({"approvals": ["end"]}, "approvals")],
)
def test_settings_that_cannot_be_read_are_refused_by_name(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        configured({}, given)
    assert str(refused.value.details["field"]).startswith(field)


def test_an_unknown_strategy_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidInput, match="canary, rolling, blue_green, direct"):
        configured({}, {}, "big_bang")  # type: ignore[arg-type]


def test_what_was_asked_for_stands_over_the_strategy_and_that_over_the_settings() -> None:
    settings = {"alpha": 0.01, "hold_s": (7.0, 8.0, 9.0), "gates": (("errors",),) * 3}
    assert configured(settings, {}).hold_s == (7.0, 8.0, 9.0)
    blue_green = configured(settings, {}, "blue_green")
    assert (blue_green.alpha, blue_green.hold_s, blue_green.steps) == (0.01, (240.0, 240.0), (0.0, 1.0))
    assert configured(settings, {"hold_s": (1.0, 2.0)}, "blue_green").hold_s == (1.0, 2.0)


def test_holds_and_gates_of_the_settings_follow_the_number_of_steps_asked_for() -> None:
    config = configured({"hold_s": (7.0, 8.0, 9.0)}, {"steps": [0.2, 0.4, 0.6, 0.8, 1.0]})
    assert config.hold_s == (7.0, 8.0, 9.0, 9.0, 9.0)
    assert config.gates == (("errors",), *((("errors_ratio", "quality"),) * 4))


# ---------------------------------------------------------------- who may be tried


def version(verdict: Literal["better", "not_worse", "undecided", "worse"] | None) -> ModelVersion:
    versus = None if verdict is None else PairedComparison(50, -0.01, -0.02, 0.0, verdict, 0.05)
    signature, lineage = (
        Signature(("hour",), ("views_24h",), "1"),
        Lineage(None, 0, 0, 100, "b" * 64, "test", 7, "batch"),
    )
    return ModelVersion("engagement", 2, "a" * 64, signature, {}, Evaluation(0, 1, {}, versus), lineage, 0)


def test_without_a_champion_or_against_itself_nothing_is_tried() -> None:
    with pytest.raises(Refused, match="no champion"):
        admit(version("not_worse"), None, CONFIG)
    with pytest.raises(Refused, match="is the champion"):
        admit(version("not_worse"), 2, CONFIG)


def test_a_version_found_worse_or_never_compared_is_tried_on_request_only_and_the_note_says_so() -> None:
    for verdict, said in (("worse", "worse"), (None, "not made")):
        with pytest.raises(Refused, match=said):
            admit(version(verdict), 1, CONFIG)  # type: ignore[arg-type]
        champion, note = admit(version(verdict), 1, replace(CONFIG, skip_validation=True))  # type: ignore[arg-type]
        assert champion == 1
        assert said in note
        assert "on request" in note
    assert admit(version("undecided"), 1, CONFIG) == (1, "offline comparison with the champion: undecided")
