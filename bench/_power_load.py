"""The callers of the power-loss bench: predictions and feedback with keys, and a note of all that was acknowledged.

A caller whose request got no answer sends the same request with the same key again after the restart, as the API asks
it to. What was acknowledged once must be acknowledged in the same words again.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
import numpy as np

from core.clock import DAY

PREDICTIONS, FEEDBACK = "/v1/predictions", "/v1/feedback"
WORKERS = 6
#: Shares of the requests that begin something new: feedback, predictions of a draft, of an old post; the rest is new.
RATE, DRAFT, OLD = 0.35, 0.10, 0.20
#: Acknowledged requests that are sent again after each restart.
AGAIN = 6
NEW_S = 2 * DAY
#: Times that everything waiting is sent before what is left counts as never answered.
ATTEMPTS = 20


@dataclass(slots=True)
class Call:
    """One request with its key, and what it was answered."""

    key: str
    path: str
    body: dict[str, Any]
    answer: dict[str, Any] | None = None
    sent: int = 0
    lost: int = 0  # times without an answer
    there: bool = False  # stored by an attempt that was never answered


@dataclass(frozen=True, slots=True)
class Asked:
    """A stored post that can be asked about once it is published."""

    published_at: int
    channel: str
    post_id: int


@dataclass
class Load:
    """Requests in a closed loop. posts: in order of publication; fed: up to when posts are known to be stored."""

    posts: Sequence[Asked]
    fed: Callable[[], int]
    rng: np.random.Generator
    calls: list[Call] = field(default_factory=list)
    answered: dict[str, list[Call]] = field(default_factory=lambda: {PREDICTIONS: [], FEEDBACK: []})
    waiting: deque[Call] = field(default_factory=deque)  # without an answer, to be sent again
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)  # answers that no caller should get

    async def until_killed(self, url: str, after_s: float, kill: Callable[[], None]) -> None:
        """Send, and kill while sending; returns when every request has had its answer or lost it."""
        self._look_again()
        loop = asyncio.get_running_loop()
        async with self._client(url) as client:
            workers = [asyncio.create_task(self._work(client, endless=True)) for _ in range(WORKERS)]
            await asyncio.sleep(after_s)
            await loop.run_in_executor(None, kill)
            await asyncio.gather(*workers)

    async def settle(self, url: str) -> None:
        """Send again what has no answer yet, then once more everything that ever lost one."""
        async with self._client(url) as client:
            await self._drain(client)
            self.waiting.extend(call for call in self.calls if call.lost)
            await self._drain(client)

    async def _drain(self, client: httpx2.AsyncClient) -> None:
        for _ in range(ATTEMPTS):
            if not self.waiting:
                return
            await asyncio.gather(*(self._work(client, endless=False) for _ in range(WORKERS)))

    @property
    def unsettled(self) -> list[Call]:
        """Requests that were never answered."""
        return [call for call in self.calls if call.answer is None]

    def _client(self, url: str) -> httpx2.AsyncClient:
        limits = httpx2.Limits(max_connections=WORKERS)
        return httpx2.AsyncClient(
            base_url=url, timeout=60.0, limits=limits, verify=False
        )  # plain HTTP: no certificates

    def _look_again(self) -> None:
        """Some of what was acknowledged before the restart is asked for again, the newest first of all."""
        for calls in self.answered.values():
            if calls:
                picked = self.rng.integers(max(len(calls) - 200, 0), len(calls), AGAIN - 1)
                self.waiting.extend(calls[i] for i in {len(calls) - 1, *picked.tolist()})

    async def _work(self, client: httpx2.AsyncClient, *, endless: bool) -> None:
        """One caller: ends with the first lost connection, or where nothing waits."""
        while self.waiting or endless:
            call = self.waiting.popleft() if self.waiting else self._new()
            if not await self._send(client, call):
                return

    async def _send(self, client: httpx2.AsyncClient, call: Call) -> bool:
        call.sent += 1
        self.counts["requests"] += 1
        self.counts["repeated"] += call.sent > 1
        try:
            response = await client.post(call.path, json=call.body, headers={"Idempotency-Key": call.key})
        except httpx2.HTTPError:
            self._lost(call, "unanswered")
            return False
        if response.status_code >= 500:
            self._lost(call, "answered 5xx")
            await asyncio.sleep(0.1)
        elif not response.is_success:
            self.wrong.append(f"{call.path} {call.body}: {response.status_code} {response.text[:300]}")
        else:
            self._take(call, response.json())
        return True

    def _lost(self, call: Call, how: str) -> None:
        self.counts[how] += 1
        call.lost += 1
        self.waiting.append(call)

    def _take(self, call: Call, body: Any) -> None:
        answer = body if call.path == PREDICTIONS else dict(body[0])
        said_before = bool(answer.pop("duplicate", False))
        if call.path == FEEDBACK:
            status = answer.pop("status")
            call.there |= call.answer is None and said_before
            if call.answer is not None and not said_before:
                self.wrong.append(f"feedback {call.key} was acknowledged before and is {status} now")
        if call.answer is None:
            call.answer = answer
            self.answered[call.path].append(call)
        elif call.answer != answer:
            self.wrong.append(f"{call.path} {call.key}: said {call.answer}, says {answer} now")

    def _new(self) -> Call:
        predicted = self.answered[PREDICTIONS]
        number, kind = len(self.calls), self.rng.random()
        if predicted and kind < RATE:
            asked = predicted[int(self.rng.integers(max(len(predicted) - 500, 0), len(predicted)))]
            call = Call(f"feedback-{number}", FEEDBACK, {"items": [self._opinion(asked, f"feedback-{number}")]})
        else:
            call = Call(f"prediction-{number}", PREDICTIONS, self._question())
        self.calls.append(call)
        return call

    def _question(self) -> dict[str, Any]:
        fed, kind = self.fed(), self.rng.random()
        stored = bisect_right(self.posts, fed, key=lambda post: post.published_at)
        recent = bisect_right(self.posts, fed - NEW_S, key=lambda post: post.published_at)
        old = recent > 0 and (kind < DRAFT + OLD or recent == stored)
        low, high = (0, recent) if old else (recent, stored)
        post = self.posts[int(self.rng.integers(low, high))]
        if kind < DRAFT:
            draft = {"text_len": int(self.rng.integers(1, 2000)), "media": "photo"}
            return {"channel": post.channel, "draft": draft}
        return {"channel": post.channel, "post_id": post.post_id}

    def _opinion(self, asked: Call, key: str) -> dict[str, Any]:
        assert asked.answer is not None
        item: dict[str, Any] = {"prediction_id": asked.answer["id"], "key": key}
        if self.rng.random() < 0.5:
            return item | {"kind": "rating", "value": float(self.rng.integers(1, 6))}
        target, said = next(iter(asked.answer["targets"].items()))
        value = float(round(said["q50"] * self.rng.uniform(0.5, 2.0)))
        return item | {"kind": "correction", "target": target, "value": value}
