"""Content as programs and people meet it: the client over a real port, and the command line."""

from __future__ import annotations

import asyncio
import json

import pytest

from actors.adaptive_learning.versioning.actor import Versioning
from cluster import connect, connect_async
from cluster.jobs.content import put_in_service
from core.errors import InvalidInput, NotConfigured
from core.schemas.channels import PostDraft
from tests.cluster.conftest import Deployment
from tests.cluster.test_cli import Run, run, served  # noqa: F401
from tests.training.content_world import GAP, START, channel_posts
from training.content.train import train_content

DRAFT = PostDraft(text="сегодня праздник и подарок, ура")


@pytest.fixture(scope="module")
def trained(deployment: Deployment) -> int:
    """A content version in service; its channels are others than those of the deployment."""
    with connect(deployment.url) as bot, pytest.raises(NotConfigured, match="jobs submit content"):
        bot.content("@town", draft=DRAFT)
    training = train_content([channel_posts(1, 110, 1)], START + 120 * GAP, 7)
    world = deployment.world
    versioning = Versioning(world.database, world.clock, world.artifacts)
    return put_in_service(training, world.artifacts, versioning, START, 7)


def test_both_clients_get_the_same_answer(deployment: Deployment, trained: int) -> None:
    async def awaited() -> object:
        async with connect_async(deployment.url) as there:
            return await there.content("@town", draft=DRAFT)

    with connect(deployment.url) as bot:
        answer = bot.content("@town", draft=DRAFT)
        assert answer == asyncio.run(awaited())
        assert (answer.version, answer.channel) == (trained, "@town")
        assert answer.topic.reason == "the channel has 0 texts of the 20 that make a topic"
        assert bot.content("@town", post_id=5).post_id == 5
        with pytest.raises(InvalidInput, match="nothing is known of the draft"):
            bot.content("@town", draft=PostDraft(text=""))
        assert bot.models["content"].alias("champion").version == trained
        assert bot.models["content"].verify(trained).bytes > 0


@pytest.mark.usefixtures("served", "trained")
def test_the_command_tells_people_and_programs(run: Run) -> None:  # noqa: F811
    code, out, err = run("content", "@town", "--text", DRAFT.text or "")
    assert (code, err) == (0, "")
    assert "content v1" in out
    assert "positive" in out
    assert "no model of toxicity is configured" in out
    document = json.loads(run("content", "@town", "--post", "5", "--json")[1])
    assert (document["post_id"], document["toxicity"]["answer"]) == (5, None)
    assert run("content", "@town")[2] == (
        "analyticbot: nothing is known of the draft: give its text, or what it holds\n"
    )


def test_the_route_is_in_the_document(deployment: Deployment) -> None:
    import httpx2

    paths = httpx2.get(f"{deployment.url}/openapi.json").json()["paths"]
    assert paths["/v1/content"]["post"]["tags"] == ["content"]
