from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from core.clock import ManualClock
from core.errors import ImportRefused
from core.ingest.importer import import_path
from core.ingest.report import ImportReport
from core.store.channels import ChannelStore
from core.store.database import Database

NOW = 1_741_000_000


def message(number: int, at: int, **more: Any) -> dict[str, Any]:
    body = {"id": number, "type": "message", "date": "2025-01-01T18:00:00", "date_unixtime": str(at), "text": ""}
    return {**body, "from": "Ann Author", "from_id": "user77", "author": "Ann Author", **more}


def chat(kind: str = "public_channel", **more: Any) -> dict[str, Any]:
    entities = [
        {"type": "plain", "text": "Привет 👋\n"},
        {"type": "text_link", "text": "more", "href": "https://t.me/OtherChannel/5"},
        {"type": "plain", "text": " and "},
        {"type": "hashtag", "text": "#реклама"},
    ]
    reactions = [
        {"type": "emoji", "count": 3, "emoji": "👍", "recent": [{"from": "Bob Reader", "from_id": "user9"}]},
        {"type": "custom_emoji", "count": 2, "document_id": "1"},
        {"type": "custom_emoji", "count": 1, "document_id": "2"},
        {"type": "paid", "count": 4},
    ]
    return {
        "name": "Канал",
        "type": kind,
        "id": 1234,
        "messages": [
            {"id": 1, "type": "service", "date_unixtime": "1735700000", "action": "create_channel", "actor": "Ann"},
            message(2, 1_735_700_100, text_entities=entities, reactions=reactions),
            message(3, 1_735_700_200, photo="(File not included)", text=["cap ", {"type": "bold", "text": "tion"}]),
            message(4, 1_735_700_200, photo="x.jpg"),
            message(5, 1_735_700_300, forwarded_from="Somebody", media_type="video_file", file="v.mp4"),
            message(6, 1_735_700_400, poll={"question": "?", "answers": []}, edited_unixtime="1735800000"),
            message(7, 1_735_700_500, file="a.pdf", mime_type="application/pdf"),
        ],
        **more,
    }


def run(tmp_path: Path, document: Any, database: Database, **options: Any) -> ImportReport:
    path = tmp_path / "result.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document, ensure_ascii=False, indent=1))
    return import_path(path, database, clock=ManualClock(time=NOW), **options)


def test_a_channel_arrives_with_its_texts_media_and_reactions(tmp_path: Path, database: Database) -> None:
    report = run(tmp_path, chat(), database)
    assert (report.format, report.tables["posts"].new, report.tables["views"].new) == ("telegram-desktop", 6, 0)
    store = ChannelStore(database)
    channel = store.channel("c1234")
    assert (channel.title, channel.source) == ("Канал", "telegram-desktop")
    history = store.history(channel)
    assert history.published_at.tolist()[:3] == [1_735_700_100, 1_735_700_200, 1_735_700_200]
    assert history.media.tolist() == ["none", "photo", "photo", "video", "poll", "document"]
    assert history.album_ids.tolist() == [-1, 3, 3, -1, -1, -1]
    first = dict(
        zip(("text_len", "n_words", "n_links", "n_hashtags", "n_mentions"), history.attributes[0], strict=False)
    )
    assert first == {"text_len": 26, "n_words": 4, "n_links": 1, "n_hashtags": 1, "n_mentions": 0}
    assert history.attributes[:, -2:].tolist() == [[1, 0], [0, 0], [0, 0], [0, 1], [0, 0], [0, 0]]  # is_ad, is_forward
    assert store.posts.texts(channel, [3]) == {3: "cap tion"}
    assert store.reactions(channel) == {2: {"👍": 3, "custom": 3, "paid_stars": 4}}
    assert [m.target for m in store.mentions(channel)] == ["otherchannel"]


def test_what_the_source_lacks_is_said(tmp_path: Path, sqlite_database: Database) -> None:
    notes = run(tmp_path, chat(), sqlite_database).notes
    assert "views unavailable from this source" in notes
    assert any("reading times of reactions assumed" in note and "2025-01-02T06:40:00Z" in note for note in notes)
    assert not run(tmp_path, chat(), sqlite_database).changed


