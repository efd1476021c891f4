"""The state machine keeps its rules in every state that it can reach, and with real books in any order of events."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.adaptive_learning.deployment import facts, judge, reducer
from actors.adaptive_learning.deployment.bookkeeping import Executions, Tally
from actors.adaptive_learning.deployment.events import (
    Aliased,
    AliasMoved,
    Baseline,
    Calendar,
    ChallengerFailed,
    ChallengerReady,
    Counts,
    Cursors,
    Drift,
    Event,
    Matured,
    Observed,
    Pairs,
    Promote,
    Release,
    Released,
    Restore,
    Restored,
    Started,
    Steer,
    Tick,
)
from actors.adaptive_learning.deployment.judge import Safe
from actors.adaptive_learning.deployment.record import Record, Timers, new_record, outstanding
from actors.adaptive_learning.deployment.reducer import step
from core.codec import from_json, to_json
from core.schemas.rollouts import COUNTED, STRATEGIES, TERMINAL, Phase, Strategy, configured
from tests.actors import model_checker, model_memory, model_table
from tests.actors.model_checker import CONFIGS, explore, figures, page, stuck, unending, without_evidence
from tests.actors.model_rules import Step, broken_rules
from tests.actors.model_world import as_intended

DIRECT = configured({"deadline_s": 1000.0, "abandon_s": 100.0, "prepare_s": 100.0}, {}, "direct")


@pytest.mark.parametrize(("name", "least"), [("canary", 9_000), ("blue_green", 6_000)])
def test_in_every_reachable_state_every_rule_is_kept_and_the_way_back_ends(name: str, least: int) -> None:
    found = explore(CONFIGS[name])
    print(f"\n{name}: {figures(found)}", end="")
    assert found.broken == []
    assert len(found.states) >= least
    assert {record.phase for record in found.states} == set(Phase)
    assert unending(found) == []
    assert without_evidence(found) == set()
    assert stuck(found) == set()


def test_the_page_of_transitions_is_what_was_walked() -> None:
    assert model_table.FILE.read_text(encoding="utf-8") == page(), "run: python -m tests.actors.model_checker --write"


# ---------------------------------------------------------------- the checker itself


RISE = "the weight rises only on evidence, confirmed, unheld, after the least time, with approval"
STABLE = "no way back into a stable version that is down"
APPROVED = replace(DIRECT, approvals=("promote",))
MUTANTS = [
    ("record.holds or not record.confirmed or", "not record.confirmed or", RISE),
    ("record.holds or not record.confirmed or", "record.holds or", RISE),
    ("or timers.hold_s > 0 or", "or", RISE),
    ("or not isinstance(found, Safe):", ":", RISE),
    ("and not record.approved:", "and False:", RISE),
    ("case Released() if record.stage is Stage.RELEASING:", "case Released():", "nobody is promoted but by"),
    ("if record.stage is Stage.RELEASING or not returnable:", "if record.stage is Stage.RELEASING:", STABLE),
    ("case Observed() if returnable and record", "case Observed() if record", STABLE),
    ("epoch=record.epoch + 1", "epoch=record.epoch", "every change of the split has a higher epoch"),
    ("weight=0.0, holds=(),", "weight=0.0,", "what is over rests"),
    ("case Stage.REVERTING, Observed() if record.confirmed:", "case Stage.REVERTING, Observed():", "a way back that"),
    ("case Stage.RELEASING, Released():", "case Stage.RELEASING, _:", "the end releases what was on trial"),
    ("phase=Phase.HALTED, stage=Stage.OVER, holds=(), reason=event", "phase=Phase.HALTED, reason=event", "whoever is"),
]


def mutated(part: str, wrong: str) -> Any:
    """The state machine with one fault in its text."""
    source = Path(reducer.__file__).read_text(encoding="utf-8")
    assert source.count(part) == 1, f"the state machine does not say {part!r} any more"
    module = ModuleType("mutant")
    exec(compile(source.replace(part, wrong), "mutant", "exec"), module.__dict__)
    return module


@pytest.mark.parametrize(("part", "wrong", "broken"), MUTANTS)
def test_a_machine_with_a_fault_is_found_out(
    monkeypatch: pytest.MonkeyPatch, part: str, wrong: str, broken: str
) -> None:
    monkeypatch.setattr(model_checker, "step", mutated(part, wrong).step)
    config = APPROVED if "approved" in part else DIRECT
    found = explore(config, most_holds=int("returnable" in part))  # a stable version that is down is a hold
    assert any(line.startswith(broken) for line in found.broken)


def test_a_lying_judge_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "verdict", lambda *_: Safe())
    assert any(line.startswith(RISE) for line in explore(DIRECT, most_holds=0).broken)


def _unchanged(record: Record, *_: object) -> Record:
    return record


def test_what_is_asked_of_the_whole_can_fail_too(monkeypatch: pytest.MonkeyPatch) -> None:
    found = explore(DIRECT, most_holds=0)
    assert without_evidence(found) == set()
    found.risen.clear()
    assert without_evidence(found) != set()
    with monkeypatch.context() as patched:
        patched.setattr(facts, "lifted", _unchanged)
        assert stuck(explore(DIRECT, most_holds=1)) != set()
    monkeypatch.setattr(reducer, "_reverted", _unchanged)
    assert unending(explore(DIRECT, most_holds=0)) != []


def test_what_the_walk_remembers_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = explore(DIRECT, most_holds=1)
    for name in ("_once", "_once_a_split"):
        monkeypatch.setattr(model_memory, name, lambda question: question)
    monkeypatch.setattr(model_memory, "quick_replace", replace)
    slow = explore(DIRECT, most_holds=1)
    assert (len(quick.states), quick.transitions, quick.beyond) == (len(slow.states), slow.transitions, slow.beyond)
    assert quick.noted.moved == slow.noted.moved
    record = quick.states[-1]
    assert model_memory.quick_replace(record, place=1) == replace(record, place=1)
    assert model_memory.quick_replace(Timers(1.0), down_s=2.0) == Timers(1.0, down_s=2.0)


# ---------------------------------------------------------------- real books, any order

QUICK = {"deadline_s": 600.0, "error_slo": 0.05}
SMALL = st.integers(0, 40)
REPORTS = st.fixed_dictionaries(
    {},
    optional={
        "stable": st.sampled_from([None, 1, 2]),
        "epoch": st.integers(0, 12),
        "weight": st.sampled_from([0.0, 0.1, float("nan")]),
        "canary_ready": st.booleans(),
        "canary_gone": st.booleans(),
        "breaker_open": st.booleans(),
        "frozen": st.booleans(),
    },
)
ANY_NUMBER = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def executions(draw: st.DrawFn) -> Executions:
    """Some executions, with no more events than executions."""
    n = draw(SMALL), draw(SMALL)
    names = draw(st.sets(st.sampled_from(COUNTED)))
    stable, canary = ({name: draw(st.integers(0, most)) for name in sorted(names)} for most in n)
    return Executions(*n, stable, canary)


class AnyOrder(RuleBasedStateMachine):
    """Everything that may happen, in an order that is made up as it goes."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[str, str, str]] = []
        self.first = self.record = new_record("r", "m", 2, 1, configured(QUICK, {}))

    def feed(self, event: Event) -> None:
        before = self.record
        self.record, commands = step(before, event)
        assert broken_rules(Step(before, event, self.record, commands)) == []
        self.log.append((to_json(event), to_json(self.record), to_json(commands)))

    @initialize(
        strategy=st.sampled_from(sorted(STRATEGIES)),
        approvals=st.sets(st.sampled_from(["start", "rise", "promote"])),
        hold=st.sampled_from([0.0, 2.0]),
        begun=st.sampled_from([True, True, True, False]),
    )
    def configure(self, strategy: Strategy, approvals: set[str], hold: float, begun: bool) -> None:
        n = len(configured({}, {}, strategy).steps)
        config = configured(QUICK, {"approvals": tuple(approvals), "hold_s": (hold,) * n}, strategy)
        self.first = self.record = new_record("r", "m", 2, 1, config)

        if begun:
            self.feed(Steer("resume", "x"))
            self.begin()

    @rule()
    def begin(self) -> None:
        self.feed(Started(1, 4, Cursors()))
        self.feed(as_intended(self.record))
        self.feed(ChallengerReady())

    @precondition(lambda self: self.record.phase not in TERMINAL)
    @rule(times=st.integers(1, 6), approved=st.booleans())
    def a_good_time(self, times: int, approved: bool) -> None:
        if approved:
            self.feed(Steer("resume", "x"))
        for _ in range(times):
            self.feed(as_intended(self.record))
            self.feed(Counts({"": Executions(200, 200)}, Tally(180, 0, 20, 0), 0, 0, Cursors()))
            self.feed(Pairs((-0.1, -0.05, 0.02) * 10, Cursors()))
            self.feed(Tick(1.0))
        if approved:
            self.answered()

    @rule(changes=REPORTS)
    def routers(self, changes: dict[str, Any]) -> None:
        seen = cast(Observed, as_intended(self.record))
        self.feed(Observed(tuple(replace(report, **changes) for report in seen.reports)))

    @rule(some=executions(), stable_keys=SMALL, canary_keys=SMALL)
    def counts(self, some: Executions, stable_keys: int, canary_keys: int) -> None:
        self.feed(Counts({"": some}, Tally(), stable_keys, canary_keys, Cursors()))

    @rule(differences=st.lists(st.one_of(st.floats(-1, 1), ANY_NUMBER), max_size=30))
    def pairs(self, differences: list[float]) -> None:
        self.feed(Pairs(tuple(differences), Cursors()))

    @rule(seconds=st.one_of(st.floats(0, 50), ANY_NUMBER))
    def time(self, seconds: float) -> None:
        self.feed(Tick(seconds))

    @rule(due=SMALL, share=st.floats(0, 1))
    def outcomes_due(self, due: int, share: float) -> None:
        self.feed(Matured(due, int(due * share), Cursors()))

    @rule(quantiles=st.tuples(ANY_NUMBER, ANY_NUMBER, ANY_NUMBER))
    def baseline(self, quantiles: tuple[float, float, float]) -> None:
        self.feed(Baseline(quantiles, 2000))

    @rule(window=st.sampled_from(["", "a window"]))
    def calendar(self, window: str) -> None:
        self.feed(Calendar(window))

    @rule(action=st.sampled_from(["pause", "resume", "promote"]))
    def person(self, action: Any) -> None:
        self.feed(Steer(action, "x"))

    @rule(
        event=st.sampled_from([Drift("x"), AliasMoved("x"), ChallengerFailed("x"), Aliased(), Restored(""), Released()])
    )
    def unasked(self, event: Event) -> None:
        self.feed(event)

    @rule()
    def answered(self) -> None:
        for command in outstanding(self.record):
            match command:
                case Promote():
                    self.feed(Aliased())
                case Restore():
                    self.feed(Restored(""))
                case Release():
                    self.feed(Released())

    @invariant()
    def no_figure_is_none(self) -> None:
        text = to_json(self.record)
        assert "NaN" not in text
        assert "Infinity" not in text
        assert from_json(Record, text) == self.record

    def teardown(self) -> None:
        """The log replays bit for bit, and an abort ends it."""
        record = self.first
        for event, after, commands in self.log:
            record, ordered = step(record, from_json(cast("type[Event]", Event), event))
            assert (to_json(record), to_json(ordered)) == (after, commands)
        record, _ = step(record, Steer("abort", "x"))
        for answer in (as_intended(record), Restored(""), Released()):
            record, _ = step(record, answer)
        assert record.phase in TERMINAL


AnyOrder.TestCase.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestAnyOrder = AnyOrder.TestCase
