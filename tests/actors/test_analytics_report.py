"""Reports: one channel in six forms, read by other readers; a page that believes nothing it is told."""

from __future__ import annotations

import csv
import io
import re
from datetime import datetime
from html.parser import HTMLParser
from zoneinfo import ZoneInfo

import openpyxl
import pyarrow.parquet as pq
import pypdf
import pytest

from actors.analytics_fusion.actor import Analytics
from actors.analytics_fusion.report import charts
from bench._made_channel import T0, make
from core.buckets import day_start
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


TASHKENT = "Ўзбекистон: новости 📰"
TEXT = "=2+2 Қанча? <b>важно</b> & oʻzbek https://t.me/x"


@pytest.fixture
def tashkent(sqlite_database: Database) -> Analytics:
    """A channel of another script, with posts that would be formulas, markup and addresses."""
    known, made = Batch(), make(60, 5, name=TASHKENT).batch()
    known.channel(ChannelRow(TASHKENT, "Asia/Tashkent", "bundle"))
    made.posts = [post._replace(text=TEXT) for post in made.posts]
    for batch in (known, made):
        IngestWriter(sqlite_database).write(batch, T0 + 60 * DAY)
    return Analytics(sqlite_database, ManualClock(T0 + 60 * DAY + HOUR))


def _said(document: bytes) -> str:
    pages = pypdf.PdfReader(io.BytesIO(document)).pages
    return re.sub(r"\s+", " ", " ".join(page.extract_text() for page in pages))


def test_the_document_says_the_figures_in_any_script_and_draws_them(tashkent: Analytics) -> None:
    made = tashkent.report(TASHKENT, "pdf", 20)
    reader, said = pypdf.PdfReader(io.BytesIO(made.content)), _said(made.content)
    assert "Ўзбекистон: новости" in said
    assert "Қанча? <b>важно</b> & o‘zbek" in said
    assert "Signs that the font of this document lacks, such as emoji, are left out." in said
    overview = tashkent.overview(TASHKENT, 20)
    (views,) = [f for f in overview.figures if f.metric == "views_24h"]
    assert f"views_24h views {views.value:,.0f} {views.low:,.0f} .. {views.high:,.0f} {views.n}" in said
    (trend,) = [t for t in [tashkent.trend(TASHKENT, "subscribers", 60)] if t.slope.value is not None]
    assert f"{trend.slope.value:+,.4g} subscribers/day" in said
    # A line of the 60 days' subscribers: one path of a start and 59 steps.
    drawn = b"".join(page.get_contents().get_data() for page in reader.pages)  # type: ignore[union-attr]
    assert max(len(re.findall(rb" l\b", path)) for path in re.split(rb"\bS\b", drawn)) == 59
    assert {font["/BaseFont"].split("+")[-1] for font in reader.pages[0]["/Resources"]["/Font"].values()} >= {
        "OpenSans-Regular",
        "OpenSans-Bold",
    }
    assert tashkent.report(TASHKENT, "pdf", 20).content == made.content


def test_the_book_holds_figures_dates_and_charts_and_no_formula(tashkent: Analytics) -> None:
    book = openpyxl.load_workbook(io.BytesIO(tashkent.report(TASHKENT, "xlsx", 20).content))
    assert book.sheetnames == ["figures", "days", "posts", "kinds of posts", "trends", "signs", "data"]
    figures = {row[0]: row for row in book["figures"].values}
    for figure in tashkent.overview(TASHKENT, 20).figures:
        assert figures[figure.metric][2] == pytest.approx(figure.value)
        assert figures[figure.metric][-1] == figure.missing
    days = list(book["days"].values)
    assert days[0][3] == "posting_rate (posts/day)"
    series = {p.ts: p.value for p in tashkent.series(TASHKENT, "posting_rate")}
    assert [row[3] for row in days[1:]] == [series[day_start("Asia/Tashkent", row[0].date())] for row in days[1:]]
    assert len(book["days"]._charts) == 3
    posts = list(book["posts"].iter_rows(min_row=2))
    assert [row[6].data_type for row in posts] == ["s"] * 20
    assert posts[0][6].value == TEXT
    assert all(row[6].hyperlink is None for row in posts)
    first = tashkent.posts(TASHKENT, 20)[0]
    assert posts[0][0].value == datetime.fromtimestamp(first.published_at, ZoneInfo("Asia/Tashkent")).replace(
        tzinfo=None
    )
    assert posts[0][2].value == pytest.approx(first.views)
    assert {row[0]: row[1] for row in book["data"].values}["channel"] == TASHKENT


@pytest.mark.parametrize("format", ["html", "json", "csv", "parquet", "pdf", "xlsx"])
def test_a_channel_without_views_has_a_report_that_says_so(analytics: Analytics, format: ReportFormat) -> None:
    made = analytics.report("empty", format, 20)
    assert made.name == f"empty.{format}"
    if format == "pdf":
        assert "views unavailable from this source" in _said(made.content)
    elif format == "xlsx":
        figures = openpyxl.load_workbook(io.BytesIO(made.content))["figures"]
        assert "views unavailable from this source" in {row[-1] for row in figures.values}
    elif format != "parquet":
        assert b"views unavailable from this source" in made.content


def test_other_forms_and_channels_are_refused(analytics: Analytics) -> None:
    with pytest.raises(InvalidInput, match="no report as 'doc': use one of json, csv, parquet, html, pdf, xlsx"):
        analytics.report("empty", "doc")  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        analytics.report("nobody", "html")


def test_days_that_nobody_watched_are_holes_in_the_line() -> None:
    values: list[float | None] = [1.0, 2.0, None, 3.0, None, None, 4.0, 5.0]
    plot = charts.plot([SeriesPoint(T0 + i * DAY, v) for i, v in enumerate(values)], "UTC")
    assert plot is not None
    drawn = charts.svg(plot, "a < b")
    assert drawn.count("<polyline") == 2
    assert drawn.count("<circle") == 1
    assert "a &lt; b" in drawn
    assert charts.plot([SeriesPoint(T0, None)], "UTC") is None


def test_a_batch_without_posts_is_no_trouble(sqlite_database: Database) -> None:
    batch = Batch()
    batch.channel(ChannelRow("bare", "UTC", "bundle"))
    IngestWriter(sqlite_database).write(batch, T0)
    analytics = Analytics(sqlite_database, ManualClock(T0))
    assert b"no posts stored" in analytics.report("bare", "html").content
    assert analytics.mix("bare").rows == ()
    assert analytics.quality("bare").score is None
    assert analytics.trend("bare", "views_gained").missing is not None
