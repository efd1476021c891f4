from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.clock import ManualClock
from core.errors import ImportRefused
from core.history import ATTRIBUTES
from core.ingest.importer import import_path
from core.ingest.report import ImportReport
from core.store.channels import ChannelStore
from core.store.database import Database

NOW = 1_741_000_000
AGED = """channel,id,date,views,forwards,replies,age_h_at_scrape,has_text,text_len,n_links,n_hashtags,text
n,11,2025-01-01T10:00:00Z,100,3,,48.5,1,400,2,0,"cut text
of two lines"
n,12,2025-01-01T10:00:00Z,90,,,48.5,0,,,,
n,13,2025-01-01T11:00:00Z,,,,47.5,1,5,0,0,short
m,1,2025-01-01T12:00:00Z,7,0,2,46.5,1,,,,"See t.me/Friend ? #реклама"
"""


def run(path: Path, content: str, database: Database, **options: Any) -> ImportReport:
    path.write_text(content)
    return import_path(path, database, clock=ManualClock(time=NOW), **options)


def test_the_age_at_the_scrape_gives_exact_reading_times(tmp_path: Path, database: Database) -> None:
    report = run(tmp_path / "posts.csv", AGED, database)
    assert (report.format, report.tables["posts"].new, report.tables["views"].new) == ("flat-csv", 4, 3)
    store = ChannelStore(database)
    history = store.history(store.channel("n"))
    assert history.single_reading
    assert history.reading_exact_time.all()
    assert (history.reading_ts - history.published_at[[0, 1]]).tolist() == [174_600, 174_600]
    assert history.album_ids.tolist() == [11, 11, -1]
    assert not any("assumed" in note for note in report.notes)
    assert not run(tmp_path / "posts.csv", AGED, database).changed


def test_what_a_cut_text_would_say_is_left_open(tmp_path: Path, sqlite_database: Database) -> None:
    run(tmp_path / "posts.csv", AGED, sqlite_database)
    store = ChannelStore(sqlite_database)
    rows = store.history(store.channel("n")).attributes
    cut, follower, short = (dict(zip(ATTRIBUTES, row, strict=True)) for row in rows)
    assert (cut["text_len"], cut["n_links"], str(cut["n_words"])) == (400, 2, "nan")
    assert (follower["text_len"], follower["n_words"]) == (0, 0)
    assert (short["n_words"], short["n_lines"]) == (1, 1)
    m = store.channel("m")
    whole = dict(zip(ATTRIBUTES, store.history(m).attributes[0], strict=True))
    assert (whole["has_question"], whole["is_ad"], whole["n_links"]) == (1, 1, 1)
    assert [mention.target for mention in store.mentions(m)] == ["friend"]
    assert store.counts(m).replies.tolist() == [2]


def test_without_an_age_the_newest_date_is_assumed_and_said(tmp_path: Path, sqlite_database: Database) -> None:
    content = (
        "id,date,text,views,forwards,replies,reactions\n2,2025-01-02 10:00:00,b,5,,,4\n1,2025-01-01 10:00:00,a,9,1,0,\n"
    )
    report = run(tmp_path / "mychannel.csv", content, sqlite_database)
    store = ChannelStore(sqlite_database)
    channel = store.channel("mychannel")
    history = store.history(channel)
    assert set(history.reading_ts.tolist()) == {1_735_812_000}
    assert not history.reading_exact_time.any()
    assert any("2025-01-02T10:00:00Z is its newest date" in note for note in report.notes)
    assert store.reactions(channel) == {2: {"all": 4}}
    assert str(store.counts(channel).replies.tolist()) == "[0.0, nan]"  # an empty field is "comments off", not 0


def test_name_zone_and_reading_time_can_be_given(tmp_path: Path, sqlite_database: Database) -> None:
    content = "id,date,views\n1,2025-01-01 10:00:00,9\n"
    run(tmp_path / "x.csv", content, sqlite_database, channel="mine", timezone="Asia/Tashkent", read_at=1_736_000_000)
    store = ChannelStore(sqlite_database)
    history = store.history(store.channel("mine"))
    assert (history.published_at.tolist(), history.reading_ts.tolist()) == ([1_735_707_600], [1_736_000_000])
    assert history.reading_exact_time.all()


def test_bad_rows_are_refused_by_field(tmp_path: Path, sqlite_database: Database) -> None:
    content = AGED + (
        "n,14,2025-01-01T10:00:00Z,-1,,,48.5,1,,,,x\n"
        "n,15,2025-01-01T10:00:00Z,5,,,minus,1,,,,x\n"
        "n,16,someday,5,,,4,1,,,,x\n"
        "n,,2025-01-01T10:00:00Z,5,,,4,1,,,,x\n"
        "n,17,2025-01-01T10:00:00Z,5,,,4,perhaps,,,,x\n"
    )
    report = run(tmp_path / "posts.csv", content, sqlite_database)
    assert {r.reason for r in report.refused} == {
        "views is below 0",
        "age_h_at_scrape is not a number of hours",
        "date is not a date and time",
        "id is missing",
        "has_text is neither yes nor no",
    }
    assert report.tables["posts"].new == 4


def test_missing_columns_are_named(tmp_path: Path, sqlite_database: Database) -> None:
    with pytest.raises(ImportRefused, match="no column date"):
        run(tmp_path / "a.csv", "id,views\n1,2\n", sqlite_database, format="flat-csv")
    with pytest.raises(ImportRefused, match="a CSV without the columns date"):
        run(tmp_path / "a.csv", "id,views\n1,2\n", sqlite_database)
