"""Runs the whole story: import, analyse, train, serve, predict, join outcomes, retrain, roll out, roll back."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from cluster import head, state, topology
from cluster.client import connect
from cluster.services import Proxies
from cluster.state import HeadState
from cluster.story.acts import Acts, Result
from cluster.story.asker import Asker
from cluster.story.figures import Figures
from cluster.story.plan import STEPS, survey, timetable
from cluster.story.replayer import Replayer
from cluster.story.screen import Screen, day
from cluster.up import up
from core.clock import DAY, SystemClock
from core.errors import InsufficientData, Refused
from core.history import ChannelHistory
from core.ingest.importer import import_path
from core.ingest.replay import Replay
from core.ingest.simulator import SimulatorConfig, simulate
from core.settings import LoopSettings, RolloutDefaults, Settings
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.migrate import upgrade

#: The story's roll-outs wait less than a real one; the screen says so.
SHORTENED = RolloutDefaults(hold_s=(2.0, 2.0, 2.0), deadline_s=1800.0, error_slo=0.1)
#: ... and its loop takes a sixteenth of the champion's rows for enough: the whole replay is a few weeks of the data.
EAGER = LoopSettings(enough_new_share=0.2)
_MODEL_STEPS = ("training", "serving and predictions", "outcomes and drift", "roll-out and roll-back")


def story_settings(settings: Settings) -> Settings:
    """The story keeps to a home and a database of its own: a replayed clock must not meet a real deployment's data."""
    return settings.model_copy(
        update={
            "home": settings.home.absolute() / "story",
            "database_url": None,
            "artifacts_url": None,
            "clock": "replay",
            "tick_s": 0.5,
            "rollout": SHORTENED,
            "loop": EAGER,
        }
    )


def run(
    settings: Settings, data: Path | None, once: bool, *, steps: int = STEPS, console: Console | None = None
) -> Result:
    """Play it; with `once` end after it, else serve until interrupted. Everything started is stopped at the end."""
    screen = Screen(console or _console())
    told = story_settings(settings)
    _fresh_home(told)
    with tempfile.TemporaryDirectory(prefix="staging-", dir=told.home) as scratch:
        staging = _stage(screen, told, data, Path(scratch))
        histories = _histories(staging, told.tenant)
        screen.survey(survey(histories))
        try:
            running = _bring_up(screen, told)
            result = _play(screen, told, running, staging, histories, str(data or "simulated"), steps)
            _where_to_look(screen, running, result)
            if not once:
                _serve_until_interrupted(screen)
        except KeyboardInterrupt:
            screen.line("interrupted")
            raise
        finally:
            staging.dispose()
            _stop(screen, told)
    return result


def _console() -> Console:
    console = Console()
    # Tables in a pipe or a log are not cut to the eighty columns that a pipe seems to have.
    return console if console.is_terminal else Console(width=140)


def _stop(screen: Screen, settings: Settings) -> None:
    """Leave Ray before its head goes: a driver that loses its head is ended with it."""
    import ray

    screen.line("stopping what was started")
    ray.shutdown()
    head.stop(settings)


def _fresh_home(settings: Settings) -> None:
    """A new story begins on empty ground; the last one is kept beside it."""
    home = settings.home
    if state.running(settings) is not None:
        raise Refused(f"a story is still running in {home}: end it with Ctrl-C there, or with `make down`")
    if home.exists():
        previous = home.with_name(home.name + "-previous")
        if previous.exists():
            shutil.rmtree(previous)
        home.rename(previous)
    home.mkdir(parents=True)


def _stage(screen: Screen, settings: Settings, data: Path | None, scratch: Path) -> Database:
    """Import everything into a staging database that only the replay reads."""
    if data is None:
        screen.title("Simulating channels (no DATA given: everything below comes from simulated channels)")
        data = scratch / "simulated"
        simulate(SimulatorConfig(seed=settings.seed), data)
    else:
        screen.title(f"Importing {data}")
    staging = Database(f"sqlite:///{scratch / 'staging.db'}")
    upgrade(staging)
    report = import_path(data, staging, settings.tenant, clock=SystemClock())
    for text in report.lines():
        screen.line(text)
    return staging


def _histories(staging: Database, tenant: str) -> list[ChannelHistory]:
    store = ChannelStore(staging, tenant)
    return [store.history(channel) for channel in store.channels()]


