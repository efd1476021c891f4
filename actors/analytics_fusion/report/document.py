"""A report as PDF: A4, the font inside it, charts as lines. It says what the HTML page says."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import ttf_opensans
from reportlab.graphics.shapes import Circle, Drawing, Line, PolyLine, String
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import Flowable, KeepTogether, Paragraph, SimpleDocTemplate, Spacer, Table

from actors.analytics_fusion.report import charts
from actors.analytics_fusion.report.charts import Plot
from actors.analytics_fusion.report.sections import Column, Section, heading, sections
from core.schemas.reports import ChannelReport

LEFT_OUT = "Signs that the font of this document lacks, such as emoji, are left out."
_MARGIN = 16 * mm
_WIDTH = A4[0] - 2 * _MARGIN - 12  # the library keeps 6 points on each side to itself
_INK, _SOFT, _RULE, _LINE = HexColor("#1c2330"), HexColor("#6b7483"), HexColor("#dfe3ea"), HexColor("#2458c5")
_PLAIN, _BOLD = "OpenSans", "OpenSans-Bold"
_LOOKALIKES = str.maketrans({"ʻ": "‘"})  # the letter of Uzbek, which the font has as a quotation mark only
_ONE_AT_A_TIME = threading.Lock()  # the library keeps fonts, and what of them was used, in its modules


def pdf(report: ChannelReport) -> bytes:
    """The document; two of the same report are the same to the byte."""
    with _ONE_AT_A_TIME:
        text = _Text()
        flow = [
            Paragraph(text.marked(report.channel), _style(16, bold=True)),
            Paragraph(text.marked(heading(report)), _style(9, soft=True)),
        ]
        for section in sections(report):
            flow += _laid_out(section, text)
        if text.left_out:
            flow.append(Paragraph(LEFT_OUT, _style(8, soft=True)))
        sink = BytesIO()
        document = SimpleDocTemplate(
            sink,
            pagesize=A4,
            leftMargin=_MARGIN,
            rightMargin=_MARGIN,
            topMargin=_MARGIN,
            bottomMargin=_MARGIN,
            title=f"{report.channel}: {heading(report)}",
            invariant=True,
        )
        document.build(flow, onFirstPage=_number_page, onLaterPages=_number_page)
        return sink.getvalue()


class _Text:
    """Makes texts that came from outside fit to be set: signs that the font has, and no marking up."""

    def __init__(self) -> None:
        self._glyphs = _font().face.charToGlyph
        self.left_out = False

    def plain(self, text: str) -> str:
        """With the nearest signs that the font has; those that have none are left out."""
        return "".join(self._sign(c) for c in text.translate(_LOOKALIKES))

    def marked(self, text: str) -> str:
        """For a paragraph."""
        return escape(self.plain(text))

    def _sign(self, c: str) -> str:
        if ord(c) in self._glyphs or c == "\n":
            return c
        near = "".join(d for d in unicodedata.normalize("NFKD", c) if ord(d) in self._glyphs)
        self.left_out |= not near and not unicodedata.combining(c)
        return near


def _laid_out(section: Section, text: _Text) -> Iterator[Flowable]:
    head: list[Flowable] = [Paragraph(text.marked(section.title), _style(12, bold=True, above=10))]
    if section.lead:
        head.append(Paragraph(text.marked(section.lead), _style(9)))
    if section.chart:
        head.append(_drawing(section.chart))
    yield KeepTogether(head)  # no title at the foot of a page
    if section.rows:
        yield _table(section, text)
        yield Spacer(0, 4)
    for note in section.notes:
        yield Paragraph(text.marked(note), _style(8, soft=True))


def _table(section: Section, text: _Text) -> Table:
    columns = section.columns
    rows = [[_cell(column.title, Column("", column.figure, soft=True), text) for column in columns]]
    style: list[tuple[Any, ...]] = [
        ("LINEBELOW", (0, 0), (-1, -1), 0.5, _RULE),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 6),
        ("TOPPADDING", (0, 0), (-1, -1), 1.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
    ]
    for number, row in enumerate(section.rows, start=1):
        cells: list[Any] = [_cell(text_, column, text) for text_, column in zip(row, columns, strict=False)]
        if len(row) < len(columns):
            cells[-1] = _cell(row[-1], Column("", soft=True), text)
            cells += [""] * (len(columns) - len(row))
            style.append(("SPAN", (len(row) - 1, number), (-1, number)))
        rows.append(cells)
    whole = sum(column.width for column in columns)
    widths = [_WIDTH * column.width / whole for column in columns]
    return Table(rows, widths, repeatRows=1, hAlign="LEFT", style=style)


def _cell(content: str, column: Column, text: _Text) -> Paragraph:
    return Paragraph(text.marked(content), _style(8, soft=column.soft, right=column.figure))


def _drawing(drawn: Plot) -> Drawing:
    """The chart, as wide as the page."""
    scale, height = _WIDTH / charts.WIDTH, charts.HEIGHT

    def label(x: float, y: float, said: str, anchor: str) -> String:
        return String(x, height - y, said, fontName=_PLAIN, fontSize=11, fillColor=_SOFT, textAnchor=anchor)

    drawing = Drawing(_WIDTH, height * scale)
    for y, said in drawn.levels:
        drawing.add(Line(charts.LEFT, height - y, charts.WIDTH - charts.RIGHT, height - y, strokeColor=_RULE))
        drawing.add(label(charts.LEFT - 6, y + 4, said, "end"))
    for (x, said), anchor in zip(drawn.ends, ("start", "end"), strict=True):
        drawing.add(label(x, height - 6, said, anchor))
    for run in drawn.runs:
        points = [(x, height - y) for x, y in run]
        if len(points) == 1:
            drawing.add(Circle(*points[0], 2, fillColor=_LINE, strokeColor=None))
        else:
            drawing.add(PolyLine(points, strokeColor=_LINE, strokeWidth=2))
    drawing.scale(scale, scale)
    return drawing


def _number_page(canvas: Any, document: Any) -> None:
    canvas.setFont(_PLAIN, 8)
    canvas.setFillColor(_SOFT)
    canvas.drawRightString(A4[0] - _MARGIN, _MARGIN / 2, str(document.page))


@cache
def _style(size: float, *, bold: bool = False, soft: bool = False, right: bool = False, above: float = 0) -> Any:
    _font()
    return ParagraphStyle(
        f"{size} {bold} {soft} {right}",
        fontName=_BOLD if bold else _PLAIN,
        fontSize=size,
        leading=size * 1.3,
        textColor=_SOFT if soft else _INK,
        alignment=2 if right else 0,
        spaceBefore=above,
        spaceAfter=2,
    )


@cache
def _font() -> TTFont:
    """The plain font; registers both."""
    folder = Path(ttf_opensans.__file__).parent / "ttf"
    files = {_PLAIN: "OpenSans-Regular.ttf", _BOLD: "OpenSans-Bold.ttf"}
    fonts = [TTFont(name, folder / file) for name, file in files.items()]
    for font in fonts:
        pdfmetrics.registerFont(font)
    return fonts[0]
