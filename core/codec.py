"""Schemas to JSON and back: one cached pydantic adapter a type, so dataclasses stay plain inside the system."""

from __future__ import annotations

import json
from collections.abc import Hashable
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from core.errors import InvalidInput

T = TypeVar("T")


@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast(Any, kind))


def to_plain(value: Any) -> Any:
    """A schema as dicts, lists, strings and numbers."""
    return _adapter(cast(Hashable, type(value))).dump_python(value, mode="json")


def to_json(value: Any) -> str:
    """A schema as compact JSON with sorted keys: the same value always gives the same text (hashes rely on it)."""
    return json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def from_plain(kind: type[T], value: Any) -> T:
    """The schema in plain data; raises InvalidInput naming the field."""
    try:
        result: T = _adapter(cast(Hashable, kind)).validate_python(value)
    except ValidationError as error:
        raise _invalid(kind, error) from error
    return result


def from_json(kind: type[T], text: str | bytes) -> T:
    """The schema in JSON text; raises InvalidInput naming the field."""
    try:
        result: T = _adapter(cast(Hashable, kind)).validate_json(text)
    except ValidationError as error:
        raise _invalid(kind, error) from error
    return result


def _invalid(kind: Any, error: ValidationError) -> InvalidInput:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or getattr(kind, "__name__", str(kind))
    return InvalidInput(f"{where}: {first['msg']}", field=where)
