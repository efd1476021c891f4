"""Decides whether a roll-out's log leads, bit for bit, where its rows say: the state machine goes through it again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

from actors.adaptive_learning.deployment.bookkeeping import Book
from actors.adaptive_learning.deployment.events import Command, Event, Requested
from actors.adaptive_learning.deployment.record import Record, new_record
from actors.adaptive_learning.deployment.reducer import step
from core.codec import from_json, to_json
from core.errors import InvalidInput
from core.store.rollouts import DIGEST, StoredEvent, digest


@dataclass(frozen=True, slots=True)
class Retraced:
    """A row of a log with what the state machine makes of it now."""

    row: StoredEvent
    event: Event
    before: Record  # of the first row: the record itself
    record: Record
    identical: bool  # the row holds this very record, or its hash, and these very orders


def retrace(rows: Sequence[StoredEvent]) -> Iterator[Retraced]:
    """Step the state machine through a log, oldest row first; it goes its own way where a row differs.

    InvalidInput for an empty log, one that does not begin with a request, and a row that cannot be read.
    """
    stored, request = first_record(rows), read_event(rows[0])
    if not isinstance(request, Requested):
        raise InvalidInput(f"the log begins with {request.kind!r}, not with a request", field="rows")
    record = new_record(
        stored.id, stored.model, request.challenger, request.stable, request.config, approved=request.approved
    )
    texts = _Texts()
    yield Retraced(rows[0], request, record, record, _same(rows[0], record, (), texts))
    for row in rows[1:]:
        event, before = read_event(row), record
        record, commands = step(before, event)
        yield Retraced(row, event, before, record, _same(row, record, commands, texts))


def first_record(rows: Sequence[StoredEvent]) -> Record:
    """The record that a log begins with; InvalidInput where there is none."""
    if not rows:
        raise InvalidInput("an empty log tells nothing", field="rows")
    return from_json(Record, rows[0].record)


def read_event(row: StoredEvent) -> Event:
    """A row's event; InvalidInput where it is none that this program knows."""
    return from_json(cast("type[Event]", Event), row.event)


def _same(row: StoredEvent, record: Record, commands: tuple[Command, ...], texts: _Texts) -> bool:
    if row.commands != (to_json(commands) if commands else "[]"):
        return False
    text = texts.of(record)
    return row.record == (digest(text) if row.record.startswith(DIGEST) else text)


_NO_BOOK = Book()
_NO_BOOK_TEXT = f'"book":{to_json(_NO_BOOK)}'


@dataclass(slots=True)
class _Texts:
    """Writes records as `to_json` does; the book, most of it, is written once for as long as it stays the same."""

    book: Book = _NO_BOOK
    text: str = _NO_BOOK_TEXT

    def of(self, record: Record) -> str:
        if record.book is not self.book:
            self.book, self.text = record.book, f'"book":{to_json(record.book)}'
        # Quotes inside strings are escaped, so this key is found nowhere else.
        return to_json(replace(record, book=_NO_BOOK)).replace(_NO_BOOK_TEXT, self.text, 1)
