"""The whole recipe on an audience whose rules are known."""

from __future__ import annotations

import numpy as np
import pytest

from core.artifacts import ArtifactStore
from core.clock import DAY
from core.errors import InsufficientData, InvalidInput
from core.history import ChannelHistory
from core.schemas.models import Evaluation, Score
from tests.training.audience import START, QuietReporter, make_history
from training.artifacts import load_model
from training.engagement import Incumbent, Prepared, Trained, finish, prepare
from training.layout import REFERENCE
from training.loop import train_loop
from training.model import EngagementModel
from training.reference import from_arrow

FOREVER = 2**40
FIRST = START + 45 * DAY
#: Larger steps and smaller layers than the defaults: the tests ask about rules, not about the last percent.
QUICK = {"hidden": [24, 24], "lr": 3e-3, "epochs": 25, "patience": 6}


@pytest.fixture(scope="module")
def audience() -> list[ChannelHistory]:
    return [make_history(number, posts=200) for number in (1, 3)]


def trained(audience: list[ChannelHistory], **given: object) -> tuple[Prepared, Trained]:
    given = {"params": {} if given.get("strategy") else QUICK, **given}
    prepared = prepare(audience, seed=3, **given)  # type: ignore[arg-type]
    return prepared, finish(prepared, train_loop(prepared.loop_config(), QuietReporter()))


@pytest.fixture(scope="module")
def champion(audience: list[ChannelHistory]) -> Incumbent:
    _, first = trained(audience, until=FIRST)
    return Incumbent(1, EngagementModel.from_artifact(first.files), FIRST)


def score(evaluation: Evaluation, who: str, target: str, age: int) -> Score:
    return next(s for s in evaluation.scores[who] if (s.target, s.known_age_h) == (target, age))


@pytest.fixture(scope="module")
def batch(audience: list[ChannelHistory], champion: Incumbent) -> tuple[Prepared, Trained]:
    return trained(audience, until=FOREVER, champion=champion)


def test_it_finds_what_the_audience_likes(batch: tuple[Prepared, Trained]) -> None:
    evaluation = batch[1].evaluation
    ours, usual = (score(evaluation, who, "views_72h", 0) for who in ("model", "rolling_median"))
    assert ours.mae_log_high < usual.mae_log
    assert ours.auc is not None
    assert ours.auc > 0.9
    late, early = score(evaluation, "model", "views_72h", 24), ours
    assert late.mae_log < 0.5 * early.mae_log


def test_the_interval_holds_about_as_much_as_it_says(batch: tuple[Prepared, Trained]) -> None:
    covered = [(s.coverage, s.n) for s in batch[1].evaluation.scores["model"]]
    mean = float(np.average([c for c, _ in covered if c is not None], weights=[n for _, n in covered]))
    assert 0.65 <= mean <= 0.93


def test_the_holdout_is_later_than_everything_judged_rows_know(batch: tuple[Prepared, Trained]) -> None:
    prepared, result = batch
    known = prepared.fitted[0].known_at[np.isfinite(prepared.fitted[0].actual)]
    assert known.max() < prepared.split.moment <= result.evaluation.holdout_from


def test_the_champion_is_compared_only_on_outcomes_that_it_has_not_learned_from(
    batch: tuple[Prepared, Trained], champion: Incumbent
) -> None:
    prepared, result = batch
    rows = prepared.split.after.take(prepared.compared)
    assert rows.known_at[np.isfinite(rows.actual)].min() > champion.data_until
    versus = result.evaluation.versus_champion
    assert versus is not None
    assert versus.against == 1
    assert versus.n == rows.n_posts
    assert versus.verdict in ("better", "not_worse")


def test_an_incremental_version_starts_from_the_champion_and_is_not_worse(
    audience: list[ChannelHistory], champion: Incumbent
) -> None:
    prepared, result = trained(audience, until=FOREVER, strategy="incremental", champion=champion, warm=champion)
    assert result.evaluation.versus_champion is not None
    assert result.evaluation.versus_champion.verdict in ("better", "not_worse")
    assert (result.lineage.parent, result.lineage.strategy) == (1, "incremental")
    assert prepared.loop_config().warm == champion.model.weights()
    assert prepared.loop_config().fold_from == champion.data_until


