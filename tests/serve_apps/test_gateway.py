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
from core.schemas.rollouts import (
    Explanation,
    Phase,
    Replayed,
    RolloutConfig,
    RolloutPlan,
    RolloutStatus,
    SplitReport,
    TrafficFigures,
    configured,
)
from core.settings import RolloutDefaults, Settings
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
        intelligence=cast(Any, Elsewhere("predictive_intelligence")),
        alerts=cast(Any, Elsewhere("alerts_fusion")),
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
    assert orchestrator.calls == [("start_rollout", "engagement", 2, RolloutConfig(error_slo=0.02), "k", "queue")]


def test_a_rollout_may_go_another_way_and_not_wait_in_a_queue(office: Office) -> None:
    orchestrator = office.there("orchestrator")
    orchestrator.answers["start_rollout"] = Refused("roll-out r0 is under way")
    body = {"version": 2, "strategy": "blue_green", "when_busy": "reject", "approvals": ["promote"]}
    answer = office.client.post("/v1/rollouts", json=body)
    assert (answer.status_code, answer.json()["detail"]) == (409, "roll-out r0 is under way")
    *_, config, _, when_busy = orchestrator.calls[0]
    assert (config.steps, config.approvals, when_busy) == ((0.0, 1.0), ("promote",), "reject")


def test_a_step_may_be_said_by_both_shares(office: Office) -> None:
    orchestrator = office.there("orchestrator")
    orchestrator.answers["start_rollout"] = status()
    steps = [{"stable": 0.9, "canary": 0.1}, 0.4, 1]
    assert office.client.post("/v1/rollouts", json={"version": 2, "steps": steps}).status_code == 202
    assert orchestrator.calls[0][3].steps == (0.1, 0.4, 1.0)


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({"version": 2, "steps": [0.5, 0.1, 1.0]}, "steps"),
        ({"version": 2, "steps": [0.5, 1.0], "hold_s": [1.0]}, "hold_s"),
        ({"version": 2, "steps": [1.5]}, "steps"),
        ({"version": 2, "steps": [{"stable": 0.9, "canary": 0.2}, 1.0]}, "steps"),
        ({"version": 2, "steps": []}, "steps"),
        ({"version": 0}, "version"),
        ({"version": 2, "lease_s": 60, "abandon_s": 30}, "lease_s"),
        ({"version": 2, "hold": 3}, "hold"),
        ({"version": 2, "strategy": "leap"}, "strategy"),
        ({"version": 2, "when_busy": "panic"}, "when_busy"),
        ({"version": 2, "guards": ["beauty"]}, "guards"),
        ({"version": 2, "gates": [["errors"], ["beauty"], []]}, "gates"),
        ({"version": 2, "gates": [[], [], []]}, "gates"),
        ({"version": 2, "freeze": ["at the weekend"]}, "freeze"),
        ({"version": 2, "approvals": ["lunch"]}, "approvals.0"),
        ({"version": 2, "alpha": 1.0}, "alpha"),
    ],
)
def test_a_rollout_that_makes_no_sense_is_refused_with_the_field(office: Office, body: dict[str, Any], at: str) -> None:
    answer = office.client.post("/v1/rollouts", json=body)
    assert (answer.status_code, answer.json()["field"]) == (422, at)
    assert office.there("orchestrator").calls == []


def test_a_number_that_is_none_is_refused(office: Office) -> None:
    kind = {"Content-Type": "application/json"}
    answer = office.client.post("/v1/rollouts", content='{"version": 2, "hold_s": [1, 1, NaN]}', headers=kind)
    assert (answer.status_code, answer.json()["field"]) == (422, "hold_s.2")


