"""The usual rules for a channel: what an owner wants to hear of at once, and otherwise silence.

Bounds and noise guards were set on simulated channels and counted on others (`python -m bench.alerts`): a steady
channel stays silent, a fall by 30 % of how much everything is read is told on the day after it.
"""

from __future__ import annotations

import math
from dataclasses import replace

from actors.alerts_fusion.samples import DATA_AGE
from core.accrual import usual_interval
from core.clock import HOUR
from core.history import ChannelHistory
from core.schemas.alerts import RuleSpec, Target

#: data is stale after so many usual intervals between readings, and not before so many hours
STALE_INTERVALS = 4
LEAST_STALE_H = 12


def specs(history: ChannelHistory, targets: tuple[Target, ...]) -> tuple[RuleSpec, ...]:
    """Rules for a channel, whether its data suits them or not; the caller looks."""
    usual = (
        RuleSpec(
            "posts are read less",
            "threshold",
            "views_pace",
            threshold=0.82,
            clear=0.93,
            noise=3.0,
            severity="high",
        ),
        RuleSpec(
            "views of a week fall",
            "change",
            "views_gained",
            threshold=-0.25,
            window_days=7,
            reference="previous_period",
            noise=3.0,
        ),
        RuleSpec(
            "view rate falls",
            "change",
            "vtr",
            threshold=-0.25,
            window_days=7,
            noise=3.0,
        ),
        RuleSpec(
            "subscribers leave",
            "threshold",
            "growth_rate",
            threshold=-0.01,
            clear=0.0,
            noise=4.0,
            severity="high",
        ),
        RuleSpec(
            "data is stale",
            "threshold",
            DATA_AGE,
            direction="above",
            threshold=stale_after_h(history),
        ),
    )
    return tuple(replace(spec, channel=history.channel.name, targets=targets) for spec in usual)


def stale_after_h(history: ChannelHistory) -> float:
    """Hours without data after which a source that is read as this one usually is has stopped."""
    interval = usual_interval(history)
    if interval is None and len(history.subscriber_ts) >= 3:
        gaps = sorted((history.subscriber_ts[1:] - history.subscriber_ts[:-1]).tolist())
        interval = gaps[len(gaps) // 2]
    return float(max(LEAST_STALE_H, math.ceil(STALE_INTERVALS * (interval or 0) / HOUR)))
