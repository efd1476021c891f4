"""What can be said of a post's views without a model: from the channel's earlier results and the post's own start."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from core.clock import HOUR
from core.history import ChannelHistory, Floats, Ints, views_at
from core.schemas.predictions import KNOWN_AGES_H, TARGETS
from training.dataset import Dataset
from training.features import FeatureBuilder
from training.levels import MIN_HISTORY, LogSeries, leaders

Rule = Callable[[Floats], float]

#: Of the logarithms that had matured at the moment, in order of publication.
RULES: dict[str, Rule] = {
    "channel_mean": lambda logs: float(np.mean(logs)),
    "median_10": lambda logs: float(np.median(logs[-10:])),
    "median_30": lambda logs: float(np.median(logs[-30:])),
    "last": lambda logs: float(logs[-1]),
}
RATIO = "ratio"
#: Posts that a channel's usual ratio of later to early views is the median of.
_RATIOS = 30


def usual(histories: Sequence[ChannelHistory], rows: Dataset) -> dict[str, Floats]:
    """Forecasts of each rule (n x T, natural log), and of "views at the known age x the channel's usual ratio".

    Only what was known at each row's moment is used; NaN where there is too little of it.
    """
    out = {name: np.full((len(rows), len(TARGETS)), np.nan) for name in (*RULES, RATIO)}
    for history in histories:
        mine = np.flatnonzero(rows.channel == history.channel.id)
        if len(mine) == 0:
            continue
        builder, counted = FeatureBuilder(history), leaders(history)
        early = {age: LogSeries.of(history, views_at(history, age * HOUR), counted) for age in KNOWN_AGES_H[1:]}
        for i in mine:
            place, moment, age = history.index_of(int(rows.post_id[i])), int(rows.as_of[i]), int(rows.known_age[i])
            for t, target in enumerate(TARGETS):
                if target not in builder.targets or not np.isfinite(rows.base[i, t]):
                    continue
                series = builder.target(target)
                known = series.known(moment, 0, place)
                for name, rule in RULES.items():
                    out[name][i, t] = rule(series.log[known])
                if age and place is not None:
                    out[RATIO][i, t] = _ratio(series, early[age], series.index[known], moment, place)
    return out


def _ratio(late: LogSeries, early: LogSeries, posts: Ints, moment: int, place: int) -> float:
    """The post's own early views times the median ratio of late to early views."""
    both = posts[early.known_at_of_post[posts] <= moment][-_RATIOS:]
    if len(both) < MIN_HISTORY:
        return float("nan")
    return float(early.of_post[place] + np.median(late.of_post[both] - early.of_post[both]))
