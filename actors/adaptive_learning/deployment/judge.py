"""Decides whether the evidence condemns a version on trial, clears it for the next step, or leaves it open.

Watched are counts (failures, timeouts, invalid and slow answers, each in every segment asked for) and the paired loss
of forecasts whose outcome came in. Each has a process that can only condemn and one that can only clear; between them
the answer is open, never "passed". Two more can only hold: keys that do not reach the versions as ordered, and outcomes
that do not come. All keep their evidence through every step and restart: the book is the whole state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from math import exp, isnan, log, nan, sqrt

from actors.adaptive_learning.deployment import betting
from actors.adaptive_learning.deployment.betting import Logs
from core.schemas.predictions import KNOWN_AGES_H
from core.schemas.rollouts import COUNTED, Evidence, RolloutConfig

#: The newest executions that the "both versions are failing" rule looks at; older ones fade out.
RECENT = 50.0
#: A count clears when it is shown to happen less than this many times as often on the canary.
TWICE = 2.0
#: Chance that healthy routing is ever taken for skewed.
SKEW_ALPHA = 0.005

#: Parts of alpha, relative to one of the other questions.
WEIGHTS = {"errors": 5.0, "quality": 2.0}

_GAINS = {"slow": tuple(map(log, betting.SLOW_RATIOS)), "fail": tuple(map(log, betting.RATIOS))}
_TWIN_GAINS = tuple(map(log, betting.TWIN_RATIOS))


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


@dataclass(frozen=True, slots=True)
class Tally:
    """Executions and events of both versions."""

    stable_n: int = 0
    stable_errors: int = 0
    canary_n: int = 0
    canary_errors: int = 0

    def __add__(self, more: Tally) -> Tally:
        return Tally(
            self.stable_n + more.stable_n,
            self.stable_errors + more.stable_errors,
            self.canary_n + more.canary_n,
            self.canary_errors + more.canary_errors,
        )


@dataclass(frozen=True, slots=True)
class Executions:
    """Executions of both versions, first attempts and background scorings alike, with their events by metric."""

    stable_n: int = 0
    canary_n: int = 0
    stable: dict[str, int] = field(default_factory=dict)  # events of COUNTED metrics; what did not happen is left out
    canary: dict[str, int] = field(default_factory=dict)

    def __add__(self, more: Executions) -> Executions:
        return Executions(
            self.stable_n + more.stable_n,
            self.canary_n + more.canary_n,
            _added(self.stable, more.stable),
            _added(self.canary, more.canary),
        )


def _added(some: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    return {name: some.get(name, 0) + more.get(name, 0) for name in (*some, *(n for n in more if n not in some))}


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
class Cell:
    """What is known of one count in one segment: at most 1 KB as JSON."""

    total: Tally = Tally()
    betted: int = 0  # events that were bet on
    harm: Logs = betting.NO_RATIO_BETS
    ratio: Logs = betting.NO_TWIN_BETS  # safety: less than twice as often


@dataclass(frozen=True, slots=True)
class Book:
    """Everything that was learned in a roll-out; the whole state of the judge.

    cells: by "NAME" and "NAME@SEGMENT", made as they are first seen. alone: executions of one version while the other
    executed nothing, by segment: nothing can be compared with them yet.
    """

    cells: dict[str, Cell] = field(default_factory=dict)
    alone: dict[str, Executions] = field(default_factory=dict)
    recent_stable: Recent = Recent()
    recent_canary: Recent = Recent()
    below_slo: Logs = betting.NO_RATE_BETS  # safety: errors rarer than the objective
    below_half_slo: Logs = betting.NO_RATE_BETS
    keys: Tally = Tally()
    sample_ratio: Logs = betting.NO_SHARE_BETS
    due: int = 0
    labelled: int = 0
    coverage: Logs = betting.NO_RATE_BETS  # outcomes rarer than they must be
    pairs: int = 0
    pairs_sum: float = 0.0
    pairs_squares: float = 0.0
    harm_quality: Logs = betting.NO_MEAN_BETS
    safe_quality: Logs = betting.NO_MEAN_BETS


# ---------------------------------------------------------------- what is learned


def with_counts(book: Book, executions: Mapping[str, Executions], config: RolloutConfig) -> Book:
    """The book after some executions, by segment.

    Bets go by the realised share of the executions since the last bet. Where only one version executed, which is most
    ticks at a request in ten seconds, there is no share: they wait for the other's next execution. Counts that the
    configuration does not guard are kept for gates and for reading, and condemn nobody.
    """
    if not executions:
        return book
    cells, alone = dict(book.cells), dict(book.alone)
    for segment, seen in executions.items():
        together = alone.pop(segment) + seen if segment in alone else seen
        both = together.stable_n > 0 and together.canary_n > 0
        if not both and together.stable_n + together.canary_n > 0:
            alone[segment] = together
        betted = together if both and (together.stable or together.canary) else None
        costs = _costs(betted.canary_n / (betted.canary_n + betted.stable_n), config) if betted else None
        for name in COUNTED:
            place = f"{name}@{segment}" if segment else name
            cells[place] = _counted(cells.get(place, _EMPTY), name, seen, betted, costs)
    whole = executions.get("")
    after = replace(book, cells=cells, alone=alone)
    return after if whole is None else _with_rates(after, whole, config)


_EMPTY = Cell()
_Costs = tuple[Logs, Logs, Logs]


def _costs(share: float, config: RolloutConfig) -> _Costs:
    """What every event costs at this share: bets on failures, on slow answers, and the twin's."""
    return (
        betting.event_costs(betting.RATIOS, share),
        betting.event_costs(betting.SLOW_RATIOS, share, config.latency_ratio),
        betting.event_costs(betting.TWIN_RATIOS, share, TWICE),
    )


