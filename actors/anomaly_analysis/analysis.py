"""Splits the difference between two windows of views into its causes, exactly: Shapley values over the factors.

Views of a window = base x posts x sum over (media, hour) of share x views per post + views from outside. Each factor
is moved from its value before to its value after in every possible order, and its share is the mean of what that
changed (Shapley 1953); so the shares do not depend on an order and sum to the whole difference.

Causes are ranked by the geometric mean of a share's size and of how unusual it is beside the same factor's share in
ordinary weeks (days of the window before, drawn again): views from outside are often large and mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import factorial, sqrt

from numpy.random import Generator

Cell = tuple[str, str]  # media, hour band

NUMBER, MEDIA, HOUR, PER_POST, BASE, OUTSIDE = (
    "number of posts",
    "media mix",
    "posting hour",
    "views per post",
    "subscriber base",
    "views from outside",
)
UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class Window:
    """What happened in a span: posts and their views by (media, hour band).

    posts: how many there were of each cell (may be fractions, where posts count by how much of their life lies in the
    window); views: what they brought; days: length; base: subscribers (None: not known); outside: views that did not
    come from the channel's own readers.
    """

    days: float
    posts: Mapping[Cell, float]
    views: Mapping[Cell, float]
    base: float | None = None
    outside: float = 0.0

    @property
    def total(self) -> float:
        """Views a day."""
        return (sum(self.views.values()) + self.outside) / self.days


@dataclass(frozen=True, slots=True)
class _Factors:
    """A window in factors, whose product gives its views a day again."""

    number: float  # posts a day
    media: dict[str, float]  # share of posts
    hour: dict[str, dict[str, float]]  # share of hour bands within a medium
    anywhen: dict[str, float]  # ... over all media, for a medium without posts
    rate: dict[Cell, float]  # views per post and subscriber
    usual_rate: float
    base: float
    outside: float  # views a day


def shapley(value: Callable[[tuple[bool, ...]], float], factors: int) -> list[float]:
    """Shapley values of `factors` players; value(present) is asked once for each of the 2^factors subsets."""
    worth = {present: value(present) for present in product((False, True), repeat=factors)}
    weights = [factorial(k) * factorial(factors - k - 1) / factorial(factors) for k in range(factors)]
    shares = [0.0] * factors
    for present, without in worth.items():
        for i in range(factors):
            if not present[i]:
                joined = (*present[:i], True, *present[i + 1 :])
                shares[i] += weights[sum(present)] * (worth[joined] - without)
    return shares


def decompose(before: Window, after: Window) -> dict[str, float]:
    """Share of each factor in after.total - before.total (views a day); the shares sum to it.

    The subscriber base is a factor only where both windows know it, views from outside only where there are any.
    """
    with_base = bool(before.base and after.base)
    names = [NUMBER, MEDIA, HOUR, PER_POST]
    names += [BASE] if with_base else []
    names += [OUTSIDE] if before.outside or after.outside else []
    cells = tuple(sorted({*before.posts, *after.posts}))
    old, new = _factors(before, cells, with_base), _factors(after, cells, with_base)

    def value(present: tuple[bool, ...]) -> float:
        chosen = {name: new if taken else old for name, taken in zip(names, present, strict=True)}
        return _views(cells, *(chosen.get(name, old) for name in (NUMBER, MEDIA, HOUR, PER_POST, BASE, OUTSIDE)))

    return dict(zip(names, shapley(value, len(names)), strict=True))


def merge(windows: Sequence[Window]) -> Window:
    """Several spans as one; its base is the mean over the days on which it is known."""
    days = sum(w.days for w in windows)
    posts: dict[Cell, float] = {}
    views: dict[Cell, float] = {}
    for window in windows:
        for cell, n in window.posts.items():
            posts[cell] = posts.get(cell, 0.0) + n
        for cell, n in window.views.items():
            views[cell] = views.get(cell, 0.0) + n
    known = [(w.base, w.days) for w in windows if w.base is not None]
    base = sum(b * d for b, d in known) / sum(d for _, d in known) if known else None
    return Window(days, posts, views, base, sum(w.outside for w in windows))


def usual_spread(before: Sequence[Window], days: int, rng: Generator, draws: int = 30) -> dict[str, float]:
    """Standard deviation of each factor's share when nothing happened: some days before against all of them."""
    whole = merge(before)
    squares: dict[str, float] = {}
    for _ in range(draws):
        drawn = merge([before[i] for i in rng.integers(0, len(before), days)])
        for name, share in decompose(whole, drawn).items():
            squares[name] = squares.get(name, 0.0) + share**2 / draws
    return {name: sqrt(square) for name, square in squares.items()}


def ranked(shares: Mapping[str, float], spread: Mapping[str, float]) -> tuple[str, ...]:
    """Factors, the likeliest cause first: by sqrt(size x size / usual spread)."""
    widest = max(spread.values(), default=0.0)

    def rank(name: str) -> float:
        # A factor that never moved before cannot be infinitely surprising.
        usual = max(spread.get(name, 0.0), 0.05 * widest)
        return abs(shares[name]) / sqrt(usual) if usual else abs(shares[name])

    return tuple(sorted(shares, key=rank, reverse=True))


def _factors(window: Window, cells: tuple[Cell, ...], with_base: bool) -> _Factors:
    posts = {cell: float(window.posts.get(cell, 0.0)) for cell in cells}
    total = sum(posts.values())
    base = float(window.base) if with_base and window.base else 1.0
    by_media = _marginal(posts, 0)
    by_hour = _marginal(posts, 1)
    return _Factors(
        number=total / window.days,
        media={m: n / total for m, n in by_media.items()} if total else {},
        hour={m: {h: posts.get((m, h), 0.0) / n for h in by_hour} for m, n in by_media.items() if n},
        anywhen={h: n / total for h, n in by_hour.items()} if total else {},
        rate={cell: window.views.get(cell, 0.0) / n / base for cell, n in posts.items() if n},
        usual_rate=sum(window.views.values()) / total / base if total else 0.0,
        base=base,
        outside=window.outside / window.days,
    )


def _marginal(posts: Mapping[Cell, float], axis: int) -> dict[str, float]:
    result: dict[str, float] = {}
    for cell, n in posts.items():
        result[cell[axis]] = result.get(cell[axis], 0.0) + n
    return result


def _views(
    cells: tuple[Cell, ...],
    number: _Factors,
    media: _Factors,
    hour: _Factors,
    rate: _Factors,
    base: _Factors,
    outside: _Factors,
) -> float:
    per_post = 0.0
    for m, h in cells:
        # A cell that a window lacks: its hours are those of all media, its rate that of all its posts.
        share = media.media.get(m, 0.0) * hour.hour.get(m, hour.anywhen).get(h, 0.0)
        per_post += share * rate.rate.get((m, h), rate.usual_rate)
    return base.base * number.number * per_post + outside.outside
