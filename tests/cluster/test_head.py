"""The head's ground without Ray: ports, directories, environment, state, and processes of one's own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from cluster import environment, head, ports, processes, state
from cluster.head import Capacity
from cluster.processes import MARK, Identity
from cluster.state import HeadState
from core.errors import Broken, Refused, StorageBroken
from core.schemas.alerts import Target
from core.settings import AlertSettings, LoopSettings, RolloutDefaults, Settings, SloSettings


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    made = Settings(home=tmp_path / "home", http_port=ports.free_port())
    yield made
    for short in (environment.ray_dir(made), environment.proxy_dir(made)):
        shutil.rmtree(short, ignore_errors=True)


@pytest.fixture
def squatter() -> Iterator[int]:
    """Another program's port."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield int(other.getsockname()[1])


def sleeper(env: dict[str, str] | None = None, own_session: bool = False) -> subprocess.Popen[bytes]:
    code = "import subprocess, sys, time; print('on', flush=True); time.sleep(600)"
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        start_new_session=own_session,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"on\n"
    return child


def state_of(settings: Settings, pid: int) -> HeadState:
    return HeadState(
        id="the-mark",
        head=Identity.of(pid),
        boot=state.boot_id(),
        address="127.0.0.1:6391",
        host="127.0.0.1",
        ports=ports.choose(settings),
        ray_dir="",
        token_file="",
        started_at=0,
    )


# ---------------------------------------------------------------- ports


def test_every_port_differs_and_none_lies_in_the_workers_range(settings: Settings) -> None:
    chosen = ports.choose(settings)
    named = chosen.named()
    assert len(set(named.values())) == len(named)
    inside = [p for n, p in named.items() if not n.startswith("worker") and chosen.worker_min <= p <= chosen.worker_max]
    assert inside == []


def test_a_taken_ray_port_gives_way_to_the_next_free_one(settings: Settings, squatter: int) -> None:
    chosen = ports.choose(settings.model_copy(update={"ray_port": squatter}))
    assert chosen.gcs > squatter


def test_a_taken_http_port_is_refused_in_one_line(settings: Settings, squatter: int) -> None:
    with pytest.raises(Refused, match=rf"port {squatter} .* taken by another program: .*ANALYTICBOT_HTTP_PORT") as told:
        ports.choose(settings.model_copy(update={"http_port": squatter}))
    assert "\n" not in told.value.message


