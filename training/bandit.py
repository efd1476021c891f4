"""When to publish: a bandit over the hours of the week that learns from what posts earned.

An arm is an hour of a weekday in the channel's zone. Its reward is log(views at 24 h) above the channel's usual at the
time of publication, so that a channel that grows does not favour the hours used last. Arms share what they know: the
mean of an arm is a Gaussian process whose covariance is a sum of one for the hour of the day, one for the weekday and
one for the two together, so a rarely used arm is drawn towards its hour's and its weekday's own. What is old counts
less. Exploration is Thompson sampling (Thompson 1933; with discounting, Raj & Kalyani 2017).

What posts earned at an hour is not what the hour did: nobody drew the hours by lot. Draws of `choose` are such lots.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.clock import DAY, HOUR
from core.errors import ArtifactCorrupt, InsufficientData
from core.history import NEVER, ChannelHistory, Floats, Ints, views_at
from training.dataset import Mask
from training.levels import LOOKBACK, LogSeries, leaders, level
from training.localtime import local_time, zone_of

HOURS, DAYS = 24, 7
ARMS = HOURS * DAYS
#: Days after which a result counts half.
HALF_LIFE_DAYS = 90.0
#: Fewer results than this, or fewer different arms, say nothing about the others.
LEAST_POSTS, LEAST_ARMS = 40, 6
#: Results further from the usual than this count as this far, natural log: one hit must not make an hour.
CLIP = 1.5
#: Standard deviations of the parts (natural log) that are tried, and how far hours of the day are alike.
_AMPLITUDES = (0.02, 0.08, 0.2)
_ALIKE_H = 2.0
_LEAST_NOISE = 0.05
_DRAWS = 2_000
_MEAN = 0.1


@dataclass(frozen=True, slots=True)
class Prior:
    """Standard deviations, natural log: of hours of the day, weekdays, single arms, and one result around its arm."""

    hour: float
    weekday: float
    arm: float
    noise: float


@dataclass(frozen=True, slots=True)
class Posterior:
    """Belief about the arms' means: mean (ARMS), covariance (ARMS x ARMS)."""

    mean: Floats
    covariance: Floats

    def draw(self, rng: np.random.Generator, count: int) -> Floats:
        """Possible means (count x ARMS)."""
        values, vectors = np.linalg.eigh(self.covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        drawn: Floats = self.mean + rng.standard_normal((count, ARMS)) @ root.T
        return drawn


@dataclass(frozen=True, slots=True)
class Choice:
    """A recommended arm. mean with 90 % interval: log views above the usual; probability: that no other is better."""

    arm: int
    mean: float
    low: float
    high: float
    probability: float
    n: int
    posts: int

    @property
    def weekday(self) -> int:
        """0: Monday."""
        return self.arm // HOURS

    @property
    def hour(self) -> int:
        """0 to 23."""
        return self.arm % HOURS


@dataclass(slots=True)
class Bandit:
    """Discounted sums of results by arm (ARMS each), as of a moment; n: results, undiscounted.

    seen: the moment up to which results were taken, epoch seconds: asking for later ones takes none twice.
    """

    weight: Floats = field(default_factory=lambda: np.zeros(ARMS))
    total: Floats = field(default_factory=lambda: np.zeros(ARMS))
    squares: Floats = field(default_factory=lambda: np.zeros(ARMS))
    n: Ints = field(default_factory=lambda: np.zeros(ARMS, dtype=np.int64))
    at: int = 0
    seen: int = 0
    half_life_days: float = HALF_LIFE_DAYS

    def learn(self, arm: int, reward: float, at: int) -> None:
        """Take a result of an arm, known at a moment not before the last one's."""
        if self.at:
            keep = 0.5 ** (max(at - self.at, 0) / (self.half_life_days * DAY))
            for sums in (self.weight, self.total, self.squares):
                sums *= keep
        self.at = max(self.at, at)
        value = min(max(reward, -CLIP), CLIP)
        self.weight[arm] += 1.0
        self.total[arm] += value
        self.squares[arm] += value * value
        self.n[arm] += 1

    def prior(self) -> Prior:
        """The deviations under which the results are likeliest, of those on a grid (empirical Bayes)."""
        used = np.flatnonzero(self.weight > 1e-6)
        weight = self.weight[used]
        means = self.total[used] / weight
        within = float((self.squares[used] - weight * means**2).sum())
        freedom = float(weight.sum()) - float(np.minimum(weight, 1.0).sum())
        whole = float(self.squares.sum() / self.weight.sum() - (self.total.sum() / self.weight.sum()) ** 2)
        noise = max(np.sqrt(max(within / freedom if freedom > 5 else whole, 0.0)), _LEAST_NOISE)
        candidates = [Prior(h, d, a, float(noise)) for h, d, a in product(_AMPLITUDES, repeat=3)]
        scores = [_evidence(prior, used, weight, means) for prior in candidates]
        return candidates[int(np.argmax(scores))]

    def posterior(self, prior: Prior) -> Posterior:
        """Belief after the results."""
        used = np.flatnonzero(self.weight > 1e-6)
        before = _covariance(prior)
        if not len(used):
            return Posterior(np.zeros(ARMS), before)
        means = self.total[used] / self.weight[used]
        known = before[np.ix_(used, used)] + np.diag(prior.noise**2 / self.weight[used])
        gain = np.linalg.solve(known, before[used]).T
        return Posterior(gain @ means, before - gain @ before[used])

    def choose(self, rng: np.random.Generator, allowed: Mask | None = None, prior: Prior | None = None) -> int:
        """An arm by Thompson sampling: each is drawn as often as it is believed to be the best one.

        allowed: arms that may be chosen (ARMS; default all).
        """
        given = prior if prior is not None else self.prior() if self.n.sum() else Prior(0.1, 0.1, 0.1, 0.3)
        drawn = self.posterior(given).draw(rng, 1)[0]
        return int(np.argmax(drawn if allowed is None else np.where(allowed, drawn, -np.inf)))

    def recommend(self, rng: np.random.Generator, allowed: Mask | None = None) -> Choice:
        """The arm of the highest mean, with the probability that it is the best one; InsufficientData."""
        posts, arms = int(self.n.sum()), int((self.n > 0).sum())
        if posts < LEAST_POSTS:
            raise InsufficientData("too few posts with measured views to compare hours", needed=LEAST_POSTS, have=posts)
        if arms < LEAST_ARMS:
            raise InsufficientData("posts of too few hours of the week to compare", needed=LEAST_ARMS, have=arms)
        belief = self.posterior(self.prior())
        # Without its own results an arm is a guess: what is recommended has been tried.
        possible = (self.n > 0) if allowed is None else allowed & (self.n > 0)
        if not possible.any():
            raise InsufficientData("none of the allowed hours has been used", needed=1, have=0)
        arm = int(np.argmax(np.where(possible, belief.mean, -np.inf)))
        best = np.argmax(np.where(possible, belief.draw(rng, _DRAWS), -np.inf), axis=1)
        deviation = float(np.sqrt(max(belief.covariance[arm, arm], 0.0)))
        mean = float(belief.mean[arm])
        return Choice(
            arm,
            mean,
            mean - 1.645 * deviation,
            mean + 1.645 * deviation,
            float((best == arm).mean()),
            int(self.n[arm]),
            posts,
        )

    def to_plain(self) -> dict[str, Any]:
        """As lists, for JSON."""
        sums = {name: getattr(self, name).tolist() for name in ("weight", "total", "squares", "n")}
        return sums | {"at": self.at, "seen": self.seen, "half_life_days": self.half_life_days}

    @classmethod
    def from_plain(cls, stored: Any) -> Bandit:
        """The bandit in stored lists; ArtifactCorrupt when they are none."""
        try:
            sums = [np.array(stored[name], dtype=float).reshape(ARMS) for name in ("weight", "total", "squares")]
            counts = np.array(stored["n"], dtype=np.int64).reshape(ARMS)
            made = cls(
                sums[0],
                sums[1],
                sums[2],
                counts,
                int(stored["at"]),
                int(stored["seen"]),
                float(stored["half_life_days"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactCorrupt(f"the stored posting-time bandit cannot be read: {error!r}") from error
        if not all(bool(np.isfinite(array).all()) for array in sums):
            raise ArtifactCorrupt("the stored posting-time bandit holds numbers that are not finite")
        return made


@dataclass(frozen=True, slots=True)
class Result:
    """What one post earned: its arm, log views at 24 h above the usual, and when that was known."""

    arm: int
    reward: float
    known_at: int


def results(history: ChannelHistory, after: int, until: int) -> tuple[Result, ...]:
    """Results of a channel's posts that became known after one moment and by another, in that order.

    The usual is the median of the last posts as it was known at publication; posts without one are left out.
    """
    zone = zone_of(history.channel.timezone)
    series = LogSeries.of(history, views_at(history, 24 * HOUR), leaders(history))
    found = []
    for index, published, known, log in zip(
        series.index, series.published_at, series.known_at, series.log, strict=True
    ):
        if not after < known <= until or known == NEVER:
            continue
        places = series.known(int(published), max(int(index) - LOOKBACK, 0), int(index))
        usual = level(series.log[places])
        if usual is not None:
            hour, weekday = local_time(int(published), zone)
            found.append(Result(weekday * HOURS + int(hour), float(log) - usual.log, int(known)))
    return tuple(sorted(found, key=lambda r: (r.known_at, r.arm, r.reward)))


def taught(bandit: Bandit, history: ChannelHistory, until: int) -> int:
    """Teach a bandit what became known since it learned last; how many results."""
    new = results(history, bandit.seen, until)
    for result in new:
        bandit.learn(result.arm, result.reward, result.known_at)
    bandit.seen = max(bandit.seen, until)
    return len(new)


def _covariance(prior: Prior) -> Floats:
    arm = np.arange(ARMS)
    hour, weekday = arm % HOURS, arm // HOURS
    apart = np.abs(hour[:, None] - hour[None, :])
    apart = np.minimum(apart, HOURS - apart)
    alike = np.exp(-0.5 * (apart / _ALIKE_H) ** 2)
    same = (weekday[:, None] == weekday[None, :]).astype(float)
    covariance: Floats = (
        _MEAN**2 + prior.hour**2 * alike + prior.weekday**2 * same + prior.arm**2 * same * alike + 1e-9 * np.eye(ARMS)
    )
    return covariance


def _evidence(prior: Prior, used: NDArray[np.intp], weight: Floats, means: Floats) -> float:
    """Log marginal likelihood of the arms' discounted means."""
    known = _covariance(prior)[np.ix_(used, used)] + np.diag(prior.noise**2 / weight)
    root = np.linalg.cholesky(known)
    half = np.linalg.solve(root, means)
    return float(-0.5 * half @ half - np.log(np.diagonal(root)).sum())
