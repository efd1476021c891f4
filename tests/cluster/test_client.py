from __future__ import annotations

import asyncio
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from cluster import connect, connect_async
from cluster.client.transport import error_of
from core.errors import (
    AnalyticBotError,
    Broken,
    Conflict,
    InsufficientData,
    InvalidInput,
    NotFound,
    Refused,
    ServiceUnavailable,
)
from core.schemas.channels import PostDraft
from core.schemas.predictions import FeedbackItem
from core.schemas.rollouts import TrafficFigures
from core.schemas.workflows import Step
from core.settings import Settings
from core.store.tasks import TaskStore
from core.store.workflows import WorkflowStore
from tests.cluster.conftest import Deployment


def test_channels_are_walked_and_asked_by_name(deployment: Deployment) -> None:
    with connect(deployment.url) as bot:
        assert [channel.name for channel in bot.channels] == ["@town", "a/b c"]
        town = bot.channels["@town"]
        assert town.info().id == deployment.world.channel_id
        assert town.status().posts == 60
        assert {figure.metric for figure in town.overview(days=10).figures}
        assert len(town.posts(limit=3)) == 3
        assert town.series("posts", "day")
        assert town.anomalies() == bot.anomalies() == ()


def test_names_with_slashes_and_spaces_are_quoted(deployment: Deployment) -> None:
    with connect(deployment.url) as bot, pytest.raises(NotFound):
        bot.channels["no/such channel"].info()


def test_a_prediction_asked_twice_under_a_key_is_one_prediction(deployment: Deployment) -> None:
    with connect(deployment.url) as bot:
        first = bot.predict("@town", post_id=50, key="once")
        again = bot.predict("@town", post_id=50, key="once")
        assert first.id == again.id
        quantiles = first.targets["views_24h"]
        assert quantiles.q10 <= quantiles.q50 <= quantiles.q90
        assert bot.prediction(first.id).prediction.id == first.id
        (ack,) = bot.feedback([FeedbackItem(first.id, "rating", 4, "k1")])
        assert (ack.duplicate, ack.status) == (False, "accepted")
        again, unknown = bot.feedback([FeedbackItem(first.id, "rating", 4, "k1"), FeedbackItem("x", "rating", 4, "k2")])
        assert (again.id, again.status, unknown.id, unknown.status) == (ack.id, "duplicate", None, "unknown")
        with pytest.raises(NotFound, match="no prediction 'x'"):
            bot.feedback([FeedbackItem("x", "rating", 4, "k2")])
        assert bot.feedback_summary().by_status == {"accepted": 1, "duplicate": 1, "unknown": 2}
        report = bot.models.slo()
        assert (report.version, report.events[0].n > 0) == (None, True)
        assert {d.verdict for d in bot.models.degradation(1)} <= {"insufficient"}
        assert {s.levels for s in bot.models.levels(1)} == {()}
        assert bot.models.alerts() == ()


def test_a_draft_is_predicted(deployment: Deployment) -> None:
    with connect(deployment.url) as bot:
        answer = bot.predict("@town", draft=PostDraft(text="Good morning, town!", media="photo"))
        assert answer.post_id is None
        assert answer.version == 1


def test_errors_are_those_that_the_service_raised(deployment: Deployment) -> None:
    with connect(deployment.url) as bot:
        with pytest.raises(NotFound, match="@nowhere"):
            bot.channels["@nowhere"].overview()
        with pytest.raises(InvalidInput) as wrong:
            bot.channels["@town"].overview(days=0)
        assert wrong.value.details["field"] == "days"
        with pytest.raises(Conflict):
            bot.models.set_alias("champion", 2, expect=7, reason="test")


def test_models_show_versions_aliases_and_service(deployment: Deployment) -> None:
    with connect(deployment.url) as bot:
        assert [v.version for v in bot.models.versions()] == [2, 1]
        assert bot.models.version(2).version == 2
        assert bot.models.alias("champion").version == 1
        assert bot.models.history()[0].to_version == 1
        assert bot.models.traffic().stable == 1
        assert bot.models.metrics(1).version == 1
        with pytest.raises(NotFound):
            bot.models["other"].alias()
        with pytest.raises(NotFound):
            bot.models.drift(1)
        with pytest.raises(AnalyticBotError):
            bot.models.check_drift(1)


