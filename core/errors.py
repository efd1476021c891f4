"""Every error that a caller may see, as one tree: *no data*, *not enough data*, *not configured*, *refused*, *broken*.

AnalyticBotError                 what was wrong, where, what to do; `code` and `status` for machines
├── NotFound                     404  the thing named does not exist
├── InsufficientData             422  it exists, but there is too little of it: needed, have
│   └── NoData                   422  nothing at all, or the source cannot hold it (a Desktop export has no views)
├── NotConfigured                501  the answer needs something that nobody set up
├── InvalidInput                 422  what came in cannot be read or is outside its range: where, what
│   └── ImportRefused            422  a file or folder that is not imported at all
├── Unauthorized                 401  no API key, or not one that is known here
├── Forbidden                    403  the key does not cover this
├── Refused                      409  understood, and not done: against a rule or the present state
│   └── Conflict                 409  somebody else changed it first (compare-and-set lost)
├── Overloaded                   429  try again later
└── Broken                       500  our fault or the machine's
    ├── StorageBroken            503  the database or artifact store does not answer or is damaged
    ├── ArtifactCorrupt          500  a stored artifact does not have the hash that it was stored under
    └── ServiceUnavailable       503  an actor or replica does not answer (it may be restarting)

One `try` serves most callers:

    try:
        bot.predict(...)
    except InsufficientData as gap:
        print(gap.needed, gap.have)
    except AnalyticBotError as error:
        print(error)
"""

from __future__ import annotations

from typing import Any, ClassVar


class AnalyticBotError(Exception):
    """Base of all: `str(error)` is one line for a person, `error.details` are fields for a program."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Error"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process borders: rebuild from message and details whatever a subclass's constructor looks like.
        return _rebuild, (type(self), self.message, self.details)

    def problem(self) -> dict[str, Any]:
        """RFC 9457 problem details."""
        return {
            "type": f"urn:analyticbot:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.message,
            **self.details,
        }


def _rebuild(cls: type[AnalyticBotError], message: str, details: dict[str, Any]) -> AnalyticBotError:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.message, error.details = message, details
    return error


class NotFound(AnalyticBotError):
    """The named thing does not exist (for this tenant)."""

    code, status, title = "not-found", 404, "Not found"


class InsufficientData(AnalyticBotError):
    """There is data, but less than the answer needs."""

    code, status, title = "insufficient-data", 422, "Not enough data"

    def __init__(self, reason: str, *, needed: float, have: float, **details: Any) -> None:
        super().__init__(f"{reason} (needed {needed:g}, have {have:g})", needed=needed, have=have, **details)

    @property
    def needed(self) -> float:
        """How much would have been enough."""
        return float(self.details["needed"])

    @property
    def have(self) -> float:
        """How much there is."""
        return float(self.details["have"])


class NoData(InsufficientData):
    """Nothing of the kind is stored, or the source cannot hold it."""

    code, title = "no-data", "No data"

    def __init__(self, reason: str, *, needed: float = 1, have: float = 0, **details: Any) -> None:
        AnalyticBotError.__init__(self, reason, needed=needed, have=have, **details)


class NotConfigured(AnalyticBotError):
    """Offered only once somebody configures what it needs."""

    code, status, title = "not-configured", 501, "Not configured"


class InvalidInput(AnalyticBotError):
    """Cannot be read or lies outside its range."""

    code, status, title = "invalid-input", 422, "Invalid input"


class ImportRefused(InvalidInput):
    """A file or folder of which nothing is imported; says what it is and what to do."""

    code, title = "import-refused", "Import refused"


class Unauthorized(AnalyticBotError):
    """No API key, or not one that is known here."""

    code, status, title = "unauthorized", 401, "Unauthorized"


class Forbidden(AnalyticBotError):
    """The API key is good, but does not cover what was asked."""

    code, status, title = "forbidden", 403, "Forbidden"


class Refused(AnalyticBotError):
    """Understood and not done."""

    code, status, title = "refused", 409, "Refused"


class Conflict(Refused):
    """A compare-and-set lost against another writer."""

    code, title = "conflict", "Conflict"


class Overloaded(AnalyticBotError):
    """Too much at once; try again later."""

    code, status, title = "overloaded", 429, "Overloaded"


class Broken(AnalyticBotError):
    """Our fault, or the machine's."""

    code, status, title = "broken", 500, "Broken"


class StorageBroken(Broken):
    """The database or artifact store does not answer, or is damaged."""

    code, status, title = "storage-broken", 503, "Storage broken"


class ArtifactCorrupt(Broken):
    """A stored artifact's bytes do not have the hash that names them."""

    code, title = "artifact-corrupt", "Artifact corrupt"


class ServiceUnavailable(Broken):
    """A service does not answer; it may be restarting."""

    code, status, title = "service-unavailable", 503, "Service unavailable"
