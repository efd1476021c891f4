"""E-processes: wealth of bets against a hypothesis, which may be looked at after every observation.

If the hypothesis is true, the wealth ever reaches 1/a with probability at most a (Ville's inequality), however the
amount of traffic, its split or the base rate change and however often one looks. Each process here is a mixture over a
small grid of bets; its state is one logarithm a grid point. Methods: Waudby-Smith and Ramdas, "Estimating means of
bounded random variables by betting" (2024); Shafer and Vovk, "Game-Theoretic Foundations" (2019).
"""

from __future__ import annotations

from math import exp, log, log1p

Logs = tuple[float, ...]

#: How many times as bad the canary may be, log-spaced: one bet each; for being slow, finer.
RATIOS: Logs = tuple(1.25 * (64 / 1.25) ** (k / 15) for k in range(16))
SLOW_RATIOS: Logs = tuple(1.05 * (8 / 1.05) ** (k / 15) for k in range(16))
#: How many times as bad as the bound that is to be refuted, for the twin that clears.
TWIN_RATIOS: Logs = (0.05, 0.2, 0.35, 0.5, 0.65, 0.8)
#: Shares bet on against the one that was ordered, as odds ratios.
SHARE_ODDS: Logs = (0.125, 0.25, 0.5, 0.75, 4 / 3, 2.0, 4.0, 8.0)
#: Error rates bet on, as shares of the bound; a clean record is bet on most.
RATE_SHARES: Logs = (0.02, 0.1, 0.25, 0.5, 0.75)
RATE_PRIOR: Logs = (0.4, 0.2, 0.15, 0.15, 0.1)
#: Stakes on a bounded mean, as shares of the largest stake that cannot go broke.
STAKES: Logs = (0.03, 0.1, 0.2, 0.4, 0.7, 0.95)

#: Observations after which a reserve begins to be staked less with each.
RESERVE_N = 10.0

#: Wealth of one on each grid point, before anything was seen.
NO_RATIO_BETS: Logs = (0.0,) * len(RATIOS)
NO_TWIN_BETS: Logs = (0.0,) * len(TWIN_RATIOS)
NO_SHARE_BETS: Logs = (0.0,) * len(SHARE_ODDS)
NO_RATE_BETS: Logs = (0.0,) * len(RATE_SHARES)
NO_MEAN_BETS: Logs = (0.0,) * len(STAKES)


def mixture(logs: Logs, prior: Logs | None = None) -> float:
    """Logarithm of the mean wealth; `prior` sums to one, default: equal shares."""
    shares = prior or (1 / len(logs),) * len(logs)
    top = max(logs)
    return top + log(sum(share * exp(value - top) for share, value in zip(shares, logs, strict=True)))


def kept(n: int) -> float:
    """The part of a reserve that is not staked yet after n observations; 1 before the first, and never all gone.

    What is staked later has not lost what earlier stakes lost while all was well, so a fault that begins late is found
    about as fast as one that was there from the start: the price is log n, whenever it begins.
    """
    return 1.0 / (1.0 + log1p(n / RESERVE_N))


def staked(logs: Logs, before: int, after: int) -> Logs:
    """The wealth of each bet with what leaves the reserve between two numbers of observations."""
    more = kept(before) - kept(after)
    return tuple(max(value, log(more)) + log1p(exp(-abs(value - log(more)))) for value in logs) if more > 0 else logs


def wealth(logs: Logs, n: int) -> float:
    """Logarithm of all wealth after n observations: half was staked at once, half is the reserve's."""
    return log(0.5 * exp(min(mixture(logs), 700.0)) + 0.5 * kept(n))


def event_costs(grid: Logs, share: float, bound: float = 1.0) -> Logs:
    """What each bet of `on_events` pays for every event at this share: the same for all counts of one tick.

    share: the canary's realised share, in (0, 1), of the executions among which the events happen.
    """
    base = log(bound * share + 1.0 - share)
    return tuple(log(r * bound * share + 1.0 - share) - base for r in grid)


def on_events(logs: Logs, gains: Logs, costs: Logs, canary_events: int, stable_events: int) -> Logs:
    """Bet on which version an event falls, given that it happens; hypothesis about the ratio of their event rates.

    gains: logarithms of the grid of ratios, relative to the bound. With ratios above one the hypothesis is "at most
    bound times as often on the canary", with ratios below one it is "at least". Under it an event falls on the canary
    with probability at most (at least) b s/(b s + 1 - s). A request executed by both versions may fail on both: the
    product then shrinks for ratios above one, so common failures never speak against the canary.
    """
    events = canary_events + stable_events
    return tuple(
        value + canary_events * gain - events * cost for value, gain, cost in zip(logs, gains, costs, strict=True)
    )


def off_share(logs: Logs, canary_keys: int, stable_keys: int, share: float) -> Logs:
    """Bet that keys reach the canary with another probability than `share`; hypothesis: exactly with it."""
    keys = canary_keys + stable_keys
    return tuple(
        value + canary_keys * log(odds) - keys * log(odds * share + 1.0 - share)
        for value, odds in zip(logs, SHARE_ODDS, strict=True)
    )


def rate_below(logs: Logs, n: int, events: int, bound: float) -> Logs:
    """Bet that events are rarer than `bound`; hypothesis: each execution fails with at least that probability."""
    return tuple(
        value + events * log(share) + (n - events) * (log(1.0 - share * bound) - log(1.0 - bound))
        for value, share in zip(logs, RATE_SHARES, strict=True)
    )


def mean_above(logs: Logs, value: float) -> Logs:
    """Bet that the mean of values in [-1, 1] is above zero; hypothesis: at most zero."""
    return tuple(wealth + log(1.0 + stake * value) for wealth, stake in zip(logs, STAKES, strict=True))


def mean_below(logs: Logs, value: float, margin: float) -> Logs:
    """Bet that the mean of values in [-1, 1] is below a margin in (0, 1); hypothesis: at least the margin."""
    largest = 1.0 / (1.0 - margin)
    return tuple(
        wealth + log(1.0 + stake * largest * (margin - value)) for wealth, stake in zip(logs, STAKES, strict=True)
    )
