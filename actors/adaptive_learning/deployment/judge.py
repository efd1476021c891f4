"""Decides whether the evidence condemns a version on trial, clears it for the next step, or leaves it open.

Two questions are watched: does the canary fail more often than stable (errors), and are its forecasts worse (quality).
Each has a process that can only condemn and one that can only clear; between them the answer is open, never "passed".
Both processes keep their evidence through all steps and through restarts: the book is the whole state.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from math import exp, log, sqrt

from actors.adaptive_learning.deployment import betting
from actors.adaptive_learning.deployment.betting import Logs
from core.schemas.rollouts import Evidence, RolloutConfig

#: Questions watched at once; each may condemn with an equal part of alpha.
GUARDED = 2
#: The newest executions that the "both versions are failing" rule looks at; older ones fade out.
RECENT = 50.0


class Hold(StrEnum):
    """Why a roll-out stands still, whatever its phase."""

    PAUSED = "paused"  # a person said so
    AWAITING_APPROVAL = "awaiting_approval"
    NO_DATA = "no_data"  # the canary executes nothing
    NO_LABELS = "no_labels"  # outcomes do not arrive
    BOTH_BAD = "both_bad"  # both versions fail: not the canary's fault
    STABLE_DOWN = "stable_down"  # nobody serves the stable version, or no router answers
    CANARY_DOWN = "canary_down"  # the canary does not answer its probe
    FROZEN = "frozen"  # a router has not seen a renewal
    DRIFT = "drift"  # the world moved since: fresh pairs are needed
    SAMPLE_RATIO = "sample_ratio"
    ALIAS_MOVED = "alias_moved"  # somebody else moved the champion


class Gate(Enum):
    """What must be shown before the next step."""

    ERRORS = "errors"
    ERRORS_AND_QUALITY = "errors and quality"


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


@dataclass(frozen=True, slots=True)
class Tally:
    """Executions and failures of both versions, first attempts and background scorings alike."""

    stable_n: int = 0
    stable_errors: int = 0
    canary_n: int = 0
    canary_errors: int = 0


@dataclass(frozen=True, slots=True)
class Recent:
    """Executions and failures of one version with old ones fading; describes, decides nothing alone."""

    n: float = 0.0
    errors: float = 0.0

    @property
    def rate(self) -> float:
        """Share of failures; 0 while too little was seen to say that anything is wrong."""
        return self.errors / self.n if self.n >= 10 and self.errors >= 3 else 0.0

    def after(self, n: int, errors: int) -> Recent:
        """With newer executions."""
        keep = exp(-n / RECENT)
        return Recent(self.n * keep + n, self.errors * keep + errors)


@dataclass(frozen=True, slots=True)
class Book:
    """Everything that was learned in a roll-out: about 40 numbers."""

    total: Tally = Tally()
    recent_stable: Recent = Recent()
    recent_canary: Recent = Recent()
    harm_errors: Logs = betting.NO_RATIO_BETS
    safe_errors: Logs = betting.NO_RATE_BETS
    pairs: int = 0
    pairs_sum: float = 0.0
    pairs_squares: float = 0.0
    harm_quality: Logs = betting.NO_MEAN_BETS
    safe_quality: Logs = betting.NO_MEAN_BETS


def with_counts(book: Book, tally: Tally, config: RolloutConfig) -> Book:
    """The book after some executions; the canary's share is the realised one of these very executions."""
    total = book.total
    executions = tally.canary_n + tally.stable_n
    share = tally.canary_n / executions if executions else 0.0
    return replace(
        book,
        total=Tally(
            total.stable_n + tally.stable_n,
            total.stable_errors + tally.stable_errors,
            total.canary_n + tally.canary_n,
            total.canary_errors + tally.canary_errors,
        ),
        recent_stable=book.recent_stable.after(tally.stable_n, tally.stable_errors),
        recent_canary=book.recent_canary.after(tally.canary_n, tally.canary_errors),
        harm_errors=betting.more_often(book.harm_errors, tally.canary_errors, tally.stable_errors, share),
        safe_errors=betting.rate_below(book.safe_errors, tally.canary_n, tally.canary_errors, config.error_slo),
    )


def with_pair(book: Book, difference: float, config: RolloutConfig) -> Book:
    """The book after one more post: `difference` of the scaled |log errors|, canary - stable, in [-1, 1]."""
    return replace(
        book,
        pairs=book.pairs + 1,
        pairs_sum=book.pairs_sum + difference,
        pairs_squares=book.pairs_squares + difference * difference,
        harm_quality=betting.mean_above(book.harm_quality, difference),
        safe_quality=betting.mean_below(book.safe_quality, difference, config.quality_margin / config.quality_clip),
    )


def scaled_difference(value: float, stable: float, challenger: float, clip: float) -> float:
    """|log error| of the challenger's median - that of stable's, clipped at `clip` and scaled into [-1, 1].

    Views below one count as one, as everywhere in training.
    """
    actual = log(max(value, 1.0))
    difference = abs(log(max(challenger, 1.0)) - actual) - abs(log(max(stable, 1.0)) - actual)
    return max(-1.0, min(1.0, difference / clip))


def harm(book: Book, config: RolloutConfig) -> Harm | None:
    """What condemns the canary now, the strongest first."""
    needed = log(GUARDED / config.alpha)
    found = [
        Harm(name, log_e)
        for name, log_e in (
            ("errors", betting.mixture(book.harm_errors)),
            ("quality", betting.mixture(book.harm_quality)),
        )
        if log_e >= needed
    ]
    return max(found, key=lambda h: h.log_e, default=None)


def both_bad(book: Book, config: RolloutConfig) -> bool:
    """Whether both versions fail too often now, stable at least half as often as the canary."""
    stable, canary = book.recent_stable.rate, book.recent_canary.rate
    return stable > config.error_slo and canary > config.error_slo and stable >= canary / 2


def verdict(book: Book, config: RolloutConfig, gate: Gate) -> Verdict:
    """What the evidence says of the next step."""
    if both_bad(book, config):
        return Held(Hold.BOTH_BAD)
    condemned = harm(book, config)
    if condemned is not None:
        return condemned
    needed = log(1 / config.beta)
    wanted = [("errors", betting.mixture(book.safe_errors, betting.RATE_PRIOR))]
    if gate is Gate.ERRORS_AND_QUALITY:
        wanted.append(("quality", betting.mixture(book.safe_quality)))
    short = [Open(name, log_e, needed) for name, log_e in wanted if log_e < needed]
    return min(short, key=lambda s: s.log_e) if short else Safe()


def lines(book: Book, config: RolloutConfig) -> tuple[Evidence, ...]:
    """The book for a person. Intervals are 95 % and for reading only: no decision uses them."""
    condemn, clear = log(GUARDED / config.alpha), log(1 / config.beta)
    n, errors = book.total.canary_n, book.total.canary_errors
    rate, rate_low, rate_high = _wilson(n, errors)
    mean, low, high = _mean(book, config.quality_clip)
    safe_errors = betting.mixture(book.safe_errors, betting.RATE_PRIOR)
    return (
        Evidence("harm:errors", betting.mixture(book.harm_errors), condemn, n, rate, rate_low, rate_high),
        Evidence("safety:errors", safe_errors, clear, n, rate, rate_low, rate_high),
        Evidence("harm:quality", betting.mixture(book.harm_quality), condemn, book.pairs, mean, low, high),
        Evidence("safety:quality", betting.mixture(book.safe_quality), clear, book.pairs, mean, low, high),
    )


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
