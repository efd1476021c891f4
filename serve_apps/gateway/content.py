"""The route about content. The model lives in the predictor, whose own prefix is /v1/predictions: a hop leads there."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import Field

from core.schemas.content import ContentAnswer, ContentRequest
from serve_apps.gateway.reply import in_thread, json
from serve_apps.gateway.services import GatewayParts
from serve_apps.predictor.body import DraftBody, Moment, Strict


class ContentBody(Strict):
    """Ask about the content of one post: name a stored one (`post_id`), or describe a draft."""

    channel: str = Field(min_length=1, max_length=200)
    post_id: int | None = Field(None, ge=0, lt=2**63)
    draft: DraftBody | None = None
    published_at: Moment | None = Field(None, description="of a draft, epoch seconds; default: now")

    def request(self) -> ContentRequest:
        """As the rest of the system sees it."""
        draft = None if self.draft is None else self.draft.draft()
        return ContentRequest(self.channel, self.post_id, draft, self.published_at)


def build(parts: GatewayParts) -> APIRouter:
    """The routes."""
    routes, predictor = APIRouter(tags=["content"]), parts.services.predictor

    @routes.post(
        "/v1/content",
        response_model=ContentAnswer,
        summary="Tone, engagement and topic of a post or a draft; says when it cannot tell",
    )
    async def content(body: ContentBody) -> Response:
        return json(await in_thread(predictor.content, body.request()))

    return routes