def _bring_up(screen: Screen, settings: Settings) -> HeadState:
    screen.title("Starting the application: Ray, actors, Serve")
    started = up(settings, report=lambda name, seconds: screen.line(f"{name}: {seconds:.1f} s"))
    screen.line(f"ready after {started.seconds:.1f} s: {', '.join(started.started)}")
    return started.state


def _play(
    screen: Screen,
    settings: Settings,
    running: HeadState,
    staging: Database,
    histories: list[ChannelHistory],
    source: str,
    steps: int,
) -> Result:
    live = Database(settings.database)
    bot = connect(running.http_url, patience_s=90.0)
    asker = Asker(bot)
    figures = Figures(screen, bot, _busiest(histories))
    services = Proxies.of(topology.load(settings.profile))
    try:
        replay = Replay(staging, live, settings.tenant)
        try:
            plan = timetable(histories, steps=steps)
        except InsufficientData as gap:
            return _analysis_only(screen, figures, services, replay, histories, source, gap)
        screen.title("Replaying the data's own timeline")
        screen.timetable(plan)
        replayer = Replayer(plan, replay, asker, services.orchestrator, source)
        replayer.begin()
        services.orchestrator.tick()
        screen.title("What the channels say")
        figures.show(plan.live_from)
        return _acts(screen, settings, services, replayer, figures, replay.span()[1])
    finally:
        asker.close()
        bot.close()
        live.dispose()


def _acts(
    screen: Screen, settings: Settings, services: Proxies, replayer: Replayer, figures: Figures, last: int
) -> Result:
    config = settings.rollout.config()
    acts = Acts(screen, replayer, services, config)
    screen.title("Act 1: a first model")
    if not acts.first_model():
        return acts.result
    screen.title("Act 2: the loop keeps it right")
    screen.line(
        f"waits of the roll-outs are shortened for the story: {config.hold_s[0]:g} s a step instead of minutes; "
        f"the error rate is shown to be under {config.error_slo:.0%}; "
        f"new outcomes are enough at {settings.loop.enough_new_share:.0%} of the posts learned from"
    )
    acts.loop()
    screen.title("Act 3: a bad model is taken back")
    acts.damaged_model()
    screen.answers(replayer.asker.counts)
    screen.title("After the story")
    screen.line(f"the rest of the data, from {day(replayer.now)} on, is let in at once")
    replayer.finish(last)
    figures.show(replayer.plan.end + 1)  # counters may be read long after the last post: a month without posts
    return acts.result


def _analysis_only(
    screen: Screen,
    figures: Figures,
    services: Proxies,
    replay: Replay,
    histories: list[ChannelHistory],
    source: str,
    gap: InsufficientData,
) -> Result:
    """What the data supports when it does not carry a model: everything is fed, figures and findings are shown."""
    found = survey(histories)
    replay.feed(replay.span()[1] + DAY, source)
    services.orchestrator.tick()
    screen.title("What the channels say")
    figures.show(found.last + 1)
    screen.title("Models")
    reason = f"not enough data: {gap}" if found.readings else "no data: this source holds no views"
    for step in _MODEL_STEPS:
        screen.missing(step, reason)
    return Result(missing=list(_MODEL_STEPS))


def _busiest(histories: Sequence[ChannelHistory], n: int = 3) -> tuple[str, ...]:
    """The channels to show: those with the most posts."""
    return tuple(h.channel.name for h in sorted(histories, key=lambda h: -h.n)[:n])


def _where_to_look(screen: Screen, running: HeadState, result: Result) -> None:
    screen.title("How it ended")
    promoted = ", ".join(f"v{v}" for v in result.promoted) or "none"
    back = ", ".join(f"v{v}" for v in result.rolled_back) or "none"
    first = f"v{result.first}" if result.first else "none"
    screen.line(f"first model: {first}; promoted: {promoted}; rolled back: {back}")
    screen.line(f"API: {running.http_url}/docs   health of each service: {running.http_url}/v1/health")
    screen.line(f"Ray's dashboard: {running.dashboard_url}")


def _serve_until_interrupted(screen: Screen) -> None:
    screen.line("serving; Ctrl-C ends it")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        screen.line("interrupted")
