"""Whether a text has given words: whole words, whatever their case or Unicode form; `*` at the end takes what follows.

Texts and words are compared after Unicode's NFKC_Casefold (normalised, case-folded, normalised again). A word is a run
of letters, marks, digits and underscores; several words in one keyword are a phrase. `#word` and `@word` ask for the
sign too, a plain word is found with or without it. Scripts that put no space between words are found by prefix only.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from core.errors import InvalidInput

MOST_WORDS = 100
LONGEST_WORD = 100
_SIGNS = "#@"
_JOINERS = "-'’"  # in a keyword as in a text they separate words: "e-mail" is the phrase "e mail"


@dataclass(frozen=True, slots=True)
class Token:
    """A word of a text, the sign before it, and where it begins in the folded text."""

    word: str
    sign: str
    start: int


@dataclass(frozen=True, slots=True)
class Keyword:
    """Neighbouring words to be found; of the last one only the beginning, where `prefix` says so."""

    text: str  # as it was given
    words: tuple[str, ...]
    signs: tuple[str, ...]
    prefix: bool

    def found(self, tokens: Sequence[Token]) -> Token | None:
        """The first word of the first place where it occurs."""
        n = len(self.words)
        for i in range(len(tokens) - n + 1):
            if all(self._same(k, tokens[i + k]) for k in range(n)):
                return tokens[i]
        return None

    def _same(self, k: int, token: Token) -> bool:
        if self.signs[k] and self.signs[k] != token.sign:
            return False
        if self.prefix and k == len(self.words) - 1:
            return token.word.startswith(self.words[k])
        return token.word == self.words[k]


@dataclass(frozen=True, slots=True)
class Keywords:
    """What a text must have, any or all of it, and must not have."""

    words: tuple[Keyword, ...]
    exclude: tuple[Keyword, ...]
    match: Literal["any", "all"]

    def hits(self, text: str) -> tuple[tuple[str, ...], int] | None:
        """The keywords found, as they were given, and where the first of them begins in `folded(text)`; None: no."""
        tokens = tokens_of(folded(text))
        if any(each.found(tokens) is not None for each in self.exclude):
            return None
        places = [(place, each.text) for each in self.words if (place := each.found(tokens)) is not None]
        if not places or (self.match == "all" and len(places) < len(self.words)):
            return None
        return tuple(word for _, word in places), min(place.start for place, _ in places)


def keywords(words: Sequence[str], exclude: Sequence[str] = (), match: Literal["any", "all"] = "any") -> Keywords:
    """Read keywords; InvalidInput for none, too many, and for what is no word (regular expressions are not taken)."""
    if not words:
        raise InvalidInput("a rule on keywords needs at least one word", field="words")
    if len(words) + len(exclude) > MOST_WORDS:
        raise InvalidInput(
            f"{len(words) + len(exclude)} words to find and to exclude: at most {MOST_WORDS}", field="words"
        )
    return Keywords(
        tuple(_keyword(word, "words") for word in words), tuple(_keyword(word, "exclude") for word in exclude), match
    )


def folded(text: str) -> str:
    """NFKC_Casefold of a text (Unicode Standard, 3.13), near enough: default ignorables stay."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def tokens_of(text: str) -> list[Token]:
    """The words of a folded text, in order."""
    found, start = list[Token](), -1
    for i, c in enumerate(f"{text} "):
        if start < 0 and _inside(c):
            start = i
        elif start >= 0 and not _inside(c):
            sign = text[start - 1] if start and text[start - 1] in _SIGNS else ""
            found.append(Token(text[start:i], sign, start))
            start = -1
    return found


def _keyword(given: str, field: str) -> Keyword:
    text = given.strip()
    if not 1 <= len(text) <= LONGEST_WORD:
        raise InvalidInput(f"a keyword has 1 to {LONGEST_WORD} characters: {text[:40]!r}", field=field)
    prefix = text.endswith("*")
    body = folded(text.removesuffix("*"))
    strange = next((c for c in body if not (_inside(c) or c.isspace() or c in _SIGNS or c in _JOINERS)), None)
    if strange is not None:
        raise InvalidInput(
            f"{text!r} is no keyword because of {strange!r}: words and phrases are taken, with * at the end for any "
            "ending, and no regular expressions",
            field=field,
        )
    tokens = tokens_of(body)
    if not tokens or (prefix and not _inside(body[-1])):
        raise InvalidInput(f"{text!r} holds no word that could be found", field=field)
    return Keyword(text, tuple(t.word for t in tokens), tuple(t.sign for t in tokens), prefix)


@lru_cache(maxsize=4096)
def _inside(c: str) -> bool:
    """Whether a character belongs to a word; marks do, because many scripts write vowels as marks."""
    return c == "_" or unicodedata.category(c)[0] in "LMN"
