"""Submits the application's jobs to Ray's job server, and asks what became of them."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cluster import environment
from cluster.state import HeadState
from core.errors import Broken, InvalidInput, NotFound, ServiceUnavailable
from core.settings import Settings
from core.store.ids import new_id

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

JOBS = {
    "nightly": "analyse every channel into Parquet files in home/reports",
    "bulk": "forecast every channel, and score the drafts of a Parquet file",
    "importing": "import a file or folder that the head can read",
    "retrain": "run a retraining workflow to its end",
    "content": "train the content model on all channels and put it in service",
}
#: Right after the start the job server may not have found its agent yet.
_AGENT_PATIENCE_S = 15.0


@dataclass(frozen=True, slots=True)
class JobInfo:
    """A submitted job."""

    id: str
    status: str  # PENDING, RUNNING, SUCCEEDED, FAILED, STOPPED
    entrypoint: str
    started_at: int | None
    ended_at: int | None
    message: str | None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Jobs:
    """The job server of a running deployment."""

    settings: Settings
    known: HeadState

    def submit(self, name: str, arguments: Sequence[str] = ()) -> str:
        """Start a job; returns its id. InvalidInput for an unknown name."""
        if name not in JOBS:
            raise InvalidInput(f"no job {name!r}: there are {', '.join(JOBS)}", field="name")
        # The head's own interpreter and code: what `up` runs is what the job runs.
        command = shlex.join([sys.executable, "-m", f"cluster.jobs.{name}", *arguments])
        give_up = time.monotonic() + _AGENT_PATIENCE_S
        while True:
            try:
                return str(
                    self._client.submit_job(
                        entrypoint=command, submission_id=f"{name}-{new_id()[:12]}", metadata={"job": name}
                    )
                )
            except RuntimeError as error:
                if "No available agent" not in str(error) or time.monotonic() > give_up:
                    raise Broken(f"the job server refused {name}: {_line(error)}") from error
                time.sleep(0.5)

    def list(self) -> tuple[JobInfo, ...]:
        """Submitted jobs, newest first."""
        with _answering(self.known):
            details = [d for d in self._client.list_jobs() if d.submission_id]
        return tuple(sorted((_info(d) for d in details), key=lambda job: -(job.started_at or 0)))

    def get(self, job_id: str) -> JobInfo:
        """One; NotFound."""
        with _answering(self.known, job_id):
            return _info(self._client.get_job_info(job_id))

    def logs(self, job_id: str) -> str:
        """What it printed so far; NotFound."""
        with _answering(self.known, job_id):
            return str(self._client.get_job_logs(job_id))

    def stop(self, job_id: str) -> bool:
        """Ask it to end; False when it had ended already. NotFound."""
        with _answering(self.known, job_id):
            return bool(self._client.stop_job(job_id))

    def wait(self, job_id: str, *, timeout_s: float) -> JobInfo:
        """Until it has ended; ServiceUnavailable when that takes longer."""
        give_up = time.monotonic() + timeout_s
        while True:
            info = self.get(job_id)
            if info.status in ("SUCCEEDED", "FAILED", "STOPPED"):
                return info
            if time.monotonic() > give_up:
                raise ServiceUnavailable(f"job {job_id} is still {info.status} after {timeout_s:g} s", job=job_id)
            time.sleep(0.3)

    @property
    def _client(self) -> JobSubmissionClient:
        environment.enter(self.settings, self.known.token_file)
        from ray.job_submission import JobSubmissionClient

        with _answering(self.known):
            return JobSubmissionClient(self.known.dashboard_url)


@contextmanager
def _answering(known: HeadState, job_id: str | None = None) -> Iterator[None]:
    """Ray's errors as ours."""
    try:
        yield
    except (RuntimeError, ConnectionError) as error:
        if (job_id is not None and "not exist" in str(error)) or "404" in str(error):
            raise NotFound(f"no job {job_id!r}: `analyticbot jobs list`", job=job_id) from error
        raise ServiceUnavailable(f"the job server at {known.dashboard_url} does not answer: {_line(error)}") from error


def _info(details: Any) -> JobInfo:
    def seconds(value: int | None) -> int | None:
        return None if value is None else value // 1000

    return JobInfo(
        id=str(details.submission_id),
        status=str(getattr(details.status, "value", details.status)),
        entrypoint=details.entrypoint,
        started_at=seconds(details.start_time),
        ended_at=seconds(details.end_time),
        message=details.message,
        metadata=dict(details.metadata or {}),
    )


def _line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else repr(error)
