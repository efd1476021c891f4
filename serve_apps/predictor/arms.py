"""How a version is asked: in this process, or in an application of its own; an answer without sense is a failure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from ray.exceptions import ActorUnavailableError, RayActorError
from ray.serve.exceptions import DeploymentUnavailableError, ReplicaUnavailableError

from core.errors import Broken, ServiceUnavailable
from core.schemas.predictions import Failure, Quantiles, Target
from serve_apps.predictor.question import Question

Answer = dict[Target, Quantiles]
Bases = dict[Target, NDArray[np.float64]]
Scores = Mapping[Target, NDArray[np.float64]]


class Gone(ServiceUnavailable):
    """Nobody is there to ask: `died` says that the application's process ended, else it may only be out of reach."""

    code, title = "gone", "Gone"

    @property
    def died(self) -> bool:
        """Whether its process is known to have ended."""
        return bool(self.details.get("died"))


class TimedOut(ServiceUnavailable):
    """No answer in time."""

    code, title = "timed-out", "Timed out"


class Senseless(Broken):
    """An answer that cannot be one: missing, not finite, or out of order."""

    code, title = "senseless", "Senseless answer"


def failure_of(error: BaseException) -> Failure:
    """The kind of a failure, as the judge counts it."""
    match error:
        case TimedOut():
            return "timeout"
        case Senseless():
            return "invalid"
        case Gone():
            return "gone"
        case _:
            return "error"


class Model(Protocol):
    """What training's EngagementModel offers."""

    def predict(self, x: NDArray[np.float32], base: Bases, /) -> Scores:
        """Rows x features and rows of base logarithms in, rows x (q10, q50, q90) views out, by target."""
        ...


def inputs_of(question: Question) -> tuple[NDArray[np.float32], Bases]:
    """A question as one row of a model's input."""
    return question.vector[np.newaxis, :], {t: np.array([log]) for t, log in question.base_log.items()}


def inputs_of_many(questions: Sequence[Question]) -> tuple[NDArray[np.float32], Bases]:
    """Questions as rows of one input; where a question has no such target, the base is not known (NaN)."""
    targets = dict.fromkeys(target for question in questions for target in question.targets)
    bases = {t: np.array([question.base_log.get(t, np.nan) for question in questions]) for t in targets}
    return np.stack([question.vector for question in questions]), bases


def answer_of(scores: Scores, question: Question, row: int = 0) -> Answer:
    """A row of a model's output as an answer; Senseless where it is not finite, or out of order, or lacks the first
    target. Others that the model says nothing of are left out: no outcome of them was known when it was trained.
    """
    answer: Answer = {}
    first = question.targets[0]
    if first not in scores:
        raise Senseless(f"the model gave nothing for {first}")
    for target in question.targets:
        if target not in scores:
            continue
        q10, q50, q90 = (float(value) for value in scores[target][row])
        if not (np.isfinite([q10, q50, q90]).all() and 0 <= q10 <= q50 <= q90):
            raise Senseless(f"the model gave {q10:g}, {q50:g}, {q90:g} as quantiles of {target}")
        answer[target] = Quantiles(q10, q50, q90)
    return answer


@dataclass(frozen=True, slots=True)
class Scored:
    """An answer, and the milliseconds that the model itself took in the process that holds it.

    The way there is left out: a version on trial is a hop away, and after its promotion it is not.
    """

    answer: Answer
    ms: float


@dataclass(frozen=True, slots=True)
class LocalArm:
    """A version in this process: no hop, but a crash would take the router along."""

    version: int
    model: Model

    def answer(self, question: Question) -> Scored:
        """Score at once, in the caller's thread."""
        inputs = inputs_of(question)
        begun = time.perf_counter()
        scores = self.model.predict(*inputs)
        return Scored(answer_of(scores, question), (time.perf_counter() - begun) * 1000)

    def answers(self, questions: Sequence[Question]) -> list[Scored | Exception]:
        """Score many in one go; a row that makes no sense fails alone. Each is said to have taken the whole time.

        A matrix product of many rows costs little more than one of a single row (docs/benchmarks.md).
        """
        inputs = inputs_of_many(questions)
        begun = time.perf_counter()
        scores = self.model.predict(*inputs)
        ms = (time.perf_counter() - begun) * 1000
        found: list[Scored | Exception] = []
        for row, question in enumerate(questions):
            try:
                found.append(Scored(answer_of(scores, question, row), ms))
            except Senseless as error:
                found.append(error)
        return found


class Handle(Protocol):
    """The part of a Serve deployment handle that a canary needs."""

    def __getattr__(self, method: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class HandleArm:
    """A version in a Serve application of its own."""

    version: int
    handle: Handle
    timeout_s: float = 1.0

    async def answer(self, question: Question) -> Scored:
        """Ask the application; TimedOut, Gone without a process, Senseless, or the call's own error."""
        response = self.handle.score.remote(*inputs_of(question))
        try:
            async with asyncio.timeout(self.timeout_s):
                scores, ms = await response
        except TimeoutError as error:
            response.cancel()
            raise TimedOut(f"version {self.version} gave no answer in {self.timeout_s:g} s") from error
        except (RayActorError, ReplicaUnavailableError, DeploymentUnavailableError) as error:
            died = isinstance(error, RayActorError) and not isinstance(error, ActorUnavailableError)
            raise Gone(f"version {self.version} is not there: {type(error).__name__}", died=died) from error
        return Scored(answer_of(scores, question), ms)

    def probe(self, timeout_s: float) -> None:
        """Return if the application answers (call it outside an event loop); raises what is wrong otherwise."""
        response = self.handle.served_version.remote()
        try:
            served = response.result(timeout_s=timeout_s)
        except TimeoutError:
            response.cancel()
            raise
        if served != self.version:
            raise Broken(f"the application of version {self.version} serves version {served}")
