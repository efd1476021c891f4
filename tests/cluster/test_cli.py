"""The command line as a person meets it: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster import environment, ports, state
from cluster.cli import main
from cluster.processes import Identity
from cluster.state import HeadState
from core.settings import Settings
from tests.cluster.conftest import Deployment

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Exit code, standard output, standard error."""

    def call(*words: str) -> tuple[int, str, str]:
        code = 0
        try:
            main(list(words))
        except SystemExit as end:
            code = int(end.code or 0)
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


@pytest.fixture
def imported(run: Run, tmp_path: Path) -> Path:
    """A home with two simulated channels."""
    data = tmp_path / "simulated"
    assert run("simulate", str(data), "--channels", "2", "--days", "12")[0] == 0
    assert run("import", str(data))[0] == 0
    return data


@pytest.fixture
def served(deployment: Deployment, home: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """The command line finds the deployment in its home."""
    import os

    settings = environment.absolute(Settings())
    port = int(deployment.url.rsplit(":", 1)[1])
    chosen = replace(ports.choose(settings.model_copy(update={"http_port": ports.free_port()})), http=port)
    known = HeadState(
        "id", Identity.of(os.getpid()), state.boot_id(), "127.0.0.1:1", "127.0.0.1", chosen, "", "", 0, True
    )
    state.save(settings, known)
    return deployment


# ---------------------------------------------------------------- the frame


def test_a_wrong_question_is_exit_code_2(run: Run) -> None:
    for words in (["nonsense"], ["plan", "--colour"], ["analyze"], ["simulate", "x", "--channels", "0"]):
        code, _, err = run(*words)
        assert code == 2, words
        assert "Error" in err


def test_help_names_every_command(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    for name in (
        "up",
        "down",
        "status",
        "plan",
        "doctor",
        "db",
        "import",
        "simulate",
        "channels",
        "analyze",
        "anomalies",
    ):
        assert f" {name} " in out
    for name in (
        "predict",
        "live",
        "alerts",
        "train",
        "tune",
        "models",
        "rollout",
        "workflows",
        "drift",
        "jobs",
        "keys",
        "demo",
    ):
        assert f" {name} " in out


def test_a_failure_is_one_line_on_standard_error(run: Run) -> None:
    code, out, err = run("channels")
    assert (code, out) == (1, "")
    assert err == "analyticbot: the database is empty: run `analyticbot db upgrade`\n"


def test_debug_shows_where_a_failure_came_from(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.errors import StorageBroken

    monkeypatch.setenv("ANALYTICBOT_DEBUG", "1")
    with pytest.raises(StorageBroken):
        run("channels")


def test_a_wrong_variable_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANALYTICBOT_HTTP_PORT", "99999")
    code, _, err = run("plan")
    assert code == 1
    assert err.startswith("analyticbot: ANALYTICBOT_HTTP_PORT: ")


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["predict", "@x", "--post", "1"],
        ["train"],
        ["tune"],
        ["models"],
        ["workflows"],
        ["drift"],
        ["rollout", "status"],
        ["rollout", "start", "2"],
        ["rollout", "plan"],
        ["rollout", "watch"],
        ["rollout", "promote"],
        ["rollout", "explain"],
        ["rollout", "replay"],
        ["alerts"],
        ["alerts", "rules"],
        ["live", "@x"],
        ["jobs", "list"],
        ["jobs", "submit", "nightly"],
    ],
)
def test_what_needs_a_running_deployment_says_how_to_start_one(run: Run, words: list[str]) -> None:
    code, _, err = run(*words)
    assert code == 1
    assert "start it with `analyticbot up`" in err
    assert err.count("\n") == 1


# ---------------------------------------------------------------- without a cluster


def test_plan_shows_who_wants_what(run: Run) -> None:
    code, out, _ = run("plan")
    assert "learner" in out
    assert "wanted:" in out
    document = json.loads(run("plan", "--json")[1])
    assert {share["service"] for share in document["shares"]} >= {"gateway", "predictor", "learner"}
    assert (code == 0) == (document["problems"] == [])


def test_a_plan_that_does_not_fit_is_exit_code_1_with_the_table(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from cluster import resources

    monkeypatch.setattr(resources, "this_machine", lambda: resources.Machine(2, 500))
    code, out, _ = run("plan")
    assert code == 1
    assert "orchestrator" in out
    assert "too little memory" in out


def test_up_starts_nothing_when_the_plan_does_not_fit(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cluster import resources

    monkeypatch.setattr(resources, "this_machine", lambda: resources.Machine(2, 500))
    code, _, err = run("up")
    assert code == 1
    assert "too little memory" in err
    assert not (home / "analyticbot.db").exists()
    assert not (home / state.FILE).exists()


def test_up_refuses_sqlite_for_several_machines(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from cluster import resources

    monkeypatch.setattr(resources, "this_machine", lambda: resources.Machine(64, 500_000))
    monkeypatch.setenv("ANALYTICBOT_PROFILE", "cluster")
    code, _, err = run("up")
    assert code == 1
    assert "DATABASE_URL" in err


def test_down_where_nothing_runs_says_so(run: Run) -> None:
    code, out, _ = run("down")
    assert code == 0
    assert "nothing ran" in out
    assert json.loads(run("down", "--json")[1])["was_running"] is False


def test_two_ups_do_not_meet(run: Run, home: Path) -> None:
    import fcntl

    home.mkdir()
    with (home / "cluster.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, _, err = run("up")
    assert code == 1
    assert "at work in this home" in err


def test_db_upgrade_makes_what_db_check_asks_for(run: Run) -> None:
    assert run("db", "check")[0] == 1
    assert run("db", "upgrade")[0] == 0
    assert json.loads(run("db", "check", "--json")[1]) == {"problems": []}


def test_a_simulation_is_imported_listed_and_analysed(run: Run, imported: Path) -> None:
    listed = json.loads(run("channels", "--json")[1])
    assert len(listed) == 2
    name = listed[0]["channel"]["name"]
    assert name in run("channels")[1]
    again = json.loads(run("import", str(imported), "--json")[1])
    assert all(counts["new"] == 0 for counts in again["tables"].values())
    code, out, _ = run("analyze", name, "--days", "5")
    assert code == 0
    assert name in out
    document = json.loads(run("analyze", name, "--days", "5", "--json")[1])
    assert document["status"]["posts"] == listed[0]["totals"]["posts"]
    assert run("anomalies")[0] == 0
    assert isinstance(json.loads(run("anomalies", name, "--json")[1]), list)


def test_an_import_of_nothing_is_refused_in_one_line(run: Run, tmp_path: Path) -> None:
    code, _, err = run("import", str(tmp_path / "absent"))
    assert code == 1
    assert "absent" in err
    assert "Traceback" not in err


def test_simulate_never_overwrites(run: Run, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    code, _, err = run("simulate", str(tmp_path / "full"))
    assert code == 1
    assert "not an empty folder" in err
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["mine.txt"]


def test_an_unknown_channel_is_named(run: Run, imported: Path) -> None:
    code, _, err = run("analyze", "@nowhere")
    assert code == 1
    assert "@nowhere" in err


def test_keys_are_made_listed_and_revoked(run: Run) -> None:
    run("db", "upgrade")
    made = json.loads(run("keys", "create", "reporting", "--scope", "read", "--json")[1])
    assert made["secret"].startswith("abk_")
    assert made["secret"] not in run("keys", "list")[1]
    assert json.loads(run("keys", "revoke", made["key"]["id"], "--json")[1])["revoked_at"] is not None
    assert run("keys", "revoke", "no-such")[0] == 1
    assert run("keys", "create", "x", "--scope", "everything")[0] == 1
    code, out, err = run("keys", "create", "plain")
    assert (code, out.count("\n")) == (0, 1)  # the secret alone, for `KEY=$(analyticbot keys create plain)`
    assert "cannot be shown again" in err


def findings(run: Run) -> dict[str, dict[str, Any]]:
    return {f["check"]: f for f in json.loads(run("doctor", "--json")[1])}


def test_the_doctor_finds_what_is_missing_and_what_is_well(run: Run) -> None:
    before = findings(run)
    assert before["python"]["ok"]
    assert "db upgrade" in before["database"]["said"]
    run("db", "upgrade")
    after = findings(run)
    assert after["database"]["ok"]
    assert after["artifacts"]["ok"]
    assert "analyticbot up" in after["cluster"]["said"]
    assert "ok" in run("doctor")[1]


def test_the_doctor_names_a_taken_port_a_dead_redis_and_a_dead_head(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setenv("ANALYTICBOT_HTTP_PORT", str(port))
        found = findings(run)
    assert found["redis"]["ok"] is False
    assert str(port) in found["port"]["said"]
    settings = Settings()
    gone = Identity(2**22 - 1, 1.0)
    chosen = ports.choose(settings)
    state.save(settings, HeadState("x", gone, state.boot_id(), "", "127.0.0.1", chosen, "", "", 0))
    assert "the head is gone" in findings(run)["cluster"]["said"]
    assert run("doctor")[0] == 1


def test_the_doctor_goes_on_where_home_is_a_file(run: Run, home: Path) -> None:
    home.write_text("in the way")
    found = findings(run)
    assert found["home"]["ok"] is False
    assert found["python"]["ok"]


# ---------------------------------------------------------------- with a deployment


def test_predictions_are_shown_as_views(run: Run, served: Deployment) -> None:
    code, out, _ = run("predict", "@town", "--post", "45")
    assert code == 0
    assert "views_24h" in out
    assert json.loads(run("predict", "@town", "--text", "Hello", "--json")[1])["version"] == 1
    code, _, err = run("predict", "@nowhere", "--post", "1")
    assert code == 1
    assert "@nowhere" in err


def test_status_fails_while_a_service_is_broken(run: Run, served: Deployment) -> None:
    code, out, err = run("status", "--json")
    document = json.loads(out)
    assert (code, document["ready"]) == (1, False)
    assert "not every service answers" in err
    assert "learner" in run("status")[1] + run("status")[2]


def test_models_are_listed_and_shown(run: Run, served: Deployment) -> None:
    assert "champion" in run("models")[1]
    assert [v["version"] for v in json.loads(run("models", "--json")[1])] == [2, 1]
    assert json.loads(run("models", "--version", "1", "--json")[1])["in_service"]["version"] == 1
    assert "v1" in run("models", "--version", "1")[1]
    assert "no version yet" in run("models", "other")[1]
    assert run("models", "list", "--json")[1] == run("models", "--json")[1]
    assert run("models", "show", "1")[1] == run("models", "--version", "1")[1]
    assert run("models", "show", "9")[0] == 1


def test_an_artifact_is_verified_from_the_command_line(run: Run, served: Deployment) -> None:
    code, out, _ = run("models", "verify", "2")
    assert (code, "v2 (1.1.0) is good: sha256, signature, features, predictions" in out) == (0, True)
    assert json.loads(run("models", "verify", "2", "--json")[1])["bytes"] > 0
    code, out, err = run("models", "verify", "9")
    assert (code, out, "no version 9" in err) == (1, "", True)
    assert run("models", "verify", "none")[0] == 2


def test_two_versions_are_compared_from_the_command_line(run: Run, served: Deployment) -> None:
    code, out, _ = run("models", "compare", "1", "2")
    assert code == 0
    assert "newer outcomes" in out
    assert "mae_log" in out
    document = json.loads(run("models", "compare", "1", "2", "--json")[1])
    assert document["paired"]["against"] == 1
    assert run("models", "compare", "1", "1")[0] == 1


def test_who_is_in_charge_and_since_when_is_shown(run: Run, served: Deployment) -> None:
    document = json.loads(run("models", "deployment", "--json")[1])
    champion = document["aliases"][0]
    assert (champion["alias"], champion["version"], champion["by"]) == ("champion", 1, "test")
    shown = run("models", "deployment")[1]
    assert "champion" in shown
    assert "routers: v1" in shown
    assert "champion" in run("models", "history")[1]
    assert "no alias of other was ever set" in run("models", "history", "--model", "other")[1]


def test_promises_degradation_and_feedback_are_shown(run: Run, served: Deployment) -> None:
    assert run("predict", "@town", "--post", "50")[0] == 0
    code, out, _ = run("models", "slo")
    assert (code, "not enough data" in out, "nothing burns" in out) == (0, True, True)
    assert json.loads(run("models", "slo", "--version", "1", "--json")[1])["version"] == 1
    assert run("models", "degradation", "1")[0] == 0
    assert {d["verdict"] for d in json.loads(run("models", "degradation", "1", "--json")[1])} == {"insufficient"}
    assert "what became of them" in run("models", "feedback")[1]
    assert "by_status" in json.loads(run("models", "feedback", "--json")[1])


def test_pruning_says_what_stays_and_why(run: Run, served: Deployment) -> None:
    shown = run("models", "prune", "--keep", "2", "--dry-run")[1]
    assert "champion names it" in shown
    assert "among the newest 2" in shown
    assert "0 artifacts would be deleted, 0 bytes" in shown
    assert json.loads(run("models", "prune", "--keep", "2", "--json")[1])["pruned"] == []
    assert run("models", "prune")[0] == 2
    assert run("models", "prune", "--keep", "0")[0] == 2


def test_trainings_can_be_queued_without_waiting(run: Run, served: Deployment) -> None:
    assert json.loads(run("train", "--no-wait", "--json")[1])["state"] == "queued"
    assert "queued" in run("tune", "--no-wait", "--budget", "5")[1]


def test_a_rollout_is_steered_from_the_command_line(run: Run, served: Deployment) -> None:
    assert run("rollout", "status")[0] in (0, 1)
    begun = json.loads(run("rollout", "start", "2", "--skip-validation", "--json")[1])
    assert "preparing" in run("rollout", "status", begun["id"])[1]
    assert run("rollout", "abort", begun["id"], "--reason", "seen enough")[0] == 0
    for _ in range(10):
        served.orchestrator.controller.tick("engagement")
    shown = json.loads(run("rollout", "status", begun["id"], "--events", "--json")[1])
    assert shown["status"]["phase"] == "rolled_back"
    assert shown["events"]
    assert "audit log" in run("rollout", "status", begun["id"], "--events")[1]
    assert run("rollout", "watch", begun["id"])[0] == 1  # it was taken back
    assert "identical: yes" in run("rollout", "replay", begun["id"])[1]
    explained = run("rollout", "explain", begun["id"])
    assert explained[0] == 0, explained
    assert "preparing → rolled_back" in explained[1]
    assert run("rollout", "pause", begun["id"])[0] == 1
    assert run("rollout", "resume", begun["id"])[0] == 1


def test_workflows_are_begun_and_listed(run: Run, served: Deployment) -> None:
    run("workflows", "--start")
    (newest, *_) = json.loads(run("workflows", "--json")[1])
    assert newest["trigger"] == "manual"
    assert "manual" in run("workflows", newest["id"])[1]
    assert run("workflows", newest["id"], "--cancel", "enough")[0] == 0
    assert "cancelled: enough" in run("workflows", newest["id"])[1]
    assert run("workflows", newest["id"], "--cancel", "again")[0] == 1


def test_the_loop_shows_its_switches_and_budget_and_is_switched(run: Run, served: Deployment) -> None:
    assert "automatic training on, roll-out on; 0 of 7 trainings" in " ".join(run("loop")[1].split())
    assert "roll-out off" in " ".join(run("loop", "auto_rollout", "off")[1].split())
    assert "roll-out on" in " ".join(run("loop", "auto_rollout", "default")[1].split())
    assert run("loop", "auto_rollout", "maybe")[0] == 1
    assert run("loop", "autopilot", "on")[0] == 1


def test_drift_before_the_first_report_says_so(run: Run, served: Deployment) -> None:
    code, _, err = run("drift")
    assert code == 1
    assert "no drift report" in err
    assert run("drift", "--check", "--version", "1")[0] == 1
