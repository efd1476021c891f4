"""What the others publish and the channel does not: hashtags, where texts are stored, and forms of posts."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from actors.analytics_fusion.mix import dimensions
from core.history import ChannelHistory, Ints
from core.levels import levelled
from core.schemas.competitors import Gap

LEAST_OTHERS = 2  # channels that must do it
LEAST_POSTS = 3
RARELY = 0.25  # of the others' median share
_HASHTAG = re.compile(r"#(\w{2,64})")
_FORMS = ("media", "length", "links", "hashtags")


@dataclass(frozen=True, slots=True)
class Published:
    """One channel's posts of the period: how many, which do what, and how they were read."""

    posts: int
    doing: Mapping[tuple[str, str], Sequence[int]]  # (kind, value) to positions in the history
    known: frozenset[str]  # kinds that the source tells of
    relative: Mapping[int, float]  # position to views over the channel's level around it


def published(history: ChannelHistory, since: int, until: int, texts: Mapping[int, str]) -> Published:
    """What a channel did in a period. texts: of the posts that have one stored."""
    at: Ints = np.flatnonzero((history.published_at >= since) & (history.published_at < until))
    doing: dict[tuple[str, str], list[int]] = defaultdict(list)
    known = set()
    for dimension in dimensions(history, at):
        if dimension.name in _FORMS and (dimension.codes >= 0).any():
            known.add(dimension.name)
            for position, code in zip(at.tolist(), dimension.codes.tolist(), strict=True):
                if code >= 0:
                    doing[dimension.name, dimension.labels[code]].append(position)
    if texts:
        known.add("hashtag")
        for position in at.tolist():
            for tag in {t.lower() for t in _HASHTAG.findall(texts.get(int(history.post_ids[position]), ""))}:
                doing["hashtag", f"#{tag}"].append(position)
    posts = levelled(history, since, until)
    relative = dict(zip(posts.at.tolist(), np.exp(posts.residual).tolist(), strict=True))
    return Published(len(at), doing, frozenset(known), relative)


def gaps(own: Published, others: Sequence[Published], limit: int = 20) -> tuple[Gap, ...]:
    """What at least two others do in a share of their posts that the channel has less than a quarter of.

    Those with the best read posts come first. Kinds that the channel's own source does not tell of are left out.
    """
    found = []
    for kind, value in sorted({key for other in others for key in other.doing}):
        if kind not in own.known or not own.posts:
            continue
        telling = [other for other in others if kind in other.known and other.posts]
        doing = [other for other in telling if other.doing.get((kind, value))]
        posts = sum(len(other.doing[kind, value]) for other in doing)
        if len(doing) < LEAST_OTHERS or posts < LEAST_POSTS:
            continue
        # A form is compared over everybody; a hashtag among those that use it, because most use few.
        shares = [
            len(other.doing.get((kind, value), ())) / other.posts for other in (doing if kind == "hashtag" else telling)
        ]
        share, mine = float(np.median(shares)), len(own.doing.get((kind, value), ())) / own.posts
        if mine >= RARELY * share:
            continue
        read = [other.relative[i] for other in doing for i in other.doing[kind, value] if i in other.relative]
        over = float(np.median(read)) if len(read) >= LEAST_POSTS else None
        found.append(Gap(kind, value, mine, share, len(doing), over, len(read)))  # type: ignore[arg-type]
    found.sort(key=lambda gap: (-(gap.overperformance or 0.0), -gap.others, gap.kind, gap.value))
    return tuple(found[:limit])
