"""What a reaction says: liked, disliked, or neither; and the tone of all reactions to a post.

The table is a judgement, not a measurement: one meaning an emoji, as readers of public channels mostly use it. A
channel where an emoji means something else (laughter as scorn, say) overrides it in the settings
(`ANALYTICBOT_CONTENT__POLARITY`). Custom emoji cannot be read and count for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Polarity = Literal[-1, 0, 1]
Tone = Literal["positive", "mixed", "negative"]

TONES: tuple[Tone, ...] = ("positive", "mixed", "negative")
#: Fewer readable reactions than this make no tone.
LEAST_REACTIONS = 5
#: (liked - disliked) / readable reactions, from which on a post is positive (and below minus which: negative).
TONE_EDGE = 1 / 3

_LIKED = "👍 ❤ 🔥 ❤‍🔥 👏 🥰 😍 🤩 😘 💋 💘 🎉 🙏 👌 💯 🏆 🍾 🤗 🤝 😎 🆒 😇 🦄 🕊 🫡 ⚡ 🎄 🎅 ☃ 🍓 😁 🤣 😂"
_DISLIKED = "👎 💩 🤮 🤬 😡 🖕 🤡 😢 😭 💔 😨 🥱 😐 🤨"
_NEITHER = "😱 🤯 🤔 👀 🐳 🌚 🙈 🙉 🙊 ✍ 💅 👾 😈 🗿 👨‍💻 💊 🎃 🤓 🍌 🤷 🤷‍♂ 🤷‍♀ 🥴 🌭 🤪 👻"
#: Telegram's stars are paid for: nobody pays for what they dislike.
_PAID = "paid_stars"

_VARIATION = "\ufe0f"  # asks for a coloured picture and changes no meaning
_MEANINGS: tuple[tuple[str, Polarity], ...] = ((_NEITHER, 0), (_DISLIKED, -1), (f"{_LIKED} {_PAID}", 1))
POLARITY: Mapping[str, Polarity] = {
    name.replace(_VARIATION, ""): meaning for names, meaning in _MEANINGS for name in names.split()
}
_SKIN = dict.fromkeys(range(0x1F3FB, 0x1F400))


@dataclass(frozen=True, slots=True)
class Reactions:
    """Readable reactions to a post, by what they say."""

    liked: int
    neither: int
    disliked: int

    @property
    def total(self) -> int:
        """All that could be read."""
        return self.liked + self.neither + self.disliked

    @property
    def tone(self) -> Tone | None:
        """The audience's, None below LEAST_REACTIONS."""
        if self.total < LEAST_REACTIONS:
            return None
        balance = (self.liked - self.disliked) / self.total
        return "positive" if balance >= TONE_EDGE else "negative" if balance <= -TONE_EDGE else "mixed"


def polarity(reaction: str, own: Mapping[str, Polarity] | None = None) -> Polarity | None:
    """Of one kind of reaction; own: a channel's meanings, which come first. None: it is not in the table."""
    plain = reaction.replace(_VARIATION, "").translate(_SKIN)
    for table in (own or {}, POLARITY):
        for name in (reaction, plain):
            if name in table:
                return table[name]
    return None


def reactions_of(counts: Mapping[str, int], own: Mapping[str, Polarity] | None = None) -> Reactions:
    """Counts by kind of reaction, read.

    >>> reactions_of({"👍": 6, "👎": 2, "custom": 9}).tone
    'positive'
    """
    sums = {1: 0, 0: 0, -1: 0}
    for reaction, count in counts.items():
        meaning = polarity(reaction, own)
        if meaning is not None:
            sums[meaning] += count
    return Reactions(sums[1], sums[0], sums[-1])
