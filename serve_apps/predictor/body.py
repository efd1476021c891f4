"""What the prediction endpoint accepts: names, ranges and sizes, refused with the field's name."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from core.errors import InvalidInput
from core.schemas.channels import TEXT_BYTES, PostDraft
from core.schemas.predictions import PredictionRequest

#: Bytes of a request: text may be escaped sixfold in JSON.
BODY_BYTES = 6 * TEXT_BYTES + 16 * 1024

#: Questions that may be asked at once; long drafts reach BODY_BYTES before.
BULK = 256

Count = Annotated[int, Field(ge=0, le=1_000_000)]
Moment = Annotated[int, Field(ge=0, le=4_102_444_800)]  # up to the year 2100
Media = Literal["none", "photo", "video", "audio", "document", "poll", "webpage", "other"]


class Strict(BaseModel):
    """A field that nobody knows is refused, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DraftBody(Strict):
    """A post that is not published yet. Leave out what is not known; counts are taken from `text` where it is given."""

    text: str | None = Field(None, description="at most 64 KB as UTF-8")
    media: Media | None = None
    text_len: Count | None = None
    n_words: Count | None = None
    n_links: Count | None = None
    n_hashtags: Count | None = None
    n_mentions: Count | None = None
    n_emoji: Count | None = None
    n_lines: Count | None = None
    has_question: bool | None = None
    is_ad: bool | None = None
    is_forward: bool | None = None

    @field_validator("text")
    @classmethod
    def _bounded(cls, text: str | None) -> str | None:
        if text is not None and len(text.encode("utf-8", "surrogatepass")) > TEXT_BYTES:
            raise ValueError(f"longer than {TEXT_BYTES // 1024} KB")
        return text

    def draft(self) -> PostDraft:
        """As the rest of the system sees it."""
        return PostDraft(**self.model_dump())


class PredictionBody(Strict):
    """Ask for the views of one post: name a stored one (`post_id`), or describe a draft."""

    channel: str = Field(min_length=1, max_length=200)
    post_id: int | None = Field(None, ge=0, lt=2**63)
    draft: DraftBody | None = None
    published_at: Moment | None = Field(None, description="of a draft, epoch seconds; default: as_of")
    known_age_h: Literal[0, 1, 4, 24] = Field(0, description="use the post's own views up to this age, hours")
    as_of: Moment | None = Field(None, description="use nothing known later, epoch seconds; default: now")
    key: str | None = Field(None, min_length=1, max_length=200, description="the same key gives the same answer")

    explain: bool = Field(False, description="say which features moved the first target's median, and how much")

    def request(self, header_key: str | None) -> PredictionRequest:
        """The request, with the key of the Idempotency-Key header or the body's own."""
        if self.key is not None and header_key is not None and self.key != header_key:
            raise InvalidInput("key and the Idempotency-Key header differ: send one of them", field="key")
        return PredictionRequest(
            channel=self.channel,
            post_id=self.post_id,
            draft=None if self.draft is None else self.draft.draft(),
            published_at=self.published_at,
            known_age_h=self.known_age_h,
            as_of=self.as_of,
            key=self.key or header_key,
            explain=self.explain,
        )


class BulkBody(Strict):
    """Many questions at once, each with a key of its own where it has one."""

    items: tuple[PredictionBody, ...] = Field(min_length=1, max_length=BULK)
