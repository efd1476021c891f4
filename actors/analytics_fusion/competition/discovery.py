"""Channels near a channel: in the graph of mentions, by a random walk that keeps coming home, and by their topics.

The random walk with restart of Tong, Faloutsos & Pan (2006), over mentions in both directions.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from actors.analytics_fusion.competition.topics import Alikeness
from core.graph import visits
from core.schemas.competitors import Candidate, Discovery
from core.store.channels import Mention

HOME = 0.3  # chance of going home at every step
_FUSED = 60  # damps the first ranks of the two orders, as in the paper


def discover(channel: str, mentions: Sequence[Mention], stored: Collection[str], limit: int | None = None) -> Discovery:
    """The channels that a walk along mentions, in either direction, visits most.

    mentions: every one that is known, each post and target once. A channel that nobody names and that names nobody
    has no candidates, and a note says so.
    """
    edges = Counter((m.source, m.target) for m in mentions if m.source != m.target)
    names = sorted({name for edge in edges for name in edge})
    notes = ("only mentions in the posts of stored channels are known: what others write is not seen",)
    if channel not in names:
        why = f"no mention by {channel!r} or of it is stored"
        return Discovery(channel, (), len(mentions), (why, *notes))
    visits = walk(channel, names, edges)
    named_by = defaultdict(set)
    last: dict[str, int] = {}
    for m in mentions:
        named_by[m.target].add(m.source)
        if channel in (m.source, m.target):
            other = m.target if m.source == channel else m.source
            last[other] = max(last.get(other, 0), m.published_at)
    others = [name for name in names if name != channel and visits[name] > 0]
    whole = sum(visits[name] for name in others)
    found = [
        Candidate(
            channel=name,
            stored=name in stored,
            score=visits[name] / whole,
            names_it=edges[name, channel],
            named_by_it=edges[channel, name],
            shared=len((named_by[name] & named_by[channel]) - {name, channel}),
            last=last.get(name),
        )
        for name in sorted(others, key=lambda name: (-visits[name], name))
    ]
    return Discovery(channel, tuple(found[:limit]), len(mentions), notes)


def with_topics(found: Discovery, topics: Alikeness) -> Discovery:
    """The candidates with the similarity of their topics, and those that are alike without any mention.

    The two orders, by mentions and by topic, are made one by their reciprocal ranks (Cormack et al. 2009).
    """
    near = {candidate.channel: candidate for candidate in found.candidates}
    by_topic = sorted(topics.terms, key=lambda name: -topics.cosines[name])
    for name in by_topic:
        near.setdefault(name, Candidate(name, True, 0.0, 0, 0, 0, None))
    ranks = ([candidate.channel for candidate in found.candidates], by_topic)
    worth = {name: sum(1 / (_FUSED + order.index(name)) for order in ranks if name in order) for name in near}
    candidates = tuple(
        replace(
            near[name],
            similarity=topics.cosines.get(name),
            alike=name in topics.terms,
            terms=topics.terms.get(name, ()),
        )
        for name in sorted(near, key=lambda name: -worth[name])  # of equals those with mentions stay in front
    )
    chance = "of ten channels about one has another that seems alike by chance"
    note = f"topics of {topics.band.channels} channels were compared: {chance}"
    return replace(found, candidates=candidates, notes=(*found.notes, note), topics=topics.band)


def walk(home: str, names: Sequence[str], edges: Counter[tuple[str, str]]) -> dict[str, float]:
    """How often each channel is visited. A mention counts in both directions, many of one pair by their logarithm."""
    place = {name: i for i, name in enumerate(names)}
    rows = np.array([place[a] for a, _ in edges] + [place[b] for _, b in edges])
    columns = np.array([place[b] for _, b in edges] + [place[a] for a, _ in edges])
    weights = np.log1p(np.array([*edges.values(), *edges.values()], dtype=float))
    start = np.zeros(len(names))
    start[place[home]] = 1.0
    return dict(zip(names, visits(rows, columns, weights, start, HOME).tolist(), strict=True))
