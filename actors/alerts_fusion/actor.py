"""The alerts service: follows arrived data and the clock, keeps alerts, scheduled reports and their outbox."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from actors.alerts_fusion import defaults, digest, lifecycle, validation, watch
from actors.alerts_fusion.book import Book
from actors.alerts_fusion.forecasts import Forecasts
from actors.alerts_fusion.judge import MOST, Judge
from actors.alerts_fusion.live import USUAL_DAYS, live
from actors.alerts_fusion.outbox import Postman
from actors.alerts_fusion.reports.desk import ReportDesk
from actors.alerts_fusion.trial import Trial
from actors.alerts_fusion.wording import excerpt
from core import telemetry
from core.clock import DAY, Clock, SystemClock
from core.delivery.senders import Senders, shown
from core.errors import AnalyticBotError, InsufficientData, InvalidInput, NoData, Refused
from core.protocols import AnalyticsService, AnomalyService, IntelligenceService
from core.schemas.alerts import (
    Alert,
    AlertReport,
    AlertRule,
    AlertState,
    Backtest,
    DefaultRules,
    Delivery,
    DeliveryReport,
    DeliveryState,
    Digest,
    Live,
    RuleSpec,
    Target,
)
from core.schemas.health import Health
from core.schemas.report_schedules import ReportSchedule, ReportSpec, ReportsSent
from core.settings import AlertSettings
from core.store.alert_rules import AlertStore, StoredRule, public
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.deliveries import DeliveryStore
from core.store.events import Outbox
from core.store.shards import Shard
from core.store.watch_lists import WatchListStore

SERVICE = "alerts_fusion"
MOST_DAYS = 400
#: a turn that did not end for so long is no turn any more
STUCK_S = 120.0

log = telemetry.logger(SERVICE)


class Alerts:
    """Implements `core.protocols.AlertsService`; one shard judges the channels whose id falls to it.

    Rule states, alerts, what is told of them and the offset of one batch of events are committed together: killed at
    any moment, the next pass does the same work again with the same result. Four threads: one judges, one delivers,
    one makes reports, one asks for forecasts, so that neither a slow receiver nor a long answer delays the next alert.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        anomaly: AnomalyService,
        analytics: AnalyticsService,
        settings: AlertSettings | None = None,
        tenant: str = "default",
        *,
        intelligence: IntelligenceService | None = None,
        senders: Senders | None = None,
        wall: Clock | None = None,
        seed: int | None = None,
        tick_s: float = 1.0,
        autostart: bool = True,
        shard: int = 0,
        shards: int = 1,
    ) -> None:
        self.database, self.clock, self.tenant = database, clock, tenant
        self.settings = settings or AlertSettings()
        self.senders = senders or Senders(self.settings)
        self.wall = wall or SystemClock()
        self.channels = ChannelStore(database, tenant)
        self.events = Outbox(database, tenant)
        self.store, self.outbox = AlertStore(database, tenant), DeliveryStore(database, tenant)
        self.book = Book(self.store, self.outbox)
        self.shard = Shard(shard, shards)
        self.lists = WatchListStore(database, tenant)
        self.trial = Trial(self.channels, anomaly, self.lists)
        self.judge = Judge(
            database, self.channels, self.book, anomaly, self.settings, clock, self.wall, tenant, self.shard
        )
        self.desk = ReportDesk(
            self.channels, self.lists, self.outbox, analytics, self.senders, clock, self.wall, self.shard
        )
        self.forecasts = Forecasts(self.channels, self.store, intelligence, self.settings, clock, self.wall, self.shard)
        # Jitter must differ between processes, so it is seeded only where somebody asks for it.
        rng = np.random.default_rng(seed)
        self.postman = Postman(self.outbox, self.senders, self.settings, clock, self.wall, rng)
        self._lock, self._reporting, self._asking = threading.Lock(), threading.Lock(), threading.Lock()
        self._failed: dict[str, str] = {}  # turn to its last error
        self._turned: dict[str, float] = {}
        self._stop = threading.Event()
        if self.settings.digest_at is not None:
            digest.last_due(self.settings.digest_at, self.settings.digest_timezone, 0)  # InvalidInput now, not at night
        if autostart:
            turns = {"judge": self.catch_up, "deliver": self.deliver, "report": self.send_reports}
            for name, turn in {**turns, "forecast": self.ask_forecasts}.items():
                self._turned[name] = self.wall.monotonic()
                threading.Thread(target=self._run, args=(name, turn, tick_s), name=name, daemon=True).start()

    def _run(self, name: str, turn: Callable[[], object], tick_s: float) -> None:
        while True:
            try:
                turn()
                self._failed.pop(name, None)
            except Exception as error:  # one bad turn must not end all of them
                self._failed[name] = str(error)
                log.exception("turn failed", turn=name)
            self._turned[name] = self.wall.monotonic()
            if self._stop.wait(tick_s):
                return

    def stop(self) -> None:
        """End the threads."""
        self._stop.set()

    # ------------------------------------------------------------ rules

    def rules(self, channel: str | None = None) -> tuple[AlertRule, ...]:
        """Stored rules by name; of one channel: its own and those for every channel. NotFound."""
        if channel is None:
            return tuple(map(self._judged, self.store.rules()))
        found, lists = self.channels.channel(channel), self.lists.by_name()
        return tuple(self._judged(rule) for rule in self.store.rules(found.id) if watch.meant(rule, found, lists))

    def rule(self, rule_id: str) -> AlertRule:
        """One rule; NotFound."""
        return self._judged(self.store.rule(rule_id))

    def _judged(self, rule: StoredRule) -> AlertRule:
        return replace(_public(rule), not_judged=self.forecasts.not_judged(rule))

    def add_rule(self, spec: RuleSpec, key: str, enabled: bool = True) -> AlertRule:
        """Store a rule after looking whether it can work; see AlertsService."""
        checked, now = validation.checked(spec, self.senders.check), self.clock.now()
        channels = self.trial.meant(checked)
        missing = [gap for channel in channels if (gap := self.trial.gap(checked, channel, now)) is not None]
        if missing and len(missing) == len(channels):
            raise min(missing, key=lambda gap: gap.needed - gap.have)
        channel_id = channels[0].id if checked.channel is not None else None
        return _public(self.store.add_rule(checked, channel_id, key, enabled, now))

    def add_defaults(self, channel: str, targets: tuple[Target, ...] = (Target("log"),)) -> DefaultRules:
        """Store the usual rules that suit a channel's data; called again it adds what suits since, and gives all."""
        found, now = self.channels.channel(channel), self.clock.now()
        history = self.channels.history(found, published_from=now - 90 * DAY, as_of=now)
        rules, left_out = list[AlertRule](), dict[str, str]()
        gap: InsufficientData | None = None
        for spec in defaults.specs(history, targets):
            try:
                rules.append(self.add_rule(spec, f"default:{found.id}:{spec.name}"))
            except InsufficientData as error:
                gap = error
                left_out[spec.name] = error.message
        if not rules and gap is not None:
            raise gap
        return DefaultRules(tuple(rules), left_out)

    def switch_rule(self, rule_id: str, enabled: bool) -> AlertRule:
        """Let a rule rest, which ends its open alerts, or watch again; NotFound."""
        with self._lock:
            if not enabled:
                self.judge.close(rule_id, "the rule was switched off", removed=False)
            else:
                with self.database.write() as connection:
                    self.store.rule(rule_id, connection)
                    self.store.set_rule(connection, rule_id, enabled=True)
        return self.rule(rule_id)

    def remove_rule(self, rule_id: str) -> AlertRule:
        """Take a rule away and end its open alerts; what it raised stays. NotFound."""
        with self._lock:
            return _public(replace(self.judge.close(rule_id, "the rule was removed", removed=True), enabled=False))

    # ------------------------------------------------------------ backtest, live

    def backtest(self, spec: RuleSpec, days: int = 90) -> Backtest:
        """What a rule, stored or not, would have raised in the last days of stored history."""
        if not 1 <= days <= MOST_DAYS:
            raise InvalidInput(f"{days} days: between 1 and {MOST_DAYS}", field="days")
        checked = validation.checked(spec, lambda _target: None)  # nobody is told
        channels = self.trial.meant(checked)
        if not channels:
            raise NoData("there is no channel to try the rule on: import data first")
        now = self.clock.now()
        gap = None if checked.channel is None else self.trial.gap(checked, channels[0], now)
        if gap is not None:
            raise gap
        found = tuple(self.trial.past(checked, channel, days, now) for channel in channels)
        rates = [one.per_30_days for one in found if one.per_30_days is not None]
        rate = sum(rates) / len(rates) if rates else None
        return Backtest(_shown(checked), sum(len(one.alerts) + one.unlisted for one in found), rate, found)

    def live(self, channel: str) -> Live:
        """Fresh posts: how fast they are read, beside what is usual at their age."""
        found, now = self.channels.channel(channel), self.clock.now()
        history = self.channels.history(found, published_from=now - (USUAL_DAYS + 10) * DAY, as_of=now)
        newest = self.channels.newest(found, now)
        if newest is None:
            raise NoData(f"no data stored of {channel}", channel=channel)
        seen = live(history, now, newest)
        texts = self.channels.posts.texts(found, [post.post_id for post in seen.posts])
        posts = tuple(replace(post, excerpt=excerpt(texts.get(post.post_id))) for post in seen.posts)
        return replace(seen, posts=posts)

    # ------------------------------------------------------------ alerts

    def alerts(
        self,
        channel: str | None = None,
        state: AlertState | None = None,
        since: int | None = None,
        limit: int = 100,
    ) -> tuple[Alert, ...]:
        """Newest first; since: raised then or later, or open since then. NotFound, InvalidInput."""
        channel_id = None if channel is None else self.channels.channel(channel).id
        return self.store.alerts(channel_id, state, since, limit=_limited(limit))

    def alert(self, alert_id: str) -> Alert:
        """One alert; NotFound."""
        return self.store.alert(alert_id)[1]

    def acknowledge(self, alert_id: str, by: str) -> Alert:
        """Somebody takes care of it: it is not escalated. NotFound, Refused when it is resolved."""
        who = " ".join(by.split())
        if not 1 <= len(who) <= 100:
            raise InvalidInput("say who acknowledges it, in 1 to 100 characters", field="by")
        return self._change(alert_id, lambda alert, now: lifecycle.acknowledged(alert, who, now))

    def snooze(self, alert_id: str, until: int) -> Alert:
        """Say nothing of it until then; told again if it is still there. NotFound, Refused when it is resolved."""
        return self._change(alert_id, lambda alert, now: lifecycle.snoozed(alert, until, now))

    def _change(self, alert_id: str, turn: Callable[[Alert, int], Alert]) -> Alert:
        now = self.clock.now()
        with self._lock, self.database.write() as connection:
            channel_id, alert = self.store.alert(alert_id, connection)
            changed = turn(alert, now)
            if changed != alert:
                rule = self.store.rule(alert.rule_id, connection)
                self.book.change(connection, self.channels.by_id(channel_id), rule, changed, None, now)
        return changed

    def digest(self, since: int, until: int | None = None) -> Digest:
        """Alerts of a period, until now unless given; InvalidInput for one that ends before it begins."""
        end_ = self.clock.now() + 1 if until is None else until  # what was raised this second is in
        if end_ <= since:
            raise InvalidInput(f"the period ends ({end_}) before it begins ({since})", field="until")
        alerts = self.store.alerts(since=since, until=end_, limit=MOST)
        return digest.digest(alerts, self.outbox.tally(since, end_).get("dead", 0), since, end_)

    def deliveries(
        self, alert_id: str | None = None, state: DeliveryState | None = None, limit: int = 100
    ) -> tuple[Delivery, ...]:
        """What was told or is to be told, newest first. NotFound, InvalidInput."""
        if alert_id is not None:
            self.store.alert(alert_id)
        found = self.outbox.deliveries(alert_id, state, _limited(limit))
        return tuple(replace(one, target=shown(one.target)) for one in found)

    def retry_delivery(self, delivery_id: str) -> Delivery:
        """Try one that was given up again; NotFound, Refused unless it is dead."""
        found = self.outbox.delivery(delivery_id)
        if not self.outbox.revive(delivery_id) and found.state != "pending":
            raise Refused(f"delivery {delivery_id} was not given up: it is {found.state}", delivery=delivery_id)
        found = self.outbox.delivery(delivery_id)
        return replace(found, target=shown(found.target))

    # ------------------------------------------------------------ scheduled reports

    def schedule_report(self, spec: ReportSpec, key: str) -> ReportSchedule:
        """Send a report again and again; see AlertsService."""
        return _public_schedule(self.desk.add(spec, key))

    def report_schedules(self) -> tuple[ReportSchedule, ...]:
        """All, by the moment at which they are due."""
        return tuple(map(_public_schedule, self.desk.store.all()))

    def report_schedule(self, schedule_id: str) -> ReportSchedule:
        """One; NotFound."""
        return _public_schedule(self.desk.store.get(schedule_id))

    def remove_report_schedule(self, schedule_id: str) -> ReportSchedule:
        """Send no more of it; NotFound."""
        return _public_schedule(self.desk.store.remove(schedule_id))

    # ------------------------------------------------------------ the four turns

    def send_reports(self) -> ReportsSent:
        """Write the reports that are due for delivery."""
        with self._reporting:
            return self.desk.turn()

    def deliver(self) -> DeliveryReport:
        """Send what is due."""
        return self.postman.deliver()

    def ask_forecasts(self) -> int:
        """Ask for the forecasts that rules will be judged by; how many questions were answered."""
        with self._asking:
            return self.forecasts.turn()

    def catch_up(self) -> AlertReport:
        """Judge what newly arrived data and the passing of time bring about."""
        with self._lock:
            return self.judge.turn()

    # ------------------------------------------------------------ health

    def health(self) -> Health:
        """Read the offset, the open alerts and the outbox; look whether all turns still turn."""
        try:
            offset, last = self.events.offset(self.judge.consumer), self.events.last()
            rules, open_, tally = len(self.store.rules(enabled=True)), self.store.count_open(), self.outbox.tally()
            due = len(self.outbox.due(self.clock.now(), self.wall.now()))
        except AnalyticBotError as error:
            return Health(SERVICE, "broken", error.message, os.getpid())
        details = {"behind": last - offset, "rules": rules, "open": open_, "due": due, "deliveries": tally}
        stuck = [name for name, at in self._turned.items() if self.wall.monotonic() - at > STUCK_S]
        trouble = {**self._failed, **self.judge.trouble}
        problems = [f"{name}: {error}" for name, error in trouble.items()]
        problems += [f"report {error}" for error in self.desk.trouble.values()]
        if unanswered := list(self.forecasts.trouble.values()):
            problems.append(f"forecasts of rules: {len(unanswered)} not answered ({unanswered[-1]})")
        problems += [f"{name} has not ended a turn for {STUCK_S:g} s" for name in stuck]
        if tally.get("dead"):
            details["given_up"] = tally["dead"]
        did = f"read the offset ({offset} of {last}), {rules} rules, {open_} open alerts and {due} due deliveries" + (
            f"; {'; '.join(problems)}" if problems else ""
        )
        return Health(SERVICE, "degraded" if problems else "ok", did, os.getpid(), details)


def _shown(spec: RuleSpec) -> RuleSpec:
    """A rule's text without what may be secret in addresses."""
    escalation = spec.escalation
    if escalation is not None:
        escalation = replace(escalation, targets=tuple(map(shown, escalation.targets)))
    return replace(spec, targets=tuple(map(shown, spec.targets)), escalation=escalation)


def _public(rule: StoredRule) -> AlertRule:
    return public(rule, _shown(rule.spec))


def _public_schedule(found: ReportSchedule) -> ReportSchedule:
    return replace(found, spec=replace(found.spec, targets=tuple(map(shown, found.spec.targets))))


def _limited(limit: int) -> int:
    if not 1 <= limit <= MOST:
        raise InvalidInput(f"limit {limit}: between 1 and {MOST}", field="limit")
    return limit
