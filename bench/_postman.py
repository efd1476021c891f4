"""A process that delivers until nothing is left or somebody kills it: `python -m bench._postman DATABASE_URL NOW`."""

from __future__ import annotations

import sys

import numpy as np
from pydantic import SecretStr

from actors.alerts_fusion.outbox import Postman
from core.clock import ManualClock, SystemClock
from core.delivery.senders import Senders
from core.settings import AlertSettings
from core.store.database import Database
from core.store.deliveries import LEASE_S, DeliveryStore

SECRET = "bench"
SETTINGS = AlertSettings(webhook_secret=SecretStr(SECRET), allow_private=True, attempts=100, longest_back_off_s=60.0)


def main(url: str, now: int) -> int:
    """Back-offs and leases are not waited for: a minute of the outbox's time passes with every turn."""
    store, wall = DeliveryStore(Database(url)), ManualClock(now)
    postman = Postman(store, Senders(SETTINGS), SETTINGS, SystemClock(), wall, np.random.default_rng(now))
    while {"pending", "failed"} & store.tally().keys():
        postman.deliver()
        wall.advance(LEASE_S + 1)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