def test_a_plan_is_made_for_the_traffic_measured_or_assumed(office: Office) -> None:
    orchestrator = office.there("orchestrator")
    figures = TrafficFigures(100.0, 0.001, 500.0, 0.3)
    orchestrator.answers["plan_rollout"] = RolloutPlan("engagement", figures, (), None, {}, refusals=("no pairs",))
    answer = office.client.post("/v1/rollouts/plan", json={"strategy": "direct"})
    assert (answer.status_code, answer.json()["refusals"]) == (200, ["no pairs"])
    assumed = {"requests_per_s": 100, "error_rate": 0.001, "pairs_per_day": 500, "pair_sd": 0.3}
    assert office.client.post("/v1/rollouts/plan", json={"assumed": assumed}).status_code == 200
    direct = configured({}, {}, "direct")
    assert orchestrator.calls == [
        ("plan_rollout", "engagement", direct, None),
        ("plan_rollout", "engagement", RolloutConfig(), figures),
    ]
    part = office.client.post("/v1/rollouts/plan", json={"assumed": {"requests_per_s": 100}})
    assert (part.status_code, part.json()["field"]) == (422, "assumed.error_rate")


def test_a_recorded_rollout_is_replayed_as_it_was_or_otherwise(office: Office) -> None:
    orchestrator = office.there("orchestrator")
    own = RolloutConfig(hold_s=(7.0, 7.0, 7.0), alpha=0.01)
    orchestrator.answers |= {
        "rollout": status(config=own),
        "replay_rollout": Replayed("r1", 9, True, 3600.0, 0.5, "promoted", "done", 1.0),
    }
    for body in (None, {}, {"alpha": 0.2}, {"steps": [0.2, 1.0]}):
        assert office.client.post("/v1/rollouts/r1/replay", json=body).json()["identical"] is True
    configs = [call[2] for call in orchestrator.calls if call[0] == "replay_rollout"]
    assert configs[:3] == [None, None, replace(own, alpha=0.2)]
    assert (configs[3].steps, configs[3].hold_s, configs[3].alpha) == ((0.2, 1.0), (7.0, 7.0), 0.01)
    assert office.client.post("/v1/rollouts/r1/replay", json={"alpha": 2}).json()["field"] == "alpha"


def test_a_rollout_is_explained_from_its_log(office: Office) -> None:
    orchestrator = office.there("orchestrator")
    orchestrator.answers["explain_rollout"] = Explanation(status(), (), {"no_labels": 60.0}, 3, True, 12)
    answer = office.client.get("/v1/rollouts/r1/explain").json()
    assert (answer["held_s"], answer["late_labels"], answer["verified"]) == ({"no_labels": 60.0}, 3, True)
    orchestrator.answers["explain_rollout"] = NotFound("no roll-out 'r9'")
    assert office.client.get("/v1/rollouts/r9/explain").status_code == 404


def test_only_known_ways_to_steer_exist(office: Office) -> None:
    orchestrator = office.there("orchestrator")
    orchestrator.answers["steer"] = lambda *args: status(reason=str(args))
    assert office.client.post("/v1/rollouts/r1/pause", json={"reason": "lunch"}).status_code == 200
    assert office.client.post("/v1/rollouts/r1/promote", json={"reason": "seen enough"}).status_code == 200
    assert orchestrator.calls == [("steer", "r1", "pause", "lunch"), ("steer", "r1", "promote", "seen enough")]
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
    office.there("learning").answers["tasks"] = ()
    assert office.client.get("/v1/tasks", params={"state": "queued", "limit": 5}).json() == []
    assert office.client.get("/v1/tasks", params={"state": "lost"}).status_code == 422
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


