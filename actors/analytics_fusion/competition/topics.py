"""Which channels write about the same: TF-IDF of the words of their newest posts, judged beside the other pairs.

A channel is the share of its posts that have each word; words that most posts of all channels have weigh next to
nothing (Salton & Buckley 1988), so no list of stop words is needed in any language. What the channels have in common
is taken away before two are compared, so that 0 is what channels here are to each other. Beginnings of words stand for
words (truncation; McNamee & Mayfield 2004), which is enough for the endings of Russian and English.
"""

from __future__ import annotations

import math
import re
import threading
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from cachetools import LRUCache
from scipy import sparse

from core.errors import InsufficientData
from core.history import Floats
from core.schemas.channels import Channel
from core.schemas.competitors import TopicBand
from core.store.channels import ChannelStore

POSTS = 500  # newest posts of a channel that are read
LEAST_POSTS = 100  # with fewer, two halves of one channel are seldom found alike
LEAST_CHANNELS = 6  # that is 15 pairs to say what is usual
MOST_CHANNELS = 300  # compared at once
WORDS = 800  # of a channel, the most used ones
CHANCE = 0.05  # that one of the channels compared with one seems alike without being so
_STEM = 6
_LEAST_USES = 2  # posts of a channel with a word
_TERMS = 6
_WORD = re.compile(r"[^\W\d_]{3,}")
_ADDRESS = re.compile(r"https?://\S+|\bt\.me/\S+|@\w+")


@dataclass(frozen=True, slots=True)
class Profile:
    """What a channel writes about: its most used words with the share of posts that have them."""

    posts: int
    script: str  # LATIN, CYRILLIC, ... of most words
    shares: Mapping[str, float]  # by beginning of a word
    forms: Mapping[str, str]  # beginning of a word to the word as it is mostly written


@dataclass(frozen=True, slots=True)
class Alikeness:
    """One channel beside the others of its script: cosines, and for those beyond the band the words that make them."""

    band: TopicBand
    cosines: Mapping[str, float]
    terms: Mapping[str, tuple[str, ...]]


class Topics:
    """Profiles of stored channels, kept in the process by data version. Thread-safe."""

    def __init__(self, channels: ChannelStore) -> None:
        self.channels = channels
        self._kept: LRUCache[int, tuple[int, Profile]] = LRUCache(MOST_CHANNELS)
        self._lock = threading.Lock()

    def alike(self, channel: str) -> Alikeness:
        """A stored channel beside the other stored ones; InsufficientData where texts or channels are too few."""
        every = self.channels.channels()
        own = next((each for each in every if each.name == channel), None)
        if own is None:
            raise InsufficientData("topics not compared: texts of a channel not stored", needed=LEAST_POSTS, have=0)
        others = [each for each in every if each.id != own.id][: MOST_CHANNELS - 1]
        return alike(channel, {each.name: self._profile(each) for each in (own, *others)})

    def _profile(self, channel: Channel) -> Profile:
        with self._lock:
            version, known = self._kept.get(channel.id, (-1, None))
        if known is None or version < channel.data_version:
            known = profile(list(self.channels.posts.newest_texts(channel, POSTS).values()))
            with self._lock:
                self._kept[channel.id] = (channel.data_version, known)
        return known


def profile(texts: Sequence[str]) -> Profile:
    """The words of posts; addresses, names after @ and numbers do not count."""
    used: Counter[str] = Counter()
    written: dict[str, Counter[str]] = defaultdict(Counter)
    for text in texts:
        words = set(_WORD.findall(_ADDRESS.sub(" ", unicodedata.normalize("NFKC", text)).lower().replace("ё", "е")))
        used.update({word[:_STEM] for word in words})
        for word in words:
            written[word[:_STEM]][word] += 1
    kept = [(stem, n) for stem, n in used.most_common(WORDS) if n >= _LEAST_USES]
    scripts: Counter[str] = Counter()
    for stem, n in kept:
        scripts[unicodedata.name(stem[0], "?").split()[0]] += n
    return Profile(
        posts=len(texts),
        script=max(scripts, key=lambda script: scripts[script], default="?"),
        shares={stem: n / len(texts) for stem, n in kept},
        forms={stem: max(written[stem], key=lambda word: (written[stem][word], word)) for stem, _ in kept},
    )


