from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.clock import ManualClock
from core.errors import ImportRefused
from core.ingest.importer import import_path
from core.ingest.report import ImportReport
from core.store.channels import ChannelStore
from core.store.database import Database

NOW = 1_741_000_000


def post(number: int, date: str = "2025-01-01 10:00:00.000000", views: int | None = 10, **more: Any) -> dict[str, Any]:
    return {
        "_": "Message",
        "id": number,
        "peer_id": {"_": "PeerChannel", "channel_id": 55},
        "date": date,
        "message": "",
        "post": True,
        "views": views,
        "forwards": 1,
        "post_author": "Ann Author",
        **more,
    }


def run(path: Path, content: Any, database: Database, **options: Any) -> ImportReport:
    if path.suffix == ".jsonl":
        path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in content))
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False))
    return import_path(path, database, clock=ManualClock(time=NOW), **options)


def test_posts_and_counters_arrive(tmp_path: Path, database: Database) -> None:
    replies = {"replies": 4, "comments": True, "recent_repliers": [{"user_id": 7}]}
    reactions = {
        "results": [
            {"reaction": {"_": "ReactionEmoji", "emoticon": "🔥"}, "count": 2},
            {"reaction": {"_": "ReactionCustomEmoji", "document_id": 3}, "count": 1},
            {"reaction": {"_": "ReactionPaid"}, "count": 9},
        ],
        "recent_reactions": [{"peer_id": {"user_id": 7}}],
    }
    entities = [
        {"_": "MessageEntityTextUrl", "offset": 0, "length": 2, "url": "https://t.me/linked"},
        {"_": "MessageEntityUrl", "offset": 3, "length": 12},  # in UTF-16 units: the emoji counts twice
    ]
    messages = [
        post(3, "2025-01-03T10:00:00+00:00", 30, message="😀 t.me/another?", entities=entities, replies=replies),
        post(
            2, reactions=reactions, fwd_from={"from_id": {"channel_id": 99}}, replies={"replies": 4, "comments": False}
        ),
        {**post(1), "_": "MessageService"},
        post(4, "2025-01-01 10:00:00", media={"_": "MessageMediaPhoto"}, grouped_id=77),
    ]
    report = run(tmp_path / "dump.json", messages, database)
    store = ChannelStore(database)
    channel = store.channel("c55")
    history = store.history(channel)
    assert report.tables["posts"].new == history.n == 3
    assert history.post_ids.tolist() == [2, 4, 3]
    assert history.album_ids.tolist() == [-1, 77, -1]
    assert history.media.tolist() == ["none", "photo", "none"]
    assert not history.reading_exact_time.any()
    counts = store.counts(channel)
    assert counts.views.tolist() == [10, 10, 30]
    assert str(counts.replies.tolist()) == "[nan, nan, 4.0]"
    assert store.reactions(channel) == {2: {"🔥": 2, "custom": 1, "paid_stars": 9}}
    assert {m.target for m in store.mentions(channel)} == {"linked", "another", "c99"}
    assert any("reading times assumed" in note for note in report.notes)
    assert not run(tmp_path / "dump.json", messages, database).changed


def test_each_run_of_a_file_is_a_reading_at_its_own_newest_date(tmp_path: Path, sqlite_database: Database) -> None:
    first = [post(2, "2025-01-02 10:00:00", 20), post(1, "2025-01-01 10:00:00", 10)]
    second = [post(3, "2025-01-05 10:00:00", 5), post(2, "2025-01-02 10:00:00", 25), post(1, "2025-01-01 10:00:00", 11)]
    run(tmp_path / "dump.jsonl", [*first, *second], sqlite_database)
    store = ChannelStore(sqlite_database)
    history = store.history(store.channel("c55"))
    assert history.offsets.tolist() == [0, 2, 4, 5]
    assert history.reading_views.tolist() == [10, 11, 20, 25, 5]
    assert sorted(set(history.reading_ts.tolist())) == [1_735_812_000, 1_736_071_200]


