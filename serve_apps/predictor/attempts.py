"""What came of asking a version: an answer, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass

from core.schemas.predictions import Arm, Failure
from serve_apps.predictor.arms import Scored, failure_of
from serve_apps.predictor.question import Question
from serve_apps.predictor.routing import Route
from serve_apps.predictor.traffic import Serving


@dataclass(frozen=True, slots=True)
class Failed:
    """Why a version gave no answer."""

    kind: Failure
    line: str

    @staticmethod
    def of(error: BaseException) -> Failed:
        """From what it raised."""
        return Failed(failure_of(error), line_of(error))


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of asking an arm; `first`: of the version that was asked first, where another helped out."""

    arm: Arm
    version: int
    came: Scored | Failed
    first: Failed | None = None

    @property
    def scored(self) -> Scored | None:
        """The answer, if there is one."""
        return self.came if isinstance(self.came, Scored) else None

    @property
    def failed(self) -> Failed | None:
        """Why the version that was asked first gave none."""
        return self.first or (self.came if isinstance(self.came, Failed) else None)


@dataclass(frozen=True, slots=True)
class Begun:
    """A question on its way: what is asked, of which versions, and what stable said."""

    question: Question
    serving: Serving
    route: Route
    attempt: Attempt | None = None  # made already, where stable answers


def line_of(error: BaseException) -> str:
    """An error in one line, for the log and the caller."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
