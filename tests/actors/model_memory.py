"""Makes the model checker's walk quicker without changing an answer: pure questions are worked out once.

The judge's answers depend on book, configuration and gates, orders on what is wanted of the routers; records are copied
by place. One configuration at a time: it is no part of what is remembered by.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any
from unittest.mock import patch

from actors.adaptive_learning.deployment import bookkeeping, facts, judge, record, reducer, steering
from actors.adaptive_learning.deployment.bookkeeping import Book
from actors.adaptive_learning.deployment.record import Record, Timers, intended, outstanding
from core.schemas.rollouts import RolloutConfig
from tests.actors import model_rules, model_world


@contextmanager
def remembered() -> Iterator[None]:
    """The judge's answers on prepared books are worked out once; they depend on book, configuration and gates alone."""
    with ExitStack() as stack:
        for module, names in _ASKED.items():
            for name in names:
                stack.enter_context(patch.object(module, name, _once(getattr(module, name))))
        orders, splits = _once_a_split(outstanding), _once_a_split(intended)
        for module in (reducer, facts, steering, record, model_rules, model_world):
            stack.enter_context(patch.object(module, "outstanding", orders, create=True))
            stack.enter_context(patch.object(module, "intended", splits, create=True))
            stack.enter_context(patch.object(module, "replace", quick_replace, create=True))
        gc.disable()  # nothing that is found here is thrown away
        stack.callback(gc.enable)
        stack.callback(sys.settrace, sys.gettrace())  # coverage would count each line some hundred thousand times
        sys.settrace(None)
        yield


_ASKED = {
    judge: ("verdict", "short", "lines", "both_bad", "skewed", "uncovered", "harm", "safety"),
    bookkeeping: ("with_counts", "with_keys", "with_pair", "with_matured", "without_keys"),
}
_BY_ID = (RolloutConfig, dict)


def _once_a_split(question: Callable[[Record], Any]) -> Callable[[Record], Any]:
    """Orders follow from what is wanted of routers alone."""
    answers: dict[tuple[Any, ...], Any] = {}

    def ask(record: Record) -> Any:
        key = (record.stage, record.epoch, record.weight, record.stable, record.challenger)
        if key not in answers:
            answers[key] = question(record)
        return answers[key]

    return ask


def quick_replace(value: Any, **changes: Any) -> Any:
    """`dataclasses.replace` for records and timers, without its questions: half of the walk's time otherwise."""
    if type(value) not in _PLACES:
        return replace(value, **changes)
    places, values_of = _PLACES[type(value)]
    values = list(values_of(value))
    for name, change in changes.items():
        values[places[name]] = change
    return type(value)(*values)


def _fields(kind: Any) -> tuple[dict[str, int], Callable[[Any], tuple[Any, ...]]]:
    names = [field.name for field in fields(kind)]
    return {name: place for place, name in enumerate(names)}, attrgetter(*names)


_PLACES = {kind: _fields(kind) for kind in (Record, Timers)}


def _once(question: Callable[..., Any]) -> Callable[..., Any]:
    answers: dict[tuple[Any, ...], tuple[Any, ...]] = {}

    def ask(book: Book, *args: Any) -> Any:
        key = (id(book), *(id(arg) if type(arg) in _BY_ID else arg for arg in args))
        found = answers.get(key)
        if found is None:
            found = answers[key] = (question(book, *args), book, args)  # kept, so that no other takes their ids
        return found[0]

    return ask
