"""The services that the power-loss bench kills: three processes of one group, forked from a nursery that only imports.

    api      gateway and predictor behind uvicorn, on a port of the system's choice
    follow   feedback, monitoring and drift, catching up in turn without a pause
    feed     the replay: lets new posts and readings in and moves the data's clock, one transaction a step

The nursery opens no database and no socket and is never killed with the group, so that a restart costs what the
services do and not the seconds that importing torch and Ray takes. What happens is told in JSON lines on stdout.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

SOURCE = "power-loss"
PARTS = ("api", "follow", "feed")
#: Seconds between steps of the feed and rounds of the followers, so that one writer does not keep out the others.
STEP_S, REST_S = 0.2, 0.05
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Place:
    """Where everything lies; `pace` is seconds of the data's time a second, `end` the last moment that is fed."""

    home: str
    database: str
    staging: str
    pace: float
    end: int

    def command(self, part: str) -> list[str]:
        """How to run a part of this module on it."""
        return [sys.executable, "-m", "bench._power_host", part, json.dumps(asdict(self))]


def tell(**event: Any) -> None:
    """One line in one write: lines of several processes never mix."""
    os.write(1, json.dumps(event).encode() + b"\n")


# ---------------------------------------------------------------- the three processes


class Paths:
    """Serve's routing: predictions to the predictor, the rest to the gateway."""

    def __init__(self, gateway: Any, predictor: Any, prefix: str) -> None:
        self._gateway, self._predictor, self._prefix = gateway, predictor, prefix

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI."""
        app = self._predictor if scope.get("path", "").startswith(self._prefix) else self._gateway
        await app(scope, receive, send)


class Absent:
    """A service that is not part of this bench; asking it is a mistake and said so."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, method: str) -> NoReturn:
        from core.errors import NotConfigured

        raise NotConfigured(f"{self._name} does not run in this bench")


def api(place: Place) -> None:
    """Gateway and predictor as Serve would host them, in one process."""
    import uvicorn

    from actors.adaptive_learning.drift.actor import Drift
    from actors.adaptive_learning.feedback.actor import Feedback
    from actors.adaptive_learning.monitoring.actor import Monitoring
    from actors.adaptive_learning.versioning.actor import Versioning
    from core.artifacts import ArtifactStore
    from core.settings import Settings
    from core.store import migrate
    from core.store.database import Database, StoredClock
    from serve_apps.gateway.api import build_api
    from serve_apps.gateway.services import GatewayParts, Services
    from serve_apps.predictor.api import PREFIX
    from serve_apps.predictor.app import Predictor, PredictorParts

    database = Database(place.database)
    migrate.upgrade(database)
    clock, settings = StoredClock(database), Settings(home=Path(place.home))
    artifacts = ArtifactStore(settings.artifacts)
    predictor: Any = Predictor(PredictorParts(database, artifacts, settings, clock))  # loads the version in service
    versioning = Versioning(database, clock, artifacts)
    others = ("learning", "orchestrator", "anomaly", "analytics", "intelligence", "alerts")
    absent = {name: cast(Any, Absent(name)) for name in others}
    services = Services(
        versioning=versioning,
        drift=Drift(database, artifacts, clock, versioning),
        feedback=Feedback(database, clock),
        monitoring=Monitoring(database, clock),
        predictor=cast(Any, Absent("predictor")),
        **absent,
    )
    gateway = build_api(GatewayParts(services, database, clock, settings))
    app = Paths(gateway, predictor.__serve_build_asgi_app__(), PREFIX)
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    bound.listen(128)
    tell(url=f"http://127.0.0.1:{bound.getsockname()[1]}")
    uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off")).run(sockets=[bound])


def follow(place: Place) -> None:
    """Joins outcomes, counts and feeds detectors as fast as rows arrive; an error ends the process, which is told."""
    from actors.adaptive_learning.drift.actor import Drift
    from actors.adaptive_learning.feedback.actor import Feedback
    from actors.adaptive_learning.monitoring.actor import Monitoring
    from actors.adaptive_learning.versioning.actor import Versioning
    from core.artifacts import ArtifactStore
    from core.settings import Settings
    from core.store.database import Database, StoredClock

    database = Database(place.database)
    clock, artifacts = StoredClock(database), ArtifactStore(Settings(home=Path(place.home)).artifacts)
    followers = (
        Feedback(database, clock),
        Monitoring(database, clock),
        Drift(database, artifacts, clock, Versioning(database, clock, artifacts)),
    )
    while True:
        for follower in followers:
            follower.catch_up()
        time.sleep(REST_S)


def feed(place: Place) -> None:
    """Lets the data in step by step, from where the stored clock stands; each step is told when it is committed."""
    from core.ingest.replay import Replay
    from core.store.database import Database

    replay = Replay(Database(place.staging), Database(place.database))
    while True:
        now = replay.now()
        assert now is not None, "the history is fed before the services start"
        until = min(now + max(int(place.pace * STEP_S), 1), place.end)
        replay.feed(until, SOURCE)
        tell(fed=until)
        time.sleep(STEP_S)


#: What the three of them import, at once or later.
MODULES = (
    "actors.adaptive_learning.drift.actor",
    "actors.adaptive_learning.feedback.actor",
    "actors.adaptive_learning.monitoring.actor",
    "actors.adaptive_learning.versioning.actor",
    "core.ingest.replay",
    "core.store.migrate",
    "serve_apps.gateway.api",
    "serve_apps.predictor.app",
    "torch._dynamo",  # torch itself, when the first network is made on its device without data ("meta")
    "training.model",
    "uvicorn.protocols.http.auto",
)
RUN: dict[str, Callable[[Place], None]] = {"api": api, "follow": follow, "feed": feed}

# ---------------------------------------------------------------- the nursery


def die_with_parent() -> None:
    """No process outlives the bench: Linux sends SIGKILL when the parent ends, however it does."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def nursery(place: Place) -> None:
    """Imports once; then forks a group for each line of part names on stdin, and tells when all of it has ended."""
    for module in MODULES:
        importlib.import_module(module)
    tell(nursery=os.getpid())
    for line in sys.stdin:
        _group(line.split(), place)


def _group(parts: list[str], place: Place) -> None:
    group, children = 0, dict[int, str]()
    for part in parts:
        pid = os.fork()
        if pid == 0:
            _child(part, group, place)
        group = group or pid
        os.setpgid(pid, group)  # here and in the child: whoever comes first, nobody kills a group half made
        children[pid] = part
    tell(group=group)
    while children:
        pid, status = os.wait()
        part, code = children.pop(pid), os.waitstatus_to_exitcode(status)
        if code != -signal.SIGKILL:
            tell(died=part, code=code)
    tell(ended=group)


def _child(part: str, group: int, place: Place) -> NoReturn:
    try:
        os.setpgid(0, group)
        die_with_parent()
        RUN[part](place)
    except BaseException:
        traceback.print_exc()
    os._exit(1)


def main() -> None:
    """Run the nursery, or one part alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("nursery", *PARTS))
    parser.add_argument("place", help="a Place as JSON")
    args = parser.parse_args()
    die_with_parent()
    place = Place(**json.loads(args.place))
    (nursery if args.part == "nursery" else RUN[args.part])(place)


if __name__ == "__main__":
    main()
