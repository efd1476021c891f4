"""Who feeds whom: the graph of mentions with its evidence, and whom it leads to (PageRank, Brin & Page 1998)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

import numpy as np

from core.errors import NoData
from core.graph import visits
from core.intervals import lacking
from core.schemas.links import Evidence, Influence, MentionEdge, Rank
from core.store.channels import Mention

DAMPING = 0.85  # chance of following a mention rather than going to any channel
SHOWN = 5  # posts of an edge's evidence
NO_OVERLAP = (
    "who subscribes to a channel is not visible from outside: only counts are stored, and equal counts say nothing of "
    "equal people"
)
NOTES = (
    "only mentions in the posts of stored channels are known: what others write is not seen",
    "a forward's origin is not stored: forwards count where their text names a channel",
)


def influence(mentions: Sequence[Mention], stored: Collection[str], channel: str | None, limit: int) -> Influence:
    """Ranks of all channels in the graph, and its edges (one channel's, or all), those of most posts first.

    mentions: every one that is known. A walker at a channel follows one of its mentions, many of one pair by their
    logarithm. NoData where nothing is named at all, or not this channel.
    """
    edges = edges_of(mentions)
    if not edges:
        raise NoData("no post of a stored channel names another channel")
    names = sorted({name for edge in edges for name in (edge.source, edge.target)})
    if channel is not None and channel not in names:
        raise NoData(f"no mention by {channel!r} or of it is stored", channel=channel)
    place = {name: i for i, name in enumerate(names)}
    rows = np.array([place[edge.source] for edge in edges])
    columns = np.array([place[edge.target] for edge in edges])
    weights = np.log1p(np.array([edge.posts for edge in edges], dtype=float))
    scores = len(names) * visits(rows, columns, weights, np.full(len(names), 1 / len(names)), 1 - DAMPING)
    named_by, names_others = Counter(edge.target for edge in edges), Counter(edge.source for edge in edges)
    ranks = [
        Rank(name, name in stored, float(scores[place[name]]), named_by[name], names_others[name]) for name in names
    ]
    shown = [edge for edge in edges if channel is None or channel in (edge.source, edge.target)]
    return Influence(
        channel,
        DAMPING,
        tuple(sorted(ranks, key=lambda rank: (-rank.score, rank.channel))[:limit]),
        tuple(sorted(shown, key=lambda edge: (-edge.posts, edge.source, edge.target))[:limit]),
        sum(edge.posts for edge in edges),
        lacking(0, NO_OVERLAP),
        NOTES,
    )


def edges_of(mentions: Sequence[Mention]) -> list[MentionEdge]:
    """Mentions by pair of channels; a channel that names itself does not count, nor a post twice."""
    by_pair: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for m in mentions:
        if m.source != m.target:
            by_pair[m.source, m.target][m.post_id] = m.published_at
    found = []
    for (source, target), posts in by_pair.items():
        newest = sorted(posts.items(), key=lambda item: (-item[1], -item[0]))
        evidence = tuple(Evidence(post_id, at) for post_id, at in newest[:SHOWN])
        found.append(MentionEdge(source, target, len(posts), min(posts.values()), newest[0][1], evidence))
    return found
