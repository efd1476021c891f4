"""What reactions say."""

from __future__ import annotations

import pytest

from core.polarity import POLARITY, polarity, reactions_of


@pytest.mark.parametrize(
    ("reaction", "meaning"),
    [
        ("👍", 1),
        ("👍🏽", 1),
        ("❤️", 1),
        ("❤️‍🔥", 1),
        ("paid_stars", 1),
        ("👎", -1),
        ("🤔", 0),
        ("👨‍💻", 0),
        ("custom", None),
        ("x", None),
    ],
)
def test_meanings(reaction: str, meaning: int | None) -> None:
    assert polarity(reaction) == meaning


def test_no_emoji_has_two_meanings() -> None:
    from core import polarity as table

    listed = [name for names in (table._LIKED, table._DISLIKED, table._NEITHER) for name in names.split()]
    assert len(listed) == len(set(listed)) == len(POLARITY) - 1


def test_a_channel_may_mean_something_else() -> None:
    assert polarity("😁", {"😁": -1}) == -1
    assert reactions_of({"😁": 10}, {"😁": -1}).tone == "negative"
    assert reactions_of({"😁": 10}).tone == "positive"


@pytest.mark.parametrize(
    ("counts", "tone"),
    [
        ({}, None),
        ({"👍": 4, "custom": 50}, None),
        ({"👍": 5}, "positive"),
        ({"👍": 4, "👎": 2}, "positive"),
        ({"👍": 3, "👎": 3}, "mixed"),
        ({"🤔": 9}, "mixed"),
        ({"👍": 2, "👎": 4}, "negative"),
    ],
)
def test_tones(counts: dict[str, int], tone: str | None) -> None:
    assert reactions_of(counts).tone == tone
