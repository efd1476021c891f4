"""Hour and weekday effects by partial pooling: hours near each other resemble each other, rare ones rest on the rest.

A linear mixed model (Gelman & Hill 2007, ch. 12) of the posts' log views beside their level:

    y = controls + hour(h) + weekday(w) + hour-in-weekday(h, w) + day + noise

hour is a Gaussian process on the circle of 24 hours (periodic kernel, MacKay 1998), hour-in-weekday one of its own for
each weekday, weekday and day (what all posts of a date share) are independent. The deviations of all effects are
fitted by the marginal likelihood with a prior that keeps them off zero (Chung et al. 2013): a deviation of zero would
claim certainty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from core.history import Floats, Ints

HOURS, WEEKDAYS = 24, 7
CELLS = HOURS * WEEKDAYS
_WIDTH = 0.6  # of the kernel: hours 1, 2, 4 and 8 apart correlate by .91, .69, .25 and .02
_KEPT = 0.995  # of the hour kernel's variance, by its largest components
_LOOSE = 30.0  # deviations of the noise that a control's slope may have


@dataclass(frozen=True, slots=True)
class Profile:
    """Effects of 168 cells (weekday * 24 + hour), log scale, around the mean over the posts: posterior.

    basis: 168 x k. mean: k. covariance: k x k. An effect is basis @ mean.
    """

    basis: Floats
    mean: Floats
    covariance: Floats

    @property
    def effects(self) -> Floats:
        """Posterior means."""
        return np.asarray(self.basis @ self.mean, dtype=float)

    @property
    def deviations(self) -> Floats:
        """Posterior standard deviations."""
        variance: Floats = ((self.basis @ self.covariance) * self.basis).sum(axis=1)
        return np.sqrt(np.maximum(variance, 0.0))

    def drawn(self, rng: np.random.Generator, draws: int) -> Floats:
        """Joint draws of the effects, draws x 168."""
        values, vectors = np.linalg.eigh(self.covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        theta = self.mean + rng.normal(size=(draws, len(values))) @ root.T
        return np.asarray(theta @ self.basis.T, dtype=float)


def fit(y: Floats, hour: Ints, weekday: Ints, day: Ints, controls: Floats) -> Profile:
    """The profile of n posts.

    y: log views beside their level. hour, weekday: in the channel's zone. day: number of the date. controls: n x c,
    about standardised, may have no columns.
    """
    waves = hour_waves()
    model = _Model.of(y, hour, weekday, day, controls, waves)
    start = np.log([0.3, 0.2, 0.1, 0.3])
    found = minimize(model.loss, start, method="L-BFGS-B", bounds=[(-6.0, 2.0)] * 4, options={"maxiter": 60})
    mean, covariance, scale = model.posterior(found.x)
    cells = np.arange(CELLS)
    basis = _features(cells % HOURS, cells // HOURS, waves)
    own = np.bincount(weekday * HOURS + hour, minlength=CELLS) / len(y)
    used = slice(controls.shape[1] + 1, None)
    basis = (basis - own @ basis) * scale[used]
    return Profile(basis, mean[used], covariance[used, used])


def hour_waves() -> Floats:
    """The hour kernel as features: K = waves @ waves.T, 24 x m."""
    values, vectors = np.linalg.eigh(hour_kernel())
    order = np.argsort(values)[::-1]
    kept = order[: int(np.searchsorted(np.cumsum(values[order]) / values.sum(), _KEPT)) + 1]
    return np.asarray(vectors[:, kept] * np.sqrt(values[kept]), dtype=float)


def hour_kernel() -> Floats:
    """How alike the hours of the day are taken to be, 24 x 24."""
    apart = np.arange(HOURS)[:, None] - np.arange(HOURS)[None, :]
    return np.exp(-2 * np.sin(np.pi * apart / HOURS) ** 2 / _WIDTH**2)


def _features(hour: Ints, weekday: Ints, waves: Floats) -> Floats:
    """Columns for hours, weekdays, and hours in each weekday."""
    days = np.eye(WEEKDAYS)[weekday]
    hours = waves[hour]
    inside = (days[:, :, None] * hours[:, None, :]).reshape(len(hour), -1)
    return np.concatenate([hours, days, inside], axis=1)


@dataclass(frozen=True, slots=True)
class _Model:
    """Sums that the likelihood needs. Columns of x: 1, controls, then features; by_day: their sums over each day."""

    n: int
    gram: Floats
    by_y: Floats
    y_by_y: float
    of_day: Floats  # posts of each day
    by_day: Floats  # days x k
    y_by_day: Floats
    groups: Ints  # of each column: -1 control, 0 hour, 1 weekday, 2 hour in weekday

    @classmethod
    def of(cls, y: Floats, hour: Ints, weekday: Ints, day: Ints, controls: Floats, waves: Floats) -> _Model:
        x = np.concatenate([np.ones((len(y), 1)), controls, _features(hour, weekday, waves)], axis=1)
        _, of = np.unique(day, return_inverse=True)
        by_day = np.zeros((int(of.max()) + 1, x.shape[1]))
        np.add.at(by_day, of, x)
        m = waves.shape[1]
        groups = np.repeat([-1, 0, 1, 2], [1 + controls.shape[1], m, WEEKDAYS, WEEKDAYS * m])
        return cls(
            n=len(y),
            gram=x.T @ x,
            by_y=x.T @ y,
            y_by_y=float(y @ y),
            of_day=np.bincount(of).astype(float),
            by_day=by_day,
            y_by_day=np.bincount(of, weights=y).astype(float),
            groups=groups,
        )

    def _whole(self, at: Floats) -> tuple[Floats, tuple[Floats, bool], Floats, float, float]:
        """Scale of each column, factor of the posterior's precision, its mean, squares left, log determinant.

        at: logs of the deviations of hour, weekday, hour in weekday and day, in deviations of the noise.
        """
        tau = np.exp(at)
        scale = np.where(self.groups < 0, _LOOSE, tau[np.maximum(self.groups, 0)])
        held = tau[3] ** 2 / (1 + tau[3] ** 2 * self.of_day)
        gram = self.gram - (self.by_day * held[:, None]).T @ self.by_day
        by_y = self.by_y - self.by_day.T @ (held * self.y_by_day)
        precision = np.eye(len(scale)) + scale[:, None] * gram * scale[None, :]
        factor = cho_factor(precision, lower=True)
        mean = cho_solve(factor, scale * by_y)
        left = self.y_by_y - float(held @ self.y_by_day**2) - float((scale * by_y) @ mean)
        log_det = 2 * float(np.log(np.diag(factor[0])).sum()) + float(np.log1p(tau[3] ** 2 * self.of_day).sum())
        return scale, factor, mean, max(left, 1e-12), log_det

    def loss(self, at: Floats) -> float:
        """Minus twice the log marginal likelihood, the noise profiled out, and prior: tau exp(-tau^2 / 2)."""
        _, _, _, left, log_det = self._whole(at)
        tau = np.exp(at)
        return float(self.n * np.log(left / self.n) + log_det - 2 * (at - tau**2 / 2).sum())

    def posterior(self, at: Floats) -> tuple[Floats, Floats, Floats]:
        """Mean and covariance of the coefficients of the scaled columns, and the scale of each column."""
        scale, factor, mean, left, _ = self._whole(at)
        noise = left / max(self.n - int((self.groups < 0).sum()), 1)
        return mean, noise * cho_solve(factor, np.eye(len(scale))), scale
