"""docs/metrics.md, written from the metric dictionary: `python -m core.metric_page > docs/metrics.md`."""

from __future__ import annotations

from core.metrics import METRICS

_HEAD = """# Metrics

Written from `core/metrics.py` (`python -m core.metric_page > docs/metrics.md`); change the dictionary, not this page.

Fractions are fractions (0..1) in code and API; only what is shown to people is in percent. Below the least sample no
figure is given, and the answer says how much there is. An album counts once, by its most viewed item. Views of posts
of different ages are never compared: they are interpolated at a fixed age. Days are those of the channel's time zone.

| metric | definition | unit | better | of | least sample | also known as |
|---|---|---|---|---|---|---|
"""


def page() -> str:
    """The page as Markdown."""
    rows = (
        f"| `{m.name}` | {m.formula} | {m.unit} | {m.better} | {m.scope} | {m.minimum} |"
        f" {', '.join(f'`{alias}`' for alias in m.aliases)} |"
        for m in METRICS.values()
    )
    return _HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(page(), end="")
