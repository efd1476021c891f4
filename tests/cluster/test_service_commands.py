"""What is said of versions in service: changes of level, alerts, and which group of channels drifted."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from core.clock import DAY, HOUR
from core.schemas.monitoring import AlertChange, DriftReport, StreamDrift
from core.store.alerts import AlertLog
from core.store.drift_reports import DriftReportStore
from core.store.metrics_store import MetricStore, Point, Sum
from tests.cluster.conftest import Deployment
from tests.cluster.test_cli import Run, run, served

__all__ = ["run", "served"]


def test_levels_that_changed_are_dated(run: Run, served: Deployment) -> None:
    points = {
        Point("of-levels", 1, "views_24h@0", metric, day * DAY): Sum(4, 4 * (0.2 if day < 40 else 0.5))
        for day in range(80)
        for metric in ("abs_log", "abs_log_squared", "covered")
    }
    points |= {Point("of-levels", 1, "", "requests", hour * HOUR): Sum(3, 3.0) for hour in range(5)}
    with served.world.database.write() as connection:
        MetricStore(served.world.database).add(connection, points)
    code, out, _ = run("models", "levels", "of-levels")
    line = "mae_log of views_24h@0 changed on 1970-02-10 00:00 from 0.2000 to 0.5000"
    assert (code, line in out) == (0, True)
    assert "in 1 of 3 series: 5 of 60 hours at most" in " ".join(out.split())
    found = json.loads(run("models", "levels", "of-levels", "--version", "1", "--json")[1])
    assert [level["mean"] for level in found[0]["levels"]] == [pytest.approx(0.2), pytest.approx(0.5)]
    assert line in run("models", "degradation", "1", "--model", "of-levels")[1]


def test_the_group_that_drifted_is_shown_with_its_time(run: Run, served: Deployment) -> None:
    moved = StreamDrift("views_24h@0", "1e4", "errors", 500, 0, 3, "level", 90_000, 86_400, 0.01, 0.61, 2.9)
    risen = StreamDrift("requests", "", "failed", 4000, 0, 1, "share", 90_000, 3600, 0.002, 0.125, 2.7)
    waiting = StreamDrift("views_72h@0", "", "missed", 20, 180, 0)
    report = DriftReport("of-groups", 1, 100_000, 800, 400, "high", notes=("a note",), streams=(moved, risen, waiting))
    DriftReportStore(served.world.database).put(report)
    code, out, _ = run("drift", "of-groups", "--version", "1")
    assert code == 0
    shown = " ".join(out.split())
    assert "views_24h@0 1e4 views errors (level) 1970-01-02 00:00 0.01 0.61 2.9 3 500" in shown
    assert "requests all failed 1970-01-01 01:00 0.20% 12.50% 2.7 1 4,000" in shown
    assert "3 streams are followed: 2 had alarms, 1 need more values before they can judge" in shown
    assert "a note" in shown
    (first, *_) = json.loads(run("drift", "of-groups", "--version", "1", "--json")[1])["streams"]
    assert (first["group"], first["onset_estimate"]) == ("1e4", 86_400)


def test_alerts_that_began_and_ended_are_listed(run: Run, served: Deployment) -> None:
    began = AlertChange("of-alerts", "availability", "page", "begun", 3600, "it burns")
    log = AlertLog(served.world.database)
    log.settle("of-alerts", lambda _: [began, replace(began, state="ended", at=7200, reason="it does not")])
    code, out, _ = run("models", "alerts", "of-alerts")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert code == 0
    assert lines[-2:] == [
        "1970-01-01 02:00 availability page ended it does not",
        "1970-01-01 01:00 availability page begun it burns",
    ]
    assert [c["state"] for c in json.loads(run("models", "alerts", "of-alerts", "--limit", "1", "--json")[1])] == [
        "ended"
    ]