def test_no_person_is_stored(tmp_path: Path, sqlite_database: Database) -> None:
    full = {
        "personal_information": {"first_name": "Ann", "phone_number": "+1 555"},
        "contacts": {"list": [{"first_name": "Carl Contact"}]},
        "sessions": {"list": [{"last_ip": "10.0.0.1"}]},
        "chats": {"about": "x", "list": [chat("personal_chat", name="Dora Friend", id=5), chat()]},
        "left_chats": {"list": [chat("private_channel", name="Old", id=9), chat("private_supergroup", id=10)]},
    }
    report = run(tmp_path, full, sqlite_database)
    assert sorted(c.name for c in ChannelStore(sqlite_database).channels()) == ["c1234", "c9"]
    assert "2 personal chats and groups left out: only channels are imported" in report.notes
    with sqlite_database.read() as c:
        dump = "\n".join(c.connection.driver_connection.iterdump())  # type: ignore[union-attr]
    for private in ("Ann", "Bob", "Carl", "Dora", "555", "10.0.0.1", "user77", "user9", "Somebody"):
        assert private not in dump, private


@pytest.mark.parametrize(
    ("kind", "words"),
    [("personal_chat", "a personal chat"), ("saved_messages", "saved messages"), ("private_group", "private_group")],
)
def test_other_chats_are_refused_with_the_reason(
    tmp_path: Path, sqlite_database: Database, kind: str, words: str
) -> None:
    with pytest.raises(ImportRefused, match=f"{words}; only channels are imported"):
        run(tmp_path, chat(kind), sqlite_database)
    assert ChannelStore(sqlite_database).channels() == ()


def test_an_account_without_channels_is_refused(tmp_path: Path, sqlite_database: Database) -> None:
    with pytest.raises(ImportRefused, match="no channel in this export"):
        run(tmp_path, {"chats": {"list": [chat("personal_chat")]}}, sqlite_database)


def test_a_file_that_breaks_off_keeps_what_stood_before_and_says_where(
    tmp_path: Path, sqlite_database: Database
) -> None:
    whole = json.dumps(chat(), ensure_ascii=False)
    report = run(tmp_path, whole[: whole.index('"id": 6')], sqlite_database)
    (line,) = report.incomplete
    assert "breaks off" in line
    assert "after message 5" in line
    assert "rows before it are stored" in line
    assert 3 <= report.tables["posts"].new <= 4  # the last one waits for its album
    assert run(tmp_path, whole, sqlite_database).incomplete == []
    assert ChannelStore(sqlite_database).totals(ChannelStore(sqlite_database).channel("c1234")).posts == 6


def test_a_file_that_breaks_before_any_message_stores_nothing(tmp_path: Path, sqlite_database: Database) -> None:
    whole = json.dumps(chat())
    with pytest.raises(ImportRefused, match="breaks off or is damaged before byte"):
        run(tmp_path, whole[: whole.index('"messages"')], sqlite_database)


def test_bad_messages_are_refused_one_by_one(tmp_path: Path, sqlite_database: Database) -> None:
    document = chat()
    document["messages"] += [
        message("x", 1_735_700_000),  # type: ignore[arg-type]
        message(8, 4_000_000_000),
        {"id": 9, "type": "message", "date": "soon", "text": ""},
    ]
    report = run(tmp_path, document, sqlite_database)
    assert {(r.reason, r.rows) for r in report.refused} == {
        ("id is not a whole number", 1),
        ("date lies in the future", 1),
        ("no readable date", 1),
    }
    assert "message 8" in next(r for r in report.refused if "future" in r.reason).examples[0]
    assert report.tables["posts"].new == 6


def test_older_exports_have_local_times_only_which_the_zone_turns_into_utc(
    tmp_path: Path, sqlite_database: Database
) -> None:
    old = chat(messages=[{"id": 1, "type": "message", "date": "2021-01-01T12:00:00", "text": "old"}])
    report = run(tmp_path, old, sqlite_database, timezone="Asia/Shanghai", channel="mine")
    store = ChannelStore(sqlite_database)
    assert store.history(store.channel("mine")).published_at.tolist() == [1_609_473_600]
    assert any("exporting machine" in note for note in report.notes)


def test_a_value_without_end_is_refused_before_it_is_read_whole(tmp_path: Path, sqlite_database: Database) -> None:
    path = tmp_path / "result.json"
    with path.open("wb") as file:
        file.write(b'{"type": "public_channel", "id": 1, "name": "')
        for _ in range(40):
            file.write(b"x" * 2**20)
    with pytest.raises(ImportRefused, match="a value of more than 16 MB"):
        import_path(path, sqlite_database, clock=ManualClock(time=NOW), format="telegram-desktop")


def test_broken_surrogates_and_nul_do_not_stop_an_import(tmp_path: Path, database: Database) -> None:
    document = json.dumps(chat()).replace("cap ", "c\\ud83dap\\u0000 ")
    run(tmp_path, document, database)
    with database.read() as c:
        assert c.execute(text("SELECT text FROM post WHERE post_id = 3")).scalar_one() == "c?ap tion"
