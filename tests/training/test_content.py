"""Content models: what they learn, when they keep silent, and that an artifact is what was trained."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import DAY
from core.errors import ArtifactCorrupt, InsufficientData, InvalidInput, NoData
from core.polarity import reactions_of
from core.schemas.channels import TEXT_BYTES
from core.schemas.content import CLASSES, QUARTERS
from tests.training.content_world import FOREIGN, GAP, START, channel_posts
from training.content.classifier import MARGIN, wilson_low
from training.content.model import HEADER, TENSORS, ContentModel
from training.content.rows import ATTRIBUTE_NAMES, UNKNOWN, quarters, rows_of
from training.content.text import Representation, count, rarity, weighed
from training.content.topic import Topic
from training.content.train import ContentTraining, train_content

N = 220
UNTIL = START + N * GAP + 10 * DAY
NOTHING = np.full(len(ATTRIBUTE_NAMES), np.nan)
GOOD = "праздник и подарок: победа, ура"


@pytest.fixture(scope="module")
def trained() -> ContentTraining:
    return train_content([channel_posts(1, N, 1, topic="футбол"), channel_posts(2, N, 2, topic="рынок")], UNTIL, 7)


@pytest.fixture(scope="module")
def model(trained: ContentTraining) -> ContentModel:
    return ContentModel.from_artifact(trained.files)


@pytest.fixture(scope="module")
def blind() -> ContentTraining:
    """Trained where words tell nothing."""
    return train_content([channel_posts(1, N, 3, telling=False)], UNTIL, 7)


class TestAnswers:
    def test_words_that_readers_like_and_dislike_are_told_apart(self, model: ContentModel) -> None:
        fresh = channel_posts(1, 90, 11, topic="футбол")
        right = {"positive": 0, "negative": 0, "mixed": 0}
        wrong = 0
        for post, text in fresh.texts.items():
            said = model.judge(1, text, NOTHING)["reaction"].answer
            if said is not None and said == reactions_of(fresh.reactions[post]).tone:
                right[said] += 1
            else:
                wrong += said is not None
        assert min(right["positive"], right["negative"]) >= 15
        assert wrong <= 0.1 * sum(right.values())
        engaged = model.judge(1, GOOD, NOTHING)["engagement"].probabilities
        assert engaged is not None
        assert engaged["upper"] + engaged["highest"] > 0.8

    def test_probabilities_are_of_all_classes_and_sum_to_one(self, model: ContentModel) -> None:
        for task, judged in model.judge(99, "новости города", NOTHING).items():
            assert judged.probabilities is not None
            assert tuple(judged.probabilities) == CLASSES[task]
            assert sum(judged.probabilities.values()) == pytest.approx(1)

    def test_answers_hold_on_posts_that_were_held_out(self, trained: ContentTraining) -> None:
        reaction = trained.evaluation.tasks["reaction"]
        scores, answered = reaction.scores, reaction.accuracy_answered
        assert answered is not None
        assert reaction.usual_answered is not None
        assert scores["model"].log_loss < 0.8 * min(scores["prior"].log_loss, scores["channel_prior"].log_loss)
        assert 1 - answered < (1 - MARGIN) * (1 - reaction.usual_answered)
        assert reaction.calibration_error is not None
        assert reaction.calibration_error < 0.2

    def test_nothing_to_learn_gives_silence_with_the_reason_not_a_class(self, blind: ContentTraining) -> None:
        model = ContentModel.from_artifact(blind.files)
        judged = model.judge(1, GOOD, NOTHING)
        for answer in judged.values():
            assert (answer.answer, answer.probabilities) == (None, None)
            assert answer.reason is not None
            assert "no better than always saying the channel's usual class" in answer.reason
        assert blind.evaluation.tasks["reaction"].answered == 0

    def test_a_text_of_unknown_words_is_not_judged(self, model: ContentModel) -> None:
        judged = model.judge(1, FOREIGN, NOTHING)["reaction"]
        assert (judged.answer, judged.probabilities) == (None, None)
        assert judged.reason == "0% of its words occurred in what the model learned from"
        assert model.judge(1, "!!! 12 …", NOTHING)["reaction"].answer is None

    def test_without_a_text_attributes_are_all_there_is(self, model: ContentModel) -> None:
        assert model.judge(1, "", NOTHING)["reaction"] == model.judge(1, None, NOTHING)["reaction"]

    def test_a_text_longer_than_any_post_is_refused(self, model: ContentModel) -> None:
        assert model.judge(1, "ы" * (TEXT_BYTES // 2), NOTHING)["reaction"] is not None
        with pytest.raises(InvalidInput, match="longer than 64 KB"):
            model.judge(1, "ы" * 600_000, NOTHING)


class TestTooLittle:
    def test_no_posts_at_all(self) -> None:
        with pytest.raises(NoData):
            train_content([], UNTIL, 7)

    def test_too_few_outcomes(self) -> None:
        with pytest.raises(InsufficientData) as gap:
            train_content([channel_posts(1, 60, 1)], UNTIL, 7)
        assert (gap.value.needed, gap.value.have) == (100, 60)

    def test_a_task_without_outcomes_says_so_and_the_other_is_learned(self) -> None:
        posts = channel_posts(1, N, 1)
        model = ContentModel.from_artifact(train_content([replace(posts, reactions={})], UNTIL, 7).files)
        assert model.gaps == {"reaction": "too few posts with a known outcome: 0 of the 100 that a model needs"}
        assert model.judge(1, GOOD, NOTHING)["reaction"].reason == model.gaps["reaction"]
        assert "engagement" in model.classifiers

    def test_without_any_text_there_are_attributes_and_channels(self) -> None:
        training = train_content([replace(channel_posts(1, 110, 1), texts={})], UNTIL, 7)
        model = ContentModel.from_artifact(training.files)
        assert training.evaluation.topic.channels == 0
        assert model.topic([]).n == 0
        judged = model.judge(1, GOOD, NOTHING)["reaction"]
        assert judged.answer is judged.probabilities is None

    def test_what_began_to_differ_at_the_very_end_cannot_be_judged(self) -> None:
        posts = channel_posts(1, 110, 1)
        late = {i: {"👎" if i > 104 else "👍": 9} for i in posts.reactions}
        model = ContentModel.from_artifact(train_content([replace(posts, reactions=late)], UNTIL, 7).files)
        assert "too late to judge" in model.gaps["reaction"]

    def test_where_all_are_of_one_class_nothing_can_be_told_apart(self) -> None:
        posts = channel_posts(1, N, 1)
        liked = replace(posts, reactions={i: {"❤": 9} for i in posts.reactions})
        model = ContentModel.from_artifact(train_content([liked], UNTIL, 7).files)
        assert (
            model.gaps["reaction"]
            == "all 220 posts with a known outcome are 'positive': there is nothing to tell apart"
        )


class TestTime:
    def test_what_is_published_or_ripe_later_changes_nothing(self) -> None:
        long, short = channel_posts(1, N, 1), channel_posts(1, N // 2, 1)
        until = START + (N // 2) * GAP
        rows, fewer = rows_of([long], until), rows_of([short], until)
        assert len(rows) == len(fewer) == N // 2 - 3  # the newest ones are not a day old
        assert (rows.published_at + DAY <= until).all()

    def test_quarters_are_those_of_ripe_posts_before(self) -> None:
        values = np.arange(100, dtype=float)
        times = START + GAP * np.arange(100, dtype=np.int64)
        found = quarters(values, times)
        assert (found[:23] == UNKNOWN).all()  # twenty before it, a day old
        assert (found[24:] == QUARTERS.index("highest")).all()
        later = values.copy()
        later[60:] = -1
        assert np.array_equal(quarters(later, times)[:60], found[:60])

    def test_quarters_that_coincide_part_nothing(self) -> None:
        times = START + GAP * np.arange(60, dtype=np.int64)
        assert (quarters(np.zeros(60), times) == UNKNOWN).all()
        assert (quarters(np.full(60, np.nan), times) == UNKNOWN).all()


class TestArtifact:
    def test_the_same_data_and_seed_give_the_same_bytes(self, trained: ContentTraining) -> None:
        first, again = (train_content([channel_posts(1, 110, 1)], UNTIL, 7) for _ in range(2))
        assert again.files == first.files
        assert again.data_sha256 == first.data_sha256 != trained.data_sha256

    def test_no_text_is_kept(self, trained: ContentTraining) -> None:
        whole = b"".join(trained.files.values())
        assert "подарок".encode() not in whole
        assert json.dumps("подарок")[1:-1].encode() not in whole

    @pytest.mark.parametrize("name", [HEADER, TENSORS])
    def test_a_missing_or_damaged_file_is_corrupt(self, trained: ContentTraining, name: str) -> None:
        with pytest.raises(ArtifactCorrupt):
            ContentModel.from_artifact({k: v for k, v in trained.files.items() if k != name})
        with pytest.raises(ArtifactCorrupt):
            ContentModel.from_artifact(trained.files | {name: trained.files[name][:-40]})

    def test_other_weights_do_not_reproduce_the_stored_probabilities(self, trained: ContentTraining) -> None:
        from safetensors.numpy import load, save

        tensors = load(trained.files[TENSORS])
        moved = tensors | {"reaction.bias": tensors["reaction.bias"] + np.array([0.1, 0, 0], dtype=np.float32)}
        with pytest.raises(ArtifactCorrupt, match="do not come out again"):
            ContentModel.from_artifact(trained.files | {TENSORS: save(moved)})
        with pytest.raises(ArtifactCorrupt, match="not finite"):
            ContentModel.from_artifact(trained.files | {TENSORS: save(tensors | {"idf": tensors["idf"] * np.nan})})


class TestText:
    def test_vectors_have_length_one_or_none(self) -> None:
        texts = ["утро в городе", "", "12", "утро утро утро"]
        vectors = Representation.of(texts).vectors(texts)
        lengths = np.sqrt(np.asarray(vectors.multiply(vectors).sum(axis=1)).ravel())
        assert lengths.round(9).tolist() == [1, 0, 1, 1]

    def test_what_is_rare_weighs_more(self) -> None:
        counts = count(["общее слово", "общее дело", "общее место"])
        vector = weighed(count(["общее слово"]), rarity(counts))
        rare, common = count(["слово"]).indices, count(["общее"]).indices
        assert np.asarray(vector[:, rare].todense()).max() > np.asarray(vector[:, common].todense()).max()

    def test_known_words_by_script(self) -> None:
        known = Representation.of(["Погода в городе сегодня", "今天市场上涨"]).known
        assert known("сегодня погода") == 1
        assert known("tomorrow weather") == 0
        assert known("погода tomorrow") == 0.5
        assert known("今天上涨") == 1  # no spaces: letter by letter
        assert known("") == known("123 !") == 0


class TestTopic:
    def test_own_posts_spread_evenly_and_foreign_ones_lie_below(self, model: ContentModel) -> None:
        texts = list(channel_posts(1, 100, 5, topic="футбол").texts.values())
        topic = model.topic(texts)
        own = topic.percentiles(model.representation.vectors(texts), own=True)
        assert own.mean() == pytest.approx(0.5)
        assert own.min() < 0.05
        assert own.max() > 0.95
        assert topic.percentiles(model.representation.vectors([FOREIGN]))[0] < 0.01

    def test_its_own_text_does_not_speak_for_itself(self, model: ContentModel) -> None:
        texts = [*channel_posts(1, 30, 5).texts.values(), FOREIGN]
        topic = model.topic(texts)
        vector = model.representation.vectors([FOREIGN])
        assert topic.percentiles(vector, own=True)[0] < 0.1
        like = (vector @ topic.total)[0] / np.linalg.norm(topic.total)
        assert like > topic.own[0]  # as a stranger it would be like itself

    def test_held_out_posts_fit_their_own_channel_better(self, trained: ContentTraining) -> None:
        topic = trained.evaluation.topic
        assert topic.channels == 2
        assert topic.auc is not None
        assert topic.auc > 0.8
        assert topic.at_home == pytest.approx(0.5, abs=0.12)

    @given(st.integers(2, 40), st.integers(0, 2**32 - 1))
    def test_leaving_one_out_in_closed_form_is_leaving_one_out(self, n: int, seed: int) -> None:
        from scipy import sparse

        rng = np.random.default_rng(seed)
        dense = rng.random((n, 12)) + 1e-3
        dense /= np.linalg.norm(dense, axis=1, keepdims=True)
        topic = Topic.of(sparse.csr_matrix(dense))
        others = dense.sum(axis=0) - dense
        slow = np.sum(dense * others, axis=1) / np.linalg.norm(others, axis=1)
        assert np.allclose(topic.own, np.sort(slow))


@given(st.integers(1, 500), st.floats(0, 1))
def test_the_lower_end_of_a_share_lies_below_it(n: int, share: float) -> None:
    low = wilson_low(share, n)
    assert -1e-9 <= low <= share + 1e-9
    assert wilson_low(share, 10 * n) >= low - 1e-9
