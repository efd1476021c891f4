"""Everything that was decided is told once somebody takes it, in order, and only after it was stored."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from pydantic import SecretStr

from actors.adaptive_learning.orchestrator.notices import SILENT_ROWS, Notices, RolloutOutbox, WebhookSink
from core.clock import ManualClock
from core.errors import ServiceUnavailable
from core.schemas.rollouts import Phase, RolloutNotice
from core.store.database import Database
from core.store.rollouts import Decision, RolloutState, RolloutStore, digest
from tests.actors.rollout_world import CONFIG, MODEL, World


class Receiver:
    """A real local server; `down` makes it refuse."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.down = False
        receiver = self

        class Take(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if not receiver.down:
                    receiver.taken.append(body)
                    receiver.keys.append(self.headers["Idempotency-Key"])
                self.send_response(503 if receiver.down else 200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Take)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> SecretStr:
        return SecretStr(f"http://127.0.0.1:{self.server.server_port}/?key=secret")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_roll_out_is_told_from_its_beginning_to_its_end(
    database: Database, clock: ManualClock, receiver: Receiver
) -> None:
    world = World(database, clock)
    world.register(None, "better")
    controller = world.controller()
    world.served(controller)
    rollout = controller.start(MODEL, 2, CONFIG, "k").id
    notices = Notices.of(database, receiver.url)
    receiver.down = True
    world.play(controller, rollout)
    assert notices.deliver(MODEL) == 0
    receiver.down = False
    told = notices.deliver(MODEL)
    assert told == len(receiver.taken) > 5
    assert notices.deliver(MODEL) == 0
    phases = list(dict.fromkeys(notice["phase"] for notice in receiver.taken))
    assert phases == [Phase.PREPARING, "canary_10", "canary_50", "canary_100", Phase.PROMOTED]
    seqs = [notice["seq"] for notice in receiver.taken]
    assert seqs == sorted(set(seqs))
    assert len(set(receiver.keys)) == len(receiver.keys)
    decided = [event.seq for event in controller.events(rollout) if event.event["kind"] not in ("counts", "pairs")]
    assert set(seqs) <= {*decided, *(event.seq for event in controller.events(rollout))}


def test_rows_without_a_decision_are_passed_over(sqlite_database: Database, clock: ManualClock) -> None:
    world = World(sqlite_database, clock)
    world.register(None, "better")
    controller = world.controller()
    world.served(controller)
    rollout, store = controller.start(MODEL, 2, CONFIG, "k").id, RolloutStore(sqlite_database)
    notices = Notices((RolloutOutbox(store),), ())
    assert notices.deliver(MODEL) == 1
    silent = Decision("{}", digest("{}"), "[]")
    state = RolloutState(store.load(rollout).record, Phase.PREPARING, 1)
    store.append(rollout, 1, [silent] * SILENT_ROWS, state, 1)
    assert notices.deliver(MODEL) == 0
    assert store.unnotified(MODEL) == ()


def test_an_address_is_never_shown_when_it_cannot_be_reached() -> None:
    notice = RolloutNotice("r", MODEL, 1, 0, 2, 1, "preparing", 0.0, (), "asked for")
    with pytest.raises(ServiceUnavailable) as caught:
        WebhookSink(SecretStr("http://127.0.0.1:9/?key=secret"), timeout_s=0.5).send(notice)
    assert "secret" not in str(caught.value)
