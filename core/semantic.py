"""Which number MAJOR.MINOR.PATCH a new version of a model gets, from what changed against the version it comes from.

major  other input features (names, order or the version of their meaning) or other targets: whoever feeds or reads the
       model is concerned
minor  trained from the start, of another architecture or with other parameters: the same question, another answer
patch  trained on from its parent's weights with the same signature, architecture and parameters: the same model, newer

It is compared with its parent, or, where it has none that is registered, with the newest version of the model; the
first version is 1.0.0. Two children of one parent count on from each other, so no number is given twice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core.codec import to_plain
from core.errors import StorageBroken
from core.schemas.models import ModelVersion, NewVersion

Bump = Literal["major", "minor", "patch"]

#: Strategies that go on from the parent's weights.
WARM = frozenset({"incremental", "online", "continual"})
#: What a training found out, as opposed to what it was told.
FOUND = frozenset({"epochs", "folds", "out_of_fold_loss", "trust", "damage", "memory", "corrector"})
#: Settings that a warm start chooses for itself; they differ from those of a parent that was trained from the start.
SCHEDULE = frozenset({"lr", "anchor", "keep", "ewc", "slices"})

_FORM = re.compile(r"(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True, order=True)
class Semantic:
    """A number in three parts; greater is newer.

    >>> str(max(Semantic.parse("1.9.0"), Semantic.parse("1.10.0")))
    '1.10.0'
    """

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @classmethod
    def parse(cls, text: str) -> Semantic:
        """The number in a stored text; StorageBroken when it is none."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise StorageBroken(f"{text!r} is not MAJOR.MINOR.PATCH: run `analyticbot db upgrade`")
        return cls(*map(int, found.groups()))


def number(new: NewVersion, known: Sequence[ModelVersion]) -> Semantic:
    """The number of a version about to be registered. known: the model's versions, in any order."""
    if not known:
        return Semantic(1, 0, 0)
    parent = next((v for v in known if v.version == new.lineage.parent), None)
    base = parent or max(known, key=lambda v: v.version)
    return following(bump(new, base, parent is not None), base.semantic, [v.semantic for v in known])


def bump(new: NewVersion, base: ModelVersion, is_parent: bool) -> Bump:
    """Which part grows. base: the version to compare with; only from a parent can a training have gone on."""
    if new.signature != base.signature:
        return "major"
    if not is_parent or new.lineage.strategy not in WARM:
        return "minor"
    left_out = FOUND if base.lineage.strategy == new.lineage.strategy else FOUND | SCHEDULE
    same = _told(new.params, left_out) == _told(base.params, left_out)
    return "patch" if same else "minor"


def following(part: Bump, base: str, taken: Sequence[str]) -> Semantic:
    """The next free number of its kind after `base`.

    >>> str(following("minor", "1.2.3", ["1.2.3", "1.3.0", "2.0.0"]))
    '1.4.0'
    """
    at, numbers = Semantic.parse(base), [Semantic.parse(text) for text in taken]
    if part == "major":
        return Semantic(max(n.major for n in [at, *numbers]) + 1, 0, 0)
    line = [at, *(n for n in numbers if n.major == at.major)]
    if part == "minor":
        return Semantic(at.major, max(n.minor for n in line) + 1, 0)
    return Semantic(at.major, at.minor, max(n.patch for n in line if n.minor == at.minor) + 1)


def _told(params: dict[str, Any], left_out: frozenset[str]) -> dict[str, Any]:
    """Parameters that were asked for. A strategy's own schedule is left out where the base had another strategy."""
    plain: dict[str, Any] = to_plain(params)
    # Switched off is the same as not there: versions of before a parameter existed have none of its name.
    return {name: value for name, value in plain.items() if name not in left_out and value}
