"""Decides whether a version may be put on trial at all, and whether the settings of a trial can work."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise
from math import isfinite
from typing import Any

from actors.adaptive_learning.deployment import freeze
from core.errors import InvalidInput, Refused
from core.schemas.models import ModelVersion
from core.schemas.rollouts import GATES, GUARDS, RolloutConfig


def admit(challenger: ModelVersion, champion: int | None, config: RolloutConfig) -> tuple[int, str]:
    """The champion that it challenges, and a note for the log.

    Refused without a champion, for the champion itself, and for a version that the offline comparison found worse or
    did not make, unless `skip_validation` is set. What a small holdout leaves undecided, the roll-out decides. The
    version that was champion before may always come back: the note says what it rolls back.
    """
    model, version = challenger.model, challenger.version
    if champion is None:
        raise Refused(f"{model} has no champion: there is nothing to compare v{version} with", model=model)
    if champion == version:
        raise Refused(f"v{version} is the champion of {model} already", model=model, version=version)
    if "previous" in challenger.aliases:
        return champion, f"v{version} was champion before v{champion}: this rolls v{champion} back"
    versus = challenger.metrics.versus_champion if challenger.metrics else None
    text = f"offline comparison with the champion: {versus.verdict.replace('_', ' ') if versus else 'not made'}"
    if versus is not None and versus.verdict != "worse":
        return champion, text
    if config.skip_validation:
        return champion, f"{text}; put on trial all the same, on request"
    raise Refused(f"v{version}: {text}; set skip_validation to try it anyway", model=model, version=version)


def check(config: RolloutConfig) -> None:
    """InvalidInput, naming the field, for settings that cannot work.

    Infinite durations and NaN are refused with the rest: a comparison with NaN would let a hold or a bound vanish.
    """
    steps, unknown_guards = config.steps, set(config.guards) - set(GUARDS)
    unknown_gates = {name for gates in config.gates for name in gates} - set(GATES)
    rising = all(a < b for a, b in pairwise(steps))
    rules = (
        *((field.name, _finite(getattr(config, field.name)), "finite") for field in fields(config)),
        ("steps", bool(steps) and steps[0] >= 0 and rising and steps[-1] == 1.0, "rising shares from 0 on, the last 1"),
        ("hold_s", len(config.hold_s) == len(steps), f"one duration for each of {len(steps)} steps"),
        ("hold_s", min(config.hold_s, default=0.0) >= 0, "durations of at least 0 s"),
        ("gates", len(config.gates) == len(steps), f"one list for each of {len(steps)} steps"),
        ("gates", not unknown_gates, f"of {', '.join(GATES)}"),
        ("gates", any(config.gates), "at least one: nothing is promoted without evidence"),
        ("guards", bool(config.guards) and not unknown_guards, f"at least one of {', '.join(GUARDS)}"),
        ("approvals", set(config.approvals) <= {"start", "rise", "promote"}, "of start, rise, promote"),
        ("alpha", 0 < config.alpha < 1, "between 0 and 1"),
        ("beta", 0 < config.beta < 1, "between 0 and 1"),
        ("error_slo", 0 < config.error_slo < 1, "between 0 and 1"),
        ("label_coverage", 0 < config.label_coverage < 1, "between 0 and 1"),
        ("latency_ratio", config.latency_ratio >= 1, "at least 1"),
        ("latency_tolerance", config.latency_tolerance >= 0, "at least 0"),
        ("latency_floor_ms", config.latency_floor_ms >= 0, "at least 0"),
        ("quality_margin", 0 < config.quality_margin < config.quality_clip, "above 0 and below quality_clip"),
        ("deadline_s", config.deadline_s > sum(config.hold_s), "longer than the holds together"),
        ("lease_s", 0 < config.lease_s <= config.abandon_s, "above 0 and at most abandon_s"),
        ("prepare_s", config.prepare_s > 0, "above 0"),
    )
    for name, good, wanted in rules:
        if not good:
            raise InvalidInput(f"rollout.{name} = {getattr(config, name)!r}: must be {wanted}", field=f"rollout.{name}")
    freeze.parsed(config.freeze)


def _finite(value: Any) -> bool:
    """Whether every number in a setting is one that can be compared and stored."""
    if isinstance(value, tuple):
        return all(map(_finite, value))
    return not isinstance(value, float) or isfinite(value)
