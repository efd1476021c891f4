"""What may happen to a roll-out, and what it may order: two closed unions of plain values.

Time and everything measured arrive inside events, so replaying stored events reproduces every decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Discriminator

from actors.adaptive_learning.deployment.bookkeeping import Executions, Tally
from core.schemas.rollouts import RolloutConfig, SplitReport, TrafficSplit

Action = Literal["pause", "resume", "promote", "abort"]


@dataclass(frozen=True, slots=True)
class Cursors:
    """How far the prediction log was read: evidence is counted once, also after a crash."""

    prediction: int = 0
    shadow_stable: int = 0
    shadow_challenger: int = 0
    outcome_from: int = 0  # outcomes up to here are older than the roll-out
    outcome: int = 0
    matured_until: int = 0  # publication times up to here were looked at for missing outcomes


@dataclass(frozen=True, slots=True)
class Requested:
    """The first line of the log: what was asked for; it changes nothing by itself."""

    challenger: int
    stable: int
    config: RolloutConfig
    approved: bool
    note: str
    kind: Literal["requested"] = "requested"


@dataclass(frozen=True, slots=True)
class Started:
    """Its turn: what is in force now."""

    stable: int
    epoch: int
    cursors: Cursors
    kind: Literal["started"] = "started"


@dataclass(frozen=True, slots=True)
class ChallengerReady:
    """Loaded, verified and answering."""

    kind: Literal["challenger_ready"] = "challenger_ready"


@dataclass(frozen=True, slots=True)
class ChallengerFailed:
    """It will never answer."""

    reason: str
    kind: Literal["challenger_failed"] = "challenger_failed"


@dataclass(frozen=True, slots=True)
class Observed:
    """What the routers really do."""

    reports: tuple[SplitReport, ...]
    kind: Literal["observed"] = "observed"


@dataclass(frozen=True, slots=True)
class Baseline:
    """Stable's own 50, 90 and 99 % quantiles of scoring time in milliseconds: frozen once, for "slower than"."""

    quantiles_ms: tuple[float, float, float]
    n: int
    kind: Literal["baseline"] = "baseline"


@dataclass(frozen=True, slots=True)
class Counts:
    """Executions since the last counts, by segment ("": all of them), and the first attempts among them.

    keys: routing keys seen for the first time under the present epoch, by the side that they were sent to.
    """

    executions: dict[str, Executions]
    first_attempts: Tally
    stable_keys: int
    canary_keys: int
    cursors: Cursors
    kind: Literal["counts"] = "counts"


@dataclass(frozen=True, slots=True)
class Pairs:
    """One scaled difference of |log errors| (canary - stable, in [-1, 1]) for each post whose outcome came in."""

    differences: tuple[float, ...]
    cursors: Cursors
    kind: Literal["pairs"] = "pairs"


@dataclass(frozen=True, slots=True)
class Matured:
    """Posts whose outcome was due since the last look, and how many of them have one."""

    due: int
    labelled: int
    cursors: Cursors
    kind: Literal["matured"] = "matured"


@dataclass(frozen=True, slots=True)
class Calendar:
    """Whether a freeze window is open now; `window` names it, empty: none."""

    window: str
    kind: Literal["calendar"] = "calendar"


@dataclass(frozen=True, slots=True)
class Drift:
    """The world began to move while the roll-out ran."""

    reason: str
    kind: Literal["drift"] = "drift"


@dataclass(frozen=True, slots=True)
class Steer:
    """A person's word."""

    action: Action
    reason: str
    kind: Literal["steer"] = "steer"


@dataclass(frozen=True, slots=True)
class Aliased:
    """The champion is the challenger now."""

    kind: Literal["aliased"] = "aliased"


@dataclass(frozen=True, slots=True)
class AliasMoved:
    """Somebody else moved the champion; while it serves, the roll-out stands still until a person resumes it."""

    reason: str
    kind: Literal["alias_moved"] = "alias_moved"


@dataclass(frozen=True, slots=True)
class Restored:
    """The champion is the stable version again, or what somebody else made it."""

    note: str
    kind: Literal["restored"] = "restored"


@dataclass(frozen=True, slots=True)
class Released:
    """The version on trial is gone."""

    kind: Literal["released"] = "released"


@dataclass(frozen=True, slots=True)
class Fenced:
    """A later split is in force that this roll-out did not write."""

    reason: str
    kind: Literal["fenced"] = "fenced"


@dataclass(frozen=True, slots=True)
class Tick:
    """Seconds passed, by the controller's monotonic clock."""

    seconds: float
    kind: Literal["tick"] = "tick"


Event = Annotated[
    Requested
    | Started
    | ChallengerReady
    | ChallengerFailed
    | Observed
    | Baseline
    | Counts
    | Pairs
    | Matured
    | Calendar
    | Drift
    | Steer
    | Aliased
    | AliasMoved
    | Restored
    | Released
    | Fenced
    | Tick,
    Discriminator("kind"),
]


@dataclass(frozen=True, slots=True)
class Warm:
    """Load the challenger beside stable."""

    version: int
    kind: Literal["warm"] = "warm"


@dataclass(frozen=True, slots=True)
class SetSplit:
    """Put a split into force; its epoch fences it."""

    split: TrafficSplit
    kind: Literal["set_split"] = "set_split"


@dataclass(frozen=True, slots=True)
class Promote:
    """Move the champion from the stable version to the challenger."""

    challenger: int
    stable: int
    kind: Literal["promote"] = "promote"


@dataclass(frozen=True, slots=True)
class Restore:
    """Move the champion back."""

    challenger: int
    stable: int
    kind: Literal["restore"] = "restore"


@dataclass(frozen=True, slots=True)
class Release:
    """Take the version on trial away."""

    version: int
    kind: Literal["release"] = "release"


Command = Annotated[Warm | SetSplit | Promote | Restore | Release, Discriminator("kind")]
