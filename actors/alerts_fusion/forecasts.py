"""Keeps the ledger of forecasts going where rules are judged by it: asks for one after each day that was judged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

from actors.alerts_fusion.judge import CONSUMER, series_of, state_of
from core import telemetry
from core.clock import Clock
from core.codec import from_json, to_json
from core.errors import AnalyticBotError, InsufficientData, ServiceUnavailable
from core.protocols import IntelligenceService
from core.schemas.channels import Channel
from core.schemas.forecasts import ForecastMetric
from core.settings import AlertSettings
from core.store.alert_rules import AlertStore, StoredRule
from core.store.channels import ChannelStore
from core.store.series import SeriesStates
from core.store.shards import Shard

#: names the stored states
SERVICE = "alerts_forecasts"
#: a turn ends after so long and goes on in the next, so that it is seen to turn
TURN_S = 30.0

log = telemetry.logger("alerts_fusion")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is kept of a channel's metric and horizon."""

    day: int  # ordinal of the judged day after which a forecast was asked for
    missing: str | None = None  # why there was none


@dataclass(frozen=True, slots=True)
class Question:
    """A forecast that rules of a channel are judged by."""

    channel: Channel
    metric: ForecastMetric
    horizon_days: int

    @property
    def series(self) -> str:
        """Name of the stored state."""
        return f"{self.channel.id}:{self.metric}:{self.horizon_days}"


@dataclass
class Forecasts:
    """Asks the service that looks ahead, which stores what it says; the first forecast from a day stands.

    A day that was judged is one that was read, so the next forecast rests on it. Killed at any moment, the next turn
    asks again and changes nothing. Not to be called by two threads at once.
    """

    channels: ChannelStore
    rules: AlertStore
    intelligence: IntelligenceService | None  # None: nobody is asked; forecasts are given to others alone
    settings: AlertSettings
    clock: Clock
    wall: Clock
    shard: Shard = Shard()  # noqa: RUF009 - a value
    trouble: dict[str, str] = field(default_factory=dict)  # series to what was said instead of an answer
    _swept_at: float = -float("inf")

    def __post_init__(self) -> None:
        self.states = SeriesStates(self.channels.database)

    def turn(self) -> int:
        """Ask for the forecasts that are due, at most once in `sweep_s`; how many questions were answered."""
        began = self.wall.monotonic()
        if self.intelligence is None or began - self._swept_at < self.settings.sweep_s:
            return 0
        due = self._due()
        self.trouble = {q.series: self.trouble[q.series] for q in due if q.series in self.trouble}
        answered = 0
        # What had no answer is asked last: one channel that takes too long must not keep the others waiting.
        for question in sorted(due, key=lambda q: (q.series in self.trouble, q.series)):
            if self.wall.monotonic() - began > TURN_S:
                return answered
            try:
                self._ask(self.intelligence, question, due[question])
                answered += 1
            except AnalyticBotError as error:
                self.trouble[question.series] = error.message
                log.warning("no forecast", channel=question.channel.name, error=error.message)
                if isinstance(error, ServiceUnavailable):
                    break
        self._swept_at = self.wall.monotonic()
        return answered

    def not_judged(self, rule: StoredRule) -> dict[str, str]:
        """Channels in which a watching rule has nothing to be judged by, and why."""
        if rule.spec.kind != "forecast" or not rule.enabled:
            return {}
        questions = [_question(rule, c) for c in self.channels.channels() if rule.channel_id in (None, c.id)]
        asked = self._asked(questions)
        missing = {q.channel.name: asked[q.series].missing for q in questions if q.series in asked}
        return {name: f"not judged: {why}" for name, why in missing.items() if why is not None}

    def _ask(self, intelligence: IntelligenceService, question: Question, day: int) -> None:
        missing = None
        try:
            intelligence.forecast(question.channel.name, question.metric, question.horizon_days)
        except InsufficientData as gap:
            missing = gap.message
        self.trouble.pop(question.series, None)
        with self.channels.database.write() as connection:
            self.states.save(connection, SERVICE, question.series, to_json(Asked(day, missing)), self.clock.now())

    def _due(self) -> dict[Question, int]:
        """Questions of the shard that were not asked since a further day was judged, and that day."""
        rules = [rule for rule in self.rules.rules(enabled=True) if rule.spec.kind == "forecast"]
        own = [c for c in self.channels.channels() if self.shard.has(c.id)] if rules else []
        pairs = [(rule, channel) for channel in own for rule in rules if rule.channel_id in (None, channel.id)]
        stored = self.states.some(CONSUMER, [series_of(rule.id, channel.id) for rule, channel in pairs])
        judged: dict[Question, int] = {}
        for rule, channel in pairs:
            last = state_of(stored.get(series_of(rule.id, channel.id))).last_day
            if last is not None:
                question = _question(rule, channel)
                judged[question] = max(last, judged.get(question, last))
        asked = self._asked(judged)
        return {q: day for q, day in judged.items() if q.series not in asked or asked[q.series].day < day}

    def _asked(self, questions: Iterable[Question]) -> dict[str, Asked]:
        found = self.states.some(SERVICE, [question.series for question in questions])
        return {series: from_json(Asked, text) for series, text in found.items()}


def _question(rule: StoredRule, channel: Channel) -> Question:
    return Question(channel, cast(ForecastMetric, rule.spec.metric), rule.spec.horizon_days)
