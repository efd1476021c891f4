"""Channels of one topic are found alike by their texts, in two scripts; those of none are not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from actors.analytics_fusion.actor import Analytics
from actors.analytics_fusion.competition import topics
from actors.analytics_fusion.competition.discovery import discover, with_topics
from actors.analytics_fusion.competition.topics import Profile, alike, profile
from bench._made_channel import T0
from core.clock import DAY, HOUR, ManualClock
from core.errors import InsufficientData
from core.store.channels import Mention
from core.store.database import Database
from core.store.ingest import Batch, ChannelRow, IngestWriter, MentionRow, PostRow
from core.store.posts import PostStore

COMMON = [a + b for a in ("и", "что", "это", "как", "для", "году", "будет", "время") for b in ("", "та", "го", "ми")]
ENGLISH = [a + b for a in ("and", "the", "that", "will", "time", "year", "more", "from") for b in ("", "er", "ly")]
TOPICS = {
    "спорт": ["матч", "гол", "тренер", "команда", "турнир", "сборная", "стадион", "чемпион"],
    "деньги": ["рубль", "банк", "биржа", "акция", "инфляция", "кредит", "ставка", "налог"],
    "погода": ["дождь", "снег", "ветер", "мороз", "циклон", "осадки", "тепло", "гроза"],
    "кухня": ["рецепт", "соус", "тесто", "духовка", "салат", "суп", "специи", "пирог"],
}
ENDINGS = ("", "а", "у", "ом", "ами", "е")


def posts(rng: np.random.Generator, words: Sequence[str], common: Sequence[str] = COMMON, n: int = 120) -> list[str]:
    """Twelve common words and two of the topic a post, as frequent as words are; Russian endings."""
    chance = 1 / np.arange(1, len(common) + 1)
    made = []
    for _ in range(n):
        told = [f"{word}{rng.choice(ENDINGS)}" for word in rng.choice(list(words), 2)] if len(words) else []
        made.append(" ".join([*rng.choice(common, 12, p=chance / chance.sum()), *told, "https://t.me/adv @other 2025"]))
    return made


def world(seed: int, each: int = 2) -> dict[str, list[str]]:
    rng = np.random.default_rng(seed)
    return {f"{name}{i}": posts(rng, words) for name, words in TOPICS.items() for i in range(each)}


def profiles(texts: dict[str, list[str]]) -> dict[str, Profile]:
    return {name: profile(said) for name, said in texts.items()}


def test_channels_of_one_topic_are_alike_and_its_words_say_so() -> None:
    known = profiles(world(1))
    for name in known:
        found = alike(name, known)
        (other,) = found.terms
        assert other[:-1] == name[:-1]
        topic = TOPICS[name[:-1]]
        assert all(any(term.startswith(word[:6]) for word in topic) for term in found.terms[other])
        assert found.cosines[other] > found.band.band > max(c for o, c in found.cosines.items() if o != other)


def test_channels_without_a_topic_are_seldom_alike() -> None:
    alarmed = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        known = profiles({f"c{i}": posts(rng, ()) for i in range(10)})
        alarmed += sum(bool(alike(name, known).terms) for name in known)
    assert alarmed <= 8  # of 50; nominal 2.5, and they come in pairs


def test_an_order_of_posts_or_channels_changes_nothing() -> None:
    texts = world(2)
    turned = {name: said[::-1] for name, said in reversed(texts.items())}
    one, other = alike("спорт0", profiles(texts)), alike("спорт0", profiles(turned))
    assert one.cosines == pytest.approx(other.cosines)
    assert one.terms == other.terms
    assert alike("спорт1", profiles(texts)).cosines["спорт0"] == pytest.approx(one.cosines["спорт1"])


def test_scripts_are_compared_apart_and_too_little_is_said() -> None:
    rng = np.random.default_rng(3)
    known = profiles(world(3) | {f"en{i}": posts(rng, ("match", "coach"), ENGLISH) for i in range(6)})
    known |= {"short": profile(posts(rng, (), n=99)), "silent": profile([])}
    assert set(alike("спорт0", known).cosines) == {name for name in known if name[:-1] in TOPICS} - {"спорт0"}
    assert set(alike("en0", known).cosines) == {f"en{i}" for i in range(1, 6)}
    for name, have in (("short", 99), ("silent", 0)):
        with pytest.raises(InsufficientData, match="posts with a text") as gap:
            alike(name, known)
        assert (gap.value.needed, gap.value.have) == (100, have)
    with pytest.raises(InsufficientData, match="channels of this script") as gap:
        alike("en0", {name: p for name, p in known.items() if name != "en5"})
    assert (gap.value.needed, gap.value.have) == (6, 5)


def test_topics_join_the_graph_of_mentions() -> None:
    texts = world(4)
    mentions = [Mention("спорт0", i, target, T0) for i, target in enumerate(["деньги0", "деньги0", "elsewhere"])]
    found = with_topics(discover("спорт0", mentions, texts), alike("спорт0", profiles(texts)))
    assert [c.channel for c in found.candidates] == ["деньги0", "спорт1", "elsewhere"]
    named, like, foreign = found.candidates
    assert (named.alike, named.named_by_it, named.terms) == (False, 2, ())
    assert named.similarity is not None
    assert named.similarity < 0.1
    assert (like.alike, like.stored, like.score, like.named_by_it) == (True, True, 0.0, 0)
    assert like.terms
    assert (foreign.alike, foreign.similarity) == (False, None)
    both = [*mentions, Mention("спорт1", 9, "спорт0", T0)]
    again = with_topics(discover("спорт0", both, texts), alike("спорт0", profiles(texts)))
    assert again.candidates[0].channel == "спорт1"  # near by both


def store(database: Database, texts: dict[str, list[str]], first: int = 1) -> None:
    for name, said in texts.items():
        batch = Batch()
        own = batch.channel(ChannelRow(name, "UTC", "bundle"))
        batch.posts = [PostRow(own, first + i, T0 + (first + i) * HOUR, text=text) for i, text in enumerate(said)]
        batch.mentions = [MentionRow(own, first, "elsewhere", T0)]
        IngestWriter(database).write(batch, T0 + 30 * DAY)


def test_the_service_reads_the_newest_texts_of_what_changed(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics, "POSTS", 110)
    texts, read = world(5), list[str]()
    real = PostStore.newest_texts

    def counted(self: PostStore, channel: object, limit: int) -> dict[int, str]:
        read.append(channel.name)  # type: ignore[attr-defined]
        found = real(self, channel, limit)  # type: ignore[arg-type]
        assert list(found.values()) == texts[read[-1]][: -limit - 1 : -1]
        return found

    monkeypatch.setattr(PostStore, "newest_texts", counted)
    analytics = Analytics(sqlite_database, ManualClock(T0 + 30 * DAY))
    store(sqlite_database, dict(list(texts.items())[:5]))
    assert analytics.discover("спорт0").notes[-1].startswith("topics not compared: channels of this script")
    store(sqlite_database, dict(list(texts.items())[5:]))
    found = analytics.discover("спорт0")
    assert {c.channel for c in found.candidates if c.alike} == {"спорт1"}
    assert found.topics is not None
    assert found.topics.channels == 8
    assert sorted(read) == sorted(texts)  # each once
    texts["спорт1"] += posts(np.random.default_rng(6), TOPICS["кухня"])
    store(sqlite_database, {"спорт1": texts["спорт1"][120:]}, first=121)
    assert not any(c.alike for c in analytics.discover("спорт0").candidates)
    assert read[8:] == ["спорт1"]
    assert analytics.discover("nobody").notes[-1].startswith("topics not compared: texts of a channel not stored")
