"""Follows the arrived data and joins outcomes to predictions; takes ratings and corrections."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Sequence

from actors.adaptive_learning.feedback.joining import known_last, settle
from core.clock import Clock
from core.codec import from_json, to_json
from core.errors import AnalyticBotError, NotFound
from core.history import ChannelHistory
from core.schemas.channels import Event
from core.schemas.health import Health
from core.schemas.predictions import FeedbackAck, FeedbackItem, FeedbackSummary, JoinReport, Outcome
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.events import Outbox
from core.store.feedback import FeedbackStore
from core.store.outcomes import OutcomeStore
from core.store.series import SeriesStates

CONSUMER = "feedback"
#: Cursor over the prediction log: answers asked for after the readings that settle them had been consumed.
ASKED = "feedback:asked"
PAGE = 500  # events a transaction


class Feedback:
    """One pass takes new events, new predictions, and channels whose data is ahead of the clock.

    Three ways in which a target is settled, and none may be missed: a reading arrives for a prediction that waits
    (event); a prediction is asked for when the reading is there already (cursor over the prediction log); readings
    carry times that the clock has not reached yet (the channel is looked at again until it has). Outcomes, offset and
    cursor are committed together, so a killed pass is done again as a whole, and an outcome is unique anyway.
    """

    def __init__(self, database: Database, clock: Clock, tenant: str = "default") -> None:
        self._database = database
        self._clock = clock
        self._tenant = tenant
        self._channels = ChannelStore(database, tenant)
        self._outbox = Outbox(database, tenant)
        self._outcomes = OutcomeStore(database, tenant)
        self._feedback = FeedbackStore(database, tenant)
        self._states = SeriesStates(database)
        self._lock = threading.Lock()

    def submit(self, items: tuple[FeedbackItem, ...]) -> tuple[FeedbackAck, ...]:
        """An answer for each item, in order: stored and how it came, or refused and why; acknowledged means committed.

        InvalidInput for more items than one call may have.
        """
        return self._feedback.add(items, self._clock.now())

    def summary(self) -> FeedbackSummary:
        """Items by what became of them, the refused ones included, and what was said of each version's answers."""
        return self._feedback.summary()

    def catch_up(self) -> JoinReport:
        """Join what the new readings and the new predictions settle."""
        events, joined = 0, Counter[str]()
        with self._lock:
            while True:
                page = self._outbox.after(self._outbox.offset(CONSUMER), PAGE)
                joined.update(self._pass(page))
                events += len(page)
                if len(page) < PAGE:
                    return JoinReport(events, joined.total(), dict(sorted(joined.items())))

    def health(self) -> Health:
        """Read the backlog and whatever is waiting for the clock."""
        try:
            waiting = self._outbox.last() - self._outbox.offset(CONSUMER)
            ahead = len(self._ahead())
            items = self._feedback.tally()
        except AnalyticBotError as error:
            return Health(CONSUMER, "broken", str(error), os.getpid())
        details = {
            "events_waiting": waiting,
            "channels_ahead_of_clock": ahead,
            "outcomes": self._outcomes.last(),
            "items": items,
        }
        return Health(CONSUMER, "ok", f"read the backlog: {waiting} events", os.getpid(), details)

    def _pass(self, page: Sequence[Event]) -> Counter[str]:
        """One transaction's worth of work; returns outcomes by target."""
        now = self._clock.now()
        asked_before = self._outbox.offset(ASKED)
        ahead_before = self._ahead()
        # The log's end is taken before histories are read: what is asked for meanwhile is found by the next pass.
        asked, asked_until = self._outcomes.asked_since(asked_before, now)
        histories = _Histories(self._channels)
        ahead = _ahead_of_clock(page, histories, ahead_before, now)
        outcomes: list[Outcome] = []
        for channel_id, posts in sorted(_work(page, asked, ahead_before).items()):
            pending = self._outcomes.pending(channel_id, posts, now)
            history = histories.of(channel_id) if pending else None
            if history is not None:
                outcomes += settle(history, pending, now)
        if not (page or outcomes or asked_until > asked_before or ahead != ahead_before):
            return Counter()
        with self._database.write() as connection:
            new = self._outcomes.add(connection, outcomes, now)
            if page:
                self._outbox.advance(connection, CONSUMER, page[-1].seq)
            self._outbox.advance(connection, ASKED, asked_until)
            if ahead != ahead_before:
                self._states.save(connection, CONSUMER, self._ahead_key, to_json(ahead), now)
        return Counter(o.target for o in new)

    @property
    def _ahead_key(self) -> str:
        return f"ahead@{self._tenant}"

    def _ahead(self) -> dict[int, int]:
        stored = self._states.load(CONSUMER, self._ahead_key)
        return {} if stored is None else from_json(dict[int, int], stored)


class _Histories:
    """Each channel's history, read once a pass."""

    def __init__(self, channels: ChannelStore) -> None:
        self._channels = channels
        self._read: dict[int, ChannelHistory | None] = {}

    def of(self, channel_id: int) -> ChannelHistory | None:
        """None: the channel was removed, and nothing will ever settle its predictions."""
        if channel_id not in self._read:
            try:
                self._read[channel_id] = self._channels.history(self._channels.by_id(channel_id), counts=True)
            except NotFound:
                self._read[channel_id] = None
        return self._read[channel_id]


def _work(page: Sequence[Event], asked: dict[int, set[int]], ahead: dict[int, int]) -> dict[int, set[int] | None]:
    """Posts to look at by channel; None: all that wait."""
    posts: dict[int, set[int]] = {channel_id: set(of_channel) for channel_id, of_channel in asked.items()}
    for event in page:
        posts.setdefault(event.channel_id, set()).update(event.data.read)
    return {**posts, **dict.fromkeys(ahead)}


def _ahead_of_clock(page: Sequence[Event], histories: _Histories, before: dict[int, int], now: int) -> dict[int, int]:
    """Channels with stored values that are not known yet, and when the last of them will be."""
    ahead = {channel_id: until for channel_id, until in before.items() if until > now}
    for event in page:
        if event.data.last_ts is None or event.data.last_ts <= now:
            continue
        history = histories.of(event.channel_id)
        until = None if history is None else known_last(history, event.data.read, now)
        if until is not None:
            ahead[event.channel_id] = max(until, ahead.get(event.channel_id, until))
    return ahead
