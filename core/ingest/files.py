"""Opening what a user names: every way in which a path can be unreadable has its own line."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from core.errors import ImportRefused

#: a line (of CSV or JSON lines) or a JSON value longer than this is refused before it is read whole
LINE_LIMIT = 16 * 1024 * 1024

_FOREIGN = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


def must_exist(path: Path) -> None:
    """ImportRefused when there is nothing, or nothing that may be read."""
    if not path.exists():
        raise ImportRefused(f"{path}: no such file or folder", path=str(path))
    if path.is_dir() and not any(path.iterdir()):
        raise ImportRefused(f"{path}: the folder is empty", path=str(path))


def open_bytes(path: Path) -> IO[bytes]:
    """Open for reading; ImportRefused says why not."""
    try:
        return path.open("rb")
    except OSError as error:
        raise ImportRefused(
            f"{path}: cannot be read ({error.strerror}): check its permissions", path=str(path)
        ) from error


def head(path: Path, size: int = 64 * 1024) -> bytes:
    """The first bytes; refuses empty files and encodings other than UTF-8 that announce themselves."""
    with open_bytes(path) as file:
        start = file.read(size)
    if not start:
        raise ImportRefused(f"{path}: the file is empty", path=str(path))
    for bom, name in _FOREIGN.items():
        if start.startswith(bom):
            raise ImportRefused(f"{path}: the file is {name}; save it as UTF-8", path=str(path))
    return start.removeprefix(codecs.BOM_UTF8)


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, text) of every line that is not blank; a line is never read past the limit."""
    with open_bytes(path) as file:
        number = 0
        while raw := file.readline(LINE_LIMIT + 1):
            number += 1
            if len(raw) > LINE_LIMIT:
                raise ImportRefused(
                    f"{path} line {number}: longer than {LINE_LIMIT // 2**20} MB; this is no line-by-line file",
                    path=str(path),
                    row=number,
                )
            if number == 1:
                raw = raw.removeprefix(codecs.BOM_UTF8)
            try:
                text = raw.decode("utf-8").strip()
            except UnicodeDecodeError as error:
                raise ImportRefused(
                    f"{path} line {number}: not UTF-8 (byte {error.start} of the line); save the file as UTF-8",
                    path=str(path),
                    row=number,
                ) from error
            if text:
                yield number, text


class BoundedReader:
    """A file for a streaming JSON parser that refuses a single value longer than the limit."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path = path
        self.position = 0
        self._file = file
        self._marked = 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        if self.position - self._marked > LINE_LIMIT:
            raise ImportRefused(
                f"{self.path}: a value of more than {LINE_LIMIT // 2**20} MB before byte {self.position}; "
                "this is no export of messages",
                path=str(self.path),
            )
        data = self._file.read(size)
        self.position += len(data)
        return data

    def mark(self) -> None:
        """The parser has understood everything up to here."""
        self._marked = self.position
