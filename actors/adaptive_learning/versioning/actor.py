"""The single writer of model versions and aliases."""

from __future__ import annotations

import os

from core.clock import Clock
from core.errors import AnalyticBotError
from core.schemas.health import Health
from core.schemas.models import Alias, AliasChange, ModelVersion, NewVersion
from core.schemas.predictions import ENGAGEMENT
from core.store.database import Database
from core.store.registry import Registry


class Versioning:
    """Registers versions and moves aliases; keeps nothing in memory, so a restart changes nothing.

    Every method is one transaction or one query, so any number of threads may call it.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._registry = Registry(database)
        self._clock = clock

    def register(self, new: NewVersion) -> ModelVersion:
        """Store a version under the next number; the same key gives the same version again."""
        return self._registry.register(new, self._clock.now())

    def get(self, model: str, version: int) -> ModelVersion:
        """One version; NotFound."""
        return self._registry.get(model, version)

    def versions(self, model: str) -> tuple[ModelVersion, ...]:
        """All, newest first."""
        return self._registry.versions(model)

    def resolve(self, model: str, alias: Alias) -> ModelVersion | None:
        """The version that an alias names."""
        return self._registry.resolve(model, alias)

    def set_alias(
        self, model: str, alias: Alias, version: int | None, *, expect: int | None, reason: str, actor: str
    ) -> AliasChange:
        """Compare-and-set: the alias must name `expect` now (or already `version`), else Conflict."""
        return self._registry.set_alias(model, alias, version, expect, reason, actor, self._clock.now())

    def history(self, model: str) -> tuple[AliasChange, ...]:
        """Every change of every alias, newest first."""
        return self._registry.history(model)

    def health(self) -> Health:
        """Look the champion up, with its lineage."""
        try:
            champion = self._registry.resolve(ENGAGEMENT, "champion")
        except AnalyticBotError as error:
            return Health("versioning", "broken", str(error), os.getpid())
        named = "there is none" if champion is None else f"v{champion.version}"
        return Health("versioning", "ok", f"looked up the champion of {ENGAGEMENT}: {named}", os.getpid())