def test_two_starts_on_a_machine_take_turns_and_a_dead_one_is_not_waited_for(tmp_path: Path) -> None:
    lock = tmp_path / "start.lock"
    refused = pytest.raises(Refused, match="another application has been starting")
    with ports.in_turn(5.0, lock), refused, ports.in_turn(0.0, lock):
        pass
    holder = (
        "import fcntl, sys, time; f = open(sys.argv[1], 'a'); fcntl.flock(f, 2); print(1, flush=True); time.sleep(99)"
    )
    with subprocess.Popen([sys.executable, "-c", holder, str(lock)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(Refused), ports.in_turn(0.0, lock):
            pass
        other.kill()
        with ports.in_turn(30.0, lock):
            pass


# ---------------------------------------------------------------- directory and environment


def test_groups_of_settings_reach_the_head_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = Settings(
        home=tmp_path,
        loop=LoopSettings(trainings_a_week=3, schedule_days=2.5),
        slo=SloSettings(latency_ms=70.0),
        rollout=RolloutDefaults(steps=(0.2, 1.0), webhook=SecretStr("https://a.example/x")),
        alerts=AlertSettings(
            telegram_url="http://127.0.0.1:9",
            smtp_password=SecretStr("p"),
            digest_at="08:30",
            digest_targets=(Target("email", "a@example.org"), Target("log")),
        ),
    )
    for name, value in environment.of_settings(given).items():
        monkeypatch.setenv(name, value)
    assert Settings() == given


def test_a_home_with_a_long_path_gets_a_short_directory_for_sockets(tmp_path: Path) -> None:
    near, far = Settings(home=Path("/srv/bot")), Settings(home=tmp_path / ("x" * 80))
    assert environment.ray_dir(near) == Path("/srv/bot/ray")
    short = environment.ray_dir(far)
    assert short.parent == Path("/tmp")
    assert len(str(short / "session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.1")) <= 107
    assert environment.ray_dir(far) == short
    assert environment.proxy_dir(Settings(home=Path("/srv/bot"))) == Path("/srv/bot/ray/haproxy")
    assert len(f"{environment.proxy_dir(far)}/{'f' * 56}/admin.sock") <= 96


def test_the_token_is_the_owners_only_and_stays_the_same(settings: Settings) -> None:
    path = environment.token_file(settings)
    token = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(token) == 64
    assert environment.token_file(settings).read_text() == token


def test_a_home_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageBroken, match="cannot be written"):
        environment.token_file(Settings(home=tmp_path / "file"))


def test_the_heads_environment_hands_settings_and_code_on(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "elsewhere:1")
    rollout = RolloutDefaults(
        alpha=0.01, gates=(("errors",), (), ("quality",)), webhook=SecretStr("https://a.example/x")
    )
    given = settings.model_copy(update={"tenant": "acme", "auto_train": False, "rollout": rollout})
    env = environment.of_head(given, ports.choose(given), "the-mark")
    assert env[MARK] == "the-mark"
    assert env["RAY_AUTH_MODE"] == "token"
    assert Path(env["RAY_AUTH_TOKEN_PATH"]).exists()
    assert "RAY_ADDRESS" not in env
    assert env["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    for name in list(os.environ):
        if name.startswith("ANALYTICBOT_"):
            monkeypatch.delenv(name)
    for name, value in env.items():
        if name.startswith("ANALYTICBOT_"):
            monkeypatch.setenv(name, value)
    again = Settings()
    assert (again.tenant, again.auto_train, again.home) == ("acme", False, settings.home)
    assert again.rollout == rollout


def test_the_proxys_statistics_stay_on_this_machine(settings: Settings, tmp_path: Path) -> None:
    env = environment.of_head(settings, ports.choose(settings), "m")
    config = tmp_path / "haproxy.cfg"
    config.write_text(
        "listen stats\n  bind *:8404\nfrontend prometheus\n    bind :9101\nfrontend http\n    bind 127.0.0.1:8000\n"
    )
    script = env["RAY_SERVE_HAPROXY_BINARY_PATH"]
    subprocess.run([script, "-c", "-f", str(config)], check=False, capture_output=True)
    assert [line.strip() for line in config.read_text().splitlines() if "bind" in line] == [
        "bind 127.0.0.1:8404",
        "bind 127.0.0.1:9101",
        "bind 127.0.0.1:8000",
    ]


def test_beyond_loopback_ray_answers_on_the_outer_address(settings: Settings) -> None:
    outside = settings.model_copy(update={"host": "0.0.0.0"})
    assert environment.shared(settings, "t")["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in environment.shared(outside, "t")


def test_entering_after_ray_was_imported_otherwise_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setitem(sys.modules, "ray", sys)
    with pytest.raises(Broken, match="connect first, then import ray"):
        environment.enter(settings, "token")


# ---------------------------------------------------------------- state


def test_the_state_comes_back_as_it_was_written(settings: Settings) -> None:
    assert state.load(settings) is None
    written = state_of(settings, os.getpid()).with_deployed("drift", "abc")
    state.save(settings, written)
    assert state.load(settings) == written
    assert state.running(settings) == written
    assert written.http_url == f"http://127.0.0.1:{settings.http_port}"


def test_the_state_that_an_older_version_wrote_can_be_read(settings: Settings) -> None:
    state.save(settings, state_of(settings, os.getpid()))
    document = json.loads(state.path(settings).read_text())
    del document["ports"]["fallback_proxy"], document["deployed"], document["ready"]
    state.path(settings).write_text(json.dumps(document))
    assert state.running(settings) is not None


def test_a_state_of_another_boot_or_of_a_reused_pid_is_stale(settings: Settings) -> None:
    known = state_of(settings, os.getpid())
    assert known.head is not None
    assert replace(known, boot="another").alive is False
    assert replace(known, head=replace(known.head, started=known.head.started - 100)).alive is False


def test_a_damaged_state_file_is_named(settings: Settings) -> None:
    settings.home.mkdir()
    state.path(settings).write_text('{"id": 1')
    with pytest.raises(StorageBroken, match=r"cluster\.json: cannot be read"):
        state.load(settings)


# ---------------------------------------------------------------- processes


def test_only_our_processes_end(settings: Settings) -> None:
    ours = sleeper({MARK: "the-mark"}, own_session=True)
    orphan = sleeper({MARK: "the-mark"}, own_session=True)  # what a head killed with -9 leaves behind
    stranger = sleeper({MARK: "another"}, own_session=True)
    try:
        state.save(settings, state_of(settings, ours.pid))
        stopped = head.stop(settings)
        assert stopped.was_running
        assert stopped.ended == 2
        assert ours.wait(5) is not None
        assert orphan.wait(5) is not None
        assert stranger.poll() is None
        assert state.load(settings) is None
    finally:
        for child in (ours, orphan, stranger):
            child.kill()
            child.wait()


def test_what_a_killed_head_left_is_cleared_before_a_new_start(settings: Settings) -> None:
    dead, orphan = sleeper({MARK: "the-mark"}, own_session=True), sleeper({MARK: "the-mark"}, own_session=True)
    try:
        known = state_of(settings, dead.pid)
        state.save(settings, known)
        head.kill_nine(known)
        dead.wait(5)
        assert known.alive is False
        assert head.clear_stale(settings, known) == 1
        assert orphan.wait(5) is not None
    finally:
        orphan.kill()
        orphan.wait()


def test_stopping_where_nothing_ran_is_no_error(settings: Settings) -> None:
    assert head.stop(settings).was_running is False


def test_footprints_count_shared_memory_once() -> None:
    import psutil

    (own,) = processes.footprints([psutil.Process()])
    assert 0 < own.pss_mb <= own.rss_mb * 1.01


def test_old_sessions_go_and_a_strangers_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in range(1, 6):
        (tmp_path / f"session_2026-01-0{day}_00-00-00_000000_1").mkdir()
    head._prepare_directory(tmp_path)
    assert sorted(p.name[:18] for p in tmp_path.glob("session_*")) == ["session_2026-01-04", "session_2026-01-05"]
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(Refused, match="belongs to another user"):
        head._prepare_directory(tmp_path)


def test_a_head_that_ray_refuses_to_start_says_why(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = [sys.executable, "-c", "import sys; print('ray: no space left on device'); sys.exit(3)"]
    monkeypatch.setattr(head, "_command", lambda *_: refusing)
    with pytest.raises(Broken, match=r"ended with code 3: ray: no space left on device"):
        head.start(settings, Capacity(1, 0, 100))
    assert state.load(settings) is None


def test_the_command_keeps_everything_on_loopback(settings: Settings) -> None:
    words = head._command(settings, Capacity(2, 0, 200), ports.choose(settings), Path("/x"))
    assert "--node-ip-address=127.0.0.1" in words
    assert "--dashboard-host=127.0.0.1" in words
    assert f"--object-store-memory={200 * 2**20}" in words
    assert "stop" not in words
