"""Compares two versions slice by slice, each metric in its own direction, and only on one and the same set of posts.

In this order: both are asked again about posts whose outcomes came after both trainings (every difference paired);
else stored scores are laid side by side, if they are of one holdout, or if the later version was judged beside the
other. Scores of different holdouts are not compared. Whether a version goes on trial is decided elsewhere, by the
comparison that its own training made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from core.artifacts import ArtifactStore
from core.errors import InsufficientData, InvalidInput, Refused
from core.schemas.models import Evaluation, ModelVersion, PairedComparison, Score
from core.schemas.predictions import ENGAGEMENT
from core.schemas.versions import Basis, Comparison, SliceComparison, SliceVerdict
from core.store.channels import ChannelStore

_BESIDE = (
    "scores of the version that was judged as champion are on all of the holdout: "
    "what it had learned from already flatters it"
)


@dataclass(frozen=True)
class Comparer:
    """Compares versions of a registry; artifacts: None where only stored scores can be laid side by side."""

    channels: ChannelStore
    artifacts: ArtifactStore | None

    def compare(self, first: ModelVersion, second: ModelVersion, now: int) -> Comparison:
        """The second against the first, with what is known by `now`.

        Refused when neither newer outcomes nor scores of one holdout exist, InsufficientData when no slice is common,
        InvalidInput for a version and itself; NotFound, ArtifactCorrupt and StorageBroken of the artifacts.
        """
        if first.version == second.version:
            raise InvalidInput(f"v{first.version} and itself: name two versions", field="second")
        missing = self._missing(first, second)
        if missing is None:
            try:
                return self._again(first, second, now)
            except InsufficientData as gap:
                missing = str(gap)
        found = stored(first, second)
        if found is None:
            raise Refused(f"{_different(first, second)}; asking both again: {missing}", model=first.model)
        return replace(found, notes=(f"not asked again: {missing}", *found.notes))

    def _missing(self, first: ModelVersion, second: ModelVersion) -> str | None:
        """Why the versions cannot be asked again; None: they can."""
        if self.artifacts is None:
            return "no artifact store is configured"
        pruned = [v.version for v in (first, second) if v.pruned_at is not None]
        if pruned:
            return f"the artifact of v{pruned[0]} is no longer kept"
        return None if first.model == ENGAGEMENT else f"this code has no network for {first.model!r}"

    def _again(self, first: ModelVersion, second: ModelVersion, now: int) -> Comparison:
        moment = max(first.lineage.data_until, second.lineage.data_until)
        histories = [self.channels.history(channel, as_of=now, counts=True) for channel in self.channels.channels()]
        import torch  # seconds of imports that a registry does without

        from training.artifacts import load_model
        from training.paired import compared, fair_rows

        torch.set_num_threads(1)
        rows = fair_rows(histories, moment, now)
        assert self.artifacts is not None
        models = [load_model(self.artifacts, version.sha256) for version in (first, second)]
        paired, slices = compared(rows, models[0], models[1], second.lineage.seed)
        published = rows.published_at
        return Comparison(
            first.model,
            first.version,
            second.version,
            "newer_outcomes",
            int(published.min()),
            int(published.max()),
            None if paired is None else replace(paired, against=first.version),
            slices,
        )


def stored(first: ModelVersion, second: ModelVersion) -> Comparison | None:
    """What the evaluations of both trainings say; None when they are of different holdouts.

    InsufficientData when no slice is common to scores of one holdout.
    """
    one, two = first.metrics, second.metrics
    if one is not None and two is not None and _holdout(one) == _holdout(two):
        return _laid(first, second, one, "same_holdout", compare(one, two), _versus(first, second))
    for evaluation, champion in ((two, first), (one, second)):
        versus = evaluation.versus_champion if evaluation else None
        if evaluation is None or versus is None or versus.against != champion.version:
            continue
        sides = [_only(evaluation, name) for name in ("champion", "model")]
        rows = compare(*(sides if champion is first else reversed(sides)))
        laid = _laid(first, second, evaluation, "judged_beside", rows, _versus(first, second))
        return replace(laid, notes=(_BESIDE,))
    return None


def compare(first: Evaluation, second: Evaluation) -> tuple[SliceComparison, ...]:
    """Every slice that both were scored on.

    Refused when the holdouts differ, InsufficientData when no slice is common. A |log error| is called better or worse
    only where the two 95 % intervals do not overlap; the other metrics have no stored interval, so they get no
    verdict.
    """
    if _holdout(first) != _holdout(second):
        raise Refused(
            f"scored on different holdouts {_holdout(first)} and {_holdout(second)}: evaluate both on one",
        )
    theirs = {(s.target, s.known_age_h): s for s in second.scores.get("model", ())}
    ours = [s for s in first.scores.get("model", ()) if (s.target, s.known_age_h) in theirs]
    if not ours:
        raise InsufficientData("slices that both versions were scored on", needed=1, have=0)
    return tuple(row for score in ours for row in _rows(score, theirs[score.target, score.known_age_h]))


def _rows(first: Score, second: Score) -> list[SliceComparison]:
    n = min(first.n, second.n)
    place = (first.target, first.known_age_h)
    rows = [SliceComparison(*place, "mae_log", n, first.mae_log, second.mae_log, _mae(first, second))]
    if first.auc is not None and second.auc is not None:
        rows.append(SliceComparison(*place, "auc", n, first.auc, second.auc, "undecided"))
    if first.coverage is not None and second.coverage is not None:
        rows.append(SliceComparison(*place, "coverage", n, first.coverage, second.coverage, "undecided"))
    return rows


def _mae(first: Score, second: Score) -> SliceVerdict:
    if second.mae_log_high < first.mae_log_low:
        return "better"
    return "worse" if second.mae_log_low > first.mae_log_high else "undecided"


def _versus(first: ModelVersion, second: ModelVersion) -> PairedComparison | None:
    """The stored paired comparison of exactly these two, as second - first."""
    from training.evaluate import verdict

    for challenger, champion in ((second, first), (first, second)):
        found = challenger.metrics.versus_champion if challenger.metrics else None
        if found is None or found.against != champion.version:
            continue
        if challenger is second:
            return found
        low, high = -found.high, -found.low
        turned = verdict(found.n, low, high, found.margin)
        return PairedComparison(found.n, -found.mean, low, high, turned, found.margin, first.version)
    return None


def _laid(
    first: ModelVersion,
    second: ModelVersion,
    on: Evaluation,
    basis: Basis,
    slices: tuple[SliceComparison, ...],
    paired: PairedComparison | None,
) -> Comparison:
    ends = (on.holdout_from, on.holdout_until)
    return Comparison(first.model, first.version, second.version, basis, *ends, paired, slices)


def _only(evaluation: Evaluation, name: str) -> Evaluation:
    """An evaluation of one of its forecasters alone."""
    return replace(evaluation, scores={"model": evaluation.scores.get(name, ())})


def _holdout(evaluation: Evaluation) -> tuple[int, int]:
    return evaluation.holdout_from, evaluation.holdout_until


def _different(first: ModelVersion, second: ModelVersion) -> str:
    missing = [f"v{v.version}" for v in (first, second) if v.metrics is None]
    if missing:
        return f"{' and '.join(missing)} of {first.model} was never evaluated"
    holdouts = " and ".join(str(_holdout(v.metrics)) for v in (first, second) if v.metrics)
    return f"v{first.version} and v{second.version} were scored on different holdouts {holdouts}"
