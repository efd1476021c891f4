"""Roll-outs on the command line: what each command prints and exits with, and the live screen as text."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console
from starlette.testclient import TestClient

from actors.adaptive_learning.deployment.judge import Hold
from cluster.cli import main, rollout_commands
from cluster.cli.rollout_pace import Glance, estimate, lasting
from cluster.cli.rollout_screen import HOLDS, screen, transitions
from cluster.cli.rollout_watch import EVERY_S, Watch
from cluster.client import Bot
from cluster.client.calls import Call
from cluster.client.sync import Rollouts
from cluster.client.transport import Connection, Sender, _read, _request
from core.clock import ManualClock
from core.errors import InsufficientData, NotFound
from core.schemas.rollouts import (
    Evidence,
    RolloutConfig,
    RolloutEvent,
    RolloutPlan,
    RolloutStatus,
    StepPlan,
    TrafficFigures,
    configured,
)
from core.settings import Settings
from core.store.database import Database
from serve_apps.gateway.api import build_api
from tests.serve_apps.stand_in import MEASURED, RolloutDesk

Run = Callable[..., tuple[int, str, str]]

AT = 1_700_000_000


def proof(name: str, log_e: float, needed: float = 3.0, **more: Any) -> Evidence:
    return Evidence(name, log_e, needed, n=1200, estimate=0.0012, low=0.0004, high=0.0031, **more)


TRIAL = RolloutStatus(
    id="r1",
    model="engagement",
    challenger=2,
    stable=1,
    phase="canary_10",
    weight=0.1,
    observed_weight=0.1,
    holds=(),
    evidence=(
        proof("harm:errors", -0.4, 4.94),
        proof("harm:errors", 2.47, 4.94, segment="24"),
        proof("safety:errors", 1.5),
        proof("safety:quality", -0.2),
        proof("hold:sample_ratio", 0.1, 5.3),
    ),
    reason="challenger ready",
    started_at=AT,
    updated_at=AT + 60,
    requests={"stable": 900, "failed": 0, "canary": 99, "rescued": 1},
    hold_remaining_s=80.0,
    deadline_remaining_s=14 * 86400.0 - 3600.0,
    waits_for="80 s left at this step; errors log e 1.50 of 3.00",
    labels={"pairs": 12, "due": 20, "labelled": 8},
)
PREPARING = replace(TRIAL, phase="preparing", weight=0.0, observed_weight=None, evidence=(), reason="loading")
PROMOTED = replace(TRIAL, phase="promoted", weight=1.0, observed_weight=1.0, step=2, reason="all gates", waits_for="")
BACK = replace(TRIAL, phase="rolled_back", weight=0.0, observed_weight=0.0, reason="worse by errors")


def text_of(drawn: Any, width: int = 160) -> str:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(drawn)
    return out.getvalue()


def row_of(drawn: str, *beginning: str) -> str:
    return next(line for line in drawn.splitlines() if line.split()[: len(beginning)] == list(beginning))


# ---------------------------------------------------------------- the screen


def test_the_screen_says_where_a_rollout_stands() -> None:
    drawn = text_of(screen(TRIAL, (), AT + 61))
    assert "engagement v2 against v1" in drawn
    assert "roll-out r1, seen 2023-11-14 22:14:21 UTC" in drawn
    assert row_of(drawn, "canary_10").split("  ")[1] == "[10 %] › 50 % › 100 %"
    assert "stable 900, failed 0, canary 99, rescued 1" in row_of(drawn, "answers")
    assert "12 pairs; 8 of 20 due came in" in row_of(drawn, "outcomes")
    assert "1 min 20 s left at this step; 13 d 23 h to the deadline" in row_of(drawn, "time")
    assert "errors log e 1.50 of 3.00" in row_of(drawn, "waits")


def test_the_weight_that_routers_did_not_confirm_is_told_from_the_one_that_they_did() -> None:
    rising = row_of(text_of(screen(replace(TRIAL, weight=0.5, observed_weight=0.1), (), AT)), "weight")
    assert (rising.count("█"), rising.count("▒"), rising.count("·")) == (4, 16, 20)
    assert "50 % intended, 10 % confirmed" in rising
    silent = row_of(text_of(screen(replace(TRIAL, observed_weight=None), (), AT)), "weight")
    assert (silent.count("█"), silent.count("▒")) == (0, 4)
    assert "not confirmed by every router" in silent
    # A way back that is not confirmed yet still shows what the routers do.
    falling = row_of(text_of(screen(replace(TRIAL, weight=0.0, observed_weight=0.5), (), AT)), "weight")
    assert (falling.count("█"), falling.count("▒")) == (0, 20)


def test_evidence_is_a_bar_against_what_is_needed() -> None:
    drawn = text_of(screen(TRIAL, (), AT))
    gate = row_of(drawn, "clears", "now", "errors")
    assert (gate.count("█"), gate.count("·")) == (10, 10)
    assert gate.split()[-6:] == ["1.50", "3.00", "1,200", "0.0012", "[0.0004,", "0.0031]"]
    assert "█" not in row_of(drawn, "clears", "later", "quality")
    # Of the segments of a guard, the one that accuses most is shown.
    assert drawn.count("accuses") == 1
    assert row_of(drawn, "accuses", "errors", "(24)").count("█") == 10
    assert row_of(drawn, "holds", "sample_ratio").count("█") == 0
    almost = text_of(screen(replace(TRIAL, evidence=(proof("safety:errors", 2.999),)), (), AT))
    assert row_of(almost, "clears", "now").count("·") == 1  # full means enough
    enough = text_of(screen(replace(TRIAL, evidence=(proof("safety:errors", 7.0),)), (), AT))
    assert row_of(enough, "clears", "now").count("█") == 20


def test_every_hold_is_explained() -> None:
    assert set(HOLDS) == {str(hold) for hold in Hold}
    drawn = text_of(screen(replace(TRIAL, holds=("paused", "no_labels")), (), AT))
    assert "paused: a person said so" in drawn
    assert "no_labels: outcomes do not come in" in drawn
    assert "none while it is held" in row_of(drawn, "decision")


def test_what_a_stranger_wrote_is_not_read_as_markup() -> None:
    drawn = text_of(screen(replace(TRIAL, reason="[red]paused[/red]: [link=x]"), (event(1, "[bold]"),), AT))
    assert "[red]paused[/red]: [link=x]" in drawn


def test_a_rollout_that_is_over_waits_for_nothing() -> None:
    drawn = text_of(screen(PROMOTED, (), AT))
    assert "waits for" not in drawn
    assert "decision" not in drawn
    assert row_of(drawn, "promoted").endswith("10 % › 50 % › 100 %")
    assert row_of(drawn, "cleared", "errors")


def event(seq: int, phase: str, *holds: str, reason: str = "because") -> RolloutEvent:
    return RolloutEvent(seq, AT + seq, {"kind": "tick"}, phase, (), "h", reason, holds)


def test_transitions_are_the_events_that_changed_the_phase_or_a_hold() -> None:
    log = (
        event(1, "preparing"),
        event(2, "preparing"),
        event(3, "canary_10"),
        event(4, "canary_10", "no_data"),
        event(5, "canary_10", "no_data"),
        event(6, "canary_50", "paused"),
    )
    assert [(at - AT, change) for at, change, _ in transitions(log)] == [
        (1, "preparing"),
        (3, "preparing → canary_10"),
        (4, "held: no_data"),
        (6, "canary_10 → canary_50, held: paused, no longer held: no_data"),
    ]
    drawn = text_of(screen(TRIAL, log, AT + 9))
    assert row_of(drawn, "2023-11-14", "22:13:23").split()[2:] == ["preparing", "→", "canary_10", "because"]


# ---------------------------------------------------------------- how long it may take


PLAN = RolloutPlan(
    "engagement",
    MEASURED,
    (
        StepPlan(0.1, 120.0, 300.0, "errors", {"errors": 300.0}),
        StepPlan(0.5, 240.0, None, "quality", {"quality": None}),
    ),
    None,
    {},
)


def test_the_pace_of_the_evidence_is_told_from_a_plan() -> None:
    later = replace(TRIAL, evidence=(proof("safety:errors", 2.0),), hold_remaining_s=0.0)
    seen = Glance(AT, TRIAL)  # log e 1.5: half a unit in 40 s, one more is needed
    assert estimate(later, AT + 40, seen, PLAN) == "in about 1 min 20 s, bound by errors (at the pace of the last 40 s)"
    assert estimate(later, AT + 40, None, PLAN) == "in about 1 min 40 s, bound by errors (as planned)"


def test_a_pace_is_not_told_from_an_instant_or_from_another_step() -> None:
    later = replace(TRIAL, evidence=(proof("safety:errors", 2.0),), hold_remaining_s=0.0)
    for seen in (Glance(AT + 38, TRIAL), Glance(AT, replace(TRIAL, step=1)), Glance(AT, replace(TRIAL, holds=("x",)))):
        assert estimate(later, AT + 40, seen, PLAN).endswith("(as planned)")


def test_evidence_that_does_not_grow_has_no_pace() -> None:
    assert "(as planned)" in estimate(TRIAL, AT + 40, Glance(AT, TRIAL), PLAN)
    assert "errors gained nothing" in estimate(TRIAL, AT + 40, Glance(AT, TRIAL))
    never = replace(TRIAL, step=1, weight=0.5, phase="canary_50")  # quality: never, by the plan
    assert estimate(never, AT).startswith("cannot be said")
    assert "quality gained nothing" in estimate(never, AT, None, PLAN)


def test_the_time_at_the_step_counts_where_the_evidence_is_quicker() -> None:
    quick = replace(TRIAL, evidence=(proof("safety:errors", 2.9),), hold_remaining_s=80.0)
    assert estimate(quick, AT, None, PLAN) == "in about 1 min 20 s (time at this step)"
    done = replace(TRIAL, evidence=(proof("safety:errors", 3.1),))
    assert estimate(done, AT) == "evidence is complete; in 1 min 20 s (time at this step)"
    assert estimate(replace(done, hold_remaining_s=0.0), AT) == "evidence is complete"
    assert estimate(PREPARING, AT) == "no evidence is asked for in this phase"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (-3, "0 s"), (59.6, "1 min"), (130, "2 min 10 s"), (3600, "1 h"), (14 * 86400 - 1, "13 d 23 h")],
)
def test_durations_are_said_in_their_two_largest_units(seconds: float, said: str) -> None:
    assert lasting(seconds) == said


# ---------------------------------------------------------------- the commands


class Through(Sender):
    """The client's own questions, answered by the gateway without a port between them."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __call__(self, call: Call[Any]) -> Any:
        return _read(call, self._client.request(**_request(call)), "here")


