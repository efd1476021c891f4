"""From request to durable answer: keys, arms, rescue, shadow scores, points in time."""

from __future__ import annotations

import numpy as np
import pytest

from core.clock import HOUR
from core.errors import Broken, Conflict, InsufficientData, InvalidInput, NoData, NotFound, Refused
from core.schemas.channels import PostDraft
from core.schemas.predictions import PredictionRequest
from core.store.evidence import EvidenceLog
from serve_apps.predictor.arms import LocalArm
from tests.serve_apps.world import GAP, POSTS, START, Bench, fill, register, tiny_model
from tests.tallies import background, first_attempts


def published(post: int) -> int:
    return START + (post - 1) * GAP


def counts(bench: Bench) -> tuple[int, int, int, int]:
    return first_attempts(bench.world.database)


def shadows(bench: Bench, version: int) -> tuple[int, int]:
    return background(bench.world.database, version)


def test_without_a_version_in_service_the_answer_is_a_clear_refusal(bench: Bench) -> None:
    with pytest.raises(Refused, match="no model version"):
        bench.one()
    assert counts(bench) == (0, 0, 0, 0)


def test_the_answer_is_the_log_row(bench: Bench) -> None:
    bench.serve(bench.world.split())
    answer = bench.one()
    settled = bench.ask_for(answer.id)
    assert settled.prediction == answer
    assert settled.outcomes == ()
    assert (answer.version, answer.arm, answer.as_of, answer.channel) == (1, "stable", published(55), "@town")
    for target in ("views_24h", "views_72h"):
        quantiles = answer.targets[target]  # type: ignore[index]
        assert 0 < quantiles.q10 < quantiles.q50 < quantiles.q90
    row = bench.log.get(answer.id)
    assert row.at == bench.world.clock.now()
    assert row.features is not None
    assert np.isfinite(np.frombuffer(row.features, dtype=np.float32)).any()


def test_an_untrained_model_says_the_usual(bench: Bench) -> None:
    bench.serve(bench.world.split())
    answer = bench.one()
    assert answer.targets["views_24h"].q50 == pytest.approx(answer.usual, rel=1e-6)
    assert answer.history == 30


def test_a_version_leaves_out_what_it_never_learned_and_says_so(bench: Bench) -> None:
    world = bench.world
    narrow = register(world, tiny_model(0.1, ("views_24h",)), "narrow")
    bench.serve(world.split(stable=narrow))
    answer = bench.one()
    assert set(answer.targets) == {"views_24h"}
    assert f"no outcome of views_72h was known when version {narrow} was trained" in answer.warnings
    assert bench.ask_for(answer.id).prediction == answer
    assert counts(bench) == (1, 0, 0, 0)


def test_a_version_that_lacks_the_first_target_gives_no_answer(bench: Bench) -> None:
    blind = register(bench.world, tiny_model(0.1, ("views_72h",)), "blind")
    bench.serve(bench.world.split(stable=blind))
    with pytest.raises(Broken, match="nothing for views_24h"):
        bench.one()


def test_contributions_come_on_request_and_sum_to_the_answer(bench: Bench) -> None:
    """This network moves nothing, so all that moves the answer is what the early views say."""
    bench.serve(bench.world.split())
    assert bench.one(known_age_h=4).contributions == ()
    answer = bench.one(known_age_h=4, explain=True)
    (found,) = answer.contributions
    assert found.feature == "early_deviation"
    assert found.share_log == pytest.approx(np.log(answer.targets["views_24h"].q50 / answer.usual), abs=1e-4)
    assert answer.warnings == bench.one(known_age_h=4).warnings


def test_an_answer_that_cannot_be_explained_says_so_and_is_given_all_the_same(bench: Bench) -> None:
    bench.serve(bench.world.split())
    bench.one(key="k")
    repeated = bench.one(key="k", explain=True)
    assert repeated.contributions == ()
    assert any("repeated by its key" in warning for warning in repeated.warnings)
    bench.trial(1.0)
    by_canary = bench.one(explain=True)
    assert (by_canary.arm, by_canary.contributions) == ("canary", ())
    assert any("on trial" in warning for warning in by_canary.warnings)


