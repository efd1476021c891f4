from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from sqlalchemy import func, select

from core.clock import ManualClock
from core.codec import from_json, to_json
from core.errors import ImportRefused
from core.ingest.importer import import_path
from core.ingest.report import ImportReport
from core.store import schema
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.events import Outbox
from core.store.ids import post_id

NOW = 1_741_000_000  # 2025-03-03
POSTS = """channel,post_id,published_at,text,media,is_ad
a,1,2025-01-01 10:00:00,Hello #x https://e.org ?,photo,1
a,2,2025-01-01T12:00:00Z,,,
"""
VIEWS = """channel,post_id,ts,views,forwards
a,1,2025-01-01 14:00:00,10,1
a,1,2025-01-01 18:00:00,30,
a,2,2025-01-01 18:00:00,5,0
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    out = tmp_path / "bundle"
    out.mkdir()
    (out / "channels.csv").write_text("channel,title,category,timezone\na,The A,news,Europe/Moscow\n")
    (out / "posts.csv").write_text(POSTS)
    (out / "views.csv").write_text(VIEWS)
    (out / "subscribers.csv").write_text("channel,ts,subscribers\na,2025-01-01 09:00:00,100\nb,2025-01-01 09:00:00,7\n")
    (out / "reactions.csv").write_text("channel,post_id,ts,reaction,count\na,1,2025-01-01 18:00:00,👍,3\n")
    (out / "mentions.csv").write_text("src_channel,dst_channel,post_id,published_at\na,b,1,2025-01-01 10:00:00\n")
    return out


def run(folder: Path, database: Database, **options: object) -> ImportReport:
    return import_path(folder, database, clock=ManualClock(time=NOW), **options)  # type: ignore[arg-type]


def count(database: Database, table: object) -> int:
    with database.read() as c:
        return int(c.execute(select(func.count()).select_from(table)).scalar_one())  # type: ignore[arg-type]


def test_every_table_of_a_bundle_arrives(folder: Path, database: Database) -> None:
    report = run(folder, database)
    assert {k: v.new for k, v in report.tables.items()} == {
        "posts": 2,
        "views": 3,
        "reactions": 1,
        "subscribers": 2,
        "mentions": 1,
    }
    assert report.refused == []
    store = ChannelStore(database)
    a, b = store.channels()
    assert (a.title, a.category, a.timezone, a.source, b.timezone) == (
        "The A",
        "news",
        "Europe/Moscow",
        "bundle",
        "UTC",
    )
    history = store.history(a)
    assert history.reading_views.tolist() == [10, 30, 5]
    assert history.media.tolist() == ["photo", None]
    row = dict(zip(("text_len", "n_words", "n_links", "n_hashtags"), history.attributes[0], strict=False))
    assert row == {"text_len": 24, "n_words": 2, "n_links": 1, "n_hashtags": 1}
    assert store.counts(a).forwards.tolist() == [1, 0]
    assert store.mentions(a)[0].target == "b"


def test_importing_again_changes_no_row_and_says_so(folder: Path, database: Database) -> None:
    run(folder, database)
    versions = [c.data_version for c in ChannelStore(database).channels()]
    events = Outbox(database).last()
    report = run(folder, database)
    assert not report.changed
    assert sum(c.duplicate for c in report.tables.values()) == 9
    assert any("nothing new" in line for line in report.lines())
    assert [c.data_version for c in ChannelStore(database).channels()] == versions
    assert Outbox(database).last() == events


def test_parquet_gives_the_same_rows_as_csv(folder: Path, database: Database, tmp_path: Path) -> None:
    run(folder, database)
    other = tmp_path / "parquet"
    other.mkdir()
    for path in folder.glob("*.csv"):
        pq.write_table(pacsv.read_csv(path), other / f"{path.stem}.parquet")
    report = run(other, database)
    assert not report.changed, report.lines()
    assert report.refused == []


def test_times_without_a_zone_are_in_the_given_one(folder: Path, sqlite_database: Database) -> None:
    run(folder, sqlite_database, timezone="Europe/Moscow")
    store = ChannelStore(sqlite_database)
    published = store.history(store.channel("a")).published_at.tolist()
    assert published == [1_735_732_800 - 5 * 3600, 1_735_732_800]  # 10:00 in Moscow is 07:00; 12:00Z stays
    assert store.channel("b").timezone == "Europe/Moscow"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a,1,2025-01-02 00:00:00,nan,", "views is not a whole number"),
        ("a,1,2025-01-02 00:00:00,-4,", "views is below 0"),
        ("a,1,2025-01-02 00:00:00,1.5,", "views is not a whole number"),
        ("a,1,2025-01-02 00:00:00,lots,", "views is not a whole number"),
        ("a,1,2025-01-02 00:00:00,,", "views is missing"),
        ("a,1,2025-01-02 00:00:00,99999999999999,", "views is above"),
        ("a,1,2035-01-02 00:00:00,40,", "ts lies in the future"),
        ("a,1,1970-01-02 00:00:00,40,", "ts is before the year 2000"),
        ("a,1,yesterday,40,", "ts is not a date and time"),
        ("a,1,,40,", "ts is missing"),
        (",1,2025-01-02 00:00:00,40,", "channel is missing"),
        ("a,,2025-01-02 00:00:00,40,", "post_id is missing"),
        ("a,1,2025-01-02 00:00:00,20,", "views fall below an earlier reading"),
        ("a,1,2025-01-02 00:00:00,40,x", "forwards is not a whole number"),
        ("a,1,2025-01-02 00:00:00,40", "4 fields instead of 5"),
    ],
)
def test_a_bad_row_is_refused_by_name_and_the_others_stay(
    folder: Path, sqlite_database: Database, row: str, reason: str
) -> None:
    (folder / "views.csv").write_text(VIEWS + row + "\n")
    report = run(folder, sqlite_database)
    (refusal,) = report.refused
    assert (refusal.table, refusal.rows) == ("views", 1)
    assert reason in refusal.reason
    assert "views.csv row 5" in refusal.examples[0]
    assert report.tables["views"].new == 3


def test_rows_keep_their_numbers_behind_rows_that_cannot_be_split(folder: Path, sqlite_database: Database) -> None:
    bad = "a,1,2025-01-02 00:00:00\n"
    (folder / "views.csv").write_text(VIEWS + bad + bad + "a,1,2025-01-03 00:00:00,x,\n" + bad + "a,1,never,50,\n")
    refused = {refusal.reason: refusal.examples for refusal in run(folder, sqlite_database).refused}
    assert [example.split(":")[0] for example in refused["3 fields instead of 5"]] == [
        f"views.csv row {n}" for n in (5, 6, 8)
    ]
    assert refused["views is not a whole number"][0].startswith("views.csv row 7,")
    assert refused["ts is not a date and time"][0].startswith("views.csv row 9,")


def test_one_absurd_high_value_is_refused_instead_of_all_that_follow(folder: Path, sqlite_database: Database) -> None:
    rows = [f"a,1,2025-01-02 {h:02}:00:00,{10**9 if h == 3 else 100 + h}," for h in range(8)]
    (folder / "views.csv").write_text(VIEWS + "\n".join(rows) + "\n")
    report = run(folder, sqlite_database)
    assert [(r.rows, r.examples) for r in report.refused] == [(1, ("views.csv row 8, field views: 1000000000",))]


def test_many_refusals_are_counted_and_the_first_three_named(folder: Path, sqlite_database: Database) -> None:
    (folder / "views.csv").write_text(VIEWS + "a,1,2025-01-02 00:00:00,nan,\n" * 50)
    (refusal,) = run(folder, sqlite_database).refused
    assert (refusal.rows, len(refusal.examples)) == (50, 3)


def test_a_repeated_key_keeps_its_first_row_on_every_import(folder: Path, sqlite_database: Database) -> None:
    (folder / "views.csv").write_text(VIEWS + "a,1,2025-01-01 18:00:00,31,\n")
    first = run(folder, sqlite_database).tables["views"]
    assert (first.new, first.duplicate) == (3, 1)
    assert not run(folder, sqlite_database).changed


def test_missing_columns_are_named_and_nothing_is_stored(folder: Path, sqlite_database: Database) -> None:
    (folder / "views.csv").write_text("channel,post_id,when,n\na,1,2025-01-01,5\n")
    with pytest.raises(ImportRefused, match=r"views.csv: no column ts, views \(has: channel, post_id, when, n\)"):
        run(folder, sqlite_database)
    assert ChannelStore(sqlite_database).channels() == ()


def test_views_alone_or_posts_alone_are_enough(folder: Path, sqlite_database: Database) -> None:
    for name in ("channels", "posts", "subscribers", "reactions", "mentions"):
        (folder / f"{name}.csv").unlink()
    report = run(folder, sqlite_database)
    assert report.tables["views"].new == 3
    assert any("no posts table" in note for note in report.notes)
    (folder / "posts.csv").write_text(POSTS)
    (folder / "views.csv").unlink()
    report = run(folder, sqlite_database)
    assert "views unavailable from this source" in report.notes
    store = ChannelStore(sqlite_database)
    assert store.history(store.channel("a")).reading_views.tolist() == [10, 30, 5]


def test_text_ids_semicolons_and_byte_order_marks_are_read(folder: Path, sqlite_database: Database) -> None:
    text = POSTS.replace("a,1,", "a,p-1,").replace(",", ";")
    (folder / "posts.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (folder / "views.csv").write_text(VIEWS.replace("a,1,", "a,p-1,"))
    assert run(folder, sqlite_database).refused == []
    store = ChannelStore(sqlite_database)
    assert post_id("p-1") in store.history(store.channel("a")).post_ids.tolist()


def test_other_encodings_are_refused_with_what_to_do(folder: Path, sqlite_database: Database) -> None:
    (folder / "posts.csv").write_bytes(POSTS.replace("Hello", "Привет").encode("cp1251"))
    with pytest.raises(ImportRefused, match=r"posts.csv: not UTF-8 .*save the file as UTF-8"):
        run(folder, sqlite_database)
    (folder / "posts.csv").write_bytes(POSTS.encode("utf-16"))
    with pytest.raises(ImportRefused, match="UTF-16; save it as UTF-8"):
        run(folder, sqlite_database)


def test_a_line_without_end_is_refused_without_reading_it_whole(folder: Path, sqlite_database: Database) -> None:
    path = folder / "posts.csv"
    path.write_text(POSTS)
    with path.open("ab") as file:  # a sparse file: two gigabytes on paper
        file.write(b"a,3,2025-01-01 10:00:00,")
        file.truncate(2 * 2**30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = run(folder, sqlite_database)
    assert "a line longer than" in report.incomplete[0]
    assert report.tables["posts"].new == 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


def test_a_file_that_goes_bad_later_keeps_the_rows_before_it(folder: Path, sqlite_database: Database) -> None:
    good = "".join(f"a,{i},2025-01-01 10:00:00,{'x' * 200},,\n" for i in range(3, 30_000))
    (folder / "posts.csv").write_bytes((POSTS + good).encode() + b"a,99999,2025-01-01 10:00:00,\xff\xfe,,\n")
    report = run(folder, sqlite_database)
    assert report.tables["posts"].new > 10_000
    assert "not UTF-8" in report.incomplete[0]
    assert "rows before it are stored" in report.incomplete[0]
    (folder / "posts.csv").write_text(POSTS + good)
    again = run(folder, sqlite_database)
    assert again.incomplete == []
    assert count(sqlite_database, schema.post) == 29_999


def test_the_report_is_kept_with_the_import_and_reads_back(folder: Path, database: Database) -> None:
    report = run(folder, database)
    with database.read() as c:
        stored = c.execute(select(schema.ingest_batch)).one()
    assert (stored.format, stored.finished_at) == ("bundle", NOW)
    assert from_json(ImportReport, stored.report) == report
    assert to_json(report)


def test_progress_is_told_after_each_transaction(folder: Path, sqlite_database: Database) -> None:
    told: list[str] = []
    run(folder, sqlite_database, on_progress=told.append)
    assert told == ["9 rows, mentions.csv"]


_KILLED = """
import os, signal, sys
from core.clock import ManualClock
from core.ingest import sink
from core.ingest.importer import import_path
from core.store.database import Database
sink.BATCH_ROWS = 1
left = [2]
def die(_):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
import_path(sys.argv[1], Database(sys.argv[2]), clock=ManualClock(time=int(sys.argv[3])), on_progress=die)
"""


def test_an_import_killed_in_the_middle_is_finished_by_the_next_one(folder: Path, database: Database) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(folder), database.url, str(NOW)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert count(database, schema.post) == 2
    assert count(database, schema.channel_snapshot) == 0
    report = run(folder, database)
    assert report.tables["subscribers"].new == 2
    assert count(database, schema.post_snapshot) == 3
    assert not run(folder, database).changed


def test_large_files_go_in_by_several_transactions(tmp_path: Path, sqlite_database: Database) -> None:
    n = 120_000
    table = pa.table(
        {
            "channel": ["a"] * n,
            "post_id": [i // 40 for i in range(n)],
            "ts": [1_736_000_000 + (i % 40) * 3600 for i in range(n)],
            "views": [i % 40 for i in range(n)],
        }
    )
    (tmp_path / "big").mkdir()
    pq.write_table(table, tmp_path / "big" / "views.parquet")
    told: list[str] = []
    report = run(tmp_path / "big", sqlite_database, on_progress=told.append)
    assert report.tables["views"].new == n
    assert len(told) >= 2
