"""The whole application on a real Ray: up, work, kill -9, recovery, down without a trace.

Driven from outside, by the command line and the HTTP client, as people and programs do it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coverage
import psutil
import pytest

from cluster import connect, environment, processes, state
from cluster.client import Bot
from cluster.ports import free_port
from cluster.state import HeadState
from core.schemas.workflows import Step
from core.settings import Settings

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]

#: The bar for the whole topology's memory.
RESIDENT_MB = 5 * 1024


@dataclass(frozen=True)
class Running:
    """A deployment of its own: home, environment, and what `up` said."""

    settings: Settings
    env: dict[str, str]
    said: dict[str, Any]

    def cli(self, *words: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        # Where coverage is measured, the command measures itself too (and not what it starts, which would slow it).
        measured = coverage.Coverage.current() is not None
        tracer = ["-m", "coverage", "run", "--parallel-mode"] if measured else []
        command = [sys.executable, *tracer, "-m", "cluster.cli", *words]
        return subprocess.run(
            command, env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
        )

    @property
    def known(self) -> HeadState:
        known = state.running(self.settings)
        assert known is not None
        return known

    def members(self) -> list[psutil.Process]:
        known = self.known
        assert known.head is not None
        return processes.members(known.head, known.id)

    def pids(self, title: str) -> set[int]:
        return {f.pid for f in processes.footprints(self.members()) if title in f.name}


def eventually(true: Callable[[], bool], seconds: float, what: str) -> float:
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.25)
    return time.monotonic() - begun


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("up") / "home"
    env = {
        k: v for k, v in os.environ.items() if not k.startswith(("ANALYTICBOT_", "RAY_", "DATABASE_URL", "REDIS_URL"))
    }
    env |= {"ANALYTICBOT_HOME": str(home), "ANALYTICBOT_HTTP_PORT": str(free_port())}
    settings = Settings(home=home, http_port=int(env["ANALYTICBOT_HTTP_PORT"]))
    made = Running(settings, env, {})
    try:
        begun = made.cli("up", "--json", timeout=300)
        assert begun.returncode == 0, begun.stderr
        yield Running(settings, env, json.loads(begun.stdout))
    finally:
        made.cli("down")
        shutil.rmtree(environment.ray_dir(settings), ignore_errors=True)


@pytest.fixture(scope="module")
def bot(running: Running) -> Iterator[Bot]:
    with connect(running.said["url"], patience_s=60.0) as made:
        yield made


def test_everything_is_started_and_healthy(running: Running, bot: Bot) -> None:
    assert {"orchestrator", "learner", "predictor", "gateway", "predictive_intelligence"} <= set(
        running.said["started"]
    )
    assert set(running.said["phases"]) >= {"database", "head", "connect", "services", "ready"}
    assert bot.ready()
    health = {answer.service: answer.status for answer in bot.health()}
    assert len(health) == 11
    assert set(health.values()) == {"ok"}
    print(f"\nup took {running.said['seconds']:.1f} s: {running.said['phases']}")


def test_the_whole_topology_keeps_within_its_memory(running: Running) -> None:
    held = processes.footprints(running.members())
    print(f"\n{len(held)} processes, {sum(f.pss_mb for f in held):.0f} MB proportional")
    assert sum(f.pss_mb for f in held) < RESIDENT_MB


def test_nothing_listens_beyond_this_machine(running: Running) -> None:
    here = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
    outward = {
        found.laddr.port
        for process in running.members()
        for found in process.net_connections(kind="tcp")
        if found.status == psutil.CONN_LISTEN and found.laddr.ip not in here
    }
    # The one kind of port that Ray gives no address to is a replica's own for gRPC, at a number of the system's choice.
    assert outward.isdisjoint(running.known.ports.named().values())


def test_up_again_starts_nothing(running: Running) -> None:
    before = {p.pid for p in running.members()}
    again = running.cli("up", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["started"] == []
    assert before <= {p.pid for p in running.members()}


def test_an_import_job_is_seen_by_the_service_at_once(running: Running, bot: Bot, tmp_path: Path) -> None:
    assert running.cli("simulate", str(tmp_path / "data"), "--channels", "2", "--days", "12").returncode == 0
    done = running.cli("jobs", "submit", "importing", str(tmp_path / "data"), "--wait", "120")
    assert done.returncode == 0, done.stderr
    names = [channel.name for channel in bot.channels]
    assert len(names) == 2
    assert bot.channels[names[0]].status().view_readings > 100
    assert bot.channels[names[0]].overview(days=5).figures


def nightly(running: Running) -> dict[str, Any]:
    """The job's own report, from the log that the command line shows."""
    done = running.cli("jobs", "submit", "nightly", "--days", "7", "--wait", "120", timeout=180)
    assert done.returncode == 0, done.stderr
    *_, line, last = done.stdout.strip().splitlines()
    assert last.endswith("SUCCEEDED")
    report: dict[str, Any] = json.loads(line)
    return report


def test_a_job_runs_to_its_end_and_is_not_done_twice(running: Running) -> None:
    first, again = nightly(running), nightly(running)
    assert (first["channels"], first["made"], first["kept"]) == (2, 1, 0)
    assert (again["made"], again["kept"]) == (0, 1)
    assert (Path(first["folder"]) / "done.json").exists()
    jobs = json.loads(running.cli("jobs", "list", "--json").stdout)
    assert [job["status"] for job in jobs if job["id"].startswith("nightly-")] == ["SUCCEEDED"] * 2


def test_a_retraining_that_cannot_give_a_version_ends_with_the_reason(running: Running, bot: Bot) -> None:
    done = running.cli("jobs", "submit", "retrain", "--key", "k1", "--wait", "120")
    assert done.returncode == 0, done.stderr
    (workflow,) = bot.workflows.list()
    assert workflow.step is Step.STOPPED
    assert bot.workflows.get(workflow.id).events[-1].reason.startswith("no version")


def test_raw_handles_reach_the_actors(running: Running) -> None:
    code = (
        "from cluster import connect\n"
        "with connect() as bot:\n"
        "    print(bot.services.versioning.health().service, bot.services.learning.health().status)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], env=running.env, capture_output=True, text=True, timeout=60, check=False
    )
    assert told.stdout.split() == ["versioning", "ok"], told.stderr


@pytest.mark.parametrize(
    "title", ["ray::Versioning", "ray::Orchestrator", "ServeReplica:gateway", "ServeReplica:predictor"]
)
def test_a_process_killed_comes_back_by_itself(running: Running, bot: Bot, title: str) -> None:
    (victim,) = running.pids(title)
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: bool(running.pids(title) - {victim}), 60, f"a new {title}")
    seconds = eventually(bot.ready, 60, f"ready after {title} was killed")
    print(f"\n{title}: ready {seconds:.1f} s after its successor began")


def test_a_head_killed_is_cleared_away_by_down(running: Running) -> None:
    known = running.known
    assert known.head is not None
    others = running.members()
    assert len(others) > 10
    os.kill(known.head.pid, signal.SIGKILL)
    eventually(lambda: not known.alive, 10, "the head's end")
    refused = running.cli("status")
    assert refused.returncode == 1
    assert "analyticbot up" in refused.stderr
    told = running.cli("down", "--json")
    assert told.returncode == 0, told.stderr
    assert state.load(running.settings) is None
    assert [p.pid for p in others if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
