"""Decides from the content which format a file or folder is in."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from core.errors import ImportRefused
from core.ingest import bundle, flat_csv
from core.ingest.columns import header
from core.ingest.files import head

Format = Literal["bundle", "telegram-desktop", "telethon", "flat-csv"]

ACCEPTED = (
    "a bundle folder with posts or views tables (docs/bulk-format.md), Telegram Desktop's result.json, "
    "Telethon messages (.json array or .jsonl), or CSV with the columns id, date, views"
)
_DEPTH = 2  # folders below the one given


@dataclass(slots=True)
class Found:
    """What can be imported below a path, and what is left aside with the reason."""

    sources: list[tuple[Format, Path]] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)


def detect(path: Path) -> Found:
    """The sources at a path; ImportRefused when there is none, saying what each file was taken for."""
    found = Found()
    _look(path, found, _DEPTH)
    if not found.sources:
        raise ImportRefused(
            f"{path}: nothing that can be imported ({'; '.join(found.aside[:5]) or 'no files'}). Accepted: {ACCEPTED}",
            path=str(path),
            accepted=ACCEPTED,
        )
    return found


def _look(path: Path, found: Found, depth: int) -> None:
    if path.is_file():
        _file(path, found)
        return
    if bundle.looks_like(path):
        found.sources.append(("bundle", path))
        return
    for child in sorted(path.iterdir()):
        if child.is_file():
            _file(child, found)
        elif depth and not child.name.startswith("."):
            _look(child, found, depth - 1)


def _file(path: Path, found: Found) -> None:
    try:
        kind = kind_of(path)
    except ImportRefused as refusal:
        found.aside.append(refusal.message.removeprefix(f"{path.parent}/"))
        return
    found.sources.append((kind, path))


def kind_of(path: Path) -> Format:
    """The format of a file; ImportRefused says why it is none."""
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        missing = [name for name in flat_csv.REQUIRED if name not in header(path)]
        if missing:
            hint = "; give the folder to import a bundle" if path.stem in bundle.REQUIRED else ""
            raise ImportRefused(f"{path}: a CSV without the columns {', '.join(missing)}{hint}", path=str(path))
        return "flat-csv"
    if suffix in (".json", ".jsonl", ".ndjson"):
        return _json_kind(path)
    raise ImportRefused(f"{path}: no known kind of file", path=str(path))


# A chat's header, for a file cut off before its messages.
_CHAT = re.compile(rb'"type"\s*:\s*"(\w+_(channel|chat|group|supergroup|messages))"')
_KEY = re.compile(rb'"(messages|chats|left_chats|_|personal_information|about)"\s*:')


def _json_kind(path: Path) -> Format:
    start = head(path).lstrip()
    keys = {key.decode() for key in _KEY.findall(start)}
    if start[:1] == b"[":
        if "_" in keys:
            return "telethon"
        raise ImportRefused(
            f'{path}: a JSON array, but not of Telethon messages (no "_" in its objects)', path=str(path)
        )
    if start[:1] != b"{":
        raise ImportRefused(f"{path}: not JSON", path=str(path))
    line = start.split(b"\n", 1)[0]
    try:
        first = json.loads(line)
    except ValueError:
        first = None  # a longer document, or a first line longer than what was read
    if (isinstance(first, dict) and "_" in first) or start.startswith((b'{"_"', b'{"_" ')):
        return "telethon"
    if keys & {"messages", "chats", "left_chats", "personal_information"} or _CHAT.search(start):
        return "telegram-desktop"
    raise ImportRefused(f"{path}: JSON, but neither a Telegram Desktop export nor Telethon messages", path=str(path))
