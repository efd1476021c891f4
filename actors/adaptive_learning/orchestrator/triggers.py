"""Decides whether a new version should be trained now, and says why or why not. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from core.clock import DAY, HOUR
from core.schemas.models import ModelVersion
from core.schemas.monitoring import Degradation, DriftReport, ResidualDrift
from core.schemas.predictions import TARGET_AGE_H, TARGETS
from core.schemas.workflows import ENDED, Spent, Trigger, Workflow
from core.settings import LoopSettings

#: What a budget is for.
BUDGET_S = 7 * DAY


@dataclass(frozen=True, slots=True)
class Decision:
    """A trigger, or None; `reason` is for people in both cases. published_from: earlier posts are of another world."""

    trigger: Trigger | None
    reason: str
    published_from: int | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """Errors moved: posts published from a moment on are of another world; posts: how many of them have outcomes."""

    published_from: int
    posts: int


def changed_at(report: DriftReport | None) -> int | None:
    """When the first posts were published whose errors moved; None: they did not, or not so that it matters.

    The onset is when their outcome became known, which is as much later as the target's age.
    """
    if report is None or report.severity not in ("medium", "high"):
        return None
    moved = report.residuals
    if moved is None or moved.onset_estimate is None or moved.stream is None:
        return None
    target = next(t for t in TARGETS if moved.stream.startswith(f"{t}@"))
    return moved.onset_estimate - TARGET_AGE_H[target] * HOUR


def decide(
    *,
    now: int,
    rules: LoopSettings,
    spent: Spent,
    champion: ModelVersion,
    new_labels: int,
    drift: DriftReport | None,
    degraded: tuple[Degradation, ...],
    last: Workflow | None,
    changed: Changed | None = None,
) -> Decision:
    """Drift or degradation of the errors acts; drift of the inputs only informs; enough new outcomes act by themselves.

    spent: on trainings in the last BUDGET_S. new_labels: posts whose outcome became known after the champion's data
    ended. last: the latest workflow. changed: what the drift report says of the world, where errors moved: a new
    version learns from what was published since, and waits until there is enough of it.
    """
    if last is not None and last.step in ENDED and last.trigger != "bootstrap":
        rest = last.updated_at + rules.cool_down_days * DAY - now
        if rest > 0:
            return Decision(None, f"cooling down for another {rest / 3600:.0f} h after the last workflow")
    used_up = _used_up(rules, spent)
    if used_up:
        return Decision(None, used_up)
    if new_labels < rules.least_new_labels:
        return Decision(
            None, f"{new_labels} posts with new outcomes, {rules.least_new_labels} are the least to learn from"
        )
    if changed is not None and changed.posts < rules.enough_new_labels:
        return Decision(
            None,
            f"errors of v{champion.version} moved: {changed.posts} posts published since "
            f"{_day(changed.published_from)} have outcomes, {rules.enough_new_labels} are enough to learn from",
        )
    since = None if changed is None else changed.published_from
    if drift is not None and drift.severity in ("medium", "high") and drift.residuals is not None:
        return Decision("drift", _moved(champion.version, drift.residuals), since)
    worse = [d for d in degraded if d.metric == "mae_log" and d.verdict == "worse" and d.change is not None]
    if worse:
        most = max(worse, key=lambda d: d.recent_n)
        return Decision(
            "performance",
            f"|log error| of v{champion.version} rose by {most.change:.3f} [{most.low:.3f}, {most.high:.3f}] at "
            f"{most.segment} ({most.recent_n} recent outcomes, {most.before_n} before)",
            since,
        )
    enough = max(rules.enough_new_labels, int(rules.enough_new_share * champion.lineage.posts))
    if new_labels >= enough:
        return Decision(
            "outcomes", f"{new_labels} posts with new outcomes since v{champion.version}, {enough} are enough"
        )
    age_days = (now - champion.lineage.data_until) / DAY
    if rules.schedule_days is not None and age_days >= rules.schedule_days:
        return Decision(
            "schedule", f"the data of v{champion.version} is {age_days:.1f} days old, due at {rules.schedule_days:g}"
        )
    return Decision(
        None, f"{new_labels} of {enough} posts with new outcomes since v{champion.version}; no drift of errors"
    )


def _used_up(rules: LoopSettings, spent: Spent) -> str:
    """What of the week's budget is gone; empty: nothing."""
    if spent.trainings >= rules.trainings_a_week:
        return f"the week's budget of {rules.trainings_a_week} trainings is used up ({spent.trainings})"
    if spent.seconds >= rules.training_s_a_week:
        return f"the week's budget of {rules.training_s_a_week:g} s of training is used up ({spent.seconds:.0f} s)"
    return ""


def _moved(version: int, residuals: ResidualDrift) -> str:
    what = "size of the log error" if (residuals.stream or "").endswith("spread") else "signed log error"
    where = f" of {residuals.stream}" if residuals.stream else ""
    return (
        f"errors of v{version} moved: mean {what}{where} from {_signed(residuals.mean_before)} to "
        f"{_signed(residuals.mean_after)} ({residuals.n} outcomes)"
    )


def _day(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")


def _signed(value: float | None) -> str:
    return "unknown" if value is None else f"{value:+.3f}"
