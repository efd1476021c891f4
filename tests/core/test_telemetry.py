from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
import structlog

from core import telemetry


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_json_lines_carry_service_level_time_and_request_id() -> None:
    out = io.StringIO()
    telemetry.configure("json", "info", out)
    with telemetry.request("r-1"):
        telemetry.logger("nightly").info("shard analysed", channels=3)
    line = json.loads(out.getvalue())
    assert line["service"] == "nightly"
    assert line["level"] == "info"
    assert line["event"] == "shard analysed"
    assert line["channels"] == 3
    assert line["request_id"] == "r-1"
    assert line["timestamp"].endswith("Z")


def test_an_error_is_told_with_its_trace() -> None:
    out = io.StringIO()
    telemetry.configure("json", "info", out)
    try:
        raise ValueError("bad row")
    except ValueError:
        telemetry.logger("x").exception("failed")
    assert "ValueError: bad row" in json.loads(out.getvalue())["exception"]


def test_lines_below_the_level_are_left_out() -> None:
    out = io.StringIO()
    telemetry.configure("console", "warning", out)
    log = telemetry.logger("x")
    log.info("quiet")
    log.warning("loud")
    assert "quiet" not in out.getvalue()
    assert "loud" in out.getvalue()


def test_the_request_before_comes_back_after_an_inner_one() -> None:
    assert telemetry.request_id() is None
    with telemetry.request("outer"):
        with telemetry.request() as inner:
            assert telemetry.request_id() == inner
            assert inner != "outer"
        assert telemetry.request_id() == "outer"
    assert telemetry.request_id() is None


def test_a_process_that_nobody_set_up_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANALYTICBOT_LOG_FORMAT", "json")
    monkeypatch.setenv("ANALYTICBOT_LOG_LEVEL", "error")
    structlog.reset_defaults()
    log = telemetry.logger("actor")
    log.warning("not wanted")
    log.error("wanted")
    lines = capsys.readouterr().err.splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["wanted"]


@pytest.mark.parametrize(("log_format", "level"), [("xml", "info"), ("json", "loud")])
def test_unknown_formats_and_levels_are_refused_by_name(log_format: str, level: str) -> None:
    with pytest.raises(ValueError, match="one of"):
        telemetry.configure(log_format, level)