def _counted(cell: Cell, name: str, seen: Executions, betted: Executions | None, costs: _Costs | None) -> Cell:
    total = cell.total + Tally(seen.stable_n, seen.stable.get(name, 0), seen.canary_n, seen.canary.get(name, 0))
    stable, canary = (betted.stable.get(name, 0), betted.canary.get(name, 0)) if betted else (0, 0)
    if costs is None or stable + canary == 0:
        return Cell(total, cell.betted, cell.harm, cell.ratio)
    slow, events = name.startswith("slow"), cell.betted + stable + canary
    stakes = betting.staked(cell.harm, cell.betted, events)
    harm_ = betting.on_events(stakes, _GAINS["slow" if slow else "fail"], costs[1 if slow else 0], canary, stable)
    return Cell(total, events, harm_, betting.on_events(cell.ratio, _TWIN_GAINS, costs[2], canary, stable))


def _with_rates(book: Book, seen: Executions, config: RolloutConfig) -> Book:
    """What concerns failures as such, beside the comparison."""
    stable, canary = seen.stable.get("errors", 0), seen.canary.get("errors", 0)
    return replace(
        book,
        recent_stable=book.recent_stable.after(seen.stable_n, stable),
        recent_canary=book.recent_canary.after(seen.canary_n, canary),
        below_slo=betting.rate_below(book.below_slo, seen.canary_n, canary, config.error_slo),
        below_half_slo=betting.rate_below(book.below_half_slo, seen.canary_n, canary, config.error_slo / 2),
    )


def with_keys(book: Book, stable_keys: int, canary_keys: int, weight: float) -> Book:
    """The book after some routing keys were seen for the first time while `weight` was in force."""
    if not 0.0 < weight < 1.0 or stable_keys + canary_keys == 0:
        return book
    sample_ratio = betting.off_share(book.sample_ratio, canary_keys, stable_keys, weight)
    return replace(book, keys=book.keys + Tally(stable_keys, 0, canary_keys, 0), sample_ratio=sample_ratio)


def without_keys(book: Book) -> Book:
    """The book under a new split: keys that were routed before are no fresh draw, so the question begins anew."""
    return replace(book, keys=Tally(), sample_ratio=betting.NO_SHARE_BETS)


def with_matured(book: Book, due: int, labelled: int, config: RolloutConfig) -> Book:
    """The book after some posts' outcomes were due."""
    return replace(
        book,
        due=book.due + due,
        labelled=book.labelled + labelled,
        coverage=betting.rate_below(book.coverage, due, labelled, config.label_coverage),
    )


def with_pair(book: Book, difference: float, config: RolloutConfig) -> Book:
    """The book after one more post: `difference` of the scaled |log errors|, canary - stable, in [-1, 1].

    What lies outside, or is no number, is no pair: it changes nothing.
    """
    if not -1.0 <= difference <= 1.0:
        return book
    return replace(
        book,
        pairs=book.pairs + 1,
        pairs_sum=book.pairs_sum + difference,
        pairs_squares=book.pairs_squares + difference * difference,
        harm_quality=betting.mean_above(betting.staked(book.harm_quality, book.pairs, book.pairs + 1), difference),
        safe_quality=betting.mean_below(book.safe_quality, difference, config.quality_margin / config.quality_clip),
    )


def scaled_difference(value: float, stable: float, challenger: float, clip: float) -> float:
    """|log error| of the challenger's median - that of stable's, clipped at `clip` and scaled into [-1, 1].

    Views below one count as one, as everywhere in training. NaN where one of the three is no number.
    """
    actual = log(max(value, 1.0))
    difference = abs(log(max(challenger, 1.0)) - actual) - abs(log(max(stable, 1.0)) - actual)
    return nan if isnan(difference) else max(-1.0, min(1.0, difference / clip))


# ---------------------------------------------------------------- what follows


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


def known_age(age_h: int) -> str:
    """Name of the segment of executions at a known age."""
    return f"known_{age_h}h"


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
    cell = book.cells.get(place, _EMPTY)
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
    ratio = betting.mixture(book.cells.get(name, _EMPTY).ratio)
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
        total = book.cells.get(gate.removesuffix("_ratio"), _EMPTY).total
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
