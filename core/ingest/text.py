"""What a post's text says about itself: the one place that turns text into attributes, for every source."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_WORD = re.compile(r"\w*[^\W_]\w*(?:['’\-]\w+)*")
_LINK = re.compile(r"(?:https?://|\bt\.me/|\bwww\.)\S+", re.IGNORECASE)
_HASHTAG = re.compile(r"(?<!\w)#\w*[^\W\d]\w*")
_MENTION = re.compile(r"(?<![\w/@])@[A-Za-z]\w{3,31}\b")
# A base symbol with what joins it: skin tones, variation selectors, zero-width-joined parts, keycaps, flag pairs.
_BASE = r"[\U0001F300-\U0001FAFF\U0001F000-\U0001F2FF\u2600-\u27BF\u2B00-\u2BFF\u2190-\u21FF\u2300-\u23FF\u3030\u303D]"
_EMOJI = re.compile(
    rf"[\U0001F1E6-\U0001F1FF]{{2}}|[0-9#*]\uFE0F?\u20E3|{_BASE}[\uFE0F\U0001F3FB-\U0001F3FF]*"
    rf"(?:\u200D{_BASE}[\uFE0F\U0001F3FB-\U0001F3FF]*)*"
)
# Russian law marks advertising with an "erid" token; hashtags are the customary marks elsewhere.
_AD = re.compile(r"\berid\b|(?<!\w)#(?:реклама|ad|ads|advertisement|sponsored|промо|promo)\b", re.IGNORECASE)
_CHANNEL_LINK = re.compile(r"\bt(?:elegram)?\.me/(?:s/)?([A-Za-z]\w{3,31})\b", re.IGNORECASE)
_NO_CHANNEL = frozenset({"joinchat", "addstickers", "addlist", "addemoji", "share", "proxy", "boost", "iv", "login"})


@dataclass(frozen=True, slots=True)
class TextAttributes:
    """Counts of a text, in the names of the post table's columns; lengths are in characters."""

    text_len: int
    n_words: int
    n_links: int
    n_hashtags: int
    n_mentions: int
    n_emoji: int
    n_lines: int
    has_question: bool
    is_ad: bool


def attributes(text: str, hidden_links: int = 0) -> TextAttributes:
    """Measure a text. hidden_links: links that stand behind words, which only the source's entities show."""
    plain = _LINK.sub(" ", text)  # addresses are no words, and their fragments no hashtags
    return TextAttributes(
        text_len=len(text),
        n_words=len(_WORD.findall(plain)),
        n_links=len(_LINK.findall(text)) + hidden_links,
        n_hashtags=len(_HASHTAG.findall(plain)),
        n_mentions=len(_MENTION.findall(plain)),
        n_emoji=len(_EMOJI.findall(text)),
        n_lines=sum(1 for line in text.splitlines() if line.strip()),
        has_question="?" in plain,
        is_ad=_AD.search(text) is not None,
    )


def linked_channels(texts: Iterable[str]) -> tuple[str, ...]:
    """Public channels whose t.me addresses occur, lower case, in order, once each.

    Bots and invitation links are left out, and so are @names: they may be people.
    """
    found: dict[str, None] = {}
    for text in texts:
        for name in _CHANNEL_LINK.findall(text):
            lower = name.lower()
            if lower not in _NO_CHANNEL and not lower.endswith("bot"):
                found[lower] = None
    return tuple(found)


def clean(text: str) -> str:
    """Text that every database can hold: halves of broken surrogate pairs are replaced, NUL is left out."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")


def utf16_slice(text: str, offset: int, length: int) -> str:
    """The part that an entity marks: Telegram counts in UTF-16 units, so an emoji counts twice."""
    return text.encode("utf-16-le")[2 * offset : 2 * (offset + length)].decode("utf-16-le", errors="ignore")
