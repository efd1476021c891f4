"""Decides before a roll-out starts how long each step will need at the present traffic, and whether it can end at all.

Every process of the judge is a mixture of bets whose logarithms grow, on the average, by a fixed amount with each
execution or pair. The time that a claim needs is the time after which the mixture of these averages reaches the
claim's threshold; with one bet instead of a mixture this is threshold / (rate x Kullback-Leibler divergence). During a
trial both versions execute every request, whatever the step: the canary's share of executions is one half, and
evidence gathered at one step counts at the next. Method: growth rates of Shafer and Vovk, "Game-Theoretic Foundations
for Probability and Finance" (2019).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, inf, log
from statistics import NormalDist

from actors.adaptive_learning.deployment import betting
from actors.adaptive_learning.deployment.admission import check
from actors.adaptive_learning.deployment.betting import Logs
from actors.adaptive_learning.deployment.bookkeeping import TWICE
from actors.adaptive_learning.deployment.judge import shares
from actors.adaptive_learning.deployment.record import NO_DATA_S, NO_LABELS_S
from core.clock import DAY
from core.errors import InvalidInput
from core.schemas.rollouts import RolloutConfig, RolloutPlan, StepPlan, TrafficFigures

#: The controller looks this often: nothing is found sooner.
PASS_S = 1.0
#: How many times as bad a canary the plan says the time of detection for.
WORSE = (10, 50)
_SHARE = 0.5
_NORMAL = tuple(NormalDist().inv_cdf((k + 0.5) / 64) for k in range(64))

#: Log evidence to be expected after so many seconds.
_Growth = Callable[[float], float]


def plan(model: str, figures: TrafficFigures, config: RolloutConfig) -> RolloutPlan:
    """What to expect of a healthy version at these figures, and when a worse one would be found.

    `needed_s` and `by_gate` count from the beginning of their step, with the evidence of the steps before it; None:
    never, or not known. `total_s` is the time of all steps, each the longer of its hold and its evidence. Times are
    those at which the expected evidence suffices, near the median of what happens. InvalidInput for settings that
    cannot work and for figures that are no rates.
    """
    check(config)
    _check(figures)
    times = {gate: gate_s(gate, figures, config) for gates in config.gates for gate in gates}
    steps, total = _steps(times, config)
    return RolloutPlan(
        model=model,
        figures=figures,
        steps=steps,
        total_s=total,
        detect_s=_detect(figures, config),
        warnings=_warnings(steps, figures, config),
        refusals=_refusals(times, total, figures, config),
    )


def gate_s(gate: str, figures: TrafficFigures, config: RolloutConfig) -> float | None:
    """Seconds of traffic after which a healthy version has shown a gate's claim; None: never."""
    needed, p, n = log(1 / config.beta), figures.error_rate, figures.requests_per_s
    if gate == "quality":
        margin = config.quality_margin / config.quality_clip
        stake = tuple(stake / (1 - margin) for stake in betting.STAKES)
        grows = _pair_growth(stake, lambda value: margin - value, 0.0, figures.pair_sd)
        after = _first(lambda s: betting.mixture(_times(grows, s * figures.pairs_per_day / DAY)), needed)
        return None if after is None else after + figures.label_delay_s
    if gate == "errors":
        return _first(_rate(n, p, config.error_slo), needed)
    name = gate.removesuffix("_ratio")
    events = n * (p if name == "errors" else figures.rates.get(name, 0.0))
    ratio = _ratio(betting.TWIN_RATIOS, TWICE, events, events)
    if name.startswith("slow"):
        return _first(ratio, needed)
    rare = _rate(n, p, config.error_slo / 2)
    return _first(lambda s: betting.mixture((ratio(s), rare(s))), needed)


def detection_s(canary_rate: float, figures: TrafficFigures, config: RolloutConfig) -> float | None:
    """Seconds until a canary with this error rate is condemned, in whole passes of the controller; None: never."""
    n = figures.requests_per_s
    grows = _ratio(betting.RATIOS, 1.0, n * canary_rate, n * figures.error_rate)
    return _passes(_first(grows, _condemned(config, "errors")))


# ---------------------------------------------------------------- growth


def _times(growth: Logs, amount: float) -> Logs:
    return tuple(amount * each for each in growth)


def _ratio(grid: Logs, bound: float, canary: float, stable: float) -> _Growth:
    """Bets on which version an event falls, at so many events a second of each."""
    costs = betting.event_costs(grid, _SHARE, bound)
    growth = tuple(canary * log(r) - (canary + stable) * cost for r, cost in zip(grid, costs, strict=True))
    return lambda seconds: betting.mixture(_times(growth, seconds))


def _rate(n: float, rate: float, bound: float) -> _Growth:
    """Bets that events are rarer than a bound, at n executions a second.

    One event costs as much as hundreds of good executions earn: half of all roll-outs see none before ln 2 are to be
    expected, and are done by then if that suffices.
    """

    def log_e(seconds: float) -> float:
        events = max(0.0, n * seconds * rate - log(2))
        good = n * seconds - events
        return betting.mixture(
            tuple(
                events * log(share) + good * (log(1 - share * bound) - log(1 - bound)) for share in betting.RATE_SHARES
            ),
            betting.RATE_PRIOR,
        )

    return log_e


def _pair_growth(stakes: Sequence[float], gain: Callable[[float], float], mean: float, sd: float) -> Logs:
    """Growth of each stake with a pair, for normal differences clipped into [-1, 1]."""
    values = [max(-1.0, min(1.0, mean + sd * z)) for z in _NORMAL]
    return tuple(sum(log(1 + stake * gain(value)) for value in values) / len(values) for stake in stakes)


