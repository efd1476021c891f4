"""The gateway over real services where a process suffices; what needs a cluster is stood in for by its protocol."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from starlette.testclient import TestClient

from actors.adaptive_learning.feedback.actor import Feedback
from actors.adaptive_learning.monitoring.actor import Monitoring
from actors.adaptive_learning.versioning.actor import Versioning
from actors.anomaly_analysis.actor import AnomalyAnalysis
from actors.runtime import RemoteService
from core.errors import NotFound, Refused, ServiceUnavailable
from core.schemas.analytics import Figure, Overview
from core.schemas.health import Health
from core.schemas.models import TrainingRequest, TrainingTask
from core.schemas.rollouts import Phase, RolloutConfig, RolloutStatus, SplitReport
from core.settings import Settings
from core.store import migrate
from core.store.database import Database
from core.store.keys import KeyStore
from core.store.splits import SplitStore
from serve_apps.gateway.api import build_api
from serve_apps.gateway.services import GatewayParts, Services, brief
from serve_apps.proxy import ServedService
from tests.serve_apps.world import Bench, World


@dataclass
class Elsewhere:
    """A service in another process: its answers are set, its calls are kept."""

    name: str
    answers: dict[str, Any] = field(default_factory=dict)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    down: bool = False

    def __getattr__(self, method: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.down:
                raise ServiceUnavailable(f"{self.name} is not running", service=self.name)
            self.calls.append((method, *args, *kwargs.values()))
            if method == "health":
                return Health(self.name, "ok", "answered", 1)
            answer = self.answers[method]
            if isinstance(answer, Exception):
                raise answer
            return answer(*args, **kwargs) if callable(answer) else answer

        return call


REPORT = SplitReport(1, 1, None, 0.0, False, False, False, 7)


@dataclass
class Office:
    """The gateway's app, what is behind it, and a client."""

    world: World
    parts: GatewayParts
    client: TestClient

    def there(self, name: str) -> Elsewhere:
        return cast(Elsewhere, getattr(self.parts.services, name))


@pytest.fixture
def office(world: World) -> Iterator[Office]:
    database, clock = world.database, world.clock
    services = Services(
        versioning=Versioning(database, clock),
        feedback=Feedback(database, clock),
        monitoring=Monitoring(database, clock),
        anomaly=AnomalyAnalysis(database, clock),
        drift=cast(Any, Elsewhere("drift")),
        learning=cast(Any, Elsewhere("learner")),
        orchestrator=cast(Any, Elsewhere("orchestrator")),
        analytics=cast(Any, Elsewhere("analytics_fusion")),
        predictor=cast(Any, Elsewhere("predictor", {"split_report": REPORT})),
    )
    parts = GatewayParts(services, database, clock, Settings())
    with TestClient(build_api(parts)) as client:
        yield Office(world, parts, client)


def status(**changes: Any) -> RolloutStatus:
    base = RolloutStatus("r1", "engagement", 2, 1, Phase.PREPARING, 0.0, None, (), (), "started", 1, 1)
    return replace(base, **changes)


