"""The main job as a process of its own, with its actors and its predictor killed while it plays."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from cluster import connect, state
from cluster.story.screen import Screen
from core.ingest.simulator import SimulatorConfig, simulate
from core.schemas.rollouts import Evidence, RolloutStatus
from core.settings import Settings
from tests.conftest import ROOT

#: What is killed when a line of the story begins like this.
KILLS = {
    "   bootstrap: tune": ("learner",),
    "== Act 2": ("feedback", "drift"),
    "   preparing → canary_10": ("orchestrator", "anomaly_analysis"),
    "   canary_10 → canary_50": ("predictor", "monitoring"),
    "   canary_50 → canary_100": ("versioning",),
    "== Act 3": ("orchestrator", "learner"),
}


def _command() -> str:
    return str(Path(sys.executable).with_name("analyticbot"))


class Story:
    """A story that runs; kills what is asked when its lines come."""

    def __init__(self, home: Path, data: Path) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ANALYTICBOT_")}
        environment |= {
            "ANALYTICBOT_HOME": str(home),
            "ANALYTICBOT_HTTP_PORT": "18400",
            "ANALYTICBOT_RAY_PORT": "18410",
            "ANALYTICBOT_DASHBOARD_PORT": "18440",
            "ANALYTICBOT_TUNE_BUDGET_S": "10",
            "PYTHONUNBUFFERED": "1",
            "RAY_AUTH_MODE": "token",
        }
        self.home, self.lines, self.killed = home, list[str](), list[str]()
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "coverage",
                "run",
                _command(),
                "demo",
                "--data",
                str(data),
                "--steps",
                "80",
                "--once",
            ],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def play(self) -> str:
        """Read to the end; the whole text."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            for beginning, victims in KILLS.items():
                if line.startswith(beginning):
                    for victim in victims:
                        self._kill(victim)
        self.process.wait()
        return "".join(self.lines)

    def _kill(self, victim: str) -> None:
        pid = self._pids().get(victim)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            self.killed.append(victim)

    def _pids(self) -> dict[str, int]:
        known = state.running(Settings(home=self.home / "story"))
        assert known is not None
        with connect(known.http_url, patience_s=60) as bot:
            return {health.service: health.pid for health in bot.health()}


@pytest.fixture
def small_world(tmp_path: Path) -> Path:
    out = tmp_path / "channels"
    simulate(SimulatorConfig(channels=8, days=40, posts_per_day=3.0, seed=11), out)
    return out


@pytest.fixture
def story(tmp_path: Path, small_world: Path) -> Iterator[Story]:
    running = Story(tmp_path / "var", small_world)
    guard = threading.Timer(900, running.process.terminate)
    guard.start()
    yield running
    guard.cancel()
    if running.process.poll() is None:
        running.process.send_signal(signal.SIGINT)
        running.process.wait(60)


def test_a_change_of_phase_is_told_with_what_asks_for_proof_and_what_accuses() -> None:
    evidence = (
        Evidence("harm:errors", -0.4, 4.9, 300),
        Evidence("harm:quality", 0.7, 4.9, 40),
        Evidence("safety:errors", 3.2, 3.0, 300),
        Evidence("safety:quality", 0.0, 3.0, 0),
    )
    status = RolloutStatus("r1", "engagement", 2, 1, "canary_50", 0.5, None, (), evidence, "errors shown", 1, 2)
    out = io.StringIO()
    Screen(Console(file=out, width=200)).rollout(status, "canary_10")
    first, *rest = out.getvalue().splitlines()
    assert first == "   canary_10 → canary_50  v2 against v1, weight 50%: errors shown"
    assert [line.split(":")[1].split()[0] for line in rest] == ["quality", "errors"]
    out.truncate(0)
    Screen(Console(file=out, width=200)).rollout(replace(status, phase="rolled_back"), "rolling_back")
    assert "safety:" not in out.getvalue()  # nothing new was learned on the way back


@pytest.mark.cluster
@pytest.mark.timeout(1000)
def test_a_story_whose_actors_and_predictor_are_killed_ends_as_it_should(story: Story) -> None:
    text = story.play()
    assert story.process.returncode == 0, text[-4000:]
    assert re.search(r"first model: v1; promoted: v\d+; rolled back: v\d+", text), text[-4000:]
    assert re.search(r"predictions answered .* 0 failed", text), text[-4000:]
    # Every kind of victim was really hit: otherwise this proves nothing.
    assert set(story.killed) >= {
        "learner",
        "feedback",
        "drift",
        "orchestrator",
        "predictor",
        "monitoring",
        "versioning",
    }
    _nothing_left(story.home)


def _nothing_left(home: Path) -> None:
    give_up = time.monotonic() + 10
    while True:
        found = subprocess.run(["pgrep", "-f", str(home)], capture_output=True, text=True, check=False).stdout.split()
        if not found:
            return
        assert time.monotonic() < give_up, f"processes {found} survive the story"
        time.sleep(0.2)
