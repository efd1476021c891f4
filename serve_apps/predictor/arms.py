"""How a version is asked: in this process, or in an application of its own; an answer without sense is a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from ray.exceptions import RayActorError
from ray.serve.exceptions import DeploymentUnavailableError, ReplicaUnavailableError

from core.errors import Broken, ServiceUnavailable
from core.schemas.predictions import Quantiles, Target
from serve_apps.predictor.question import Question

Answer = dict[Target, Quantiles]
Bases = dict[Target, NDArray[np.float64]]
Scores = Mapping[Target, NDArray[np.float64]]


class Gone(ServiceUnavailable):
    """The application's process died, or the application is no more."""

    code, title = "gone", "Gone"


class Model(Protocol):
    """What training's EngagementModel offers."""

    def predict(self, x: NDArray[np.float32], base: Bases, /) -> Scores:
        """Rows x features and rows of base logarithms in, rows x (q10, q50, q90) views out, by target."""
        ...


def inputs_of(question: Question) -> tuple[NDArray[np.float32], Bases]:
    """A question as one row of a model's input."""
    return question.vector[np.newaxis, :], {t: np.array([log]) for t, log in question.base_log.items()}


def answer_of(scores: Scores, question: Question) -> Answer:
    """The first row of a model's output as an answer; Broken where it is missing, not finite, or out of order."""
    answer: Answer = {}
    for target in question.targets:
        if target not in scores:
            raise Broken(f"the model gave nothing for {target}")
        q10, q50, q90 = (float(value) for value in scores[target][0])
        if not (np.isfinite([q10, q50, q90]).all() and 0 <= q10 <= q50 <= q90):
            raise Broken(f"the model gave {q10:g}, {q50:g}, {q90:g} as quantiles of {target}")
        answer[target] = Quantiles(q10, q50, q90)
    return answer


@dataclass(frozen=True, slots=True)
class LocalArm:
    """A version in this process: no hop, but a crash would take the router along."""

    version: int
    model: Model

    def answer(self, question: Question) -> Answer:
        """Score at once, in the caller's thread."""
        return answer_of(self.model.predict(*inputs_of(question)), question)


class Handle(Protocol):
    """The part of a Serve deployment handle that a canary needs."""

    def __getattr__(self, method: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class HandleArm:
    """A version in a Serve application of its own."""

    version: int
    handle: Handle
    timeout_s: float = 1.0

    async def answer(self, question: Question) -> Answer:
        """Ask the application; ServiceUnavailable after the timeout, Gone without a process, or the call's error."""
        response = self.handle.score.remote(*inputs_of(question))
        try:
            async with asyncio.timeout(self.timeout_s):
                scores = await response
        except TimeoutError as error:
            response.cancel()
            raise ServiceUnavailable(f"version {self.version} gave no answer in {self.timeout_s:g} s") from error
        except (RayActorError, ReplicaUnavailableError, DeploymentUnavailableError) as error:
            raise Gone(f"version {self.version} is not there: {type(error).__name__}") from error
        return answer_of(scores, question)

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
