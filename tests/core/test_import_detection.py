from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import ImportRefused, InvalidInput
from core.ingest.detect import detect
from core.ingest.files import must_exist, open_bytes
from core.ingest.importer import import_path
from core.store.channels import ChannelStore
from core.store.database import Database

CLOCK = ManualClock(time=1_741_000_000)
TELETHON = {
    "_": "Message",
    "id": 1,
    "peer_id": {"_": "PeerChannel", "channel_id": 5},
    "date": "2025-01-01 00:00:00",
    "views": 3,
}
DESKTOP = {"name": "x", "type": "public_channel", "id": 6, "messages": []}


def fill(folder: Path) -> Path:
    (folder / "one" / "bundle").mkdir(parents=True)
    (folder / "one" / "bundle" / "posts.csv").write_text("channel,post_id,published_at\na,1,2025-01-01\n")
    (folder / "dump.jsonl").write_text(json.dumps(TELETHON) + "\n")
    (folder / "result.json").write_text(json.dumps(DESKTOP))
    (folder / "flat.csv").write_text("id,date,views\n1,2025-01-01,3\n")
    (folder / "notes.txt").write_text("hello")
    (folder / "other.csv").write_text("x,y\n1,2\n")
    (folder / "other.json").write_text('{"a": 1}')
    return folder


def test_a_folder_of_exports_is_taken_apart(tmp_path: Path) -> None:
    found = detect(fill(tmp_path))
    assert [(kind, path.name) for kind, path in found.sources] == [
        ("telethon", "dump.jsonl"),
        ("flat-csv", "flat.csv"),
        ("bundle", "bundle"),
        ("telegram-desktop", "result.json"),
    ]
    assert len(found.aside) == 3


def test_everything_importable_below_a_folder_is_imported_and_the_rest_named(
    tmp_path: Path, sqlite_database: Database
) -> None:
    folder = fill(tmp_path / "exports")
    report = import_path(folder, sqlite_database, clock=CLOCK)
    assert report.format == "mixed"
    assert sorted(c.name for c in ChannelStore(sqlite_database).channels()) == ["a", "c5", "c6", "flat"]
    assert any("other.csv: a CSV without the columns id, date, views" in note for note in report.notes)
    assert "telegram-desktop: views unavailable from this source" in report.notes
    assert not import_path(folder, sqlite_database, clock=CLOCK).changed


def test_one_bad_file_does_not_stop_the_others(tmp_path: Path, sqlite_database: Database) -> None:
    folder = fill(tmp_path / "exports")
    (folder / "bad.jsonl").write_text('{"_": "Message", \n')
    report = import_path(folder, sqlite_database, clock=CLOCK)
    assert len(report.incomplete) == 1
    assert "bad.jsonl line 1: broken JSON" in report.incomplete[0]
    assert len(report.channels) == 4


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", "x,y\n1,2\n", "a CSV without the columns id, date, views"),
        ("posts.csv", "x,y\n1,2\n", "give the folder to import a bundle"),
        ("a.json", '{"a": 1}', "neither a Telegram Desktop export nor Telethon"),
        ("a.json", "[1, 2]", "not of Telethon messages"),
        ("a.json", "hello", "not JSON"),
        ("a.json", "", "the file is empty"),
        ("a.xlsx", "PK", "no known kind of file"),
    ],
)
def test_a_file_that_is_none_of_the_formats_says_what_is_accepted(
    tmp_path: Path, sqlite_database: Database, name: str, content: str, reason: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ImportRefused, match=reason) as refused:
        import_path(tmp_path / name, sqlite_database, clock=CLOCK)
    assert "Accepted: a bundle folder" in refused.value.message
    assert "\n" not in refused.value.message


def test_paths_that_hold_nothing_are_refused(tmp_path: Path, sqlite_database: Database) -> None:
    with pytest.raises(ImportRefused, match="no such file or folder"):
        import_path(tmp_path / "absent", sqlite_database, clock=CLOCK)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImportRefused, match="the folder is empty"):
        import_path(tmp_path / "empty", sqlite_database, clock=CLOCK)
    with pytest.raises(ImportRefused, match="cannot be read"):
        open_bytes(tmp_path / "empty")
    must_exist(tmp_path)


def test_options_are_checked_before_anything_is_read(tmp_path: Path, sqlite_database: Database) -> None:
    with pytest.raises(InvalidInput, match="none of auto, bundle"):
        import_path(tmp_path, sqlite_database, clock=CLOCK, format="xml")
    with pytest.raises(InvalidInput, match="Europe/Berlin"):
        import_path(tmp_path, sqlite_database, clock=CLOCK, timezone="Mars/Olympus")


def test_both_kinds_of_one_table_are_refused(tmp_path: Path, sqlite_database: Database) -> None:
    for name in ("posts.csv", "posts.parquet"):
        (tmp_path / name).write_text("channel,post_id,published_at\n")
    with pytest.raises(ImportRefused, match=r"both posts.csv and posts.parquet"):
        import_path(tmp_path, sqlite_database, clock=CLOCK)


def test_a_damaged_parquet_file_is_refused(tmp_path: Path, sqlite_database: Database) -> None:
    (tmp_path / "views.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(ImportRefused, match="not a Parquet file"):
        import_path(tmp_path, sqlite_database, clock=CLOCK)
