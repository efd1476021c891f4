from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ingest.albums import grouped
from core.ingest.columns import moments, whole_numbers
from core.ingest.falls import FallingViews
from core.ingest.seen import SeenKeys
from core.ingest.text import attributes, clean, linked_channels, utf16_slice
from core.store.ingest import PostRow


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (0, 0, 0, 0, 0, 0, 0, False, False)),
        ("Hello, world! It's", (18, 3, 0, 0, 0, 0, 1, False, False)),
        ("Что это?\n\nЭто #тег и @channel_name 🔥🔥", (38, 6, 0, 1, 1, 2, 2, True, False)),
        ("см. https://e.org/a?b=1#frag и t.me/x", (37, 2, 2, 0, 0, 0, 1, False, False)),
        ("👨‍👩‍👧 👍🏽 🇺🇿 1️⃣ ❤️", (25, 1, 0, 0, 0, 5, 1, False, False)),
        ("Реклама. ООО, erid: 2SDnj", (25, 4, 0, 0, 0, 0, 1, False, True)),
        ("скидки #реклама", (15, 2, 0, 1, 0, 0, 1, False, True)),
        ("mail a@example.org, period #1", (29, 6, 0, 0, 0, 0, 1, False, False)),
    ],
)
def test_a_text_is_measured(text: str, expected: tuple[object, ...]) -> None:
    found = attributes(text)
    names = ("n_words", "n_links", "n_hashtags", "n_mentions", "n_emoji", "n_lines", "has_question", "is_ad")
    assert found.text_len == len(text)
    assert {n: getattr(found, n) for n in names} == dict(zip(names, expected[1:], strict=True))


def test_links_behind_words_count_too() -> None:
    assert attributes("read more", hidden_links=2).n_links == 2


def test_channels_are_named_by_links_not_by_handles() -> None:
    texts = [
        "https://t.me/Durov/12 t.me/s/News_Ch t.me/joinchat/abc t.me/+abc t.me/my_bot @person",
        "telegram.me/durov",
    ]
    assert linked_channels(texts) == ("durov", "news_ch")


def test_entities_count_in_utf16_units() -> None:
    assert utf16_slice("😀 link", 3, 4) == "link"
    assert clean("a\ud83db\0") == "a?b"


def views(values: list[int], falls: FallingViews | None = None, start: int = 0) -> list[bool]:
    n = len(values)
    zeros = np.zeros(n, dtype=np.int64)
    finder = falls or FallingViews()
    ts = np.arange(start, start + n)
    return finder.find(zeros, zeros, ts, np.array(values), np.ones(n, dtype=bool)).tolist()


def test_the_smallest_set_of_contradicting_readings_is_refused() -> None:
    assert views([1, 2, 3]) == [False] * 3
    assert views([1, 900, 2, 3, 4]) == [False, True, False, False, False]
    assert views([5, 6, 2, 7]) == [False, False, True, False]
    assert views([5, 4]) == [False, True]


def test_readings_are_compared_across_chunks() -> None:
    falls = FallingViews()
    assert views([1, 5], falls) == [False, False]
    assert views([4, 6], falls, start=2) == [True, False]
    assert views([5, 7], falls, start=4) == [True, False]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), max_size=30))
def test_what_is_kept_never_falls_and_nothing_else_is_refused(rows: list[tuple[int, int]]) -> None:
    n = len(rows)
    post = np.array([p for p, _ in rows], dtype=np.int64)
    count = np.array([v for _, v in rows], dtype=np.int64)
    refused = FallingViews().find(np.zeros(n, dtype=np.int64), post, np.arange(n), count, np.ones(n, dtype=bool))
    for p in range(4):
        mine = count[(post == p) & ~refused]
        assert (np.diff(mine) >= 0).all()
        best = 0
        lengths: list[int] = []
        for i, v in enumerate(count[post == p]):  # the longest rising sequence, by the plain quadratic method
            lengths.append(1 + max((lengths[j] for j in range(i) if count[post == p][j] <= v), default=0))
            best = max(best, lengths[-1])
        assert len(mine) == best


@given(st.lists(st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 3)), max_size=20), max_size=6))
def test_seen_keys_agree_with_a_set(chunks: list[list[tuple[int, int]]]) -> None:
    seen, expected = SeenKeys(), set[tuple[int, int]]()
    for chunk in chunks:
        a = np.array([x for x, _ in chunk], dtype=np.int64)
        b = np.array([y for _, y in chunk], dtype=np.int64)
        answer = seen.add(a, b).tolist() if chunk else []
        for key, repeated in zip(chunk, answer, strict=True):
            assert repeated == (key in expected)
            expected.add(key)


def test_whole_numbers_come_from_every_kind_of_column() -> None:
    for array in (pa.array([5, None]), pa.array([5.0, None]), pa.array(["5", None]), pa.array([" 5.0 ", None])):
        column = whole_numbers(array)
        assert (column.listed(), column.bad.tolist()) == ([5, None], [False, False])
    column = whole_numbers(pa.array([1.5, float("nan"), float("inf"), 2.0**60]))
    assert column.bad.all()
    assert whole_numbers(pa.array(["7", "x", None])).bad.tolist() == [False, True, False]


def test_moments_come_from_every_kind_of_column() -> None:
    noon = 1_735_732_800
    for array in (
        pa.array(["2025-01-01 12:00:00", None]),
        pa.array(["2025-01-01T12:00:00.250", None]),
        pa.array(["2025-01-01T12:00:00Z", None]),
        pa.array(["2025-01-01T15:00:00+03:00", None]),
        pa.array([str(noon), None]),
        pa.array([noon, None]),
        pa.array([noon * 1000, None], pa.timestamp("ms")),
        pa.array([noon, None], pa.timestamp("s", "Europe/Moscow")),
    ):
        assert moments(array, "UTC").listed() == [noon, None], array
    mixed = moments(pa.array(["2025-01-01 12:00", "2025-01-01T12:00Z", "x", "nan"]), "Europe/Moscow")
    assert mixed.values.tolist()[:2] == [noon - 3 * 3600, noon]
    assert mixed.bad.tolist() == [False, False, True, True]


def test_clock_changes_do_not_break_naive_times() -> None:
    twice, never = "2025-10-26 02:30:00", "2025-03-30 02:30:00"
    found = moments(pa.array([twice, never]), "Europe/Berlin")
    assert found.values.tolist() == [1_761_438_600, 1_743_296_399]  # the first of both; the last second before the gap


def row(number: int, at: int, text_len: int | None) -> PostRow:
    return PostRow(1, number, at, text_len=text_len)


def test_neighbours_of_one_second_are_an_album_when_at_most_one_has_a_text() -> None:
    rows = [row(1, 10, 5), row(2, 10, 0), row(3, 10, None), row(4, 11, 3), row(5, 12, 3), row(6, 12, 4), row(7, 13, 0)]
    assert [r.album_id for r in grouped(rows)] == [1, 1, 1, None, None, None, None]
    assert [r.album_id for r in grouped(reversed(rows[:3]))] == [1, 1, 1]
