"""Answers questions about content: the version in service, a post or draft as it sees them, the channel's topic.

The content model is small and rarely asked, so it lives in the predictor's process. It is loaded, and what it needs
imported, at the first question: a predictor that nobody asks about content pays nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.cache import Cache
from core.clock import Clock
from core.errors import InvalidInput, NotConfigured
from core.history import Floats
from core.schemas.channels import Channel, PostDraft
from core.schemas.content import CONTENT, ContentAnswer, ContentRequest, Judgement, TopicFit
from core.store.channels import ChannelStore
from core.store.posts import PostStore
from core.store.registry import Registry
from serve_apps.loading import WarmModels
from serve_apps.predictor.question import described
from training.features import attributes_of

if TYPE_CHECKING:
    from training.content.model import ContentModel
    from training.content.topic import Topic

#: Channels whose topic is kept; one takes a quarter of a megabyte.
TOPICS = 64
_NO_TOXICITY = Judgement(None, None, "not available: no model of toxicity is configured")


class ContentService:
    """Blocking; safe to use from several threads."""

    def __init__(self, store: ChannelStore, registry: Registry, warm: WarmModels, clock: Clock) -> None:
        self._store, self._registry, self._warm, self._clock = store, registry, warm, clock
        self._posts = PostStore(store.database)
        self._topics = Cache(TOPICS)

    def answer(self, request: ContentRequest) -> ContentAnswer:
        """What the version in service says.

        Raises NotConfigured while there is none, NotFound for an unknown channel or post, InvalidInput for a request
        that contradicts itself, a draft of which nothing is known, or a text of more than 64 KB; ArtifactCorrupt,
        StorageBroken.
        """
        if (request.post_id is None) == (request.draft is None):
            raise InvalidInput("name a stored post (post_id) or describe a draft, one of the two", field="post_id")
        channel = self._store.channel(request.channel)
        champion = self._registry.resolve(CONTENT, "champion")
        if champion is None:
            raise NotConfigured(
                "no content model is in service: import channels with texts, then `analyticbot jobs submit content`",
                model=CONTENT,
            )
        text, attributes = self._draft(channel, request) if request.draft else self._stored(channel, request)
        model: ContentModel = self._warm.get(CONTENT, champion.version)
        judged = model.judge(channel.id, text, attributes)
        return ContentAnswer(
            channel=channel.name,
            post_id=request.post_id,
            model=CONTENT,
            version=champion.version,
            reaction=judged["reaction"],
            engagement=judged["engagement"],
            topic=self._fit(channel, model, champion.version, text, request.post_id),
            toxicity=_NO_TOXICITY,
        )

    def _draft(self, channel: Channel, request: ContentRequest) -> tuple[str | None, Floats]:
        from training.content.rows import attribute_row
        from training.content.text import check_size

        assert request.draft is not None
        if request.draft == PostDraft() or request.draft == PostDraft(text=""):
            raise InvalidInput("nothing is known of the draft: give its text, or what it holds", field="draft")
        check_size(request.draft.text)
        draft = described(request.draft)
        at = self._clock.now() if request.published_at is None else request.published_at
        return draft.text, attribute_row(attributes_of(draft), draft.media, at, channel.timezone)

    def _stored(self, channel: Channel, request: ContentRequest) -> tuple[str | None, Floats]:
        from training.content.rows import attribute_row

        assert request.post_id is not None
        if request.published_at is not None:
            raise InvalidInput("published_at belongs to a draft; a stored post has its own", field="published_at")
        post = self._posts.get(channel, request.post_id)
        known = attributes_of(post.draft)
        return post.draft.text, attribute_row(known, post.draft.media, post.published_at, channel.timezone)

    def _fit(self, channel: Channel, model: ContentModel, version: int, text: str | None, post: int | None) -> TopicFit:
        from training.content.topic import LEAST_TEXTS

        question = f"{channel.id}:{version}"
        found = self._topics.fetch(_Topic, question, channel.data_version, lambda: self._topic(channel, model))
        topic = found.topic
        if topic.n < LEAST_TEXTS:
            return TopicFit(None, topic.n, f"the channel has {topic.n} texts of the {LEAST_TEXTS} that make a topic")
        vectors = model.representation.vectors([text or ""])
        if vectors.nnz == 0:
            return TopicFit(None, topic.n, "there is no text")
        # A post that the topic is made of is held against the others.
        return TopicFit(float(topic.percentiles(vectors, own=post in found.posts)[0]), topic.n)

    def _topic(self, channel: Channel, model: ContentModel) -> _Topic:
        from training.content.topic import TEXTS

        texts = self._posts.newest_texts(channel, TEXTS)
        return _Topic(model.topic(list(texts.values())), frozenset(texts))


@dataclass(frozen=True)
class _Topic:
    """A channel's topic, and the posts that it is made of."""

    topic: Topic
    posts: frozenset[int]
