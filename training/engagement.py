"""From histories to a version of the engagement model: prepare rows, (loop), judge on the holdout, pack the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from core.codec import to_plain
from core.errors import InsufficientData
from core.history import ChannelHistory, Floats
from core.schemas.models import Evaluation, Lineage, Signature, Strategy
from core.schemas.predictions import KNOWN_AGES_H, TARGETS
from training.baselines import gradient_boosting, rolling_median
from training.corrections import Corrections
from training.dataset import (
    LEAST_POSTS,
    Dataset,
    Mask,
    Split,
    build,
    learned_since,
    split_at,
    split_share,
    to_parquet,
)
from training.evaluate import LEAST_COMPARED, MARGIN, evaluate
from training.features import FEATURES, SCHEMA
from training.loop import LoopConfig, LoopResult, Reporter, Rows, train_loop
from training.model import EngagementModel, model_of
from training.peers import MEMBERS
from training.reference import make_reference, to_arrow
from training.strategies import Plan, damage, only_posts, plan

#: Posts that must remain to learn from once the holdout is set aside.
_LEAST_FIT = 30
_GOLDEN_ROWS = 16


@dataclass(frozen=True, slots=True)
class Incumbent:
    """The version to start from or to be compared with; data_until: nothing known later has been used for it."""

    version: int
    model: EngagementModel
    data_until: int

    def learned_until(self, channels: Sequence[str], published_from: int | None) -> int | None:
        """Until when it has learned from posts of these channels (none named: all) published since; None: never."""
        own = self.model.notes.get("channels") or ()
        if own and channels and not set(own) & set(channels):
            return None
        return self.data_until if published_from is None or published_from <= self.data_until else None


@dataclass(frozen=True, slots=True)
class Prepared:
    """Rows parted for one training. compared: rows of the holdout on which the champion may be compared (n)."""

    strategy: Strategy
    plan: Plan
    split: Split
    data: Dataset  # all rows; targets are right here, whatever the strategy does to those it learns from
    fitted: tuple[Dataset, Dataset]  # what the loop gets: before the holdout, and all
    compared: Mask
    champion: Incumbent | None
    warm: Incumbent | None
    until: int
    seed: int
    channels: tuple[str, ...] = ()  # those that it was asked to learn from; none: all
    corrections: Corrections = field(default_factory=Corrections)
    published_from: int | None = None  # no earlier post is among the rows
    sampled: bool = False  # the rows are of some posts only

    @property
    def since(self) -> int | None:
        """Until when the version that it starts from has learned from posts such as these; None: never."""
        return None if self.warm is None else self.warm.learned_until(self.channels, self.published_from)

    def loop_config(self, budget_s: float = float("inf")) -> LoopConfig:
        """What the loop needs, as plain data; half of the budget is for choosing the epochs, if they take so long."""
        # Folds of a warm start validate on what the earlier version has not learned from.
        since = self.since
        held = since is not None and self.plan.params.ewc > 0 and not self.plan.slices
        old = self.split.before.known_by(since + 1) if held and since is not None else None
        return LoopConfig(
            judged=to_parquet(self.fitted[0]),
            final=to_parquet(self.fitted[1]),
            params=asdict(self.plan.params),
            seed=self.seed,
            epochs=self.plan.epochs,
            patience=self.plan.patience,
            folds=self.plan.folds,
            fold_from=since,
            fixed_epochs=self.plan.fixed_epochs,
            warm=None if self.warm is None else self.warm.model.weights(),
            peers=None if self.warm is None or self.warm.model.peers is None else self.warm.model.peers.to_bytes(),
            old=None if old is None or not len(old) else to_parquet(old),
            slices=self.plan.slices,
            search_s=budget_s / 2,
        )


@dataclass(frozen=True, slots=True)
class Trained:
    """A version ready to be stored and registered."""

    files: dict[str, bytes]
    signature: Signature
    params: dict[str, Any]
    evaluation: Evaluation
    lineage: Lineage


def prepare(
    histories: Sequence[ChannelHistory],
    *,
    until: int,
    strategy: Strategy = "batch",
    params: dict[str, Any] | None = None,
    seed: int = 0,
    champion: Incumbent | None = None,
    warm: Incumbent | None = None,
    channels: tuple[str, ...] = (),
    corrections: Corrections | None = None,
    published_from: int | None = None,
) -> Prepared:
    """Rows, parted by time, and the settings of a training. channels: whose histories these are, where not everybody's.
    corrections: what people said the values are. published_from: the world changed then, so that earlier posts teach
    nothing; they still make the channels' usual levels.

    Raises InsufficientData where there is too little to learn from or to judge by, NoData without posts, InvalidInput
    for parameters that are none.
    """
    since = None if warm is None else warm.learned_until(channels, published_from)
    settings = plan(strategy, params or {}, None if warm is None else warm.model.hidden)
    said = corrections or Corrections()
    only = only_posts(strategy, histories, until, since, seed, published_from)
    data = build(histories, until, only=only, corrections=said)
    split, compared = _part(data, champion)
    if split.before.n_posts < _LEAST_FIT:
        raise InsufficientData(
            "too few posts were measured before the holdout begins",
            needed=max(LEAST_POSTS, _LEAST_FIT),
            have=split.before.n_posts,
        )
    before, everything = split.before, data
    if strategy == "damaged":
        before, everything = damage(before, seed), damage(everything, seed)
    elif strategy == "online" and since is not None:
        # What the version knows already must not count twice.
        before, everything = learned_since(before, since), learned_since(everything, since)
    fitted = (before, everything)
    return Prepared(
        strategy,
        settings,
        split,
        data,
        fitted,
        compared,
        champion,
        warm,
        until,
        seed,
        channels,
        said,
        published_from,
        sampled=only is not None,
    )


def finish(prepared: Prepared, result: LoopResult) -> Trained:
    """Judge the network that has not seen the holdout, and pack the one that has seen everything."""
    signature = Signature(FEATURES, prepared.data.targets, SCHEMA)
    notes = {"strategy": prepared.strategy, "epochs": result.epochs, "channels": list(prepared.channels)}
    hidden, medians = prepared.plan.params.hidden, prepared.fitted[1].medians()
    judged, final = (
        model_of(state, signature, result.calibration, hidden, notes, peers=peers, medians=medians)
        for state, peers in zip((result.judged, result.final), result.peers, strict=True)
    )
    trained = packed(prepared, judged, final, _described(prepared, result))
    return replace(trained, evaluation=replace(trained.evaluation, memory=result.memory))


def fitted(rows: Dataset, seed: int, reporter: Reporter) -> EngagementModel:
    """A model of rows as a batch training makes it, with nothing held out to judge it by: a bench does that."""
    settings = plan("batch", {}, None)
    config = LoopConfig(
        b"",
        b"",
        asdict(settings.params),
        seed,
        epochs=settings.epochs,
        patience=settings.patience,
        folds=settings.folds,
    )
    result = train_loop(config, reporter, Rows(rows, rows))
    signature = Signature(FEATURES, rows.targets, SCHEMA)
    return model_of(result.final, signature, result.calibration, settings.params.hidden, peers=result.peers[1])


def packed(prepared: Prepared, judged: EngagementModel, final: EngagementModel, described: dict[str, Any]) -> Trained:
    """The final model's artifact, with the evaluation of the judged one. described: the version's parameters."""
    holdout = prepared.split.after
    predicted = log_quantiles(judged, holdout)
    forecasts = {"model": predicted, "rolling_median": rolling_median(holdout)}
    if not prepared.sampled:
        # Trees that learn from some of the posts alone are no yardstick, and cost more than the fit.
        forecasts["gradient_boosting"] = gradient_boosting(prepared.split.before, holdout, prepared.seed)
    if prepared.champion is not None:
        forecasts["champion"] = log_quantiles(prepared.champion.model, holdout)
    evaluation = _noted(
        evaluate(holdout, forecasts, compared=prepared.compared, margin=MARGIN, seed=prepared.seed), prepared.champion
    )
    reference = make_reference(prepared.data, holdout, predicted, prepared.seed)
    golden = prepared.data.x[np.linspace(0, len(prepared.data) - 1, _GOLDEN_ROWS).astype(int)]
    return Trained(
        files=final.to_artifact(golden, to_arrow(reference)),
        signature=final.signature,
        params=described,
        evaluation=evaluation,
        lineage=_lineage(prepared),
    )


def _part(data: Dataset, champion: Incumbent | None) -> tuple[Split, Mask]:
    """The holdout: the newest share of the posts; with a champion, late enough that it has not learned from them.

    Outcomes that were known when the champion was trained would flatter it, so only later ones are compared. At most
    the newer half of those is held out, so that the candidate has new rows to learn from too, unless that leaves too
    few to compare. Where there is no newer outcome at all, nothing is compared.
    """
    split = split_share(data)
    if champion is None:
        return split, np.ones(len(split.after), dtype=bool)
    new = newer_rows(data, champion.data_until)
    if not new.any():
        return split, np.zeros(len(split.after), dtype=bool)
    times = data.published_at[new]
    for moment in (int(np.median(times)), int(times.min())):
        candidate = split_at(data, max(split.moment, moment))
        compared = newer_rows(candidate.after, champion.data_until)
        if candidate.after.take(compared).n_posts >= LEAST_COMPARED:
            break
    return candidate, compared


def newer_rows(rows: Dataset, known_until: int) -> Mask:
    """Rows all of whose outcomes were measured later (n): a version trained at that moment has learned from none."""
    known = np.where(np.isfinite(rows.residual), rows.known_at, np.iinfo(np.int64).max)
    later: Mask = known.min(axis=1, initial=np.iinfo(np.int64).max) > known_until
    return later


def _noted(evaluation: Evaluation, champion: Incumbent | None) -> Evaluation:
    """With the version that the champion's side of the comparison was."""
    versus = evaluation.versus_champion
    if versus is None or champion is None:
        return evaluation
    return replace(evaluation, versus_champion=replace(versus, against=champion.version))