def alike(channel: str, profiles: Mapping[str, Profile]) -> Alikeness:
    """A channel beside the others that write in its script and have enough posts.

    Alike is what lies beyond the band: the median of all pairs plus as many robust standard deviations as, were
    cosines normal, one channel in twenty would exceed in any of its pairs. Robust, because some pairs are alike.
    InsufficientData.
    """
    own = profiles[channel]
    if own.posts < LEAST_POSTS:
        raise InsufficientData("topics not compared: posts with a text", needed=LEAST_POSTS, have=own.posts)
    names = [name for name, p in profiles.items() if p.posts >= LEAST_POSTS and p.script == own.script]
    if len(names) < LEAST_CHANNELS:
        why = "topics not compared: channels of this script with enough texts"
        raise InsufficientData(why, needed=LEAST_CHANNELS, have=len(names))
    words, vectors = _vectors([profiles[name] for name in names])
    middle = np.asarray(vectors.mean(axis=0)).ravel()
    cosines = _centred_cosines(vectors)
    pairs = cosines[np.triu_indices(len(names), 1)]
    usual = float(np.median(pairs))
    spread = 1.4826 * float(np.median(np.abs(pairs - usual)))
    band = max(0.0, usual + NormalDist().inv_cdf(1 - CHANCE / (len(names) - 1)) * spread)
    home = names.index(channel)
    found = {name: float(cosines[home, i]) for i, name in enumerate(names) if i != home}
    terms = {
        name: _shared(words, vectors, middle, home, names.index(name), own) for name, c in found.items() if c > band
    }
    return Alikeness(TopicBand(len(names), usual, band), found, terms)


def _vectors(profiles: Sequence[Profile]) -> tuple[list[str], sparse.csr_matrix]:
    """Weights of the words that at least two channels use, a row a channel: share of posts x log(1 / mean share)."""
    mean: defaultdict[str, float] = defaultdict(float)
    users: Counter[str] = Counter()
    for each in profiles:
        users.update(each.shares.keys())
        for word, share in each.shares.items():
            mean[word] += share / len(profiles)
    words = sorted(word for word, n in users.items() if n > 1)
    place = {word: i for i, word in enumerate(words)}
    rows: list[int] = []
    columns: list[int] = []
    weights: list[float] = []
    for row, each in enumerate(profiles):
        for word, share in each.shares.items():
            if word in place:
                rows.append(row)
                columns.append(place[word])
                weights.append(-share * math.log(mean[word]))
    return words, sparse.csr_matrix((weights, (rows, columns)), shape=(len(profiles), len(words)))


def _centred_cosines(vectors: sparse.csr_matrix) -> Floats:
    """Cosines of the rows after their mean is taken away; from products alone, so the rows stay sparse."""
    products = (vectors @ vectors.T).toarray()
    centred = products - products.mean(axis=0) - products.mean(axis=1)[:, None] + products.mean()
    length = np.sqrt(np.maximum(np.diag(centred), 1e-300))
    return np.asarray(centred / length / length[:, None], dtype=float)


def _shared(
    words: Sequence[str], vectors: sparse.csr_matrix, middle: Floats, one: int, other: int, own: Profile
) -> tuple[str, ...]:
    """The words that both use more than the others do, those that carry most of the cosine first."""
    a, b = (vectors[i].toarray().ravel() - middle for i in (one, other))
    carried = np.where((a > 0) & (b > 0), a * b, 0.0)
    top = np.argsort(-carried, kind="stable")[:_TERMS]
    return tuple(own.forms[words[i]] for i in top if carried[i] > 0)
