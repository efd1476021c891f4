"""A training that runs without an audience."""

from __future__ import annotations

from core.schemas.models import TrainingProgress


class Silent:
    """A reporter that nobody listens to."""

    def report(self, progress: TrainingProgress, checkpoint: bytes | None) -> None:
        """Nothing to tell."""

    def should_stop(self) -> bool:
        """Never."""
        return False

    def restored(self) -> bytes | None:
        """Nothing to go on from."""
        return None
