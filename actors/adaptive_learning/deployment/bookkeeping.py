"""What a roll-out has learned: counts of both versions, their paired losses, and the bets on each question.

The book is the whole state of the judge. It keeps its evidence through every step and restart; each function here
answers with the book after something more was seen, and concludes nothing: that is the judge's part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import exp, isnan, log, nan

from actors.adaptive_learning.deployment import betting
from actors.adaptive_learning.deployment.betting import Logs
from core.schemas.rollouts import COUNTED, RolloutConfig

#: The newest executions that the "both versions are failing" rule looks at; older ones fade out.
RECENT = 50.0
#: A count clears when it is shown to happen less than this many times as often on the canary.
TWICE = 2.0

_GAINS = {"slow": tuple(map(log, betting.SLOW_RATIOS)), "fail": tuple(map(log, betting.RATIOS))}
_TWIN_GAINS = tuple(map(log, betting.TWIN_RATIOS))


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
            cells[place] = _counted(cells.get(place, EMPTY), name, seen, betted, costs)
    whole = executions.get("")
    after = replace(book, cells=cells, alone=alone)
    return after if whole is None else _with_rates(after, whole, config)


EMPTY = Cell()
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


def known_age(age_h: int) -> str:
    """Name of the segment of executions at a known age."""
    return f"known_{age_h}h"