def test_a_stated_reading_time_makes_the_last_run_exact(tmp_path: Path, sqlite_database: Database) -> None:
    run(tmp_path / "dump.json", [post(2), post(1)], sqlite_database, read_at=1_736_000_000, channel="mine")
    store = ChannelStore(sqlite_database)
    history = store.history(store.channel("mine"))
    assert history.reading_exact_time.all()
    assert set(history.reading_ts.tolist()) == {1_736_000_000}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_dumps_that_prove_the_same_moment_agree_in_any_order(
    tmp_path: Path, sqlite_database: Database, order: tuple[int, int]
) -> None:
    dumps = [[post(2), post(1, views=10)], [post(2), post(1, views=14)]]
    for i in (*order, *order):
        report = run(tmp_path / f"snap{i}.json", dumps[i], sqlite_database)
    store = ChannelStore(sqlite_database)
    assert store.counts(store.channel("c55")).views.tolist() == [14, 10]
    assert not report.changed


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({**post(1), "peer_id": {"_": "PeerUser", "user_id": 3}}, "a personal chat"),
        ({**post(1), "peer_id": {"_": "PeerChat", "chat_id": 3}}, "a group chat"),
        (post(1, post=False), "a group's message"),
        ({"_": "Dialog"}, "not a Telethon message"),
        (post(1, "never"), "no readable id and date"),
        (post(1, "2040-01-01 00:00:00"), "date lies in the future"),
    ],
)
def test_what_is_no_channel_post_is_refused(
    tmp_path: Path, sqlite_database: Database, message: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ImportRefused, match=f"no post of a channel in it .*{reason}"):
        run(tmp_path / "dump.json", [message], sqlite_database)
    assert ChannelStore(sqlite_database).channels() == ()
    report = run(tmp_path / "dump.json", [message, post(7)], sqlite_database)
    assert report.refused[0].reason.startswith(reason)
    assert "dump.json item 1" in report.refused[0].examples[0]
    assert report.tables["posts"].new == 1


def test_counters_that_are_no_counts_are_refused_and_the_post_stays(tmp_path: Path, sqlite_database: Database) -> None:
    report = run(tmp_path / "dump.json", [post(2, views=-3), post(1)], sqlite_database)
    assert "field views: -3" in report.refused[0].examples[0]
    assert (report.tables["posts"].new, report.tables["views"].new) == (2, 1)


def test_a_cut_line_keeps_the_lines_before_it(tmp_path: Path, sqlite_database: Database) -> None:
    report = run(tmp_path / "dump.jsonl", [post(2), post(1), '{"_": "Message", "id": 5, "pee'], sqlite_database)
    assert "line 3: broken JSON" in report.incomplete[0]
    assert report.tables["views"].new == 2


def test_a_cut_array_keeps_the_items_before_it(tmp_path: Path, sqlite_database: Database) -> None:
    report = run(tmp_path / "dump.json", json.dumps([post(2), post(1)])[:-30], sqlite_database)
    assert "after item 1" in report.incomplete[0]
    assert report.tables["views"].new == 1


def test_a_line_longer_than_the_limit_is_refused(tmp_path: Path, sqlite_database: Database) -> None:
    path = tmp_path / "dump.jsonl"
    with path.open("wb") as file:
        file.write(json.dumps(post(1)).encode() + b'\n{"_": "')
        file.truncate(2 * 2**30)
    report = import_path(path, sqlite_database, clock=ManualClock(time=NOW))
    assert "line 2: longer than 16 MB" in report.incomplete[0]
    assert report.tables["posts"].new == 1


def test_bytes_that_are_not_utf8_name_their_line(tmp_path: Path, sqlite_database: Database) -> None:
    path = tmp_path / "dump.jsonl"
    path.write_bytes(json.dumps(post(1)).encode() + b'\n{"_": "Message", "message": "\xff"}\n')
    report = import_path(path, sqlite_database, clock=ManualClock(time=NOW))
    assert "line 2: not UTF-8" in report.incomplete[0]


def test_no_author_is_stored(tmp_path: Path, sqlite_database: Database) -> None:
    run(tmp_path / "dump.json", [post(1)], sqlite_database)
    with sqlite_database.read() as c:
        assert "Ann" not in "\n".join(c.connection.driver_connection.iterdump())  # type: ignore[union-attr]