def test_versions_are_verified_compared_and_kept(deployment: Deployment) -> None:
    with connect(deployment.url) as bot:
        assert bot.models.verify(1).checks == ("sha256", "signature", "features", "predictions")
        found = bot.models.compare(1, 2)
        assert (found.first, found.second, found.basis) == (1, 2, "newer_outcomes")
        assert bot.models.deployment().aliases[0].version == 1
        report = bot.models.prune(2, dry_run=True)
        assert {kept.version for kept in report.kept} == {1, 2}
        with pytest.raises(NotFound):
            bot.models.verify(9)
        with pytest.raises(InvalidInput):
            bot.models.prune(0)


def test_trainings_are_queued_and_cancelled(deployment: Deployment) -> None:
    with connect(deployment.url) as bot:
        task = bot.tasks.submit("train", strategy="batch", key="t1")
        assert bot.tasks.submit("train", strategy="batch", key="t1").id == task.id
        assert bot.tasks.get(task.id).state == "queued"
        assert bot.tasks.cancel(task.id).state == "cancelled"


def test_a_rollout_is_started_followed_and_aborted(deployment: Deployment) -> None:
    with connect(deployment.url) as bot:
        started = bot.rollouts.start(2, skip_validation=True, hold_s=[1, 1, 1])
        assert started.config.hold_s == (1.0, 1.0, 1.0)
        assert bot.rollouts.list()[0].id == started.id
        assert bot.rollouts.get(started.id).phase == "preparing"
        assert bot.rollouts.events(started.id)[0].seq >= 0
        with pytest.raises(Refused):
            bot.rollouts.promote(started.id, "before anything is known")
        assert bot.rollouts.pause(started.id, "lunch").holds == ("paused",)
        assert bot.rollouts.resume(started.id, "back").holds == ()
        bot.rollouts.abort(started.id, "seen enough")
        for _ in range(10):
            deployment.orchestrator.controller.tick("engagement")
        assert bot.rollouts.get(started.id).phase == "rolled_back"
        assert bot.rollouts.replay(started.id).identical is True
        assert bot.rollouts.explain(started.id).verified is True
        with pytest.raises(Refused):
            bot.rollouts.steer(started.id, "pause", "too late")


def test_a_rollout_that_cannot_work_is_refused_with_the_field(deployment: Deployment) -> None:
    with connect(deployment.url) as bot:
        for wrong in ({"alpha": 2}, {"steps": [0.5, 0.1, 1]}, {"guards": ["beauty"]}):
            with pytest.raises(InvalidInput) as refused:
                bot.rollouts.start(2, **wrong)
            assert refused.value.details["field"] == next(iter(wrong))


def test_a_rollout_is_planned_for_figures_that_are_assumed(deployment: Deployment) -> None:
    figures = TrafficFigures(100.0, 0.001, 5000.0, 0.3)
    with connect(deployment.url) as bot:
        plan = bot.rollouts.plan(strategy="rolling", assumed=figures)
        assert [step.weight for step in plan.steps] == [0.25, 0.5, 0.75, 1.0]
        assert plan.figures == figures


def test_a_workflow_is_begun_by_hand(deployment: Deployment) -> None:
    with connect(deployment.url) as bot:
        begun = bot.workflows.start(key="w1")
        assert bot.workflows.get(begun.id).trigger == "manual"
        assert begun.id in {w.id for w in bot.workflows.list()}


def test_a_workflow_is_ended_by_hand_and_its_training_with_it(deployment: Deployment) -> None:
    with connect(deployment.url) as bot:
        begun = bot.workflows.start(key="w1")
        store = WorkflowStore(deployment.world.database)
        training = store.move(begun, Step.TRAIN, "test", {"until": 1}, begun.created_at + 1)
        ended = bot.workflows.cancel(training.id, "not now")
        assert ended.step is Step.STOPPED
        assert bot.workflows.get(begun.id).events[-1].reason == "cancelled: not now"
        (task,) = (t for t in TaskStore(deployment.world.database).recent("engagement") if t.key.startswith(begun.id))
        assert task.state == "cancelled"
        with pytest.raises(Refused, match="has ended"):
            bot.workflows.cancel(begun.id, "again")


