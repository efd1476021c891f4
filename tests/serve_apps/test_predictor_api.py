"""The predictor over HTTP: ranges, sizes, keys, problem details, access."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from core.store.keys import KeyStore
from serve_apps.access import Door, scope_of
from serve_apps.predictor.api import build_predictor_api
from serve_apps.predictor.arms import LocalArm
from tests.serve_apps.world import Bench

URL = "/v1/predictions"
POST = {"channel": "@town", "post_id": 55}


def client_of(bench: Bench, *, keys: bool = False, **options: Any) -> TestClient:
    door = Door(KeyStore(bench.world.database), "default", keys, remember_s=0.0)
    return TestClient(build_predictor_api(lambda: bench.service, door), **options)


@pytest.fixture
def client(bench: Bench) -> Iterator[TestClient]:
    bench.serve(bench.world.split())
    with client_of(bench) as made:
        yield made


def test_an_answer_names_its_version_and_can_be_read_again(client: TestClient) -> None:
    answer = client.post(URL, json=POST)
    assert answer.status_code == 200
    assert answer.headers["x-model-version"] == "1"
    assert answer.headers["x-request-id"]
    again = client.get(f"{URL}/{answer.json()['id']}")
    assert again.json() == {"prediction": answer.json(), "outcomes": []}


def test_a_key_in_header_or_body_gives_the_same_answer(client: TestClient) -> None:
    by_header = client.post(URL, json=POST, headers={"Idempotency-Key": "k"})
    by_body = client.post(URL, json=POST | {"key": "k"})
    assert by_header.json() == by_body.json()
    both = client.post(URL, json=POST | {"key": "k"}, headers={"Idempotency-Key": "other"})
    assert (both.status_code, both.json()["field"]) == (422, "key")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"post_id": 55}, "channel"),
        (POST | {"known_age_h": 2}, "known_age_h"),
        (POST | {"known_age": 4}, "known_age"),
        (POST | {"as_of": -1}, "as_of"),
        (POST | {"post_id": 2**63}, "post_id"),
        ({"channel": "@town"}, "post_id"),
        ({"channel": "@town", "draft": {"text": "ж" * 40_000}}, "draft.text"),
        ({"channel": "@town", "draft": {"n_words": -1}}, "draft.n_words"),
        ({"channel": "@town", "draft": {"media": "hologram"}}, "draft.media"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_field(client: TestClient, body: dict[str, Any], field: str) -> None:
    answer = client.post(URL, json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["type"], problem["field"], problem["status"]) == ("urn:analyticbot:invalid-input", field, 422)


def test_a_body_beyond_the_limit_is_not_read(client: TestClient) -> None:
    answer = client.post(URL, content=b"{" + b" " * 1_000_000 + b"}", headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


def test_broken_json_is_a_problem_too(client: TestClient) -> None:
    answer = client.post(URL, content=b"{", headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["title"]) == (422, "Invalid input")


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (POST | {"channel": "@nowhere"}, 404, "not-found"),
        (POST | {"post_id": 2}, 422, "insufficient-data"),
        (POST | {"post_id": 60, "known_age_h": 24}, 422, "insufficient-data"),
    ],
)
def test_no_data_and_not_enough_of_it_are_told_apart(
    client: TestClient, body: dict[str, Any], status: int, kind: str
) -> None:
    answer = client.post(URL, json=body)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:analyticbot:{kind}")


def test_no_version_in_service_is_a_conflict_that_says_what_to_do(bench: Bench) -> None:
    answer = client_of(bench).post(URL, json=POST)
    assert answer.status_code == 409
    assert "train one first" in answer.json()["detail"]


class TestMany:
    """Many questions at once."""

    ITEMS = (POST, POST | {"post_id": 40}, {"channel": "@town", "draft": {"text_len": 90}})

    def test_each_answer_is_the_one_that_it_would_get_alone(self, client: TestClient) -> None:
        many = client.post(f"{URL}/batch", json={"items": self.ITEMS})
        assert many.status_code == 200
        for item, asked in zip(many.json(), self.ITEMS, strict=True):
            alone = client.post(URL, json=asked).json()
            assert item["prediction"].keys() == alone.keys()
            for target, quantiles in alone["targets"].items():
                assert item["prediction"]["targets"][target] == pytest.approx(quantiles, rel=1e-5)
            assert client.get(f"{URL}/{item['prediction']['id']}").json()["prediction"] == item["prediction"]

    def test_a_question_without_an_answer_leaves_the_others_alone(self, client: TestClient) -> None:
        items = [POST | {"channel": "@nowhere"}, POST, POST | {"post_id": 2}]
        answer = client.post(f"{URL}/batch", json={"items": items}).json()
        kinds = [item["problem"] and item["problem"]["type"].removeprefix("urn:analyticbot:") for item in answer]
        assert kinds == ["not-found", None, "insufficient-data"]
        assert [item["prediction"] is None for item in answer] == [True, False, True]

    def test_the_same_key_twice_is_one_prediction(self, client: TestClient) -> None:
        answer = client.post(f"{URL}/batch", json={"items": [POST | {"key": "k"}] * 2 + [POST]}).json()
        ids = [item["prediction"]["id"] for item in answer]
        assert ids[0] == ids[1] != ids[2]

    @pytest.mark.parametrize("items", [[], [POST] * 257, [POST | {"known_age_h": 3}]])
    def test_none_too_many_or_wrong_ones_are_refused(self, client: TestClient, items: list[dict[str, Any]]) -> None:
        assert client.post(f"{URL}/batch", json={"items": items}).status_code == 422

    def test_those_of_the_canary_are_answered_by_it(self, bench: Bench) -> None:
        bench.trial(1.0)
        with client_of(bench) as client:
            answer = client.post(f"{URL}/batch", json={"items": [POST, POST | {"post_id": 40}]}).json()
        assert [item["prediction"]["arm"] for item in answer] == ["canary", "canary"]

    def test_where_the_batch_breaks_each_has_its_own_chance(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(self: LocalArm, questions: Any) -> Any:
            raise RuntimeError("out of memory")

        monkeypatch.setattr(LocalArm, "answers", broken)
        bench.serve(bench.world.split())
        with client_of(bench) as client:
            answer = client.post(f"{URL}/batch", json={"items": [POST, POST]}).json()
        assert [item["prediction"]["arm"] for item in answer] == ["stable", "stable"]


def test_unknown_paths_and_methods_are_problems(client: TestClient) -> None:
    assert client.get("/v1/predictions/x/y").json()["type"] == "urn:analyticbot:not-found"
    answer = client.delete(f"{URL}/abc")
    assert (answer.status_code, answer.json()["type"]) == (405, "urn:analyticbot:method-not-allowed")


def test_behind_a_mount_point_the_paths_are_the_same(bench: Bench) -> None:
    bench.serve(bench.world.split())
    with client_of(bench, root_path=URL) as mounted:
        answer = mounted.post("http://testserver" + URL, json=POST)
    assert answer.status_code == 200


def test_an_unexpected_error_hides_its_cause_and_gives_the_id(bench: Bench) -> None:
    def broken() -> Any:
        raise RuntimeError("secret path /etc/x")

    app = build_predictor_api(broken, Door(KeyStore(bench.world.database), "default", False))
    answer = TestClient(app, raise_server_exceptions=False).post(URL, json=POST, headers={"X-Request-Id": "abc"})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["request_id"] == "abc"


class TestKeys:
    """Closed beyond loopback: no key, a wrong one, a lesser one, a foreign one, a revoked one."""

    def test_without_a_key_nothing_is_told(self, bench: Bench) -> None:
        answer = client_of(bench, keys=True).post(URL, json=POST)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert answer.headers["content-type"] == "application/problem+json"

    def test_scopes_are_kept_apart(self, bench: Bench) -> None:
        bench.serve(bench.world.split())
        keys = KeyStore(bench.world.database)
        _, reader = keys.create("r", ("read",), now=1)
        key, writer = keys.create("w", ("write",), now=1)
        client = client_of(bench, keys=True)
        assert client.post(URL, json=POST, headers={"X-API-Key": reader}).status_code == 403
        made = client.post(URL, json=POST, headers={"Authorization": f"Bearer {writer}"})
        assert made.status_code == 200
        read = client.get(f"{URL}/{made.json()['id']}", headers={"X-API-Key": reader})
        assert read.status_code == 200
        keys.revoke(key.id, now=2)
        assert client.post(URL, json=POST, headers={"X-API-Key": writer}).status_code == 401

    def test_a_key_of_another_tenant_opens_nothing(self, bench: Bench) -> None:
        _, secret = KeyStore(bench.world.database).create("x", ("admin",), now=1, tenant="other")
        assert client_of(bench, keys=True).post(URL, json=POST, headers={"X-API-Key": secret}).status_code == 401

    def test_steering_models_needs_an_admin(self) -> None:
        needed = [scope_of(*asked) for asked in (("GET", "/v1/rollouts"), ("POST", "/v1/rollouts"), ("POST", URL))]
        assert needed == ["read", "admin", "write"]
        assert scope_of("POST", "/v1/content") == "read"  # a question, too long for an address