def test_the_same_key_gives_the_same_answer_and_one_row(bench: Bench) -> None:
    bench.serve(bench.world.split())
    request = PredictionRequest("@town", post_id=55, key="k")
    first, *others = bench.ask(*[request] * 8)
    assert all(other == first for other in others)
    bench.serve(bench.world.split(epoch=2, stable=2))
    assert bench.one(key="k") == first
    assert counts(bench)[0] == 1


def test_a_key_belongs_to_one_question(bench: Bench) -> None:
    bench.serve(bench.world.split())
    bench.one(key="k")
    with pytest.raises(Conflict, match="'k'"):
        bench.one(key="k", post_id=54)


def test_a_late_request_gets_the_answer_of_a_prompt_one(bench: Bench) -> None:
    bench.serve(bench.world.split())
    late = bench.one(post_id=45, known_age_h=4)
    bench.world.clock.time = published(45) + 4 * HOUR
    prompt = bench.one(post_id=45, known_age_h=4)
    assert late.targets == prompt.targets
    assert late.as_of == prompt.as_of == published(45) + 4 * HOUR
    assert prompt.warnings == ()
    assert len(late.warnings) == 2
    assert "due since" in late.warnings[0]


def test_early_views_move_the_answer_and_drop_targets_that_are_over(bench: Bench) -> None:
    bench.serve(bench.world.split())
    at_0, at_24 = bench.one(post_id=50), bench.one(post_id=50, known_age_h=24)
    assert set(at_0.targets) == {"views_24h", "views_72h"}
    assert set(at_24.targets) == {"views_72h"}
    assert at_24.targets["views_72h"].q50 != pytest.approx(at_0.targets["views_72h"].q50, rel=1e-3)


def test_views_that_are_not_known_yet_are_not_enough_data(bench: Bench) -> None:
    bench.serve(bench.world.split())
    with pytest.raises(InsufficientData):
        bench.one(post_id=55, known_age_h=4, as_of=published(55) + HOUR)
    with pytest.raises(InsufficientData):
        bench.one(post_id=POSTS, known_age_h=24)


def test_a_channel_read_once_a_post_answers_its_final_views_only(bench: Bench) -> None:
    bench.serve(bench.world.split())
    assert set(bench.one(channel="@village", post_id=40).targets) == {"views_final"}
    with pytest.raises((NoData, InsufficientData)):
        bench.one(channel="@village", post_id=40, known_age_h=4)


def test_a_draft_needs_no_post_and_its_row_joins_no_outcome(bench: Bench) -> None:
    bench.serve(bench.world.split())
    draft = PostDraft(text_len=300, media="photo")
    answer = bench.one(post_id=None, draft=draft, published_at=bench.world.clock.now() + HOUR)
    assert answer.post_id is None
    assert answer.as_of == bench.world.clock.now()
    assert bench.log.get(answer.id).post_id is None


def test_a_drafts_text_is_measured_where_the_caller_did_not(bench: Bench) -> None:
    bench.serve(bench.world.split())
    text = "Why is it so? https://example.org #news"
    by_text = bench.one(post_id=None, draft=PostDraft(text=text, media="photo", n_words=9))
    counts = {"text_len": len(text), "n_links": 1, "n_hashtags": 1, "n_mentions": 0, "n_emoji": 0, "n_lines": 1}
    by_hand = bench.one(
        post_id=None, draft=PostDraft(media="photo", n_words=9, has_question=True, is_ad=False, **counts)
    )
    rows = [bench.log.get(answer.id).features for answer in (by_text, by_hand)]
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"known_age_h": 3}, "known_age_h"),
        ({"post_id": None}, "post_id"),
        ({"draft": PostDraft()}, "post_id"),
        ({"published_at": START}, "published_at"),
        ({"as_of": START + POSTS * GAP + 1}, "as_of"),
        ({"post_id": None, "draft": PostDraft(), "published_at": START}, "published_at"),
        ({"post_id": None, "draft": PostDraft(), "known_age_h": 4}, "known_age_h"),
    ],
)
def test_requests_that_contradict_themselves_name_the_field(
    bench: Bench, changes: dict[str, object], field: str
) -> None:
    bench.serve(bench.world.split())
    with pytest.raises(InvalidInput) as caught:
        bench.one(**changes)
    assert caught.value.details["field"] == field


