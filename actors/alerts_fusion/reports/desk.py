"""Makes the reports that are due and writes them for delivery, once a period, channel and target."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote

from actors.alerts_fusion.reports import schedules, words
from actors.alerts_fusion.reports.schedules import Due
from core import telemetry
from core.clock import DAY, Clock
from core.delivery.senders import Senders
from core.errors import AnalyticBotError, Broken, NotFound, Overloaded
from core.protocols import AnalyticsService
from core.schemas.alerts import Notice
from core.schemas.report_schedules import ReportSchedule, ReportSpec, ReportsSent
from core.schemas.reports import Report, ReportTold
from core.store.channels import ChannelStore
from core.store.deliveries import DeliveryStore
from core.store.ids import derived_id
from core.store.report_schedules import ReportFiles, ReportScheduleStore
from core.store.shards import Shard
from core.store.watch_lists import WatchListStore

#: bytes of a file that is sent; mail servers often take no more
MOST_BYTES = 10 * 1024 * 1024
#: files are kept so long, for deliveries that were given up and are tried again
KEEP_S = 30 * DAY
#: a schedule that could not be done is tried again after so long
RETRY_S = 60.0


@dataclass
class ReportDesk:
    """Keeps nothing but what to try again and when; not to be called by two threads at once."""

    channels: ChannelStore
    lists: WatchListStore
    outbox: DeliveryStore
    analytics: AnalyticsService
    senders: Senders
    clock: Clock
    wall: Clock
    shard: Shard
    trouble: dict[str, str] = field(default_factory=dict)  # schedule to why it could not be done
    _retry_at: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.database = self.outbox.database
        self.store = ReportScheduleStore(self.database, self.outbox.tenant)
        self.files = ReportFiles(self.database, self.outbox.tenant)

    def add(self, spec: ReportSpec, key: str) -> ReportSchedule:
        """Store a schedule; it is due for the first time after now."""
        checked, now = schedules.checked(spec, self.senders.check), self.clock.now()
        if checked.watch_list is not None:
            self.lists.get(checked.watch_list)
        for name in checked.channels:
            self.channels.channel(name)
        return self.store.add(checked, key, now, schedules.next_due(checked, now))

    def turn(self) -> ReportsSent:
        """Everything that is due by now."""
        now, reports, missed, failed = self.clock.now(), 0, 0, 0
        mine = [s for s in self.store.all(due_by=now) if self.shard.has(int(s.id[:15], 16))]
        for gone in self.trouble.keys() - {s.id for s in mine}:
            del self.trouble[gone]
        for schedule in mine:
            if self._retry_at.get(schedule.id, 0.0) > self.wall.monotonic():
                continue
            found = schedules.due_now(schedule, now)
            assert found is not None
            try:
                reports += self._write(schedule, found, now)
                missed += len(found.missed)
                self.trouble.pop(schedule.id, None)
                self._retry_at.pop(schedule.id, None)
            except (Broken, Overloaded) as error:
                failed += 1
                self.trouble[schedule.id] = f"{schedule.spec.name}: {error.message}"
                self._retry_at[schedule.id] = self.wall.monotonic() + RETRY_S
                telemetry.logger("alerts").warning("report not made", schedule=schedule.id, error=error.message)
        if reports:
            self.files.forget(now - KEEP_S)
        return ReportsSent(reports, missed, failed)

    def _write(self, schedule: ReportSchedule, due: Due, now: int) -> int:
        """One period of a schedule into the outbox, a channel at a time; killed in between, the rest is done again."""
        written = 0
        try:
            names = self._names(schedule.spec)
        except NotFound as error:
            written += self._tell(schedule, due, "", error.message, None, now)
        else:
            for name in names:
                if self.outbox.known(self._ids(schedule, due, name)):
                    continue  # written before somebody was killed: all targets in one transaction
                written += self._tell(schedule, due, name, *self._made(schedule.spec, name, due), now)
        with self.database.write() as connection:
            if self.store.stands(connection, schedule):
                self.store.done(connection, schedule.id, due.at, schedules.next_due(schedule.spec, due.at))
        return written

    def _names(self, spec: ReportSpec) -> tuple[str, ...]:
        return spec.channels if spec.watch_list is None else self.lists.get(spec.watch_list).channels

    def _ids(self, schedule: ReportSchedule, due: Due, channel: str) -> list[str]:
        return [
            derived_id("report", schedule.id, due.at, channel, target.kind, target.address)
            for target in schedule.spec.targets
        ]

    def _made(self, spec: ReportSpec, channel: str, due: Due) -> tuple[str, Report | None]:
        """What is said of a channel, and the file; what cannot be reported says why."""
        try:
            overview = self.analytics.overview(channel, due.days, due.at)
            text = words.told(overview, due.days, self.channels.channel(channel).timezone)
            if spec.format == "message":
                return text, None
            return text, self.analytics.report(channel, spec.format, due.days, due.at)
        except (Broken, Overloaded):
            raise
        except AnalyticBotError as error:
            return f"{channel}: no report: {error.message}", None

    def _tell(self, schedule: ReportSchedule, due: Due, channel: str, text: str, file: Report | None, now: int) -> int:
        """A channel's report to every target, in one transaction; 0 where the schedule is gone meanwhile."""
        spec = schedule.spec
        path = None
        if file is not None:
            path = f"/v1/channels/{quote(channel, safe='')}/report?format={spec.format}&days={due.days}&until={due.at}"
            if len(file.content) > MOST_BYTES:
                text += f"\nthe file has {len(file.content):,} bytes, too many to be sent: it is at {path}"
                file = None
        if due.missed:
            text += f"\n{words.missed(due.missed, spec.timezone)}"
        with self.database.write() as connection:
            if not self.store.stands(connection, schedule):
                return 0
            file_id = derived_id("file", schedule.id, due.at, channel)
            kept = None if file is None else self.files.add(connection, file_id, file, now)
            told = ReportTold(schedule.id, spec.name, channel, due.at, due.days, spec.format, path, kept, due.missed)
            for target, identity in zip(spec.targets, self._ids(schedule, due, channel), strict=True):
                notice = Notice(identity, "report", now, f"{spec.name}\n{text}", report=told)
                self.outbox.add(connection, None, target, notice, now)
        return 1