def test_the_loop_is_switched_and_switched_back(deployment: Deployment) -> None:
    with connect(deployment.url) as bot:
        assert bot.workflows.loop().auto_train is True
        assert bot.workflows.switch("auto_train", False).auto_train is False
        deployment.orchestrator.tick()
        view = bot.workflows.loop()
        assert (view.auto_train, view.auto_rollout) == (False, True)
        assert "switched off" in view.waiting_for
        assert bot.workflows.switch("auto_train", None).auto_train is True
        with pytest.raises(InvalidInput):
            bot.workflows.switch("auto_pilot", True)  # type: ignore[arg-type]


def test_health_is_each_services_own_and_readiness_names_who_is_in_the_way(deployment: Deployment) -> None:
    with connect(deployment.url) as bot:
        health = {answer.service: answer.status for answer in bot.health()}
        assert {"versioning", "drift", "predictor"} <= health.keys()
        assert health["versioning"] == "ok"
        assert bot.ready() is False  # this deployment's learner was never started
        assert list(bot.readiness().problems) == ["learner"]


def test_the_async_client_answers_alike(deployment: Deployment) -> None:
    async def ask() -> tuple[list[str], int, str]:
        async with connect_async(deployment.url) as bot:
            names = [channel.name async for channel in bot.channels]
            overview, answer = await asyncio.gather(
                bot.channels["@town"].overview(days=10), bot.predict("@town", post_id=40)
            )
            with pytest.raises(NotFound):
                await bot.channels["@nowhere"].info()
            assert list((await bot.readiness()).problems) == ["learner"]
            return names, answer.version, overview.channel

    assert asyncio.run(ask()) == (["@town", "a/b c"], 1, "@town")


# ---------------------------------------------------------------- crashes and strangers


class _Moody(http.server.BaseHTTPRequestHandler):
    """Fails as a proxy does whose replica just died, then answers."""

    moods: list[int]
    keys: list[str | None]

    def do_POST(self) -> None:
        type(self).keys.append(self.headers.get("Idempotency-Key"))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        mood = type(self).moods.pop(0) if type(self).moods else 200
        body = b"[]" if mood == 200 else b"Internal Server Error"
        self.send_response(mood)
        self.send_header("Content-Type", "application/json" if mood == 200 else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def moody() -> Iterator[tuple[str, type[_Moody]]]:
    handler = type("Handler", (_Moody,), {"moods": [], "keys": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()


def test_a_request_that_a_crash_cut_short_is_repeated_under_the_same_key(moody: tuple[str, type[_Moody]]) -> None:
    url, server = moody
    server.moods[:] = [500, 503]
    with connect(url) as bot:
        assert bot.feedback([]) == ()
    assert len(server.keys) == 3
    assert len(set(server.keys)) == 1
    assert server.keys[0]


def test_patience_ends(moody: tuple[str, type[_Moody]]) -> None:
    url, server = moody
    server.moods[:] = [500] * 50
    with connect(url, patience_s=0.2) as bot, pytest.raises(Broken, match="HTTP 500"):
        bot.feedback([])


def test_nobody_there_is_said_with_the_address() -> None:
    with (
        connect("http://127.0.0.1:9", patience_s=0.1) as bot,
        pytest.raises(ServiceUnavailable, match=r"127\.0\.0\.1:9"),
    ):
        bot.ready()


def test_without_a_url_the_running_deployment_is_meant(home: Path) -> None:
    with pytest.raises(ServiceUnavailable, match="analyticbot up"):
        connect(settings=Settings())


def test_a_strangers_answer_is_told_from_ours(moody: tuple[str, type[_Moody]]) -> None:
    url, _ = moody
    with connect(url) as bot, pytest.raises(Broken, match="something else"):
        bot.predict("@x", post_id=1)


def test_a_problem_document_becomes_the_error_it_describes() -> None:
    problem = InsufficientData("posts", needed=60, have=2).problem()
    error = error_of(httpx2.Response(422, json=problem, headers={"content-type": "application/problem+json"}))
    assert isinstance(error, InsufficientData)
    assert (error.needed, error.have) == (60, 2)
    unknown = {"type": "urn:analyticbot:brand-new", "detail": "later version"}
    later = error_of(httpx2.Response(418, json=unknown, headers={"content-type": "application/problem+json"}))
    assert type(later) is Broken
    assert later.message == "later version"
