"""Decides whether a version may be put on trial at all."""

from __future__ import annotations

from core.errors import Refused
from core.schemas.models import ModelVersion
from core.schemas.rollouts import RolloutConfig


def admit(challenger: ModelVersion, champion: int | None, config: RolloutConfig) -> tuple[int, str]:
    """The champion that it challenges, and a note for the log.

    Refused without a champion, for the champion itself, and for a version that the offline comparison found worse or
    did not make, unless `skip_validation` is set. What a small holdout leaves undecided, the roll-out decides.
    """
    model, version = challenger.model, challenger.version
    if champion is None:
        raise Refused(f"{model} has no champion: there is nothing to compare v{version} with", model=model)
    if champion == version:
        raise Refused(f"v{version} is the champion of {model} already", model=model, version=version)
    versus = challenger.metrics.versus_champion if challenger.metrics else None
    text = f"offline comparison with the champion: {versus.verdict.replace('_', ' ') if versus else 'not made'}"
    if versus is not None and versus.verdict != "worse":
        return champion, text
    if config.skip_validation:
        return champion, f"{text}; put on trial all the same, on request"
    raise Refused(f"v{version}: {text}; set skip_validation to try it anyway", model=model, version=version)