def test_channels_come_a_page_at_a_time_and_are_not_sent_twice(office: Office) -> None:
    first = office.client.get("/v1/channels", params={"limit": 1})
    assert [c["name"] for c in first.json()["items"]] == ["@town"]
    second = office.client.get("/v1/channels", params={"limit": 1, "cursor": first.json()["cursor"]})
    assert ([c["name"] for c in second.json()["items"]], second.json()["cursor"]) == (["@village"], None)
    again = office.client.get("/v1/channels", params={"limit": 1}, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert office.client.get("/v1/channels/@town").json()["id"] == office.world.channel_id


def test_an_unknown_channel_is_a_problem(office: Office) -> None:
    for path in ("/v1/channels/@nowhere", "/v1/channels/@nowhere/anomalies"):
        answer = office.client.get(path)
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:analyticbot:not-found")
        assert answer.headers["content-type"] == "application/problem+json"


def test_numbers_are_asked_with_the_parameters_given(office: Office) -> None:
    analytics = office.there("analytics")
    figure = Figure("err", "%", None, 0, missing="no subscribers")
    analytics.answers["overview"] = Overview("@town", 0, 1, (figure,))
    answer = office.client.get("/v1/channels/@town/overview", params={"days": 7})
    assert answer.json()["figures"][0]["missing"] == "no subscribers"
    assert analytics.calls == [("overview", "@town", 7, None)]
    assert office.client.get("/v1/channels/@town/overview", params={"days": 0}).json()["field"] == "days"
    assert office.client.get("/v1/channels/@town/series/views", params={"bucket": "year"}).status_code == 422


def test_a_service_that_is_down_is_told_from_a_refusal(office: Office) -> None:
    analytics = office.there("analytics")
    analytics.down = True
    answer = office.client.get("/v1/channels/@town/posts")
    assert (answer.status_code, answer.json()["service"]) == (503, "analytics_fusion")
    office.there("orchestrator").answers["steer"] = Refused("the roll-out has ended")
    answer = office.client.post("/v1/rollouts/r1/abort", json={"reason": "x"})
    assert (answer.status_code, answer.json()["detail"]) == (409, "the roll-out has ended")


def test_versions_and_aliases_are_the_registrys(office: Office) -> None:
    versions = office.client.get("/v1/models/engagement/versions").json()
    assert [v["version"] for v in versions] == [2, 1]
    assert office.client.get("/v1/models/engagement/aliases/champion").status_code == 404
    body = {"version": 1, "expect": None, "reason": "first"}
    assert office.client.put("/v1/models/engagement/aliases/champion", json=body).json()["to_version"] == 1
    assert office.client.get("/v1/models/engagement/aliases/champion").json()["version"] == 1
    lost = office.client.put("/v1/models/engagement/aliases/champion", json=body | {"version": 2})
    assert (lost.status_code, lost.json()["type"]) == (409, "urn:analyticbot:conflict")
    assert len(office.client.get("/v1/models/engagement/history").json()) == 1
    assert office.client.get("/v1/models/engagement/versions/9").status_code == 404
    assert office.client.get("/v1/models/engagement/versions/one").json()["field"] == "version"


def test_a_rollout_starts_with_the_settings_and_what_the_caller_changes(office: Office) -> None:
    orchestrator = office.there("orchestrator")
    orchestrator.answers["start_rollout"] = status()
    body = {"version": 2, "error_slo": 0.02}
    answer = office.client.post("/v1/rollouts", json=body, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.headers["location"]) == (202, "/v1/rollouts/r1")
    _, model, version, config, key = orchestrator.calls[0]
    assert (model, version, key) == ("engagement", 2, "k")
    assert config == RolloutConfig(error_slo=0.02)


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({"version": 2, "steps": [0.5, 0.1, 1.0]}, "steps"),
        ({"version": 2, "steps": [0.5, 1.0]}, "hold_s"),
        ({"version": 2, "steps": [1.5]}, "steps.0"),
        ({"version": 0}, "version"),
        ({"version": 2, "lease_s": 60, "abandon_s": 30}, "abandon_s"),
        ({"version": 2, "hold": 3}, "hold"),
    ],
)
def test_a_rollout_that_makes_no_sense_is_refused_with_the_field(office: Office, body: dict[str, Any], at: str) -> None:
    answer = office.client.post("/v1/rollouts", json=body)
    assert (answer.status_code, answer.json()["field"]) == (422, at)


def test_only_known_ways_to_steer_exist(office: Office) -> None:
    orchestrator = office.there("orchestrator")
    orchestrator.answers["steer"] = lambda *args: status(reason=str(args))
    assert office.client.post("/v1/rollouts/r1/pause", json={"reason": "lunch"}).status_code == 200
    assert orchestrator.calls == [("steer", "r1", "pause", "lunch")]
    assert office.client.post("/v1/rollouts/r1/explode", json={"reason": "x"}).status_code == 422
    assert office.client.post("/v1/rollouts/r1/pause", json={"reason": ""}).status_code == 422


def test_rollouts_workflows_and_their_logs_are_read(office: Office) -> None:
    orchestrator = office.there("orchestrator")
    orchestrator.answers |= {
        "rollouts": (status(),),
        "rollout": status(),
        "rollout_events": (),
        "workflows": (),
        "workflow": NotFound("no workflow 'w'"),
    }
    assert office.client.get("/v1/rollouts").json()[0]["phase"] == "preparing"
    assert office.client.get("/v1/rollouts/r1").json()["id"] == "r1"
    assert office.client.get("/v1/rollouts/r1/events").json() == []
    assert office.client.get("/v1/workflows").json() == []
    assert office.client.get("/v1/workflows/w").status_code == 404


def test_a_training_is_queued_under_the_callers_key(office: Office) -> None:
    def submit(request: TrainingRequest) -> TrainingTask:
        return TrainingTask("t1", request.key, request.model, request.kind, "queued", 1, request)

    office.there("learning").answers |= {"submit": submit, "task": NotFound("no task"), "cancel": Refused("done")}
    answer = office.client.post("/v1/tasks", json={"strategy": "tuned"}, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.headers["location"]) == (202, "/v1/tasks/t1")
    assert (answer.json()["key"], answer.json()["request"]["strategy"]) == ("k", "tuned")
    assert office.client.post("/v1/tasks", json={"kind": "guess"}).json()["field"] == "kind"
    assert office.client.get("/v1/tasks/t9").status_code == 404
    assert office.client.post("/v1/tasks/t1/cancel").status_code == 409


