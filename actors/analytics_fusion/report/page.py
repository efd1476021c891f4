"""A report as one HTML page: styles and charts inside it, no script, nothing from elsewhere."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from actors.analytics_fusion.report.charts import Plot, svg
from actors.analytics_fusion.report.sections import heading, sections
from core.schemas.reports import ChannelReport


def html(report: ChannelReport) -> bytes:
    """The page; everything that came from outside is escaped."""
    return _template().render(name=report.channel, heading=heading(report), sections=sections(report)).encode()


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("actors.analytics_fusion.report", "."), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["svg"] = _svg
    return environment.get_template("page.html")


def _svg(drawn: Plot, title: str) -> Markup:
    return Markup(svg(drawn, title))  # a chart's own texts are escaped where it is drawn
