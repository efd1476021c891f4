"""Decides whether the evidence condemns a version on trial, clears it for the next step, or leaves it open.

Watched are counts (failures, timeouts, invalid and slow answers, each in every segment asked for) and the paired loss
of forecasts whose outcome came in. Each has a process that can only condemn and one that can only clear; between them
the answer is open, never "passed". Two more can only hold: keys that do not reach the versions as ordered, and outcomes
that do not come. Everything is concluded from the book; nothing else is remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from math import exp, log, sqrt

from actors.adaptive_learning.deployment import betting
from actors.adaptive_learning.deployment.bookkeeping import EMPTY, Book, Tally, known_age
from core.schemas.predictions import KNOWN_AGES_H
from core.schemas.rollouts import COUNTED, Evidence, RolloutConfig

#: Chance that healthy routing is ever taken for skewed.
SKEW_ALPHA = 0.005

#: Parts of alpha, relative to one of the other questions.
WEIGHTS = {"errors": 5.0, "quality": 2.0}


class Hold(StrEnum):
    """Why a roll-out stands still, whatever its phase."""

    PAUSED = "paused"  # a person said so
    AWAITING_APPROVAL = "awaiting_approval"
    NO_DATA = "no_data"  # the canary executes nothing
    NO_LABELS = "no_labels"  # outcomes do not arrive
    BOTH_BAD = "both_bad"  # both versions fail: not the canary's fault
    STABLE_DOWN = "stable_down"  # nobody serves the stable version, or no router answers
    CANARY_DOWN = "canary_down"  # the canary does not answer its probe
    FROZEN = "frozen"  # a freeze window is open
    LEASE = "lease"  # a router has not seen a renewal
    DRIFT = "drift"  # the world moved since: fresh pairs are needed
    SAMPLE_RATIO = "sample_ratio"  # keys do not reach the versions in the shares that were ordered
    ALIAS_MOVED = "alias_moved"  # somebody else moved the champion


@dataclass(frozen=True, slots=True)
class Harm:
    """The canary is worse."""

    name: str
    log_e: float


@dataclass(frozen=True, slots=True)
class Safe:
    """Shown to be within the bounds."""


@dataclass(frozen=True, slots=True)
class Open:
    """Not decided: the evidence that is short."""

    name: str
    log_e: float
    needed: float


@dataclass(frozen=True, slots=True)
class Held:
    """Nothing may be concluded now."""

    reason: Hold


Verdict = Harm | Safe | Open | Held


@cache
def shares(config: RolloutConfig) -> dict[str, float]:
    """The part of alpha that each question has, by place: they sum to one, whether or not there are data yet.

    Failures matter most and are seen first, so they have most; the known ages of a count share half of its part.
    """
    weights = {name: WEIGHTS.get(name, 1.0) for name in dict.fromkeys(config.guards)}
    total, found = sum(weights.values()), dict[str, float]()
    for name, weight in weights.items():
        part = weight / total
        if not config.by_known_age or name not in COUNTED:
            found[name] = part
            continue
        found[name] = part / 2
        found |= {f"{name}@{known_age(age)}": part / 2 / len(KNOWN_AGES_H) for age in KNOWN_AGES_H}
    return found


def harm(book: Book, config: RolloutConfig) -> Harm | None:
    """What condemns the canary now, by its strongest question; only what the configuration guards.

    The weighted sum of e-processes is an e-process: a healthy canary's ever reaches 1/alpha with probability alpha at
    most (Ville), however the questions depend on each other. It reaches it no later than any single one reaches its
    own part (Vovk and Wang, "E-values: calibration, combination and applications", 2021).
    """
    needed, parts = log(1 / config.alpha), shares(config)
    # The largest bet bounds the mean of all: most ticks are dismissed without a single mixture.
    highest = {place: max(0.0, *book.cells[place].harm) if place in book.cells else 0.0 for place in parts}
    if "quality" in parts:
        highest["quality"] = max(0.0, *book.harm_quality)
    top = max(highest.values(), default=0.0)
    if not parts or top + log(sum(parts[place] * exp(value - top) for place, value in highest.items())) < needed:
        return None
    if _together(book, config) < needed:
        return None
    worst = max(parts, key=lambda place: log(parts[place]) + _against(book, place))
    return Harm(worst, _against(book, worst))


def _against(book: Book, place: str) -> float:
    """Log evidence against the canary of one question."""
    if place == "quality":
        return betting.wealth(book.harm_quality, book.pairs)
    cell = book.cells.get(place, EMPTY)
    return betting.wealth(cell.harm, cell.betted)


def _together(book: Book, config: RolloutConfig) -> float:
    """Log of the weighted sum of all evidence against the canary."""
    parts = shares(config)
    return betting.mixture(tuple(_against(book, place) for place in parts), tuple(parts.values())) if parts else 0.0


def both_bad(book: Book, config: RolloutConfig) -> bool:
    """Whether both versions fail too often now, stable at least half as often as the canary."""
    stable, canary = book.recent_stable.rate, book.recent_canary.rate
    return stable > config.error_slo and canary > config.error_slo and stable >= canary / 2


def skewed(book: Book) -> bool:
    """Whether keys reach the versions in other shares than ordered."""
    return betting.mixture(book.sample_ratio) >= log(1 / SKEW_ALPHA)


def uncovered(book: Book, config: RolloutConfig) -> bool:
    """Whether too few outcomes come in that were due."""
    return betting.mixture(book.coverage) >= log(1 / config.alpha)


def verdict(book: Book, config: RolloutConfig, gates: Sequence[str]) -> Verdict:
    """What the evidence says of a step with these gates; a step without gates still asks that nothing is harmful."""
    if both_bad(book, config):
        return Held(Hold.BOTH_BAD)
    condemned = harm(book, config)
    if condemned is not None:
        return condemned
    return min(short(book, config, gates), key=lambda s: s.log_e, default=Safe())


def short(book: Book, config: RolloutConfig, gates: Sequence[str]) -> tuple[Open, ...]:
    """The gates whose claim is not shown yet."""
    needed = log(1 / config.beta)
    return tuple(Open(name, log_e, needed) for name in gates if (log_e := safety(book, name)) < needed)


def safety(book: Book, gate: str) -> float:
    """Log evidence of a gate's claim."""
    if gate == "errors":
        return betting.mixture(book.below_slo, betting.RATE_PRIOR)
    if gate == "quality":
        return betting.mixture(book.safe_quality)
    name = gate.removesuffix("_ratio")
    ratio = betting.mixture(book.cells.get(name, EMPTY).ratio)
    if name.startswith("slow"):
        return ratio
    # Failures too rare to be compared: the claim is "not twice as often, or rarer than half the objective". Under its
    # contrary both processes are fair, hence so is their mean. All failures are an upper bound of each kind.
    rare = betting.mixture(book.below_half_slo, betting.RATE_PRIOR)
    return betting.mixture((ratio, rare))


