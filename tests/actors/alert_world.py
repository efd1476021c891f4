"""An alerts service over a made channel whose data arrives step by step, with a recording way out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from actors.alerts_fusion.actor import Alerts
from actors.analytics_fusion.actor import Analytics
from bench._made_channel import T0, Made
from core.clock import DAY, HOUR, ManualClock
from core.delivery.senders import Message, Senders
from core.errors import AnalyticBotError, ServiceUnavailable
from core.protocols import AnalyticsService
from core.schemas.alerts import Alert, AlertReport, RuleSpec, Target
from core.schemas.analytics import AnomalyFinding
from core.schemas.health import Health
from core.settings import AlertSettings
from core.store.database import Database
from core.store.ingest import IngestWriter


@dataclass
class Findings:
    """The anomaly service with answers that are set."""

    found: tuple[AnomalyFinding, ...] = ()
    down: bool = False

    def findings(self, channel: str | None = None, since: int | None = None) -> tuple[AnomalyFinding, ...]:
        if self.down:
            raise ServiceUnavailable("anomaly_analysis is not running")
        return tuple(f for f in self.found if channel in (None, f.channel))

    def catch_up(self) -> int:
        return 0

    def health(self) -> Health:
        return Health("anomaly_analysis", "ok", "answered", 1)


@dataclass(frozen=True)
class Recording(Senders):
    """Keeps what is sent; `trouble` is raised instead, a target at a time."""

    sent: list[tuple[Target, Message]] = field(default_factory=list)
    trouble: dict[str, AnalyticBotError] = field(default_factory=dict)

    def check(self, target: Target) -> None:
        if target.kind != "webhook":
            super().check(target)

    def send(self, target: Target, message: Message, timestamp: int) -> None:
        if target.kind in self.trouble:
            raise self.trouble[target.kind]
        self.sent.append((target, message))


@dataclass
class AlertWorld:
    """Everything of a test; `service()` is a new object each time, as after a death."""

    database: Database
    made: Made
    settings: AlertSettings = field(default_factory=AlertSettings)
    clock: ManualClock = field(default_factory=lambda: ManualClock(T0))
    wall: ManualClock = field(default_factory=lambda: ManualClock(1_900_000_000))
    anomaly: Findings = field(default_factory=Findings)
    analytics: AnalyticsService | None = None
    fed: int = 0

    def __post_init__(self) -> None:
        self.out = Recording(self.settings)

    def service(self) -> Alerts:
        return Alerts(
            self.database,
            self.clock,
            self.anomaly,
            self.analytics or Analytics(self.database, self.clock),
            self.settings,
            senders=self.out,
            wall=self.wall,
            seed=7,
            autostart=False,
        )

    def feed(self, until: int) -> None:
        """What became known by then, and the clock."""
        IngestWriter(self.database).write(self.made.batch(self.fed, until), until)
        self.wall.advance(max(0, until - self.clock.time))
        self.fed, self.clock.time = until, until

    def wait(self, seconds: float) -> AlertReport:
        """Time passes without data."""
        self.clock.advance(seconds)
        self.wall.advance(seconds)
        return self.service().catch_up()

    def days(self, first: int, last: int, step_h: int = 8) -> list[Alert]:
        """Days of data in steps, judged after each; the alerts as they are then."""
        for until in range(T0 + first * DAY + step_h * HOUR, T0 + last * DAY + 1, step_h * HOUR):
            self.feed(until)
            self.service().catch_up()
        return list(self.service().alerts())

    def add(self, spec: RuleSpec) -> str:
        return self.service().add_rule(spec, spec.name).id

    def told(self) -> list[str]:
        """Deliver what is due; what was told by now, in order."""
        self.service().deliver()
        return [f"{target.kind}: {message.text.splitlines()[0]}" for target, message in self.out.sent]


def finding(name: str, onset: int, **changes: object) -> AnomalyFinding:
    base = AnomalyFinding(
        id=name,
        channel="made",
        metric="net_growth",
        kind="spike",
        direction="down",
        severity="high",
        onset=onset,
        ended=None,
        observed=-900.0,
        expected=10.0,
        score=0.99,
    )
    return replace(base, **changes)  # type: ignore[arg-type]
