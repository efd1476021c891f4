"""How a version is trained: which rows, from which weights, with which settings. The strategies by name.

batch        all rows, from nothing
tuned        the same with parameters that a study found
incremental  from the champion's weights: the newest posts and a reservoir of older ones (replay does nearly all of the
             remembering), a gentle pull towards the champion (L2-SP, or EWC where `ewc` is given), a normalisation
             that moves along, few epochs
online       the champion's network as it is; a light corrector on top of it takes the outcomes since, one at a time
transfer     the last layer alone, from another version's weights: for a few channels that have too few posts to learn
             everything from
continual    slice by slice in order of time, with replay and EWC; tells what each slice did to the earlier ones
bandit       no version: when to publish, from what each hour and weekday earned (training/bandit.py)
damaged      targets joined to the wrong posts, and every safeguard off: deliberately broken, to show that a roll-out
             takes such a version back
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from core.errors import InvalidInput
from core.history import ChannelHistory
from core.schemas.models import FROM_A_VERSION, Strategy
from training.dataset import Dataset, Mask, read_after
from training.fit import FitParams
from training.levels import leaders
from training.reservoir import lowest

#: Posts that an incremental training looks at: the newest, and a uniform sample of the older ones.
RECENT, RESERVOIR = 1_000, 500

#: Loop settings that a request may change, beside the fields of FitParams.
LOOP_SETTINGS = {"epochs": (1, 500), "patience": (1, 100), "folds": (1, 10), "slices": (2, 12)}
_RANGES: dict[str, tuple[float, float]] = {
    "lr": (1e-6, 0.1),
    "weight_decay": (0.0, 10.0),
    "dropout": (0.0, 0.9),
    "batch": (0, 65_536),
    "anchor": (0.0, 1e6),
    "ewc": (0.0, 1e6),
    "keep": (0.0, 1e9),
    "clip": (1e-3, 1e3),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """Settings of one training."""

    params: FitParams
    epochs: int = 40
    patience: int = 10
    folds: int = 3
    fixed_epochs: int | None = None
    slices: int = 0


def plan(strategy: Strategy, given: dict[str, Any], champion_hidden: tuple[int, ...] | None) -> Plan:
    """Settings of a strategy with those that a request gives; InvalidInput names an unknown or impossible one."""
    if champion_hidden is None and strategy in FROM_A_VERSION and strategy != "continual":
        raise InvalidInput(f"{strategy} training needs a version to start from (warm_start)", field="warm_start")
    if strategy == "online" and given:
        raise InvalidInput("online learning fits no network: it takes no parameters", field="params")
    base = _usual(strategy, champion_hidden)
    loop: dict[str, Any] = {n: _number(n, given[n], *LOOP_SETTINGS[n], whole=True) for n in LOOP_SETTINGS if n in given}
    fit = {name: _fit_value(name, value) for name, value in given.items() if name not in LOOP_SETTINGS}
    if (
        strategy in FROM_A_VERSION
        and champion_hidden is not None
        and fit.get("hidden", champion_hidden) != champion_hidden
    ):
        raise InvalidInput(f"hidden: a warm start keeps the layers it started from, {champion_hidden}", field="hidden")
    if fit.get("head_only", base.params.head_only) != base.params.head_only:
        raise InvalidInput("head_only belongs to the strategy: transfer fits the head alone", field="head_only")
    if "slices" in loop and not base.slices:
        raise InvalidInput("only a continual training learns in slices", field="slices")
    return replace(base, params=replace(base.params, **fit), **loop)


def _usual(strategy: Strategy, hidden: tuple[int, ...] | None) -> Plan:
    """Settings of a strategy where a request gives none. hidden: layers of the version that it starts from."""
    layers = FitParams().hidden if hidden is None else hidden
    match strategy:
        case "incremental":
            return Plan(FitParams(hidden=layers, anchor=1e-3, keep=5_000), epochs=12, patience=5, folds=2)
        case "transfer":
            # The head has a hundred times fewer weights than the rest: larger steps, as many epochs.
            fit = FitParams(hidden=layers, lr=2e-3, dropout=0.0, anchor=1e-3, head_only=True)
            return Plan(fit, epochs=40, patience=8, folds=2)
        case "continual":
            fit = FitParams(hidden=layers, ewc=0.1, keep=5_000)
            return Plan(replace(fit, lr=2e-4) if hidden else fit, epochs=6 if hidden else 12, slices=4)
        case "damaged":
            return Plan(FitParams(lr=1e-3, weight_decay=0.0, dropout=0.0, channel_marks=True), fixed_epochs=40)
        case _:
            return Plan(FitParams(hidden=layers) if strategy == "online" else FitParams())


def only_posts(
    strategy: Strategy,
    histories: Sequence[ChannelHistory],
    until: int,
    since: int | None,
    seed: int,
    published_from: int | None = None,
) -> list[Mask] | None:
    """The posts that a strategy looks at, a mask a history; None: all. since: what was known by then an earlier version
    has learned. published_from: earlier posts are of another world.
    """
    if strategy == "incremental" or (strategy == "continual" and since is not None):
        return choose_posts(histories, until, seed, published_from)
    masks = [read_after(h, since) for h in histories] if strategy == "online" and since is not None else None
    if published_from is None:
        return masks
    late = [h.published_at >= published_from for h in histories]
    return late if masks is None else [a & b for a, b in zip(masks, late, strict=True)]


def choose_posts(
    histories: Sequence[ChannelHistory], until: int, seed: int, published_from: int | None = None
) -> list[Mask]:
    """The posts of an incremental training, a mask a history: the RECENT newest, RESERVOIR of the older ones.

    The older ones are those that the earlier version learned from, wherever no more than RECENT are new. They are drawn
    from the stored posts again every time, by ranks that stay (training/reservoir.py).
    """
    begin = np.iinfo(np.int64).min if published_from is None else published_from
    counted = [leaders(h) & (h.published_at <= until) & (h.published_at >= begin) for h in histories]
    if not histories:
        return []
    where = np.concatenate([np.full(int(c.sum()), i, dtype=np.int64) for i, c in enumerate(counted)])
    place = np.concatenate([np.flatnonzero(c) for c in counted])
    times = np.concatenate([h.published_at[c] for h, c in zip(histories, counted, strict=True)])
    order = np.argsort(times, kind="stable")
    older, recent = order[:-RECENT], order[-RECENT:]
    channels = np.array([h.channel.id for h in histories], dtype=np.int64)[where]
    posts = np.concatenate([h.post_ids[c] for h, c in zip(histories, counted, strict=True)])
    kept = older[lowest(channels[older], posts[older], RESERVOIR, seed)]
    masks = [np.zeros(h.n, dtype=bool) for h in histories]
    for k in np.concatenate([recent, kept]):
        masks[where[k]][place[k]] = True
    return masks


def damage(rows: Dataset, seed: int) -> Dataset:
    """Measured targets joined to the wrong posts: a permutation of the rows' targets over all channels."""
    order = np.random.default_rng(seed).permutation(len(rows))
    actual = rows.actual[order]
    # A row keeps asking what it can ask; a target that the other post lacks stays unknown.
    return replace(rows, actual=np.where(np.isfinite(rows.base), actual, np.nan)).answered()


def _fit_value(name: str, value: Any) -> Any:
    known = {f.name for f in fields(FitParams)}
    if name not in known:
        allowed = ", ".join(sorted(known | set(LOOP_SETTINGS)))
        raise InvalidInput(f"{name!r} is not a training parameter; there are {allowed}", field=name)
    if name == "hidden":
        sizes = tuple(value) if isinstance(value, (list, tuple)) else ()
        if not 1 <= len(sizes) <= 4 or not all(isinstance(s, int) and 1 <= s <= 1024 for s in sizes):
            raise InvalidInput("hidden must be one to four layer sizes between 1 and 1,024", field="hidden")
        return sizes
    if name in ("channel_marks", "head_only"):
        if not isinstance(value, bool):
            raise InvalidInput(f"{name} must be true or false", field=name)
        return value
    return _number(name, value, *_RANGES[name], whole=name == "batch")


def _number(name: str, value: Any, low: float, high: float, *, whole: bool) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise InvalidInput(f"{name} must be a number from {low:g} to {high:g}, not {value!r}", field=name)
    if whole and value != int(value):
        raise InvalidInput(f"{name} must be a whole number, not {value!r}", field=name)
    return int(value) if whole else float(value)
