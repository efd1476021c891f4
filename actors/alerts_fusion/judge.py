"""One turn of the judge: arrived events, then the clock alone; what it finds is committed with what it rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from actors.alerts_fusion import digest, lifecycle, telling, watch
from actors.alerts_fusion.book import Book
from actors.alerts_fusion.machine import RuleState, end
from actors.alerts_fusion.posts import Seen
from actors.alerts_fusion.samples import DATA_AGE
from core import telemetry
from core.clock import DAY, Clock
from core.codec import from_json, to_json
from core.errors import ServiceUnavailable
from core.protocols import AnomalyService
from core.schemas.alerts import ON_POSTS, AlertReport, Notice
from core.schemas.analytics import AnomalyFinding
from core.schemas.channels import Channel, Event
from core.settings import AlertSettings
from core.store.alert_rules import StoredRule
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.events import Outbox
from core.store.ids import derived_id
from core.store.series import SeriesStates
from core.store.shards import Shard, take_over
from core.store.watch_lists import WatchListStore

CONSUMER = "alerts_fusion"
#: alerts that a digest may have
MOST = 1000
_EVENTS_AT_ONCE = 500


@dataclass(slots=True)
class _Found:
    """What is to be written of a channel."""

    channel: Channel
    happened: list[watch.Happened]
    fresh: dict[str, str]  # rule to its new state
    seen: dict[str, list[Seen]] = field(default_factory=dict)  # rule to posts


@dataclass
class Judge:
    """Keeps nothing but when it swept last; not to be called by two threads at once.

    wall: the machine's clock, for how often to look; clock: the data's.
    """

    database: Database
    channels: ChannelStore
    book: Book
    anomaly: AnomalyService
    settings: AlertSettings
    clock: Clock
    wall: Clock
    tenant: str = "default"
    shard: Shard = Shard()  # noqa: RUF009 - a value
    trouble: dict[str, str] = field(default_factory=dict)  # what does not answer, and what it said
    _swept_at: float = -float("inf")
    _digested: int | None = None
    _took_over: bool = False

    def __post_init__(self) -> None:
        self.consumer = self.shard.consumer(CONSUMER)
        self.events = Outbox(self.database, self.tenant)
        self.states = SeriesStates(self.database)
        self.store, self.outbox = self.book.alerts, self.book.deliveries

    def turn(self) -> AlertReport:
        """Everything that is there to be judged."""
        if not self._took_over:
            take_over(self.events, CONSUMER, self.shard)
            self._took_over = True
        counts: Counter[str] = Counter()
        more = True
        while more:
            events = self.events.after(self.events.offset(self.consumer), _EVENTS_AT_ONCE)
            more = len(events) == _EVENTS_AT_ONCE
            if events:
                counts += self._judge({e.channel_id for e in events if self.shard.has(e.channel_id)}, events)
        if self.wall.monotonic() - self._swept_at >= self.settings.sweep_s:
            # Findings come after the events that led to them, and stale data comes with none.
            counts += self._judge(None, ())
            self._swept_at = self.wall.monotonic()
        counts["escalated"] += self._time_passes()
        if self.shard.index == 0:
            self._daily_digest()  # of all channels
        return AlertReport(counts["events"], counts["raised"], counts["resolved"], counts["escalated"])

    def close(self, rule_id: str, why: str, *, removed: bool) -> StoredRule:
        """Switch a rule off or take it away, and end its open alerts; NotFound."""
        now = self.clock.now()
        with self.database.write() as connection:
            rule = self.store.rule(rule_id, connection)
            self.store.set_rule(connection, rule_id, enabled=False, removed_at=now if removed else None)
            for channel_id, alert in self.store.open_of(connection, rule_id):
                channel, series = self.channels.by_id(channel_id), series_of(rule_id, channel_id)
                self.book.change(connection, channel, rule, lifecycle.resolved(alert, why, now), "resolved", now)
                if rule.spec.kind in ON_POSTS:
                    continue
                state = state_of(self.states.load(CONSUMER, series))
                end(state, rule.spec, now)
                self.states.save(connection, CONSUMER, series, to_json(state), now)
        return rule

    def _judge(self, touched: set[int] | None, events: Sequence[Event]) -> Counter[str]:
        """Judge some channels (None: all of the shard), and commit it with the events that it rests on."""
        while True:
            now, rules = self.clock.now(), self.store.rules(enabled=True)
            done = self._found(rules, touched, events, now)
            if not done and not events:
                return Counter()
            counts = self._commit(rules, done, events, now)
            if counts is not None:
                return counts

    def _found(
        self, rules: Sequence[StoredRule], touched: set[int] | None, events: Sequence[Event], now: int
    ) -> list[_Found]:
        """What is to be written of the channels of which anything is."""
        known = {c.id: c for c in self.channels.channels() if self.shard.has(c.id)} if rules else {}
        lists = self._lists(rules)
        findings = self._findings(rules, now)
        found = []
        for channel_id in sorted(known if touched is None else touched & known.keys()):
            channel = known[channel_id]
            own = [rule for rule in rules if watch.meant(rule, channel, lists)]
            of_posts = [rule for rule in own if rule.spec.kind in ON_POSTS]
            one = self._channel(channel, [rule for rule in own if rule not in of_posts], findings, events, now)
            if of_posts and events:
                one.seen.update(watch.judge_posts(self.channels, channel, of_posts, events, now))
            if one.happened or one.fresh or one.seen:
                found.append(one)
        return found

    def _commit(
        self, rules: Sequence[StoredRule], done: Sequence[_Found], events: Sequence[Event], now: int
    ) -> Counter[str] | None:
        """Write it all together; None when a rule was switched, added or removed meanwhile: judge again."""
        counts: Counter[str] = Counter(events=sum(self.shard.has(e.channel_id) for e in events))
        with self.database.write() as connection:
            if done and self.store.watching(connection) != {rule.id for rule in rules}:
                return None
            for one in done:
                counts += self.book.enter(connection, one.channel, one.happened, now)
                for rule_id, state in one.fresh.items():
                    self.states.save(connection, CONSUMER, series_of(rule_id, one.channel.id), state, now)
            for rule in rules:
                seen = [(one.channel, each) for one in done for each in one.seen.get(rule.id, ())]
                counts["raised"] += self.book.publish(connection, rule, seen, now) if seen else 0
            if events:
                self.events.advance(connection, self.consumer, events[-1].seq)
        return counts

    def _channel(
        self,
        channel: Channel,
        rules: Sequence[StoredRule],
        findings: Sequence[AnomalyFinding] | None,
        events: Iterable[Event],
        now: int,
    ) -> _Found:
        """What rules with a state find in a channel."""
        names = {rule.id: series_of(rule.id, channel.id) for rule in rules}
        some = self.states.some(CONSUMER, list(names.values()))
        stored = {rule_id: some.get(name) for rule_id, name in names.items()}
        states = {rule_id: state_of(text) for rule_id, text in stored.items()}
        happened: list[watch.Happened] = []
        if watch.day_due(channel, states, rules, now):
            happened += watch.judge_days(self.channels, channel, rules, states, now)
        arrived = [e.data.last_ts for e in events if e.channel_id == channel.id and e.data.last_ts is not None]
        own = [f for f in findings or () if f.channel == channel.name]
        for rule in rules:
            state = states[rule.id]
            if rule.spec.kind == "anomaly" and findings is not None:
                happened += watch.judge_findings(channel, rule, state, own, self._told(rule, channel, state), now)
            elif rule.spec.metric == DATA_AGE:
                newest = [t for t in (state.last_data, *arrived) if t is not None and t <= now]
                state.last_data = max(newest) if newest else self.channels.newest(channel, now)
                happened += watch.judge_age(channel, rule, state, now)
        fresh = {rule_id: text for rule_id, state in states.items() if (text := to_json(state)) != stored[rule_id]}
        return _Found(channel, happened, fresh)

    def _lists(self, rules: Sequence[StoredRule]) -> dict[str, tuple[str, ...]]:
        """Channels of the watch lists, where some rule names one; one that is gone is trouble, and has none."""
        named = {rule.spec.watch_list for rule in rules if rule.spec.watch_list is not None}
        known = WatchListStore(self.database, self.tenant).by_name() if named else {}
        gone = sorted(named - known.keys())
        self.trouble.pop("watch lists", None)
        if gone:
            self.trouble["watch lists"] = f"rules name lists that are not there: {', '.join(gone)}"
        return known

    def _told(self, rule: StoredRule, channel: Channel, state: RuleState) -> tuple[str, ...]:
        if not state.firing:
            return ()
        with self.database.read() as connection:
            found = self.store.open_of(connection, rule.id, channel.id)
        return found[0][1].findings if found else ()

    def _findings(self, rules: Sequence[StoredRule], now: int) -> tuple[AnomalyFinding, ...] | None:
        """Recent findings, where some rule asks for them; None: not asked, or not known now."""
        if not any(rule.spec.kind == "anomaly" for rule in rules):
            return None
        try:
            found = self.anomaly.findings(None, now - watch.ANOMALY_DAYS * DAY)
        except ServiceUnavailable as error:
            self.trouble["anomaly"] = error.message
            telemetry.logger(CONSUMER).warning("findings not known", error=error.message)
            return None
        self.trouble.pop("anomaly", None)
        return found

    def _time_passes(self) -> int:
        """Ends of snoozes and escalations that are due; how many were escalated."""
        now, escalated = self.clock.now(), 0
        for alert_id in self.store.due(now, self.shard):
            with self.database.write() as connection:
                channel_id, alert = self.store.alert(alert_id, connection)
                rule = self.store.rule(alert.rule_id, connection)
                changed, about = lifecycle.passed(alert, rule.spec, now)
                if about is not None:
                    self.book.change(connection, self.channels.by_id(channel_id), rule, changed, about, now)
                    escalated += about == "escalated"
        return escalated

    def _daily_digest(self) -> None:
        """The digest that was due last, once; a day on which nothing was and is needs none."""
        settings = self.settings
        if settings.digest_at is None:
            return
        until = digest.last_due(settings.digest_at, settings.digest_timezone, self.clock.now())
        if until == self._digested:
            return
        with self.database.write() as connection:
            alerts = self.store.alerts(since=until - DAY, until=until, limit=MOST)
            dead = self.outbox.tally(until - DAY, until).get("dead", 0)
            found = digest.digest(alerts, dead, until - DAY, until, settings.digest_timezone)
            for target in settings.digest_targets if found.alerts or dead else ():
                identity = derived_id("daily", self.tenant, target.kind, target.address, until)
                notices = tuple(Notice(a.id, "raised", a.raised_at, a.reason, a) for a in found.alerts)
                notice = Notice(identity, "digest", until, found.text, notices=notices)
                telling.write(self.outbox, connection, [telling.Told(target, notice, until)], settings.digest_timezone)
        self._digested = until


def state_of(stored: str | None) -> RuleState:
    """A rule's state in a channel as it is stored; None: never judged."""
    return RuleState() if stored is None else from_json(RuleState, stored)


def series_of(rule_id: str, channel_id: int) -> str:
    """Under which name the state is stored."""
    return f"{rule_id}:{channel_id}"
