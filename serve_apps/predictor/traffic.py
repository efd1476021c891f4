"""What this router serves now: the split it was told, the versions it has, and whether the canary may be asked."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from core import telemetry
from core.clock import Clock
from core.errors import Refused
from core.schemas.rollouts import SplitReport, TrafficSplit
from serve_apps.predictor.arms import Gone, HandleArm, LocalArm
from serve_apps.predictor.breaker import Breaker
from serve_apps.predictor.lease import Lease, Standing

_log = telemetry.logger("predictor")

#: a canary is taken for dead after this many probes without an answer in a row
PROBES_MISSED = 2
#: pauses between attempts to load a version that would not load, seconds
RETRY_S = (1.0, 30.0)


@dataclass(frozen=True, slots=True)
class Serving:
    """One consistent view of the traffic, held by a request from its beginning to its end."""

    epoch: int
    stable: LocalArm
    canary: HandleArm | None  # None: none wanted, not connected yet, abandoned, or behind an open breaker
    canary_ready: bool
    weight: float
    shadow: bool

    @property
    def canary_version(self) -> int | None:
        """The version on trial, if it may be asked."""
        return None if self.canary is None else self.canary.version


@dataclass(frozen=True, slots=True)
class _Applied:
    split: TrafficSplit
    stable: LocalArm
    canary: HandleArm | None
    breaker: Breaker
    canary_died: bool = False  # under this split; that Serve starts another process changes nothing


class Traffic:
    """Applies splits in order of their epoch; loads and connects in `tick`, so that serving never waits for it.

    load: makes the arm of a stable version (slow: reads and verifies an artifact). connect: finds the application of
    a version on trial. Both raise what is wrong, and are tried again. Safe to use from several threads; `tick` is
    called by one.
    """

    def __init__(
        self,
        model: str,
        load: Callable[[int], LocalArm],
        connect: Callable[[int], HandleArm],
        clock: Clock,
        *,
        probe_s: float = 2.0,
    ) -> None:
        self._model = model
        self._load = load
        self._connect = connect
        self._clock = clock
        self._probe_s = probe_s
        self._lock = threading.RLock()
        self._applied: _Applied | None = None
        self._wanted: TrafficSplit | None = None
        self._lease: Lease | None = None
        self._ready = False
        self._missed = 0
        self._retry_at = 0.0
        self._retry_s = RETRY_S[0]
        self.trouble: str | None = None
        self.wake = threading.Event()

    def current(self) -> Serving:
        """What a request that begins now goes by; Refused while no version is in service."""
        with self._lock:
            if self._applied is None:
                reason = f" ({self.trouble})" if self.trouble else ""
                raise Refused(
                    f"no model version of {self._model!r} is in service yet{reason}: train one first", model=self._model
                )
            open_ = self._canary_allowed()
            split = self._applied.split
            return Serving(
                epoch=split.epoch,
                stable=self._applied.stable,
                canary=self._applied.canary if open_ else None,
                canary_ready=self._ready,
                weight=self._weight(),
                shadow=split.shadow,
            )

    def report(self) -> SplitReport:
        """What is really in force."""
        with self._lock:
            applied = self._applied
            if applied is None:
                return SplitReport(0, None, None, 0.0, False, False, False, os.getpid())
            return SplitReport(
                epoch=applied.split.epoch,
                stable=applied.stable.version,
                canary=applied.split.canary,
                weight=self._weight(),
                canary_ready=applied.canary is not None and self._ready,
                breaker_open=applied.breaker.is_open,
                frozen=applied.split.canary is not None and self._standing() is not Standing.ALIVE,
                pid=os.getpid(),
                canary_gone=applied.canary_died,
            )

    @property
    def on_trial(self) -> bool:
        """Whether the newest split has a canary."""
        with self._lock:
            return self._wanted is not None and self._wanted.canary is not None

    def apply(self, split: TrafficSplit) -> SplitReport:
        """Take a split over, at once unless a version must be loaded first; a lower epoch changes nothing.

        The report's epoch is the one in force, so a caller sees whether its split was taken over.
        """
        with self._lock:
            newest = self._wanted
            if newest is not None and split.epoch < newest.epoch:
                _log.warning("a split from the past was refused", epoch=split.epoch, known=newest.epoch)
                return self.report()
            self._renew(split)
            if newest is None or split.epoch > newest.epoch:
                self._wanted = split
                self._retry_at = 0.0
                self._retry_s = RETRY_S[0]
                if self._applied is not None and self._applied.stable.version == split.stable:
                    self._switch(split, self._applied.stable)
            if not self._converged():
                self.wake.set()
            return self.report()

    def tick(self) -> None:
        """Load, connect and probe what the newest split asks for; never raises for what a version does wrong."""
        self._bring_stable()
        self._bring_canary()
        self._probe()
        self._weigh()

    def canary_answered(self, serving: Serving) -> None:
        """A canary's answer came back whole."""
        with self._lock:
            if self._concerns(serving):
                assert self._applied is not None
                self._applied.breaker.succeeded()

    def stable_executed(self, serving: Serving, *, failed: bool) -> None:
        """The stable version was executed, first or to help out: what a canary's failures are held against."""
        with self._lock:
            if self._concerns(serving):
                assert self._applied is not None
                self._applied.breaker.stable(failed=failed)

    def canary_failed(self, serving: Serving, gone: Gone | None = None) -> None:
        """A canary failed; gone: its process is not there, so that asking again makes no sense before a probe."""
        with self._lock:
            if not self._concerns(serving):
                return
            assert self._applied is not None
            if self._applied.breaker.failed():
                _log.error("the canary failed too often in a row and gets nothing any more", epoch=serving.epoch)
            if gone is not None:
                self._ready = False
                self._missed = PROBES_MISSED
                if gone.died:
                    self._applied = replace(self._applied, canary_died=True)
                self.wake.set()

    def _concerns(self, serving: Serving) -> bool:
        return self._applied is not None and self._applied.split.epoch == serving.epoch

    def _converged(self) -> bool:
        applied, wanted = self._applied, self._wanted
        if wanted is None:
            return True
        if applied is None or applied.split.epoch != wanted.epoch:
            return False
        return wanted.canary is None or applied.canary is not None

    def _renew(self, split: TrafficSplit) -> None:
        now = self._clock.monotonic()
        self._lease = Lease.of(split, now) if self._lease is None else self._lease.seen(split, now)

    def _standing(self) -> Standing:
        return Standing.ALIVE if self._lease is None else self._lease.standing(self._clock.monotonic())

    def _canary_allowed(self) -> bool:
        assert self._applied is not None
        return not self._applied.breaker.is_open and self._standing() is not Standing.ABANDONED

    def _weight(self) -> float:
        assert self._applied is not None
        return self._applied.split.weight if self._applied.canary is not None and self._canary_allowed() else 0.0

    def _switch(self, split: TrafficSplit, stable: LocalArm) -> None:
        old = self._applied
        same = old is not None and old.canary is not None and old.canary.version == split.canary
        self._applied = _Applied(split, stable, old.canary if old is not None and same else None, Breaker())
        if not same:
            self._ready, self._missed = False, 0

    def _bring_stable(self) -> None:
        with self._lock:
            wanted, applied = self._wanted, self._applied
            if wanted is None or (applied is not None and applied.split.epoch == wanted.epoch):
                return
            if self._clock.monotonic() < self._retry_at:
                return
        try:
            arm = self._load(wanted.stable)
        except Exception as error:
            self._later(f"version {wanted.stable} cannot be loaded: {error}")
            return
        with self._lock:
            # A newer split may have come meanwhile; it is brought about by the next tick, unless this arm serves it.
            newest = self._wanted
            if newest is not None and newest.stable == arm.version:
                self._switch(newest, arm)
                self._settled()

    def _bring_canary(self) -> None:
        with self._lock:
            applied = self._applied
            if applied is None or applied.split.canary is None or applied.canary is not None:
                return
            wanted = applied.split.canary
        try:
            arm = self._connect(wanted)
        except Exception as error:
            self._note(f"version {wanted} on trial cannot be reached: {error}")
            return
        with self._lock:
            if self._applied is not None and self._applied.split.canary == wanted:
                self._applied = replace(self._applied, canary=arm)
                self._settled()

    def _probe(self) -> None:
        with self._lock:
            arm = None if self._applied is None else self._applied.canary
        if arm is None:
            return
        try:
            arm.probe(self._probe_s)
        except Exception as error:
            with self._lock:
                self._missed += 1
                if self._missed >= PROBES_MISSED:
                    self._ready = False
                    self._note(f"version {arm.version} on trial does not answer: {error!r}")
            return
        with self._lock:
            if self._applied is not None and self._applied.canary is arm:
                self._ready, self._missed, self.trouble = True, 0, None

    def _weigh(self) -> None:
        with self._lock:
            applied = self._applied
            if applied is not None and applied.split.canary is not None and applied.breaker.look():
                _log.error("the canary fails far more often than stable and gets nothing any more")

    def _note(self, trouble: str) -> None:
        with self._lock:
            if trouble != self.trouble:
                _log.error(trouble)
            self.trouble = trouble

    def _later(self, trouble: str) -> None:
        self._note(trouble)
        with self._lock:
            self._retry_at = self._clock.monotonic() + self._retry_s
            self._retry_s = min(self._retry_s * 2, RETRY_S[1])

    def _settled(self) -> None:
        self.trouble = None
        self._retry_at, self._retry_s = 0.0, RETRY_S[0]