def _first(log_e: _Growth, needed: float) -> float | None:
    """When the evidence first suffices; mixtures of growing bets pass a positive threshold once and stay above."""
    high = PASS_S
    while log_e(high) < needed:
        high *= 2
        if high > _NEVER_S:
            return None
    low = 0.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if log_e(middle) < needed else (low, middle)
    return high


#: A thousand years: whatever takes longer never comes.
_NEVER_S = 1000 * 365.25 * DAY


# ---------------------------------------------------------------- the plan


def _steps(times: dict[str, float | None], config: RolloutConfig) -> tuple[tuple[StepPlan, ...], float | None]:
    begins: float | None = 0.0  # None: not before a step without an end
    steps = []
    for weight, hold_s, gates in zip(config.steps, config.hold_s, config.gates, strict=True):
        by_gate = {gate: _left(times[gate], begins) for gate in gates}
        longest = max(gates, key=lambda gate: inf if by_gate[gate] is None else by_gate[gate] or 0.0, default="")
        needed = by_gate[longest] if longest else _left(0.0, begins)
        steps.append(StepPlan(weight, hold_s, needed, longest, by_gate))
        begins = None if begins is None or needed is None else begins + max(hold_s, needed)
    return tuple(steps), begins


def _left(seconds: float | None, begins: float | None) -> float | None:
    return None if seconds is None or begins is None else max(0.0, seconds - begins)


def _unknown(gate: str, figures: TrafficFigures) -> bool:
    return gate.startswith("slow") and gate.removesuffix("_ratio") not in figures.rates


def _condemned(config: RolloutConfig, question: str) -> float:
    """Log wealth of the bets at which a question condemns alone, all others undecided; half of it is a reserve's."""
    part = shares(config)[question]
    return log(2 * (1 / config.alpha - (1 - part)) / part - 1)


def _passes(seconds: float | None) -> float | None:
    return None if seconds is None else ceil(seconds / PASS_S) * PASS_S


def _detect(figures: TrafficFigures, config: RolloutConfig) -> dict[str, float | None]:
    """Times until harm is found, of the kinds that are guarded."""
    found: dict[str, float | None] = {}
    if "errors" in config.guards:
        for times in WORSE:
            found[f"errors x{times}"] = detection_s(min(1.0, times * figures.error_rate), figures, config)
        found["dead"] = detection_s(1.0, figures, config)
    if "quality" in config.guards:
        worse = 2 * config.quality_margin
        grows = _pair_growth(betting.STAKES, float, worse / config.quality_clip, figures.pair_sd)
        after = _first(
            lambda s: betting.mixture(_times(grows, s * figures.pairs_per_day / DAY)),
            _condemned(config, "quality"),
        )
        found[f"quality +{worse:g}"] = _passes(None if after is None else after + figures.label_delay_s)
    return found


def _check(figures: TrafficFigures) -> None:
    rules = (
        ("requests_per_s", 0 <= figures.requests_per_s < inf, "at least 0"),
        ("error_rate", 0 <= figures.error_rate <= 1, "between 0 and 1"),
        ("pairs_per_day", 0 <= figures.pairs_per_day < inf, "at least 0"),
        ("pair_sd", 0 <= figures.pair_sd <= 1, "between 0 and 1: differences are clipped into [-1, 1]"),
        ("label_delay_s", 0 <= figures.label_delay_s < inf, "at least 0"),
        ("rates", all(0 <= rate <= 1 for rate in figures.rates.values()), "between 0 and 1"),
    )
    for name, good, wanted in rules:
        if not good:
            raise InvalidInput(f"figures.{name} = {getattr(figures, name)!r}: must be {wanted}", field=name)


def _warnings(steps: Sequence[StepPlan], figures: TrafficFigures, config: RolloutConfig) -> tuple[str, ...]:
    found = [
        f"{step.weight * 100:g} %: the hold of {step.hold_s:g} s is shorter than the {step.needed_s:.0f} s that "
        f"{step.bound_by} needs"
        for step in steps
        if step.needed_s is not None and step.needed_s > step.hold_s
    ]
    if 0 < figures.requests_per_s < 1 / NO_DATA_S:
        found.append(f"less than one request in {NO_DATA_S:g} s: it will be held for want of data in between")
    asked = any("quality" in gates for gates in config.gates)
    if asked and 0 < figures.pairs_per_day < DAY / NO_LABELS_S:
        found.append(f"less than one outcome in {NO_LABELS_S:g} s: it will be held for want of labels in between")
    found += [
        f"{gate}: nobody has measured how often answers are that slow, so its time is not planned"
        for gate in dict.fromkeys(gate for gates in config.gates for gate in gates)
        if _unknown(gate, figures)
    ]
    if 0 < figures.n < 3 / config.error_slo:
        found.append(f"the error rate rests on {figures.n} executions, too few to tell it from {config.error_slo:g}")
    return tuple(found)


def _refusals(
    times: dict[str, float | None], total: float | None, figures: TrafficFigures, config: RolloutConfig
) -> tuple[str, ...]:
    if figures.requests_per_s == 0:
        return ("no traffic: nothing can be shown",)
    found, sick = [], figures.error_rate >= config.error_slo
    if sick:
        found.append(
            f"errors can never be shown to be below {config.error_slo:g}: the stable version's are at "
            f"{figures.error_rate:g}"
        )
    for gate, seconds in times.items():
        if seconds is not None or _unknown(gate, figures) or (gate == "errors" and sick):  # said already
            continue
        if gate == "quality" and figures.pairs_per_day == 0:
            found.append("quality is asked for, and no outcomes come in")
        else:
            found.append(f"{gate} is asked for, and can never be shown at these figures")
    if total is not None and total > config.deadline_s:
        found.append(f"the evidence takes {total:.0f} s, and the deadline comes after {config.deadline_s:g} s")
    return tuple(found)
