"""From a request to a durable answer: question, arm, rescue, log; then the other version's opinion in the background.

Nothing here knows of HTTP or Ray Serve: tests run it in process with the real stores.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from core import telemetry
from core.clock import Clock
from core.errors import AnalyticBotError, Broken, Conflict
from core.schemas.predictions import (
    ENGAGEMENT,
    Arm,
    Prediction,
    PredictionRequest,
    Quantiles,
    SettledPrediction,
    Target,
)
from core.schemas.scenarios import PlannedPost
from core.store.ids import new_id
from core.store.predictions import PredictionLog, PredictionRow, ShadowRow
from serve_apps.predictor.arms import Gone, HandleArm, LocalArm, Scored
from serve_apps.predictor.attempts import Attempt, Begun, Failed, line_of
from serve_apps.predictor.explanation import explained, unexplained
from serve_apps.predictor.question import Question, Questions
from serve_apps.predictor.recorder import Recorder
from serve_apps.predictor.routing import route
from serve_apps.predictor.traffic import Serving, Traffic

_log = telemetry.logger("predictor")

T = TypeVar("T")

#: background scorings that may wait; more are dropped and counted
SHADOW_ROOM = 512
SHADOW_WORKERS = 2


@dataclass(frozen=True, slots=True)
class _Shadow:
    question: Question
    serving: Serving
    prediction_id: str
    arm: LocalArm | HandleArm


class PredictionService:
    """Answers predictions. Storage and stable models run in a small pool of threads, so the event loop stays free."""

    def __init__(
        self,
        questions: Questions,
        traffic: Traffic,
        recorder: Recorder,
        log: PredictionLog,
        clock: Clock,
        *,
        model: str = ENGAGEMENT,
        threads: int = 4,
        shadow_room: int = SHADOW_ROOM,
    ) -> None:
        self._questions = questions
        self.traffic = traffic
        self._recorder = recorder
        self._log = log
        self._clock = clock
        self._model = model
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="prediction")
        self._shadows: asyncio.Queue[_Shadow] = asyncio.Queue(shadow_room)
        self._workers: list[asyncio.Task[None]] = []
        self.shadows_dropped = 0

    async def predict(self, request: PredictionRequest, pin: int | None = None) -> Prediction:
        """Answer a request, durably logged; the same key gives the same answer.

        Raises NotFound, InvalidInput, NoData, InsufficientData for the request; Refused while no version is in
        service; Conflict for a key that another question has, or a pin that is not in service; Broken when the stable
        version fails, StorageBroken when the answer cannot be stored.
        """
        begun_at = self._clock.monotonic()
        begun = await self._in_thread(self._begin, request, pin)
        return await self._settled(begun, request, begun_at)

    async def predict_many(
        self, requests: Sequence[PredictionRequest], pin: int | None = None
    ) -> tuple[Prediction | AnalyticBotError, ...]:
        """Answer many at once, in their order, each like `predict` or with its error; stable scores them as one."""
        begun_at = self._clock.monotonic()
        begun = await self._in_thread(self._begin_many, requests, pin)

        async def settled(one: Begun | Prediction | AnalyticBotError, request: PredictionRequest) -> Any:
            try:
                return one if isinstance(one, AnalyticBotError) else await self._settled(one, request, begun_at)
            except AnalyticBotError as error:
                return error

        return tuple(await asyncio.gather(*map(settled, begun, requests)))

    async def _settled(self, begun: Begun | Prediction, request: PredictionRequest, begun_at: float) -> Prediction:
        """From the versions' answers to the stored one; an answer of before stays what it was."""
        if isinstance(begun, Prediction):
            return unexplained(begun) if request.explain else begun
        attempts = await self._attempts(begun)
        elapsed_ms = (self._clock.monotonic() - begun_at) * 1000
        rows = [self._row(begun, attempt, request.key, elapsed_ms) for attempt in attempts]
        stored = (await asyncio.wrap_future(self._recorder.record(*rows)))[-1]
        last = attempts[-1]
        if isinstance(last.came, Failed):
            raise Broken(f"version {last.version} of {self._model!r} could not answer: {last.came.line}")
        if stored.id == rows[-1].id:
            self._shadow(begun, last, stored.id)
        else:  # another request with the same key was faster
            _same_question(stored, request, begun.question.channel.id)
        prediction = _prediction(stored, begun.question.channel.name)
        if not request.explain:
            return prediction
        if stored.id != rows[-1].id:
            return unexplained(prediction)
        stable = begun.serving.stable
        model = stable.model if last.version == stable.version else None
        return await self._in_thread(explained, prediction, model, begun.question)

    async def foretell(self, channel: str, posts: Sequence[PlannedPost]) -> tuple[dict[Target, Quantiles], ...]:
        """Views of posts that are to come, by the stable version; a thought, so nothing is logged or counted.

        Raises NotFound, InvalidInput, NoData, InsufficientData; Refused while no version is in service.
        """
        return await self._in_thread(self._foretell, channel, posts)

    async def get(self, prediction_id: str) -> SettledPrediction:
        """A logged prediction with what was measured of it; NotFound."""
        return await self._in_thread(self._get, prediction_id)

    async def close(self) -> None:
        """Stop background work and commit what waits."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.get_running_loop().run_in_executor(None, self._recorder.close)
        self._pool.shutdown(wait=False)

    async def drain(self) -> None:
        """Wait until every background scoring is done (tests, shutdown)."""
        await self._shadows.join()

    async def _in_thread(self, call: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call, *args)

    def _begin(self, request: PredictionRequest, pin: int | None) -> Begun | Prediction:
        """In one trip to a thread: repeated key, data, features, and the answer where stable gives it."""
        begun = self._ask(request, pin)
        if isinstance(begun, Prediction) or begun.route.side != "stable":
            return begun
        return replace(begun, attempt=self._by_stable(begun.serving, begun.question))

    def _begin_many(
        self, requests: Sequence[PredictionRequest], pin: int | None
    ) -> list[Begun | Prediction | AnalyticBotError]:
        """The same for many: stable scores all that are its own in one go."""
        found: list[Begun | Prediction | AnalyticBotError] = []
        for request in requests:
            try:
                found.append(self._ask(request, pin))
            except AnalyticBotError as error:
                found.append(error)
        mine = [(i, b) for i, b in enumerate(found) if isinstance(b, Begun) and b.route.side == "stable"]
        # A split may change meanwhile: what was asked of one version is not answered by another.
        for version in {b.serving.stable.version for _, b in mine}:
            group = [(i, b) for i, b in mine if b.serving.stable.version == version]
            attempts = self._by_stable_many(group[0][1].serving.stable, [b for _, b in group])
            for (i, begun), attempt in zip(group, attempts, strict=True):
                found[i] = replace(begun, attempt=attempt)
        return found

    def _ask(self, request: PredictionRequest, pin: int | None) -> Begun | Prediction:
        channel = self._questions.channel(request.channel)
        if request.key is not None:
            stored = self._log.by_key(request.key)
            if stored is not None:
                _same_question(stored, request, channel.id)
                return _prediction(stored, channel.name)
        serving = self.traffic.current()
        way = route(
            self._model,
            channel.id,
            stable=serving.stable.version,
            canary=serving.canary_version,
            weight=serving.weight,
            pin=pin,
        )
        return Begun(self._questions.ask(channel, request), serving, way)

    async def _attempts(self, begun: Begun) -> tuple[Attempt, ...]:
        """What was tried, in order; the last one answers."""
        if begun.attempt is not None:
            return (begun.attempt,)
        by_canary = await self._by_canary(begun)
        if isinstance(by_canary.came, Scored):
            return (by_canary,)
        rescue = await self._in_thread(self._by_stable, begun.serving, begun.question)
        rescued = Attempt("rescued", rescue.version, rescue.came, by_canary.came)
        # Where both failed the canary's failure keeps a row of its own, without an answer.
        return (rescued,) if rescue.scored else (rescued, rescue)

    async def _by_canary(self, begun: Begun) -> Attempt:
        canary = begun.serving.canary
        assert canary is not None
        if not begun.serving.canary_ready:
            return Attempt("canary", canary.version, Failed("gone", "it did not answer its last probes"))
        return Attempt("canary", canary.version, await self._ask_canary(begun.serving, canary, begun.question))

    async def _ask_canary(self, serving: Serving, canary: HandleArm, question: Question) -> Scored | Failed:
        try:
            scored = await canary.answer(question)
        except Exception as error:
            self.traffic.canary_failed(serving, error if isinstance(error, Gone) else None)
            _log.warning("the canary failed", version=canary.version, error=line_of(error))
            return Failed.of(error)
        self.traffic.canary_answered(serving)
        return scored

    def _by_stable(self, serving: Serving, question: Question) -> Attempt:
        version = serving.stable.version
        try:
            scored = serving.stable.answer(question)
        except Exception as error:
            self.traffic.stable_executed(serving, failed=True)
            _log.exception("the stable version failed", version=version)
            return Attempt("failed", version, Failed.of(error))
        self.traffic.stable_executed(serving, failed=False)
        return Attempt("stable", version, scored)

    def _by_stable_many(self, stable: LocalArm, begun: Sequence[Begun]) -> list[Attempt]:
        try:
            came = stable.answers([b.question for b in begun])
        except Exception as error:  # one row may have broken it for all: each has its own chance
            _log.warning("a batch failed and is asked row by row", version=stable.version, error=line_of(error))
            return [self._by_stable(b.serving, b.question) for b in begun]
        attempts = []
        for one, result in zip(begun, came, strict=True):
            failed = isinstance(result, Exception)
            self.traffic.stable_executed(one.serving, failed=failed)
            arm: Arm = "failed" if failed else "stable"
            attempts.append(
                Attempt(arm, stable.version, Failed.of(result) if isinstance(result, Exception) else result)
            )
        return attempts

    def _row(self, begun: Begun, attempt: Attempt, key: str | None, elapsed_ms: float) -> PredictionRow:
        question, scored, failed = begun.question, attempt.scored, attempt.failed
        return PredictionRow(
            id=new_id(),
            channel_id=question.channel.id,
            post_id=question.post_id,
            model=self._model,
            version=attempt.version,
            arm=attempt.arm,
            epoch=begun.serving.epoch,
            known_age_h=question.known_age_h,
            published_at=question.published_at,
            as_of=question.as_of,
            answer=scored.answer if scored else {},
            latency_ms=elapsed_ms,
            at=question.asked_at,
            features=question.vector.tobytes() if scored else None,
            usual=question.usual,
            history=question.history,
            warnings=question.warnings + _untold(question, attempt),
            key=key if scored else None,  # a failure may be tried again under its key
            score_ms=scored.ms if scored and failed is None else None,
            failure=failed.kind if failed else None,
            pinned=begun.route.pinned,
        )

    def _shadow(self, begun: Begun, attempt: Attempt, prediction_id: str) -> None:
        serving = begun.serving
        if not serving.shadow or serving.canary is None or attempt.arm == "rescued":
            return
        if attempt.arm == "stable" and not serving.canary_ready:
            return
        other = serving.canary if attempt.arm == "stable" else serving.stable
        if not self._workers:
            self._workers = [asyncio.create_task(self._score_shadows()) for _ in range(SHADOW_WORKERS)]
        try:
            self._shadows.put_nowait(_Shadow(begun.question, serving, prediction_id, other))
        except asyncio.QueueFull:
            self.shadows_dropped += 1

    async def _score_shadows(self) -> None:
        while True:
            shadow = await self._shadows.get()
            try:
                self._recorder.shadow(await self._score_shadow(shadow))
            except Exception:
                self.shadows_dropped += 1
                _log.exception("a background scoring was lost")
            finally:
                self._shadows.task_done()

    async def _score_shadow(self, shadow: _Shadow) -> ShadowRow:
        begun_at = self._clock.monotonic()
        if isinstance(shadow.arm, HandleArm):
            came = await self._ask_canary(shadow.serving, shadow.arm, shadow.question)
        else:
            came = (await self._in_thread(self._by_stable, shadow.serving, shadow.question)).came
        failed = came if isinstance(came, Failed) else None
        return ShadowRow(
            prediction_id=shadow.prediction_id,
            model=self._model,
            version=shadow.arm.version,
            epoch=shadow.serving.epoch,
            answer=None if isinstance(came, Failed) else came.answer,
            latency_ms=(self._clock.monotonic() - begun_at) * 1000,
            error=failed.line if failed else None,
            score_ms=None if isinstance(came, Failed) else came.ms,
            failure=failed.kind if failed else None,
        )

    def _foretell(self, name: str, posts: Sequence[PlannedPost]) -> tuple[dict[Target, Quantiles], ...]:
        channel, stable = self._questions.channel(name), self.traffic.current().stable
        asked = (PredictionRequest(name, draft=post.draft, published_at=post.published_at) for post in posts)
        told: list[dict[Target, Quantiles]] = []
        for came in stable.answers([self._questions.ask(channel, each) for each in asked]):
            if isinstance(came, Exception):
                raise came
            told.append(came.answer)
        return tuple(told)

    def _get(self, prediction_id: str) -> SettledPrediction:
        row = self._log.get(prediction_id)
        channel = self._questions.channel_by_id(row.channel_id)
        return SettledPrediction(_prediction(row, channel.name), self._log.outcomes(prediction_id))


def _untold(question: Question, attempt: Attempt) -> tuple[str, ...]:
    told = attempt.scored.answer if attempt.scored else question.targets
    missing = [target for target in question.targets if target not in told]
    why = f"no outcome of {', '.join(missing)} was known when version {attempt.version} was trained"
    return (why,) if missing else ()


def _same_question(stored: PredictionRow, request: PredictionRequest, channel_id: int) -> None:
    """A key belongs to one question; as_of may differ, since a repetition comes later."""
    asked = (channel_id, request.post_id, request.known_age_h)
    if asked != (stored.channel_id, stored.post_id, stored.known_age_h):
        raise Conflict(
            f"the key {request.key!r} was used for another question (post {stored.post_id}, "
            f"{stored.known_age_h} h): use a new key for each question",
            prediction=stored.id,
        )


def _prediction(row: PredictionRow, channel: str) -> Prediction:
    return Prediction(
        id=row.id,
        channel=channel,
        post_id=row.post_id,
        model=row.model,
        version=row.version,
        arm=row.arm,
        known_age_h=row.known_age_h,
        as_of=row.as_of,
        targets=row.answer,
        usual=0.0 if row.usual is None else row.usual,
        history=0 if row.history is None else row.history,
        warnings=row.warnings,
    )
