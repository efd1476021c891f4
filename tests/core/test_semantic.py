"""A version's number says how much changed against the version it comes from."""

from __future__ import annotations

import doctest
from dataclasses import replace
from typing import Any

import pytest

from core import semantic
from core.errors import StorageBroken
from core.schemas.models import Lineage, ModelVersion, NewVersion, Signature, Strategy
from core.semantic import Semantic, number

SIGNATURE = Signature(("hour", "media"), ("views_24h",), "1")
PARAMS = {"hidden": (64, 64), "lr": 5e-4, "dropout": 0.2, "anchor": 0.0, "keep": 0.0, "epochs": 12, "trust": {}}
WARM_PARAMS = PARAMS | {"lr": 2e-4, "anchor": 1e-3, "keep": 5000, "epochs": 3}


def new(parent: int | None, strategy: Strategy = "batch", params: Any = PARAMS, **changes: Any) -> NewVersion:
    lineage = Lineage(parent, 0, 9, 100, "b" * 64, "0.1", 7, strategy)
    return NewVersion("m", "a" * 64, replace(SIGNATURE, **changes), params, None, lineage, "k")


def stored(version: int, number: str, made: NewVersion) -> ModelVersion:
    return ModelVersion(
        "m", version, made.sha256, made.signature, dict(made.params), None, made.lineage, 0, (), number, None
    )


FIRST = stored(1, "1.0.0", new(None))


def test_examples_in_the_documentation_are_true() -> None:
    assert doctest.testmod(semantic).failed == 0


def test_the_first_version_is_1_0_0() -> None:
    assert str(number(new(None), ())) == "1.0.0"


@pytest.mark.parametrize(
    "changes",
    [
        {"features": ("hour",)},
        {"features": ("media", "hour")},
        {"targets": ("views_24h", "views_72h")},
        {"schema": "2"},
    ],
)
def test_another_signature_is_a_major_step_even_for_a_warm_start(changes: dict[str, Any]) -> None:
    assert str(number(new(1, "incremental", WARM_PARAMS, **changes), [FIRST])) == "2.0.0"


def test_a_training_from_the_start_is_a_minor_step() -> None:
    assert str(number(new(1), [FIRST])) == "1.1.0"
    assert str(number(new(1, "tuned", PARAMS | {"dropout": 0.3}), [FIRST])) == "1.1.0"


def test_a_warm_start_is_a_patch_whatever_its_own_schedule_and_its_results_are() -> None:
    assert str(number(new(1, "incremental", WARM_PARAMS), [FIRST])) == "1.0.1"


@pytest.mark.parametrize("changed", [{"hidden": (32,)}, {"dropout": 0.5}])
def test_a_warm_start_with_other_parameters_is_a_minor_step(changed: dict[str, Any]) -> None:
    assert str(number(new(1, "incremental", WARM_PARAMS | changed), [FIRST])) == "1.1.0"


def test_the_schedule_counts_between_two_warm_starts() -> None:
    second = stored(2, "1.0.1", new(1, "incremental", WARM_PARAMS))
    assert str(number(new(2, "incremental", WARM_PARAMS), [FIRST, second])) == "1.0.2"
    assert str(number(new(2, "incremental", WARM_PARAMS | {"lr": 1e-3}), [FIRST, second])) == "1.1.0"


def test_without_a_registered_parent_the_newest_version_is_the_base() -> None:
    second = stored(2, "2.0.0", new(1, schema="2"))
    assert str(number(new(None), [second, FIRST])) == "3.0.0"
    assert str(number(new(None, schema="2"), [FIRST, second])) == "2.1.0"
    assert str(number(new(77, "incremental", WARM_PARAMS, schema="2"), [FIRST, second])) == "2.1.0"


def test_children_of_one_parent_never_share_a_number() -> None:
    known = [FIRST]
    for version in range(2, 12):
        made = new(1, "incremental", WARM_PARAMS) if version % 2 else new(1)
        known.append(stored(version, str(number(made, known)), made))
    assert len({v.semantic for v in known}) == len(known)
    assert [v.semantic for v in known[1:5]] == ["1.1.0", "1.0.1", "1.2.0", "1.0.2"]


def test_a_text_that_is_no_number_is_not_guessed_at() -> None:
    for text in ("", "1.2", "v1.2.3", "1.2.3-rc"):
        with pytest.raises(StorageBroken, match="db upgrade"):
            Semantic.parse(text)


def test_a_corrector_on_the_same_network_is_a_patch_and_a_new_head_is_not() -> None:
    switched_off = {"ewc": 0.0, "head_only": False, "corrector": {"outcomes": 9}}
    assert str(number(new(1, "online", PARAMS | switched_off), [FIRST])) == "1.0.1"
    assert str(number(new(1, "transfer", PARAMS | {"head_only": True}), [FIRST])) == "1.1.0"
    second = stored(2, "1.0.1", new(1, "incremental", WARM_PARAMS))
    assert str(number(new(2, "online", PARAMS | switched_off), [FIRST, second])) == "1.0.2"
