"""Reports: one channel in four forms, and a page that needs nothing else and believes nothing it is told."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser

import pyarrow.parquet as pq
import pytest

from actors.analytics_fusion.actor import Analytics
from actors.analytics_fusion.report import charts
from bench._made_channel import T0, make
from core.clock import DAY, HOUR, ManualClock
from core.codec import from_json
from core.errors import InvalidInput, NotFound
from core.schemas.analytics import SeriesPoint
from core.schemas.reports import ChannelReport, ReportFormat
from core.store.database import Database
from core.store.ingest import Batch, ChannelRow, IngestWriter, PostRow

EVIL = '<script>alert("x")</script>'


@pytest.fixture
def analytics(sqlite_database: Database) -> Analytics:
    batch = make(60, 3, name=f"a&b{EVIL}").batch()
    batch.posts = [post._replace(text=EVIL) for post in batch.posts]
    own = batch.channel(ChannelRow("empty", "UTC", "bundle"))
    batch.posts.append(PostRow(own, 1, T0))
    IngestWriter(sqlite_database).write(batch, T0 + 60 * DAY)
    return Analytics(sqlite_database, ManualClock(T0 + 60 * DAY + HOUR))


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_stands_alone(analytics: Analytics) -> None:
    made = analytics.report(f"a&b{EVIL}", "html", 20)
    text = made.content.decode()
    tags = _Tags()
    tags.feed(text)
    assert tags.open == []
    assert tags.addresses == []
    assert "script" not in tags.seen
    assert "&lt;script&gt;" in text
    assert tags.seen.count("svg") == 3
    assert not re.search(r"https?://", text)
    assert "Signs of a bought audience" in text
    assert made.media_type.startswith("text/html")
    assert re.fullmatch(r"[\w-]+\.html", made.name)


def test_tables_hold_what_the_answers_say(analytics: Analytics) -> None:
    name = f"a&b{EVIL}"
    overview = analytics.overview(name, 20)
    whole = from_json(ChannelReport, analytics.report(name, "json", 20).content)
    assert whole.overview == overview
    assert {series.metric for series in whole.series} == {"views_gained", "subscribers", "posting_rate"}
    rows = list(csv.DictReader(io.StringIO(analytics.report(name, "csv", 20).content.decode())))
    table = pq.read_table(io.BytesIO(analytics.report(name, "parquet", 20).content))
    assert table.num_rows == len(rows)
    views = next(row for row in rows if (row["kind"], row["metric"]) == ("figure", "views_24h"))
    (figure,) = [f for f in overview.figures if f.metric == "views_24h"]
    assert float(views["value"]) == pytest.approx(figure.value)
    assert int(views["n"]) == figure.n
    days = table.filter((table["kind"].to_numpy(False) == "day") & (table["metric"].to_numpy(False) == "posting_rate"))
    assert sum(v for v in days["value"].to_pylist() if v) == 240
    assert len({row["post_id"] for row in rows if row["kind"] == "post"}) == 20


@pytest.mark.parametrize("format", ["html", "json", "csv", "parquet"])
def test_a_channel_without_views_has_a_report_that_says_so(analytics: Analytics, format: ReportFormat) -> None:
    made = analytics.report("empty", format, 20)
    if format != "parquet":
        assert b"views unavailable from this source" in made.content


def test_other_forms_and_channels_are_refused(analytics: Analytics) -> None:
    with pytest.raises(InvalidInput, match="no report as 'pdf': use one of json, csv, parquet, html"):
        analytics.report("empty", "pdf")  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        analytics.report("nobody", "html")


def test_days_that_nobody_watched_are_holes_in_the_line() -> None:
    values: list[float | None] = [1.0, 2.0, None, 3.0, None, None, 4.0, 5.0]
    drawn = charts.line([SeriesPoint(T0 + i * DAY, v) for i, v in enumerate(values)], "a < b", "UTC")
    assert drawn.count("<polyline") == 2
    assert drawn.count("<circle") == 1
    assert "a &lt; b" in drawn
    assert "no day has a value" in charts.line([SeriesPoint(T0, None)], "x", "UTC")


def test_a_batch_without_posts_is_no_trouble(sqlite_database: Database) -> None:
    batch = Batch()
    batch.channel(ChannelRow("bare", "UTC", "bundle"))
    IngestWriter(sqlite_database).write(batch, T0)
    analytics = Analytics(sqlite_database, ManualClock(T0))
    assert b"no posts stored" in analytics.report("bare", "html").content
    assert analytics.mix("bare").rows == ()
    assert analytics.quality("bare").score is None
    assert analytics.trend("bare", "views_gained").missing is not None