def log_quantiles(model: EngagementModel, rows: Dataset) -> Floats:
    """Predicted quantiles as natural logarithms (n x T x 3); NaN for a target that the model does not name."""
    logs = rows.base[:, :, None] + model.residuals(rows.x)
    logs[:, [t not in model.signature.targets for t in TARGETS]] = np.nan
    return logs


def _described(prepared: Prepared, result: LoopResult) -> dict[str, Any]:
    described: dict[str, Any] = to_plain(prepared.plan.params) | {
        "epochs": result.epochs,
        "folds": prepared.plan.folds,
        "out_of_fold_loss": [round(v, 6) for v in result.curve],
        "trust": {
            target: {str(age): round(float(result.calibration.trust[t, a]), 3) for a, age in enumerate(KNOWN_AGES_H)}
            for t, target in enumerate(TARGETS)
            if target in prepared.data.targets
        },
    }
    if len(result.calibration.mix) > 1:
        described["mix"] = {
            target: {
                str(age): dict(zip(MEMBERS, np.round(result.calibration.mix[:, t, a], 3).tolist(), strict=True))
                for a, age in enumerate(KNOWN_AGES_H)
            }
            for t, target in enumerate(TARGETS)
            if target in prepared.data.targets
        }
    if prepared.channels:
        described["channels"] = list(prepared.channels)
    if prepared.plan.slices:
        described["slices"] = prepared.plan.slices
    if (memory := result.memory) is not None:
        described["memory"] = {"forgetting": memory.forgetting, "backward_transfer": memory.backward_transfer}
    if prepared.strategy == "damaged":
        described["damage"] = "targets joined to the wrong posts, on purpose: made to be rolled back"
    return described


def _lineage(prepared: Prepared) -> Lineage:
    used = prepared.corrections.used(prepared.fitted[1])
    return Lineage(
        parent=parent.version if (parent := prepared.warm or prepared.champion) is not None else None,
        data_from=int(prepared.data.published_at.min()),
        data_until=prepared.until,
        rows=len(prepared.data),
        posts=prepared.data.n_posts,
        published_from=prepared.published_from,
        data_sha256=prepared.fitted[1].sha256(),
        code=_code(),
        seed=prepared.seed,
        strategy=prepared.strategy,
        corrections=used.n,
        corrections_sha256=used.sha256,
    )


def _code() -> str:
    try:
        return f"analyticbot {version('analyticbot')}, features {SCHEMA}"
    except PackageNotFoundError:
        return f"analyticbot (not installed), features {SCHEMA}"
