"""Whether failures have become more frequent: a calibrated CUSUM for 0/1 streams (1: failed, missed, wrong).

Page's likelihood-ratio sums against odds of failure that rose by one of ODDS, in the form of sums of (value - slack).
Their heights allow for the share of failures being known only from the reference. A falling share raises no alarm.
Values must be independent given the share: failures that come in bursts need `Cusum.calibrated`, which measures the
dependence of neighbours.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from actors.adaptive_learning.drift.cusum import LEAST, REACH, Cusum, Learning, at_rest, learned_from
from actors.adaptive_learning.drift.sums import GRID, on_grid
from actors.adaptive_learning.drift.thresholds import JOINT, WIDER, bernoulli_height, soonest
from core.errors import InsufficientData, InvalidInput

#: Rises of the log odds that are looked for: .2 -> .29, .40, .65, .93; .001 -> .0016, .0027, .0073, .052.
ODDS = (0.5, 1.0, 2.0, 4.0)
#: Failures below which the share is not learned from values in service: it could move by more than a quarter of
#: itself, for which heights of another share are no guide.
FEW = 64


def error_rate(failures: int, n: int, rate: float) -> Cusum:
    """A detector from the failures among n reference values; `rate`: false alarms a row. `update(1.0, at)`: a failure.

    Raises InsufficientData below LEAST reference values, InvalidInput unless 0 <= failures <= n.
    """
    if not 0 <= failures <= n:
        raise InvalidInput(f"{failures} failures among {n}", field="failures")
    if n < LEAST:
        raise InsufficientData("too few reference values for an error rate", needed=LEAST, have=n)
    share = (failures + 0.5) / (n + 1)  # mean under Jeffreys' prior: neither 0 nor 1
    overshoot = max(1.0 - 2.0 * share, 0.0) / 3.0  # skewness part of the expected excess, the only one for rare ones
    risen = [1.0 / (1.0 + (1.0 - share) / share * float(np.exp(-odds))) for odds in ODDS]
    costs = [1.0 / _information(share, to) for to in risen]
    slacks, parts = list[float](), [rate / JOINT * cost / sum(costs) for cost in costs]

    def height(part: float, known: float, base: float, slack: float) -> float:
        return bernoulli_height(base + slack, part, base * known, known, overshoot)

    for to, odds, part in zip(risen, ODDS, parts, strict=True):
        best = float(np.log((1 - share) / (1 - to))) / odds - share  # zero of the log-likelihood ratio
        tried = [max(on_grid(best * wider), GRID) for wider in WIDER]
        slacks.append(soonest(to - share, tried, partial(height, part, n, failures / n)))
    error = float(np.sqrt(share * (1 - share) / n))

    def every(known: float, base: float) -> tuple[float, ...]:
        return tuple(height(part, known, base, slack) for slack, part in zip(slacks, parts, strict=True))

    now = every(n, failures / n)
    steps = learned_from(n)[1:] if failures >= FEW else []
    later = [every(known, failures / n) for known in steps]
    higher = [every(known, failures / n + error) for known in steps]
    slopes = tuple(tuple((np.array(high) - low) / error) for high, low in zip(higher, later, strict=True))
    delay = max(h / (to - share - slack) for h, to, slack in zip(now, risen, slacks, strict=True))
    learning = None
    if later:
        learning = Learning.begun(n, REACH * error, delay, later)
        learning.slopes = slopes
    return Cusum(share, 1.0, 0.0, 1.0, now, at_rest(tuple(slacks)), (), slacks=tuple(slacks), learning=learning)


def _information(share: float, risen: float) -> float:
    """Kullback-Leibler divergence a row: a part p of the false alarms costs log(1 / p) of its inverse in rows."""
    return risen * float(np.log(risen / share)) + (1 - risen) * float(np.log((1 - risen) / (1 - share)))