def test_each_item_of_a_batch_is_answered_by_itself(office: Office) -> None:
    bench = Bench(office.world)
    bench.serve(office.world.split())
    prediction = bench.one()
    bench.recorder.close()
    good = [{"prediction_id": prediction.id, "kind": "rating", "value": 1, "key": f"k{i}"} for i in range(60)]
    bad = [{**good[0], "key": "b", "value": 9}, {**good[0], "key": "u", "prediction_id": "nobody"}]
    answer = office.client.post("/v1/feedback", json={"items": [bad[0], *good, bad[1]]})
    assert answer.status_code == 200
    acks = answer.json()
    assert [ack["status"] for ack in acks] == ["invalid", *["accepted"] * 60, "unknown"]
    assert len({ack["id"] for ack in acks[1:-1]}) == 60
    assert (acks[0]["id"], acks[0]["problem"]["field"], acks[-1]["problem"]["status"]) == (None, "value", 404)
    summary = office.client.get("/v1/feedback/summary").json()
    assert summary["by_status"] == {"accepted": 60, "invalid": 1, "unknown": 1}
    assert [(v["version"], v["ratings"], v["mean_rating"]) for v in summary["versions"]] == [(1, {"1": 60}, 1.0)]


def test_a_refused_item_alone_is_an_error_of_its_kind(office: Office) -> None:
    item = {"prediction_id": "nobody", "kind": "rating", "value": 3}
    unknown = office.client.post("/v1/feedback", json={"items": [item]})
    assert (unknown.status_code, unknown.json()["prediction"]) == (404, "nobody")
    assert "problem+json" in unknown.headers["content-type"]
    raw = '{"items": [{"prediction_id": "nobody", "kind": "rating", "value": NaN}]}'
    nan = office.client.post("/v1/feedback", content=raw, headers={"Content-Type": "application/json"})
    assert (nan.status_code, nan.json()["field"].split(".")[-1]) == (422, "value")
    many = office.client.post("/v1/feedback", json={"items": [item] * 10_000})
    assert (many.status_code, many.json()["field"]) == (422, "items")


def test_promises_and_degradation_of_a_model(office: Office) -> None:
    report = office.client.get("/v1/models/engagement/slo").json()
    assert [status["name"] for status in report["events"]] == ["availability", "latency"]
    assert (report["version"], report["alerts"]) == (None, [])
    assert office.client.get("/v1/models/engagement/slo", params={"version": 1}).json()["version"] == 1
    assert office.client.get("/v1/models/engagement/slo", params={"version": 0}).json()["field"] == "version"
    where = "/v1/monitoring/engagement/1/degradation"
    assert office.client.get(where).json() == []
    assert office.client.get(where, params={"recent_days": 0}).json()["field"] == "recent_days"
    assert office.client.get("/v1/models/engagement/levels").json() == []
    assert office.client.get("/v1/models/engagement/alerts").json() == []
    assert office.client.get("/v1/models/engagement/alerts", params={"limit": 0}).json()["field"] == "limit"
    assert office.client.get("/v1/models/engagement/levels", params={"version": 0}).json()["field"] == "version"


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


def test_the_document_describes_the_settings_of_a_rollout(office: Office) -> None:
    schemas = office.client.get("/openapi.json").json()["components"]["schemas"]
    fields = schemas["RolloutBody"]["properties"]
    assert set(RolloutConfig.__slots__) <= set(fields)
    assert fields["error_slo"]["description"] == RolloutDefaults.model_fields["error_slo"].description
    assert [name for name in RolloutDefaults().fields() if not fields[name].get("description")] == []
    assert set(schemas["ReplayBody"]["properties"]) == set(RolloutConfig.__slots__) | {"strategy"}
    assert {"RolloutPlan", "Replayed", "Explanation", "TrafficFigures"} <= set(schemas)


def test_beyond_loopback_only_health_is_open(office: Office) -> None:
    settings = Settings(host="0.0.0.0")
    client = TestClient(build_api(replace(office.parts, settings=settings)))
    assert client.get("/healthz").status_code == 200
    assert [client.get(path).status_code for path in ("/v1/channels", "/openapi.json", "/docs")] == [401] * 3
    _, secret = KeyStore(office.world.database).create("w", ("write",), now=1)
    key = {"X-API-Key": secret}
    assert client.get("/v1/channels", headers=key).status_code == 200
    assert client.post("/v1/rollouts", json={"version": 2}, headers=key).status_code == 403