def lines(book: Book, config: RolloutConfig) -> tuple[Evidence, ...]:
    """The book for a person. Intervals are 95 % and for reading only: no decision uses them."""
    clear, mean, parts = log(1 / config.beta), _mean(book, config.quality_clip), shares(config)
    found = []
    for place in sorted(place for place in parts if place in book.cells):
        name, _, segment = place.partition("@")
        total = book.cells[place].total
        n, rate = total.canary_n, _wilson(total.canary_n, total.canary_errors)
        alone = log(1 / (config.alpha * parts[place]))
        found.append(Evidence(f"harm:{name}", _against(book, place), alone, n, *rate, segment=segment))
    if "quality" in parts:
        alone = log(1 / (config.alpha * parts["quality"]))
        found.append(Evidence("harm:quality", _against(book, "quality"), alone, book.pairs, *mean))
    if book.cells or book.pairs:
        n = max(max((cell.total.canary_n for cell in book.cells.values()), default=0), book.pairs)
        found.append(Evidence("harm:together", _together(book, config), log(1 / config.alpha), n))
    for gate in dict.fromkeys(name for gates in config.gates for name in gates):
        total = book.cells.get(gate.removesuffix("_ratio"), EMPTY).total
        estimate = mean if gate == "quality" else _wilson(total.canary_n, total.canary_errors)
        n = book.pairs if gate == "quality" else total.canary_n
        found.append(Evidence(f"safety:{gate}", safety(book, gate), clear, n, *estimate))
    if book.keys != Tally():
        n, keys = book.keys.stable_n + book.keys.canary_n, book.keys.canary_n
        skew = betting.mixture(book.sample_ratio)
        found.append(Evidence("hold:sample_ratio", skew, log(1 / SKEW_ALPHA), n, *_wilson(n, keys)))
    if book.due:
        missing, share = betting.mixture(book.coverage), _wilson(book.due, book.labelled)
        found.append(Evidence("hold:label_coverage", missing, log(1 / config.alpha), book.due, *share))
    return tuple(found)


def _mean(book: Book, clip: float) -> tuple[float | None, float | None, float | None]:
    """Mean paired difference in natural log units."""
    if book.pairs == 0:
        return None, None, None
    mean = book.pairs_sum / book.pairs
    if book.pairs < 2:
        return mean * clip, None, None
    variance = max(0.0, book.pairs_squares - book.pairs * mean * mean) / (book.pairs - 1)
    half = 1.96 * sqrt(variance / book.pairs)
    return mean * clip, (mean - half) * clip, (mean + half) * clip


def _wilson(n: int, events: int) -> tuple[float | None, float | None, float | None]:
    """An event rate with Wilson's score interval."""
    if n == 0:
        return None, None, None
    z, p = 1.96, events / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return p, max(0.0, centre - half), min(1.0, centre + half)