def test_unknown_channels_and_posts_are_not_found_and_leave_no_row(bench: Bench) -> None:
    bench.serve(bench.world.split())
    for changes in ({"channel": "@nowhere"}, {"post_id": 4_000}):
        with pytest.raises(NotFound):
            bench.one(**changes)
    with pytest.raises(NotFound):
        bench.ask_for("0" * 32)
    assert counts(bench) == (0, 0, 0, 0)


def test_a_channel_with_too_few_measured_posts_says_how_many_are_needed(bench: Bench) -> None:
    bench.serve(bench.world.split())
    with pytest.raises(InsufficientData) as caught:
        bench.one(post_id=2)
    assert caught.value.needed > caught.value.have


def test_new_data_is_seen_and_known_data_is_not_read_again(bench: Bench) -> None:
    from sqlalchemy import update

    from core.store import schema

    bench.serve(bench.world.split())
    bench.one()
    bench.one(post_id=54)
    assert (bench.questions.cache.misses, bench.questions.cache.hits) == (1, 1)
    with bench.world.database.write() as connection:
        connection.execute(update(schema.channel).values(data_version=2))
    bench.one(post_id=53)
    assert bench.questions.cache.misses == 2


def test_only_so_many_channels_are_kept(bench: Bench) -> None:
    from core.store.channels import ChannelStore
    from serve_apps.predictor.history_cache import HistoryCache

    store = ChannelStore(bench.world.database)
    cache = HistoryCache(store, lambda history: history, channels=1)
    town, village = store.channel("@town"), store.channel("@village")
    for channel in (town, village, village, town):
        assert cache.recent(channel).channel.name == channel.name
    assert (cache.misses, cache.hits) == (3, 1)


def test_a_cut_history_answers_like_the_whole_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from serve_apps.predictor import question

    bench.serve(bench.world.split())
    before = bench.one(post_id=20)
    monkeypatch.setattr(question, "RECENT_POSTS", 40)
    bench.questions.cache._posts = 40
    bench.questions.cache._slots.clear()
    assert bench.one(post_id=20).targets == before.targets


def test_the_canary_answers_its_share_and_stable_the_rest(bench: Bench) -> None:
    bench.trial(1.0)
    answer = bench.one()
    assert (answer.version, answer.arm) == (2, "canary")
    assert answer.targets["views_24h"].q50 == pytest.approx(answer.usual * 1.2, rel=1e-5)
    bench.serve(bench.world.split(epoch=3, canary=2, weight=0.0))
    assert bench.one(post_id=54).arm == "stable"
    assert counts(bench) == (1, 0, 1, 0)


def test_a_pin_chooses_the_version(bench: Bench) -> None:
    bench.trial(0.0)
    assert bench.one(pin=2).version == 2
    assert bench.one(pin=1).version == 1
    with pytest.raises(Conflict, match="version 9"):
        bench.one(pin=9)


@pytest.mark.parametrize("trouble", ["slow", "dead", "wrong", "nonsense"])
def test_a_failing_canary_is_rescued_inside_the_request_and_counted(bench: Bench, trouble: str) -> None:
    canary = bench.trial(1.0)
    canary.trouble = trouble
    answer = bench.one()
    assert (answer.version, answer.arm) == (1, "rescued")
    assert answer.targets["views_24h"].q50 == pytest.approx(answer.usual, rel=1e-6)
    assert counts(bench) == (0, 0, 1, 1)


def test_a_dead_canary_is_not_waited_for_until_a_probe_finds_it_again(bench: Bench) -> None:
    canary = bench.trial(1.0)
    canary.trouble = "dead"
    bench.one()
    calls = canary.calls
    assert bench.one(post_id=54).arm == "rescued"
    assert canary.calls == calls
    assert not bench.traffic.report().canary_ready
    canary.trouble = ""
    bench.traffic.tick()
    assert bench.one(post_id=53).arm == "canary"