def test_a_changed_world_is_learned_from_what_was_published_since(
    audience: list[ChannelHistory], champion: Incumbent
) -> None:
    changed = FIRST + 2 * DAY
    prepared, result = trained(audience, until=FOREVER, champion=champion, published_from=changed, params=QUICK)
    assert prepared.data.published_at.min() >= changed
    assert (result.lineage.published_from, result.lineage.posts) == (changed, prepared.data.n_posts)
    assert "gradient_boosting" not in result.evaluation.scores  # some of the posts are no yardstick
    # A warm start has learned nothing of this world: folds validate on all of it, until a version of it exists.
    warm = prepare(audience, until=FOREVER, strategy="incremental", warm=champion, published_from=changed, seed=3)
    assert warm.loop_config().fold_from is None
    assert warm.data.published_at.min() >= changed
    second = Incumbent(2, champion.model, changed + 10 * DAY)
    again = prepare(audience, until=FOREVER, strategy="incremental", warm=second, published_from=changed, seed=3)
    assert again.loop_config().fold_from == second.data_until


def test_a_changed_world_too_young_to_teach_anything_says_what_it_needs(audience: list[ChannelHistory]) -> None:
    end = max(int(h.published_at.max()) for h in audience)
    with pytest.raises(InsufficientData):
        prepare(audience, until=FOREVER, published_from=end - DAY)


def test_a_damaged_version_is_much_worse_and_says_what_it_is(
    audience: list[ChannelHistory], champion: Incumbent
) -> None:
    _, result = trained(audience, until=FOREVER, strategy="damaged", champion=champion, params=QUICK)
    versus = result.evaluation.versus_champion
    assert versus is not None
    assert versus.verdict == "worse"
    assert versus.low > 0.1
    assert result.lineage.strategy == "damaged"
    assert "on purpose" in result.params["damage"]


def test_lineage_names_data_and_code(batch: tuple[Prepared, Trained], audience: list[ChannelHistory]) -> None:
    prepared, result = batch
    lineage = result.lineage
    assert lineage.rows == len(prepared.data)
    assert lineage.data_sha256 == prepared.data.sha256()
    assert lineage.data_until == FOREVER
    assert "analyticbot" in lineage.code
    assert prepare(audience, until=FOREVER, seed=3).data.sha256() == lineage.data_sha256


def test_the_artifact_loads_and_carries_the_reference_for_drift(
    batch: tuple[Prepared, Trained], tmp_path_factory: pytest.TempPathFactory
) -> None:
    prepared, result = batch
    store = ArtifactStore(str(tmp_path_factory.mktemp("artifacts")))
    model = load_model(store, store.put(result.files))
    assert model.signature == result.signature
    reference = from_arrow(result.files[REFERENCE])
    assert reference.features == model.signature.features
    assert reference.x.shape == (min(len(prepared.data), 2000), len(reference.features))
    assert set(reference.residuals) == {"views_24h", "views_72h"}
    shown = np.mean(np.abs(reference.residuals["views_72h"]))
    scores = [s for s in result.evaluation.scores["model"] if s.target == "views_72h"]
    assert shown == pytest.approx(np.average([s.mae_log for s in scores], weights=[s.n for s in scores]))


def test_without_newer_outcomes_nothing_is_compared(audience: list[ChannelHistory], champion: Incumbent) -> None:
    _, result = trained(audience, until=FIRST, champion=champion, params=QUICK | {"epochs": 1})
    assert result.evaluation.versus_champion is None


def test_too_little_data_is_said_and_not_trained_on(audience: list[ChannelHistory]) -> None:
    with pytest.raises(InsufficientData):
        prepare(audience, until=START + 8 * DAY)


@pytest.mark.parametrize(
    ("params", "field"),
    [({"lr": -1}, "lr"), ({"rate": 1}, "rate"), ({"hidden": [0]}, "hidden"), ({"epochs": 2.5}, "epochs")],
)
def test_parameters_that_are_none_are_named(
    audience: list[ChannelHistory], params: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidInput) as error:
        prepare(audience, until=FIRST, params=params)
    assert error.value.details["field"] == field


def test_an_incremental_training_needs_something_to_start_from(audience: list[ChannelHistory]) -> None:
    with pytest.raises(InvalidInput, match="warm_start"):
        prepare(audience, until=FIRST, strategy="incremental")
