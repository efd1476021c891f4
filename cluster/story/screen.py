"""What the story prints: every figure with its sample size and interval, every skipped step with what is missing."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from cluster.story.plan import Survey, Timetable
from core.schemas.analytics import AnomalyFinding, Figure, Overview
from core.schemas.models import Evaluation, PairedComparison, Score
from core.schemas.rollouts import Evidence, Phase, RolloutStatus


def day(ts: int) -> str:
    """A moment of the data's timeline."""
    return datetime.fromtimestamp(ts, UTC).strftime("%Y-%m-%d %H:%M")


_COLUMNS = ("held-out", "known age", "posts", "rolling median", "boosted trees", "model", "95 %", "AUC", "cover")


class Screen:
    """The story's lines on a terminal; plain text when piped."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def title(self, text: str) -> None:
        """A new chapter."""
        self.console.print(f"\n[bold]== {text}[/bold]")

    def line(self, text: str) -> None:
        """One finding."""
        self.console.print(f"   {text}", highlight=False, soft_wrap=True)

    def missing(self, step: str, reason: str) -> None:
        """A step that the data cannot carry."""
        self.console.print(f"   [yellow]not done[/yellow]  {step}: {reason}", highlight=False, soft_wrap=True)

    def survey(self, found: Survey) -> None:
        """What was imported."""
        self.line(
            f"{found.channels} channels, {found.posts:,} posts, {found.readings:,} view readings, "
            f"{found.subscriber_readings:,} subscriber readings; {day(found.first)} .. {day(found.last)} UTC"
        )
        for target, n in found.labels.items():
            self.line(f"posts with measured {target}: {n:,}")

    def timetable(self, plan: Timetable) -> None:
        """How the replay will go."""
        self.line(
            f"history until {day(plan.live_from)} ({plan.labels_before} measured posts), then {plan.steps} steps of "
            f"{plan.step_s / 3600:.1f} h to {day(plan.end)} ({plan.labels_after} more posts, "
            f"{len(plan.visits):,} predictions)"
        )
        self.line("time is the data's own, accelerated: no part of the system knows anything before its time")
        if plan.single_reading:
            self.line(
                "assumption: this source has one late reading a post; it stands for the post's final views and is "
                "taken as known 24 h after publishing"
            )

    def overview(self, overview: Overview) -> None:
        """A channel's most telling figures against the period before."""
        known = {figure.metric: figure for figure in overview.figures if figure.value is not None}
        parts = [_figure(known[metric]) for metric in _TELLING if metric in known]
        self.line(f"{overview.channel}: " + ("; ".join(parts[:4]) if parts else "no figures in this period"))

    def anomaly(self, finding: AnomalyFinding) -> None:
        """A finding with its causes."""
        told = [f"{c.factor} {'+' if c.share >= 0 else ''}{_amount(c.share)}" for c in finding.causes[:3]]
        causes = ", ".join(told) or "no cause found in the data"
        self.line(
            f"{day(finding.onset)[:10]} {finding.channel} {finding.metric} {finding.direction} ({finding.kind}, "
            f"{finding.severity}): {_amount(finding.observed)} instead of {_amount(finding.expected)}; {causes}"
        )

    def evaluation(self, evaluation: Evaluation) -> None:
        """A version beside the baselines on the same held-out posts."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 3))
        for head in _COLUMNS:
            table.add_column(head, justify="left" if head == "held-out" else "right", no_wrap=True)
        others = {name: {(s.target, s.known_age_h): s for s in scores} for name, scores in evaluation.scores.items()}
        for score in evaluation.scores.get("model", ()):
            slot = (score.target, score.known_age_h)
            table.add_row(
                score.target,
                f"{score.known_age_h} h",
                str(score.n),
                _mae(others.get("rolling_median", {}).get(slot)),
                _mae(others.get("gradient_boosting", {}).get(slot)),
                _mae(score),
                f"{score.mae_log_low:.3f}..{score.mae_log_high:.3f}",
                "-" if score.auc is None else f"{score.auc:.2f}",
                "-" if score.coverage is None else f"{score.coverage:.2f}",
            )
        self.console.print(table)
        self.line(
            "figures: mean |log error| (0.10 is about 10 %); AUC of 'above own median'; cover of the 80 % interval"
        )

    def comparison(self, versus: PairedComparison) -> None:
        """Challenger against champion on the same rows."""
        self.line(
            f"against the champion on {versus.n} held-out posts: {versus.mean:+.4f} |log error| "
            f"[{versus.low:+.4f}, {versus.high:+.4f}], margin {versus.margin:g}: {versus.verdict.replace('_', ' ')}"
        )

    def answers(self, counts: Counter[str]) -> None:
        """What became of the predictions asked."""
        arms = ("stable", "canary", "rescued")
        self.line(
            f"{sum(counts[arm] for arm in arms):,} predictions answered ({counts['canary']:,} by a canary, "
            f"{counts['rescued']:,} by stable after a canary failed), {counts['failed']:,} failed"
        )
        for code in sorted(set(counts) - {*arms, "failed"}):
            self.line(f"{counts[code]:,} answered '{code}'")

    def rollout(self, status: RolloutStatus, before: str | None) -> None:
        """A change of phase, with the evidence that it rests on."""
        arrow = f"{before} → {status.phase}" if before else status.phase
        colour = _COLOURS.get(status.phase, "cyan")
        self.console.print(
            f"   [{colour}]{arrow}[/{colour}]  v{status.challenger} against v{status.stable}, "
            f"weight {status.weight:.0%}: {status.reason}",
            highlight=False,
            soft_wrap=True,
        )
        for evidence in status.evidence if before not in (None, *_WITHOUT_EVIDENCE) else ():
            # Most of what is watched speaks for neither side: only what asks for proof, or accuses, is shown.
            if evidence.n and (evidence.name.startswith("safety:") or evidence.log_e > 0):
                self.line(f"    {_evidence(evidence)}")


_COLOURS: dict[str, str] = {Phase.PROMOTED: "green", Phase.ROLLED_BACK: "red", Phase.ROLLING_BACK: "red"}
#: Phases whose end rests on no new evidence.
_WITHOUT_EVIDENCE: tuple[str, ...] = (Phase.PREPARING, Phase.ROLLING_BACK)

#: Metrics that a line about a channel begins with, the most telling first.
_TELLING = ("subscribers", "net_growth", "views_24h", "views_final", "views_gained", "err", "vtr", "posting_rate")
_SEVERITIES = ("critical", "high", "medium", "low")


def strongest_first(finding: AnomalyFinding) -> tuple[int, float, int]:
    """Order of findings: severity, then score, then time."""
    return _SEVERITIES.index(finding.severity), -finding.score, finding.onset


def _figure(figure: Figure) -> str:
    assert figure.value is not None
    value = f"{figure.value:.1%}" if figure.unit == "fraction" else _amount(figure.value)
    text = f"{figure.metric} {value} (n {figure.n})"
    if figure.change is not None:
        text += f" {figure.change:+.0%}"
        if figure.change_low is not None and figure.change_high is not None:
            text += f" [{figure.change_low:+.0%}, {figure.change_high:+.0%}]"
    return text


def _amount(value: float) -> str:
    """A quantity without a unit: whole from 10 on, two decimals below."""
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.2f}"


def _mae(score: Score | None) -> str:
    return "-" if score is None else f"{score.mae_log:.3f}"


def _evidence(evidence: Evidence) -> str:
    text = f"{evidence.name}: log e {evidence.log_e:.2f} of {evidence.needed:.2f} needed, n {evidence.n}"
    if evidence.estimate is not None:
        text += f", estimate {evidence.estimate:+.4f}"
        if evidence.low is not None and evidence.high is not None:
            text += f" [{evidence.low:+.4f}, {evidence.high:+.4f}]"
    return text
