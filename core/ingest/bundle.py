"""Bundles: a folder of tables (channels, posts, views, subscribers, reactions, mentions) as .csv or .parquet.

docs/bulk-format.md describes columns and rules. At least posts or views must be there.
"""

from __future__ import annotations

from pathlib import Path

from core.errors import ImportRefused
from core.ingest.bundle_rows import BundleRows
from core.ingest.columns import chunks, header, require
from core.ingest.sink import Sink

#: required columns by table, in the order of import
REQUIRED: dict[str, tuple[str, ...]] = {
    "channels": ("channel",),
    "posts": ("channel", "post_id", "published_at"),
    "views": ("channel", "post_id", "ts", "views"),
    "subscribers": ("channel", "ts", "subscribers"),
    "reactions": ("channel", "post_id", "ts", "reaction", "count"),
    "mentions": ("src_channel", "dst_channel", "post_id", "published_at"),
}
SUFFIXES = (".csv", ".parquet")


def tables_of(folder: Path) -> dict[str, Path]:
    """The tables that a folder holds, in the order of import."""
    found = {}
    for name in REQUIRED:
        there = [folder / f"{name}{suffix}" for suffix in SUFFIXES if (folder / f"{name}{suffix}").is_file()]
        if len(there) > 1:
            raise ImportRefused(f"{folder}: both {there[0].name} and {there[1].name}; keep one", path=str(folder))
        if there:
            found[name] = there[0]
    return found


def read(folder: Path, sink: Sink) -> None:
    """Import a bundle. Everything that can be known from the headers is checked before anything is written."""
    tables = tables_of(folder)
    if not {"posts", "views"} & set(tables):
        raise ImportRefused(f"{folder}: neither posts nor views (.csv or .parquet)", path=str(folder))
    for name, path in tables.items():
        require(path, REQUIRED[name])
    reader = BundleRows(sink)
    for name, path in tables.items():
        sink.begin(path)
        for chunk in chunks(path, name, sink.report):
            getattr(reader, name)(chunk)
            sink.settle()
    sink.settle(everything=True)
    _note(folder, tables, sink)


def _note(folder: Path, tables: dict[str, Path], sink: Sink) -> None:
    if "views" not in tables:
        sink.note("views unavailable from this source")
    if "posts" not in tables:
        sink.note("no posts table: these readings count once their posts' times are imported")
    if "subscribers" not in tables:
        sink.note("subscribers unavailable from this source")
    known = {path.name for path in tables.values()}
    aside = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name not in known)
    if aside:
        sink.note(f"left aside: {', '.join(aside[:8])}{' ...' if len(aside) > 8 else ''}")


def looks_like(folder: Path) -> bool:
    """Whether a folder is a bundle: it holds posts or views with the columns of the format."""
    tables = tables_of(folder)
    main = tables.get("posts") or tables.get("views")
    return main is not None and {"channel", "post_id"} <= set(header(main))
