"""Words in texts: whole, whatever their case and Unicode form, phrases, prefixes, what is excluded, what is refused."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.alerts_fusion.keywords import folded, keywords
from core.errors import InvalidInput


@pytest.mark.parametrize(
    ("word", "text", "there"),
    [
        ("sale", "Big SALE today", True),
        ("sale", "wholesale", False),
        ("sale", "sales", False),
        ("sale*", "Sales!", True),
        ("sale*", "wholesale", False),
        ("sale", "#sale", True),
        ("#sale", "sale", False),
        ("#sale", "a #SALE", True),
        ("@rival", "see @Rival.", True),
        ("black friday", "BLACK\n  Friday", True),
        ("black friday", "black and friday", False),
        ("black fri*", "black fridays", True),
        ("e-mail", "E-Mail us", True),
        ("скидк*", "СКИДКИ до 50 %", True),
        ("straße", "STRASSE 5", True),
        ("oʻzbekiston", "OʻZBEKISTON", True),
        ("ﬁrst", "first", True),  # a ligature is its letters
        ("cafe\u0301", "CAFÉ", True),
        ("हिन्दी", "यह हिन्दी है", True),
        ("हिन्द", "यह हिन्दी है", False),  # a vowel sign belongs to its word
        ("20", "20 %", True),
        ("20", "2020", False),
    ],
)
def test_a_word_is_found_whole(word: str, text: str, there: bool) -> None:
    assert (keywords([word]).hits(text) is not None) is there


def test_any_or_all_of_the_words_and_none_of_the_excluded() -> None:
    text = "A sale of tickets, not sponsored"
    assert keywords(["sale", "prize"]).hits(text) == (("sale",), 2)
    assert keywords(["sale", "prize"], match="all").hits(text) is None
    assert keywords(["ticket*", "sale"], match="all").hits(text) == (("ticket*", "sale"), 2)
    assert keywords(["sale"], exclude=["sponsor*"]).hits(text) is None
    assert keywords(["sale"]).hits("") is None


LETTERS = st.text("abcdzßåéйёкλσѕ", min_size=1, max_size=8)


@settings(max_examples=40)
@given(LETTERS, st.lists(LETTERS, max_size=4), st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]), st.booleans())
def test_case_and_form_change_nothing(word: str, others: list[str], form: Any, upper: bool) -> None:
    text = " ".join([*others, word, "zz9"])
    written = unicodedata.normalize(form, text.upper() if upper else text)
    assert keywords([word]).hits(written) is not None
    assert keywords([f"{word}*"]).hits(written) is not None
    wanted = any(folded(word) == folded(other) for other in others)
    assert (keywords([word]).hits(" ".join(others)) is not None) is wanted


@pytest.mark.parametrize(
    ("words", "exclude", "says"),
    [
        ([], [], "at least one word"),
        ([""], [], "1 to 100 characters"),
        (["  "], [], "1 to 100 characters"),
        (["x" * 101], [], "1 to 100 characters"),
        (["*"], [], "no word"),
        (["#"], [], "no word"),
        (["sale *"], [], "no word"),
        ([f"w{i}" for i in range(101)], [], "at most 100"),
        ([f"w{i}" for i in range(60)], [f"x{i}" for i in range(41)], "at most 100"),
        (["sale|prize"], [], "no regular expressions"),
        (["^sale$"], [], "no regular expressions"),
        (["sa.e"], [], "no regular expressions"),
        (["s[ae]le"], [], "no regular expressions"),
        ([r"\bsale"], [], "no regular expressions"),
        (["sa*le"], [], "no regular expressions"),
        (["sale"], ["(x)"], "no regular expressions"),
    ],
)
def test_what_is_no_keyword_is_refused(words: list[str], exclude: list[str], says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as wrong:
        keywords(words, exclude)
    assert wrong.value.details["field"] in ("words", "exclude")
