"""Whether the causes of changes are named: planted ones, ones outside the data, and simulated incidents.

    python -m bench.causes [--data DIR] [--channels 60] [--json FILE]

Channels are made by rule and seed (posts, view curves, subscribers, mentions); one thing changes on day 50. A cause is
right when it comes first. Outside the data: subscribers who leave or come without a mention or ad; then the share
called unexplained is told. --data: before.csv, after.csv and causes.csv of incidents; there the ranking by the size of
the shares alone stands beside. The exit code is 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from actors.anomaly_analysis import analysis, daily
from actors.anomaly_analysis.analysis import HOUR, MEDIA, NUMBER, OUTSIDE, PER_POST, Window
from actors.anomaly_analysis.explanation import Days, views_causes
from actors.anomaly_analysis.growth import growth_causes
from actors.anomaly_analysis.recommendations import MENTIONS, OWN_ADS
from actors.anomaly_analysis.scales import VIEWS
from bench._made_channel import T0, Made, Plan, make
from bench.anomaly import Sheet
from core.clock import DAY
from core.clock import HOUR as HOUR_S
from core.history import ATTRIBUTES, ChannelHistory
from core.schemas.analytics import Cause
from core.store.channels import Mention

CHANGED, SHOWN = 50, 54  # the day of the change, and days made
BAR_PLANTED, BAR_UNEXPLAINED, BAR_INCIDENTS, BAR_SUM = 0.90, 0.80, 0.83, 1e-9
FIRST = datetime.fromtimestamp(T0, UTC).toordinal()
NAMES = {
    "media mix": MEDIA,
    "post frequency": NUMBER,
    "posting hour": HOUR,
    "views per post": PER_POST,
    "external traffic": OUTSIDE,
}
PLANTED: dict[str, Plan] = {
    NUMBER: Plan(posts=lambda day: 1 if day >= CHANGED else 4),
    MEDIA: Plan(media=lambda day: (0.0, 0.0, 1.0) if day >= CHANGED else (0.5, 0.4, 0.1)),
    HOUR: Plan(hours=lambda day: (1.0, 0.0, 0.0) if day >= CHANGED else (0.1, 0.3, 0.6)),
    PER_POST: Plan(appeal=lambda day: 0.4 if day >= CHANGED else 1.0),
}


def _off(causes: Sequence[Cause], total: float) -> float:
    return abs(sum(cause.share for cause in causes) - total) / max(abs(total), 1.0)


def views(history: ChannelHistory, seed: int) -> tuple[tuple[Cause, ...], float]:
    """Causes of the change of the daily views from the day after the change on, and the change."""
    days = Days(
        "UTC",
        tuple(range(FIRST + CHANGED + 1, FIRST + SHOWN - 1)),
        tuple(range(FIRST + CHANGED - 28, FIRST + CHANGED)),
    )
    known = daily.values(history, days.before[0], days.away[-1])[VIEWS]
    usual = float(np.mean(known[: len(days.before)]))
    total = float(known[days.away[0] - days.before[0] :].sum()) - usual * len(days.away)
    return views_causes(history, days, total, np.random.default_rng(seed)), total


def planted(sheet: Sheet, channels: int) -> None:
    """One thing changes in what is posted."""
    worst, right = 0.0, 0
    for name, plan in PLANTED.items():
        found = 0
        for seed in range(channels):
            causes, total = views(make(SHOWN, seed, plan).history(), seed)
            worst = max(worst, _off(causes, total))
            found += causes[0].factor == name
        sheet.line(f"right first cause: {name}", found / channels, at_least=BAR_PLANTED)
        right += found
    sheet.line("right first cause of views", right / channels / len(PLANTED), at_least=BAR_PLANTED)
    sheet.line("shares beside the change, at worst", worst, at_most=BAR_SUM)


def _jump(seed: int, size: float, mentioned: bool = False, ad: bool = False) -> tuple[Made, Sequence[Mention]]:
    made = make(SHOWN, seed, Plan(growth=lambda day: 10.0 + (size if day == CHANGED else 0.0)))
    start = T0 + CHANGED * DAY
    return made, [Mention("other", 5, "made", start + HOUR_S)] if mentioned else []


def growth(sheet: Sheet, channels: int) -> None:
    """Subscribers come after a mention, leave after an ad, or come and leave for nothing that is stored."""
    kinds: dict[str, tuple[float, bool, bool]] = {
        MENTIONS: (600.0, True, False),
        OWN_ADS: (-600.0, False, True),
        "a purge": (-900.0, False, False),
        "bought subscribers": (900.0, False, False),
    }
    worst = 0.0
    start, stop = T0 + CHANGED * DAY, T0 + (CHANGED + 1) * DAY
    for name, (size, mentioned, ad) in kinds.items():
        right, outside = 0, []
        for seed in range(channels):
            made, mentions = _jump(seed, size, mentioned, ad)
            history = made.history()
            if ad:
                at = int(np.searchsorted(history.published_at, start - 2 * HOUR_S))
                history.attributes[at, ATTRIBUTES.index("is_ad")] = 1
            causes = growth_causes(history, mentions, start, stop, size + 10.0, 10.0)
            worst = max(worst, _off(causes, size))
            right += causes[0].factor == name
            outside.append(abs(causes[-1].share) / abs(size))
        if mentioned or ad:
            sheet.line(f"right first cause: {name}", right / channels, at_least=BAR_PLANTED)
        else:
            sheet.line(f"unexplained share of {name}", float(np.mean(outside)), at_least=BAR_UNEXPLAINED)
    sheet.line("shares beside the change of subscribers, at worst", worst, at_most=BAR_SUM)


def incidents(sheet: Sheet, folder: Path) -> None:
    """Incidents with a known cause."""
    before, after = (by_case_and_day(folder / f"{name}.csv") for name in ("before", "after"))
    with (folder / "causes.csv").open() as file:
        truth = {row["case"]: NAMES[row["cause"]] for row in csv.DictReader(file)}
    right = dict.fromkeys(("ranked", "by size"), 0)
    by_cause = {name: [0, 0] for name in NAMES.values()}
    worst = 0.0
    for case, cause in truth.items():
        usual = [before[case].get(day, Window(1, {}, {})) for day in range(28)]
        old, new = analysis.merge(usual), analysis.merge([after[case].get(day, Window(1, {}, {})) for day in range(7)])
        shares = analysis.decompose(old, new)
        worst = max(worst, abs(sum(shares.values()) - (new.total - old.total)) / max(abs(new.total - old.total), 1.0))
        spread = analysis.usual_spread(usual, 7, np.random.default_rng(int(case)))
        top = analysis.ranked(shares, spread)[0]
        right["ranked"] += top == cause
        right["by size"] += _largest(shares) == cause
        by_cause[cause][0] += top == cause
        by_cause[cause][1] += 1
    for name, (found, n) in by_cause.items():
        sheet.line(f"incidents, right first cause: {name}", found / max(n, 1))
    sheet.line("incidents, right first cause", right["ranked"] / len(truth), at_least=BAR_INCIDENTS)
    sheet.line("incidents, ranked by size alone", right["by size"] / len(truth))
    sheet.line("incidents, shares beside the change, at worst", worst, at_most=BAR_SUM)


def _largest(shares: Mapping[str, float]) -> str:
    return max(shares, key=lambda name: abs(shares[name]))


def by_case_and_day(path: Path) -> dict[str, dict[int, Window]]:
    """The posts of a file as one window a case and day."""
    found: dict[str, dict[int, Window]] = {}
    with path.open() as file:
        for row in csv.DictReader(file):
            cell = (row["media"], row["hour"])
            post = Window(1, {cell: 1}, {cell: float(row["own"])}, outside=float(row["external"]))
            days = found.setdefault(row["case"], {})
            day = int(row["day"])
            days[day] = replace(analysis.merge([days[day], post]), days=1) if day in days else post
    return found


def main() -> int:
    """Print every figure, and write them to --json; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--channels", type=int, default=60)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sheet = Sheet()
    print(f"{options.channels} made channels for each cause")
    planted(sheet, options.channels)
    growth(sheet, options.channels)
    if options.data is not None:
        print(f"incidents of {options.data}")
        incidents(sheet, options.data)
    print("bars missed: " + ("; ".join(sheet.missed) or "none"))
    if options.json is not None:
        options.json.write_text(json.dumps(sheet.figures, indent=1))
    return 1 if sheet.missed else 0


if __name__ == "__main__":
    sys.exit(main())