def test_twenty_failures_in_a_row_take_the_share_away(bench: Bench) -> None:
    canary = bench.trial(1.0)
    canary.trouble = "wrong"
    arms = [bench.one(post_id=54 - i % 9).arm for i in range(21)]
    assert arms == ["rescued"] * 20 + ["stable"]
    report = bench.traffic.report()
    assert (report.breaker_open, report.weight) == (True, 0.0)


def test_both_versions_failing_count_against_both(bench: Bench) -> None:
    canary = bench.trial(1.0)
    canary.trouble = "wrong"

    class Sick:
        def predict(self, x: object, base: object, /) -> dict[object, object]:
            raise RuntimeError("out of memory")

    applied = bench.traffic._applied
    assert applied is not None
    object.__setattr__(applied, "stable", LocalArm(1, Sick()))  # type: ignore[arg-type]
    with pytest.raises(Broken, match="out of memory"):
        bench.one(key="k")
    assert counts(bench) == (1, 1, 1, 1)
    bench.serve(bench.world.split(epoch=3, stable=2))
    assert bench.one(key="k").version == 2  # a failure does not use the key up


def test_in_a_trial_every_request_is_scored_by_both(bench: Bench) -> None:
    bench.trial(0.0, shadow=True)
    by_stable = bench.one()
    bench.serve(bench.world.split(epoch=3, canary=2, weight=1.0, shadow=True))
    by_canary = bench.one(post_id=54)
    bench.recorder.close()
    assert shadows(bench, 2) == (1, 0)
    assert shadows(bench, 1) == (1, 0)
    settle(bench, by_stable.id, 100.0)
    settle(bench, by_canary.id, 100.0)
    pairs, _ = EvidenceLog(bench.world.database).pairs("engagement", 1, 2, 0)
    assert [p.challenger_q50 / p.stable_q50 for p in pairs] == pytest.approx([1.2, 1.2], rel=1e-5)


def test_a_failing_shadow_is_stored_as_a_failure_and_disturbs_nobody(bench: Bench) -> None:
    canary = bench.trial(0.0, shadow=True)
    canary.trouble = "wrong"
    assert bench.one().arm == "stable"
    bench.recorder.close()
    assert shadows(bench, 2) == (1, 1)


def test_a_repeated_request_is_not_shadowed_again(bench: Bench) -> None:
    bench.trial(0.0, shadow=True)
    bench.one(key="k")
    bench.one(key="k")
    bench.recorder.close()
    assert shadows(bench, 2)[0] == 1


def test_shadows_beyond_the_room_are_dropped_and_counted(bench: Bench) -> None:
    import asyncio

    bench.trial(0.0, shadow=True)
    bench.service._shadows = asyncio.Queue(1)
    requests = [PredictionRequest("@town", post_id=50 - i) for i in range(6)]
    assert len(bench.ask(*requests)) == 6
    bench.recorder.close()
    stored = shadows(bench, 2)[0]
    assert stored + bench.service.shadows_dropped == 6


def test_two_replicas_agree_on_a_key(bench: Bench) -> None:
    bench.serve(bench.world.split())
    other = Bench(bench.world)
    other.serve(bench.world.split())
    assert other.one(key="k") == bench.one(key="k")
    assert counts(bench)[0] == 1
    other.recorder.close()


def test_channels_of_another_tenant_are_not_found(bench: Bench) -> None:
    from sqlalchemy import update

    from core.store import schema

    bench.serve(bench.world.split())
    theirs = fill(bench.world.database, "@theirs", 9)
    with bench.world.database.write() as connection:
        connection.execute(update(schema.channel).where(schema.channel.c.id == theirs).values(tenant="other"))
    with pytest.raises(NotFound):
        bench.one(channel="@theirs")


def settle(bench: Bench, prediction_id: str, value: float) -> None:
    from core.store import schema

    row = {"prediction_id": prediction_id, "target": "views_24h", "value": value, "known_at": 1, "joined_at": 1}
    with bench.world.database.write() as connection:
        bench.world.database.append(connection, schema.outcome, [row])
