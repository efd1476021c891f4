"""Questions about content: from a trained version in the registry to an answer, or to what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from actors.adaptive_learning.versioning.actor import Versioning
from cluster.jobs.content import ContentReport, run
from core.artifacts import ArtifactStore
from core.clock import ManualClock
from core.errors import AnalyticBotError, ArtifactCorrupt, InsufficientData, InvalidInput, NotConfigured, NotFound
from core.schemas.channels import PostDraft
from core.schemas.content import CONTENT, ContentAnswer, ContentRequest
from core.settings import ServingSettings, Settings
from core.store import schema
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.registry import Registry
from serve_apps.loading import WarmModels
from serve_apps.predictor.content import ContentService
from tests.databases import empty_sqlite
from tests.training.content_world import FOREIGN, GAP, START, channel_posts

N = 110
NOW = START + N * GAP + 10 * 86400
PRIZE = PostDraft(text="сегодня праздник и подарок, ура")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, ArtifactStore]]:
    home = tmp_path_factory.mktemp("content")
    database = empty_sqlite(home / "content.db")
    for number, n in ((1, N), (2, 5)):
        _store(database, number, n)
    yield database, ArtifactStore(str(home / "artifacts"))
    database.dispose()


def _store(database: Database, number: int, n: int) -> None:
    posts = channel_posts(number, n, number)
    channel = posts.history.channel
    row = {f: getattr(channel, f) for f in ("id", "tenant", "name", "timezone", "source", "data_version")}
    at = dict(zip(posts.history.post_ids.tolist(), posts.history.published_at.tolist(), strict=True))
    forwards = dict(zip(at, posts.counts.forwards.tolist(), strict=True))
    key = {"channel_id": channel.id}
    with database.write() as connection:
        connection.execute(schema.channel.insert(), [row | {"created_at": START}])
        connection.execute(
            schema.post.insert(),
            [key | {"post_id": p, "published_at": at[p], "text": text} for p, text in posts.texts.items()],
        )
        readings = [
            {"post_id": p, "ts": t + 2 * 86400, "views": 1000, "forwards": int(forwards[p]), "precision": 0}
            for p, t in at.items()
        ]
        connection.execute(schema.post_snapshot.insert(), [key | reading for reading in readings])
        reactions = [
            key | {"post_id": p, "ts": at[p] + 2 * 86400, "reaction": kind, "count": count}
            for p, counts in posts.reactions.items()
            for kind, count in counts.items()
        ]
        connection.execute(schema.reaction_snapshot.insert(), reactions)


def service(stored: tuple[Database, ArtifactStore]) -> ContentService:
    database, artifacts = stored
    warm = WarmModels.over(database, artifacts, "cpu", ServingSettings())
    return ContentService(ChannelStore(database), Registry(database), warm, ManualClock(time=NOW))


def train(stored: tuple[Database, ArtifactStore]) -> ContentReport:
    database, artifacts = stored
    clock = ManualClock(time=NOW)
    return run(Settings(), database, artifacts, Versioning(database, clock, artifacts), clock)


def test_before_a_training_the_answer_says_what_to_do(stored: tuple[Database, ArtifactStore]) -> None:
    with pytest.raises(NotConfigured, match="jobs submit content"):
        service(stored).answer(ContentRequest("@c1", draft=PRIZE))


@pytest.fixture(scope="module")
def report(stored: tuple[Database, ArtifactStore]) -> ContentReport:
    return train(stored)


@pytest.fixture
def content(stored: tuple[Database, ArtifactStore], report: ContentReport) -> ContentService:
    return service(stored)


def test_a_training_is_registered_verified_and_put_in_charge(
    stored: tuple[Database, ArtifactStore], report: ContentReport
) -> None:
    versions = Registry(stored[0]).versions(CONTENT)
    assert [(v.version, v.aliases) for v in versions] == [(1, ("champion",))]
    assert versions[0].params["evaluation"]["tasks"]["reaction"]["n"] > 20
    assert report.channels == 2
    assert train(stored).version == 1  # the same data is the same version


def test_a_draft_gets_classes_and_a_fit(content: ContentService) -> None:
    answer = content.answer(ContentRequest("@c1", draft=PRIZE))
    assert (answer.model, answer.version) == (CONTENT, 1)
    assert answer.reaction.probabilities is not None
    assert max(answer.reaction.probabilities, key=answer.reaction.probabilities.__getitem__) == "positive"
    assert answer.topic.posts == N
    assert answer.topic.percentile is not None
    assert answer.toxicity.answer is None
    assert answer.toxicity.reason == "not available: no model of toxicity is configured"


def test_a_stored_post_is_judged_by_its_own_text_and_left_out_of_the_topic(content: ContentService) -> None:
    stored = content.answer(ContentRequest("@c1", post_id=7))
    text = content._posts.get(ChannelStore(content._store.database).channel("@c1"), 7).draft.text
    draft = content.answer(ContentRequest("@c1", draft=PostDraft(text=text), published_at=START + 6 * GAP))
    assert stored.topic.percentile is not None
    assert draft.topic.percentile is not None
    assert stored.topic.percentile <= draft.topic.percentile


def test_an_unknown_language_fits_nothing_and_is_not_judged(content: ContentService) -> None:
    answer = content.answer(ContentRequest("@c1", draft=PostDraft(text=FOREIGN)))
    assert answer.reaction.answer is answer.reaction.probabilities is None
    assert answer.topic.percentile is not None
    assert answer.topic.percentile < 0.01


def test_a_post_without_a_text_has_no_topic(content: ContentService) -> None:
    fit = content.answer(ContentRequest("@c1", draft=PostDraft(media="photo"))).topic
    assert (fit.percentile, fit.reason) == (None, "there is no text")


def test_a_channel_with_few_texts_has_no_topic(content: ContentService) -> None:
    fit = content.answer(ContentRequest("@c2", draft=PRIZE)).topic
    assert (fit.percentile, fit.posts) == (None, 5)
    assert fit.reason == "the channel has 5 texts of the 20 that make a topic"


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (ContentRequest("@nowhere", draft=PRIZE), NotFound),
        (ContentRequest("@c1", post_id=9999), NotFound),
        (ContentRequest("@c1"), InvalidInput),
        (ContentRequest("@c1", post_id=1, draft=PRIZE), InvalidInput),
        (ContentRequest("@c1", post_id=1, published_at=NOW), InvalidInput),
        (ContentRequest("@c1", draft=PostDraft()), InvalidInput),
        (ContentRequest("@c1", draft=PostDraft(text="")), InvalidInput),
        (ContentRequest("@c1", draft=PostDraft(text="x" * 1_000_000)), InvalidInput),
    ],
)
def test_what_cannot_be_answered_says_why(
    content: ContentService, request_: ContentRequest, error: type[AnalyticBotError]
) -> None:
    with pytest.raises(error) as caught:
        content.answer(request_)
    assert type(caught.value) is error


def test_a_damaged_artifact_is_not_served_and_not_verified(
    stored: tuple[Database, ArtifactStore], report: ContentReport, tmp_path: Path
) -> None:
    database, artifacts = stored
    copy = ArtifactStore(str(tmp_path))
    files = artifacts.get(Registry(database).get(CONTENT, 1).sha256)
    copy.put(files)
    for path in [p for p in tmp_path.rglob("*") if p.is_file()]:
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtifactCorrupt):
        service((database, copy)).answer(ContentRequest("@c1", draft=PRIZE))
    with pytest.raises(ArtifactCorrupt):
        Versioning(database, ManualClock(time=NOW), copy).verify(CONTENT, 1)


def test_too_little_to_learn_from_says_what_is_needed(tmp_path: Path) -> None:
    database = empty_sqlite(tmp_path / "few.db")
    _store(database, 1, 30)
    with pytest.raises(InsufficientData, match="content needs reactions"):
        train((database, ArtifactStore(str(tmp_path / "artifacts"))))
    assert Registry(database).versions(CONTENT) == ()
    database.dispose()


class TestOverHttp:
    """The gateway's route, over the same service."""

    @pytest.fixture
    def client(self, content: ContentService) -> Iterator[TestClient]:
        from types import SimpleNamespace
        from typing import Any, cast

        from fastapi import FastAPI

        from serve_apps import problems
        from serve_apps.gateway.content import build

        app = FastAPI()
        problems.install(app)
        predictor = SimpleNamespace(content=content.answer)
        app.include_router(build(cast(Any, SimpleNamespace(services=SimpleNamespace(predictor=predictor)))))
        with TestClient(app) as made:
            yield made

    def test_the_answer_is_the_services(self, client: TestClient, content: ContentService) -> None:
        body = {"channel": "@c1", "draft": {"text": PRIZE.text}}
        answer = client.post("/v1/content", json=body)
        assert answer.status_code == 200
        expected: ContentAnswer = content.answer(ContentRequest("@c1", draft=PRIZE))
        assert answer.json()["reaction"] == asdict(expected.reaction)

    @pytest.mark.parametrize(
        ("body", "status", "kind"),
        [
            ({"channel": "@c1", "draft": {"text": "ж" * 40_000}}, 422, "invalid-input"),
            ({"channel": "@c1", "draft": {"text": "x"}, "colour": 1}, 422, "invalid-input"),
            ({"channel": "@c1"}, 422, "invalid-input"),
            ({"channel": "@x", "post_id": 1}, 404, "not-found"),
        ],
    )
    def test_errors_are_problems(self, client: TestClient, body: dict[str, object], status: int, kind: str) -> None:
        answer = client.post("/v1/content", json=body)
        assert (answer.status_code, answer.json()["type"]) == (status, f"urn:analyticbot:{kind}")
