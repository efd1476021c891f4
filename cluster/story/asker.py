"""Asks the running service for predictions over HTTP, as a user's program would, and repeats what a crash cut short."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import httpx2

from cluster.story.plan import Visit
from core.errors import ServiceUnavailable

_RETRY_STATUS = frozenset({429, 500, 502, 503, 504})


class Asker:
    """A few HTTP connections to the predictor.

    Every request carries a key, so asking again after a cut connection gives the same answer and no second row.
    `counts` holds answers by arm, refusals by problem code, and `repeated` requests.
    """

    def __init__(self, url: str, *, connections: int = 4, patience_s: float = 90.0) -> None:
        self.counts: Counter[str] = Counter()
        self._patience_s = patience_s
        self._client = httpx2.Client(base_url=url, timeout=30.0)
        self._pool = ThreadPoolExecutor(connections, thread_name_prefix="ask")

    def ask(self, visits: Iterable[Visit]) -> None:
        """Ask all and wait for the answers; ServiceUnavailable when the service stays away."""
        for outcome in self._pool.map(self._ask, visits):
            self.counts.update(outcome)

    def close(self) -> None:
        """End the connections."""
        self._pool.shutdown()
        self._client.close()

    def _ask(self, visit: Visit) -> Counter[str]:
        body = {
            "channel": visit.channel,
            "post_id": visit.post_id,
            "known_age_h": visit.known_age_h,
            "as_of": visit.as_of,
            "key": visit.key,
        }
        counts: Counter[str] = Counter()
        give_up = time.monotonic() + self._patience_s
        pause = 0.1
        while True:
            try:
                response = self._client.post("/v1/predictions", json=body)
            except httpx2.TransportError as error:
                reason = repr(error)
            else:
                if response.status_code not in _RETRY_STATUS:
                    counts[_outcome(response)] += 1
                    return counts
                reason = f"HTTP {response.status_code}: {response.text[:200]}"
            if time.monotonic() > give_up:
                raise ServiceUnavailable(f"no prediction for {visit.key} within {self._patience_s:g} s: {reason}")
            counts["repeated"] += 1
            time.sleep(pause)
            pause = min(pause * 2, 2.0)


def _outcome(response: httpx2.Response) -> str:
    body = response.json()
    if response.is_success:
        return str(body["arm"])
    return str(body.get("type", response.status_code)).removeprefix("urn:analyticbot:")