def test_feedback_is_stored_once_under_the_headers_key(office: Office) -> None:
    bench = Bench(office.world)
    bench.serve(office.world.split())
    prediction = bench.one()
    bench.recorder.close()
    items = [{"prediction_id": prediction.id, "kind": "rating", "value": value} for value in (5, 4)]
    sent = [office.client.post("/v1/feedback", json={"items": items}, headers={"Idempotency-Key": "k"}) for _ in "12"]
    assert [[ack["duplicate"] for ack in answer.json()] for answer in sent] == [[False, False], [True, True]]
    assert office.client.post("/v1/feedback", json={"items": []}).json()["field"] == "items"
    bad = {"prediction_id": prediction.id, "kind": "rating", "value": 9}
    assert office.client.post("/v1/feedback", json={"items": [bad]}).status_code == 422


def test_quality_and_drift_of_a_version(office: Office) -> None:
    assert office.client.get("/v1/monitoring/engagement/1").json()["requests"] == 0
    office.there("drift").answers |= {"latest": None}
    assert "no drift report" in office.client.get("/v1/drift/engagement/1").json()["detail"]
    assert office.client.get("/v1/models/engagement/traffic").json()["stable"] == 1


class TestReadiness:
    """Ready means: every service answers, the database is at head, the version in service is loaded."""

    @staticmethod
    def migrated(office: Office, tmp_path: Any) -> TestClient:
        database = Database(f"sqlite:///{tmp_path / 'migrated.db'}")
        migrate.upgrade(database)
        return TestClient(build_api(replace(office.parts, database=database)))

    def test_everything_well(self, office: Office, tmp_path: Any) -> None:
        answer = self.migrated(office, tmp_path).get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"ready": True, "problems": {}, "model": "version 1"})

    def test_no_champion_yet_is_ready_and_says_so(self, office: Office, tmp_path: Any) -> None:
        office.there("predictor").answers["split_report"] = replace(REPORT, stable=None)
        answer = self.migrated(office, tmp_path).get("/readyz")
        assert (answer.status_code, answer.json()["model"]) == (200, "no champion yet")

    def test_a_champion_that_is_not_loaded_is_not_ready(self, office: Office, tmp_path: Any) -> None:
        office.there("predictor").answers["split_report"] = replace(REPORT, stable=None)
        client = self.migrated(office, tmp_path)
        database = Database(f"sqlite:///{tmp_path / 'migrated.db'}")
        SplitStore(database).write(office.world.split(), office.world.clock)
        assert client.get("/readyz").json()["problems"] == {"predictor": "version 1 is not loaded yet"}

    def test_a_service_that_is_down_is_named(self, office: Office, tmp_path: Any) -> None:
        office.there("learning").down = True
        client = self.migrated(office, tmp_path)
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["problems"]) == (503, {"learner": "learner is not running"})
        health = client.get("/v1/health").json()
        assert (health["status"], health["services"]["learner"]["status"]) == ("broken", "broken")
        assert health["services"]["drift"]["status"] == "ok"

    def test_a_database_that_was_not_migrated_is_named(self, office: Office) -> None:
        answer = office.client.get("/readyz")
        assert answer.status_code == 503
        assert "db upgrade" in answer.json()["problems"]["database"]

    def test_the_process_is_alive_whatever_else_is_not(self, office: Office) -> None:
        assert office.client.get("/healthz").json()["status"] == "ok"
        assert "Ray" in office.client.get("/metrics").json()["detail"]


def test_health_questions_do_not_wait_for_the_dead() -> None:
    assert brief(RemoteService("x"), 5.0) == RemoteService("x", 5.0, 0.0)
    assert brief(ServedService("x"), 5.0) == ServedService("x", 5.0)
    here = Elsewhere("x")
    assert brief(here, 5.0) is here


def test_one_document_describes_gateway_and_predictor(office: Office) -> None:
    document = office.client.get("/openapi.json").json()
    assert {"/v1/predictions", "/v1/predictions/{prediction_id}", "/v1/rollouts", "/readyz"} <= set(document["paths"])
    references = {part.split('"')[0] for part in str(document).replace("'", '"').split("#/components/schemas/")[1:]}
    assert references <= set(document["components"]["schemas"])
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation.get("summary") or operation.get("description"), f"{method} {path} says nothing"
    assert office.client.get("/docs").status_code == 200


def test_beyond_loopback_only_health_is_open(office: Office) -> None:
    settings = Settings(host="0.0.0.0")
    client = TestClient(build_api(replace(office.parts, settings=settings)))
    assert client.get("/healthz").status_code == 200
    assert [client.get(path).status_code for path in ("/v1/channels", "/openapi.json", "/docs")] == [401] * 3
    _, secret = KeyStore(office.world.database).create("w", ("write",), now=1)
    key = {"X-API-Key": secret}
    assert client.get("/v1/channels", headers=key).status_code == 200
    assert client.post("/v1/rollouts", json={"version": 2}, headers=key).status_code == 403
