"""Each delivery arrives once however the receiver fails and whoever is killed; what will not be taken is given up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from actors.alerts_fusion.outbox import Postman
from bench._receiver import Receiver, half
from core.clock import ManualClock
from core.delivery import signing
from core.delivery.senders import Message, Senders
from core.errors import Refused, ServiceUnavailable
from core.schemas.alerts import Notice, Target
from core.settings import AlertSettings
from core.store.database import Database
from core.store.deliveries import LEASE_S, DeliveryStore

SETTINGS = AlertSettings(
    webhook_secret=SecretStr("s"), allow_private=True, attempts=30, back_off_s=4.0, longest_back_off_s=60.0
)


@dataclass(frozen=True)
class Scripted(Senders):
    """Raises what is next in its script, and takes what comes after it."""

    script: list[Exception] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)

    def send(self, target: Target, message: Message, timestamp: int) -> None:
        if self.script:
            raise self.script.pop(0)
        self.sent.append(message.id)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver(half(5))
    yield made
    made.close()


def postman(database: Database, senders: Senders, **changes: Any) -> Postman:
    settings = SETTINGS.model_copy(update=changes)
    wall = ManualClock(1_900_000_000)
    return Postman(DeliveryStore(database), senders, settings, ManualClock(100), wall, np.random.default_rng(3))


def add(database: Database, target: Target, *names: str, alert: str = "a{}") -> None:
    store = DeliveryStore(database)
    with database.write() as connection:
        for i, name in enumerate(names):
            store.add(connection, alert.format(i), target, Notice(name, "raised", 5, name), 0)


def until_done(sender: Postman, wall: Any, most: int = 200) -> None:
    for _ in range(most):
        sender.deliver()
        if not {"pending", "failed"} & sender.store.tally().keys():
            return
        wall.advance(61)
    raise AssertionError(sender.store.tally())


def test_every_delivery_is_taken_once_through_a_receiver_that_fails_half_of_its_requests(
    database: Database, receiver: Receiver
) -> None:
    names = [f"d{i}" for i in range(40)]
    add(database, Target("webhook", receiver.url), *names)
    sender = postman(database, Senders(SETTINGS))
    until_done(sender, sender.wall)
    assert receiver.taken.keys() == set(names)
    assert {receiver.accepted[name] for name in names} == {1}
    assert receiver.after_accepted.total() == 0
    assert len(receiver.requests) > 60
    for _, headers, body in receiver.requests:
        assert signing.genuine("s", headers, body, int(headers[signing.TIMESTAMP]))
    assert sender.store.tally() == {"sent": 40}


def test_waits_double_with_jitter_and_follow_the_receiver(sqlite_database: Database) -> None:
    script: list[Exception] = [ServiceUnavailable("busy")] * 6
    sender = postman(sqlite_database, Scripted(SETTINGS, script=script))
    add(sqlite_database, Target("log"), "d1")
    waits = []
    for _ in range(6):
        begun = sender.wall.now()
        assert sender.deliver().failed == 1
        assert sender.deliver().failed == 0  # not before its time
        while not sender.store.due(100, sender.wall.now()):
            sender.wall.advance(1)  # type: ignore[attr-defined]
        waits.append(sender.wall.now() - begun)
    for wait, whole in zip(waits, (4, 8, 16, 32, 60, 60), strict=True):
        assert whole / 2 <= wait <= whole + 1
    assert sender.deliver().sent == 1
    add(sqlite_database, Target("log"), "d2")
    sender.senders.script.append(ServiceUnavailable("busy", retry_after_s=500.0))  # type: ignore[attr-defined]
    sender.deliver()
    sender.wall.advance(499)  # type: ignore[attr-defined]
    assert sender.deliver().sent == 0
    sender.wall.advance(1)  # type: ignore[attr-defined]
    assert sender.deliver().sent == 1


def test_after_so_many_tries_it_is_given_up_with_the_reason_and_can_be_tried_again(sqlite_database: Database) -> None:
    script: list[Exception] = [ServiceUnavailable("the webhook answered 503")] * 3
    sender = postman(sqlite_database, Scripted(SETTINGS, script=script), attempts=3)
    add(sqlite_database, Target("log"), "d1")
    until_done(sender, sender.wall)
    dead = sender.store.delivery("d1")
    assert (dead.state, dead.attempts) == ("dead", 3)
    assert dead.reason == "the webhook answered 503, after 3 tries"
    assert sender.store.revive("d1")
    assert sender.deliver().sent == 1


def test_what_will_never_be_taken_is_given_up_at_once_and_holds_nothing_back(sqlite_database: Database) -> None:
    sender = postman(sqlite_database, Scripted(SETTINGS, script=[Refused("the webhook answered 410")]))
    add(sqlite_database, Target("log"), "d1", "d2", alert="a")
    report = sender.deliver()
    assert (report.dead, report.sent) == (1, 1)
    assert sender.store.delivery("d1").reason == "the webhook answered 410"


def test_a_bug_in_a_way_out_is_a_failed_try_and_not_the_end(sqlite_database: Database) -> None:
    sender = postman(sqlite_database, Scripted(SETTINGS, script=[ValueError("secret")]))
    add(sqlite_database, Target("log"), "d1")
    assert sender.deliver().failed == 1
    assert sender.store.delivery("d1").reason == "sending failed: ValueError"
    sender.wall.advance(60)  # type: ignore[attr-defined]
    assert sender.deliver().sent == 1


def test_a_dead_target_holds_back_its_own_and_nobody_elses(sqlite_database: Database) -> None:
    taken = Scripted(SETTINGS)

    class Half(Scripted):
        def send(self, target: Target, message: Message, timestamp: int) -> None:
            if target.kind == "email":
                raise ServiceUnavailable("down")
            taken.send(target, message, timestamp)

    sender = postman(sqlite_database, Half(SETTINGS))
    add(sqlite_database, Target("email", "a@b.c"), "m1", "m2")
    add(sqlite_database, Target("log"), "l1", "l2")
    report = sender.deliver()
    assert (report.sent, report.failed) == (2, 1)  # one try of the dead one is enough
    assert taken.sent == ["l1", "l2"]
    assert sender.store.delivery("m2").attempts == 0


# ---------------------------------------------------------------- killed

_WORKER = """
import os, signal, sys
from tests.actors.test_alert_delivery import postman, SETTINGS
from core.delivery.senders import Senders
from core.store.database import Database
from core.store import deliveries

where, url = sys.argv[1], sys.argv[2]
die = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
database = Database(url)
sender = postman(database, Senders(SETTINGS))
if where == "claimed":
    Senders.send = die
elif where == "taken":
    deliveries.DeliveryStore.settle = die
sender.deliver()
die()
"""


@pytest.mark.parametrize(("where", "requests"), [("claimed", 1), ("taken", 2), ("settled", 1)])
def test_killed_at_any_moment_it_is_taken_once_by_its_key(
    sqlite_database: Database, where: str, requests: int, tmp_path: Path
) -> None:
    receiver = Receiver()
    add(sqlite_database, Target("webhook", receiver.url), "d1")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", _WORKER, where, sqlite_database.url],
        cwd=environment["PYTHONPATH"],
        env=environment,
        timeout=120,
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    sender = postman(sqlite_database, Senders(SETTINGS))
    assert sender.deliver().sent == 0  # the dead one's lease still holds, or it was sent
    sender.wall.advance(LEASE_S)  # type: ignore[attr-defined]
    sender.deliver()
    assert sender.store.delivery("d1").state == "sent"
    assert list(receiver.taken) == ["d1"]
    assert len(receiver.requests) == requests  # between the 2xx and its commit the same key comes again
    receiver.close()