@pytest.fixture
def desk() -> RolloutDesk:
    return RolloutDesk([PREPARING, TRIAL, TRIAL, PROMOTED], tuple(event(n, "canary_10") for n in range(1, 4)))


@pytest.fixture
def bot(desk: RolloutDesk) -> Iterator[Bot]:
    with TestClient(build_api(desk.parts(Database("sqlite://"), ManualClock(AT), Settings()))) as client:
        made = Bot(Connection("http://nobody", None, 1.0, 0.0))
        made.rollouts = Rollouts(Through(client))
        yield made


@pytest.fixture
def run(bot: Bot, home: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Exit code, standard output, standard error."""
    monkeypatch.setattr(rollout_commands, "connect", lambda **_: bot)
    monkeypatch.setattr(rollout_commands, "sleep", lambda _: None)

    def call(*words: str) -> tuple[int, str, str]:
        code = 0
        try:
            main(["rollout", *words])
        except SystemExit as end:
            code = int(end.code or 0)
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


def test_start_takes_a_strategy_settings_and_what_to_do_when_busy(run: Run, desk: RolloutDesk) -> None:
    words = ("start", "2", "--strategy", "blue_green", "--set", "alpha=0.01", "--set", 'approvals=["promote"]')
    code, out, _ = run(*words, "--when-busy", "replace", "--skip-validation")
    given = {"alpha": 0.01, "approvals": ["promote"], "skip_validation": True}
    assert desk.asked == [("start", "engagement", 2, configured({}, given, "blue_green"), "replace")]
    assert (code, out.splitlines()[0]) == (0, "r1: v2 against v1: preparing")


@pytest.mark.parametrize(
    "words",
    [
        ["start", "2", "--set", "alpha"],
        ["start", "2", "--set", "alpha=often"],
        ["start", "2", "--set", "beauty=1"],
        ["start", "2", "--strategy", "leap"],
        ["start", "2", "--when-busy", "panic"],
        ["plan", "--assume", "requests_per_s=100"],
        ["plan", "--assume", "requests_per_s=true"],
        ["replay", "--set", "alpha="],
        ["start", "2", "--set", "hold_s=[1, NaN, 1]"],
        ["plan", "--assume", "requests_per_s=1e999"],
    ],
)
def test_a_wrong_question_is_exit_code_2_and_asks_nobody(run: Run, desk: RolloutDesk, words: list[str]) -> None:
    code, out, err = run(*words)
    assert (code, out, desk.asked) == (2, "", [])
    assert "--" in err


def test_what_the_service_refuses_is_exit_code_1_with_its_reason(run: Run, desk: RolloutDesk) -> None:
    assert run("start", "2", "--when-busy", "reject") == (1, "", "analyticbot: roll-out r0 is under way\n")
    code, _, err = run("promote", "--reason", "now")
    assert (code, err) == (1, "analyticbot: not enough evidence: quality log e 0.40 of 3.00\n")
    assert desk.asked[-1] == ("steer", "r1", "promote", "now")
    code, _, err = run("start", "2", "--set", "alpha=2")
    assert code == 1
    assert "rollout.alpha = 2.0: must be between 0 and 1" in err


def test_steering_without_an_id_means_the_newest(run: Run, desk: RolloutDesk) -> None:
    assert run("pause", "--reason", "lunch")[0] == 0
    assert "resume: back" in run("resume", "r1", "--reason", "back")[1]
    assert json.loads(run("abort", "--json")[1])["id"] == "r1"
    assert [call[2:] for call in desk.asked] == [("pause", "lunch"), ("resume", "back"), ("abort", "by hand")]
    code, _, err = run("pause", "--model", "other")
    assert (code, err) == (1, "analyticbot: no roll-out of other yet: analyticbot rollout start VERSION\n")
    assert run("abort", "r9") == (1, "", "analyticbot: no roll-out 'r9'\n")


def test_status_is_the_screen_and_the_log(run: Run, desk: RolloutDesk) -> None:
    desk.story = [TRIAL]
    code, out, _ = run("status", "--events")
    assert code == 0
    assert "clears now" in out
    assert "audit log" in out
    assert json.loads(run("status", "--json")[1])["phase"] == "canary_10"
    assert len(json.loads(run("status", "r1", "--events", "--json")[1])["events"]) == 3


def test_a_plan_shows_steps_figures_and_times_to_find_harm(run: Run, desk: RolloutDesk) -> None:
    code, out, _ = run("plan", "--strategy", "direct")
    assert code == 0
    assert "25 requests/s, 0.100% of them failing on stable, 400 outcomes a day (sd 0.3)" in out
    assert "measured over 1 h, 90,000 requests" in out
    assert " ".join(row_of(out, "100", "%").split()) == "100 % 1 min 1 min 30 s errors errors 1 min 30 s"
    assert row_of(out, "errors", "x10").split()[-2:] == ["26", "s"]
    assert row_of(out, "dead").split() == ["dead", "never"]
    assert "all together: 10 min" in out


def test_a_plan_may_assume_its_figures(run: Run, desk: RolloutDesk) -> None:
    assumed = {"requests_per_s": 100.0, "error_rate": 0.001, "pairs_per_day": 500.0, "pair_sd": 0.25}
    words = [word for name, value in assumed.items() for word in ("--assume", f"{name}={value}")]
    document = json.loads(run("plan", "--json", *words)[1])
    assert desk.asked == [("plan", "engagement", RolloutConfig(), TrafficFigures(100.0, 0.001, 500.0, 0.25))]
    assert document["figures"]["measured_over_s"] == 0


def test_a_plan_that_cannot_end_well_is_exit_code_1_with_the_table(run: Run, desk: RolloutDesk) -> None:
    desk.plan = replace(PLAN, warnings=("hold of 120 s is short",), refusals=("quality: no outcomes come in",))
    code, out, err = run("plan")
    assert code == 1
    assert "warning: hold of 120 s is short" in out
    assert "refused: quality: no outcomes come in" in out
    assert "all together: never" in out
    assert err == "analyticbot: this roll-out cannot end well: quality: no outcomes come in\n"
    assert json.loads(run("plan", "--json")[1])["refusals"] == ["quality: no outcomes come in"]


def test_a_replay_says_whether_it_is_identical_and_how_fast(run: Run, desk: RolloutDesk) -> None:
    code, out, _ = run("replay")
    assert code == 0
    assert "identical: yes (promoted: all gates)" in out
    assert "12 events: 1 h replayed in 0.500 s, 7,200 times as fast" in out
    assert desk.asked == [("replay", "r1", None)]
    desk.identical = False
    code, out, err = run("replay", "r1")
    assert code == 1
    assert "identical: no" in out
    assert "does not lead to the decisions recorded" in err


def test_a_replay_with_other_settings_says_how_it_would_have_ended(run: Run, desk: RolloutDesk) -> None:
    desk.story = [PROMOTED]
    code, out, _ = run("replay", "--set", "quality_margin=0.01")
    assert code == 0
    assert "with these settings: rolled_back at 0 %: worse by quality" in out
    assert "as recorded: promoted at 100 %: all gates" in out
    assert desk.asked == [("replay", "r1", RolloutConfig(quality_margin=0.01))]
    assert json.loads(run("replay", "--set", "alpha=0.1", "--json")[1])["identical"] is None


def test_an_explanation_fits_one_screen(run: Run, desk: RolloutDesk) -> None:
    desk.story = [PROMOTED]
    code, out, _ = run("explain")
    assert code == 0
    assert len(out.splitlines()) <= 24
    assert row_of(out, "3").split()[3:6] == ["preparing", "→", "canary_10"]
    assert "safety:errors log e 1.50 of 3.00, n 1,200" in out
    assert "harm:errors (24) log e 2.47 of 4.94" in out
    assert "harm:errors log e -0.40" not in out  # says nothing against it
    assert "held for 1 min 15 s: no_labels" in out
    assert "outcomes that came after the decision: 3" in out
    assert "log of 12 events, verified" in out


def test_a_log_that_was_changed_is_exit_code_1(run: Run, desk: RolloutDesk) -> None:
    desk.verified = False
    code, out, err = run("explain")
    assert code == 1
    assert "NOT VERIFIED" in out
    assert err == "analyticbot: roll-out r1: the audit log is not whole\n"
    assert json.loads(run("explain", "--json")[1])["verified"] is False


# ---------------------------------------------------------------- following


def test_in_a_pipe_a_watch_prints_a_line_for_each_change(run: Run) -> None:
    code, out, _ = run("watch")
    lines = out.splitlines()
    assert code == 0
    assert [line.split()[4].rstrip(",") for line in lines] == ["preparing", "canary_10", "promoted"]
    assert "weight 10 % (confirmed: 10 %); challenger ready" in lines[1]


def test_with_json_a_watch_prints_a_document_for_each_change(run: Run, desk: RolloutDesk) -> None:
    desk.story[-1] = BACK
    code, out, err = run("watch", "--json")
    assert [json.loads(line)["phase"] for line in out.splitlines()] == ["preparing", "canary_10", "rolled_back"]
    assert (code, err) == (1, "analyticbot: roll-out r1 ended as rolled_back: worse by errors\n")


def test_start_may_wait_for_the_end(run: Run, desk: RolloutDesk) -> None:
    code, out, err = run("start", "2", "--wait", "--json")
    assert (code, json.loads(out)["phase"]) == (0, "promoted")
    assert "canary_10" in err
    desk.looks, desk.story[-1] = 0, BACK
    assert run("start", "2", "--wait")[0] == 1


def watched(bot: Bot, clock: ManualClock, wait: Callable[[float], None]) -> tuple[Watch, Console]:
    watch = Watch(bot, "r1", wait, lambda: AT + clock.monotonic())
    return watch, Console(file=io.StringIO(), force_terminal=True, width=120, height=40, highlight=False)


def test_on_a_terminal_a_watch_redraws_each_second_until_it_is_over(bot: Bot, desk: RolloutDesk) -> None:
    clock, waits = ManualClock(), list[float]()
    desk.story = [PREPARING, *[replace(TRIAL, hold_remaining_s=0.0)] * 2, PROMOTED]

    def wait(seconds: float) -> None:
        waits.append(seconds)
        clock.advance(seconds)

    watch, out = watched(bot, clock, wait)
    last = watch.follow(out, as_json=False)
    drawn = out.file.getvalue()  # type: ignore[attr-defined]
    assert last is not None
    assert last.phase == "promoted"
    assert waits == [EVERY_S] * 3
    assert sorted(set(re.findall(r"seen \S+ 22:13:(\d+)", drawn))) == ["20", "21", "22", "23"]
    assert "(as planned)" in drawn


def test_a_pace_is_taken_from_the_first_look_at_a_step(bot: Bot, desk: RolloutDesk) -> None:
    grown = replace(TRIAL, evidence=(proof("safety:errors", 2.0),), hold_remaining_s=0.0)
    desk.story = [PREPARING, TRIAL, *[TRIAL] * 9, grown, PROMOTED]
    clock = ManualClock()
    watch, out = watched(bot, clock, clock.advance)
    watch.follow(out, as_json=False)
    assert "in about 20 s, bound by errors (at the pace of the last 10 s)" in out.file.getvalue()  # type: ignore[attr-defined]


def test_ctrl_c_ends_a_watch_and_not_the_rollout(bot: Bot, desk: RolloutDesk, run: Run) -> None:
    def enough(_: float) -> None:
        raise KeyboardInterrupt

    watch, out = watched(bot, ManualClock(), enough)
    assert watch.follow(out, as_json=False) == PREPARING
    assert desk.asked == [("plan", "engagement", RolloutConfig(), None)]


def test_start_that_is_not_waited_for_any_longer_says_that_it_goes_on(
    run: Run, desk: RolloutDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def enough(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rollout_commands, "sleep", enough)
    code, _, err = run("start", "2", "--wait")
    assert (code, err) == (1, "analyticbot: not waited for any longer; it goes on: analyticbot rollout watch r1\n")


def test_without_figures_for_a_plan_a_watch_says_that_no_time_is_known(bot: Bot, desk: RolloutDesk) -> None:
    desk.plan = InsufficientData("requests", needed=100, have=3)
    watch, out = watched(bot, ManualClock(), lambda _: None)
    watch.follow(out, as_json=False)
    assert "no plan says when" in out.file.getvalue()  # type: ignore[attr-defined]


def test_a_rollout_that_does_not_exist_is_not_watched(bot: Bot) -> None:
    watch, out = watched(bot, ManualClock(), lambda _: None)
    watch.rollout_id = "r9"
    with pytest.raises(NotFound):
        watch.follow(out, as_json=False)
