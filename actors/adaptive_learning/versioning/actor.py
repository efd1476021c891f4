"""The single writer of model versions and aliases."""

from __future__ import annotations

import os

from actors.adaptive_learning.versioning.comparison import Comparer
from actors.adaptive_learning.versioning.management import Management
from actors.adaptive_learning.versioning.standing import standing
from actors.adaptive_learning.versioning.storage import verify
from core.artifacts import ArtifactStore
from core.clock import Clock
from core.errors import AnalyticBotError, NotConfigured
from core.schemas.health import Health
from core.schemas.models import Alias, AliasChange, ModelVersion, NewVersion
from core.schemas.predictions import ENGAGEMENT
from core.schemas.versions import ArtifactCheck, Comparison, Deployment, PruneReport
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.registry import Registry
from core.store.retention import Retention
from core.store.rollouts import RolloutStore
from core.store.splits import SplitStore


class Versioning:
    """Registers versions, moves aliases, checks, compares and prunes; keeps nothing in memory, so a restart changes
    nothing, and any number of threads may call it.

    artifacts: None where only the registry is wanted: a registration then does not look for its artifact, versions are
    compared by stored scores alone, and verifying and pruning are not offered (NotConfigured).
    """

    def __init__(
        self, database: Database, clock: Clock, artifacts: ArtifactStore | None = None, tenant: str = "default"
    ) -> None:
        self._registry = Registry(database)
        self._retention = Retention(database)
        self._rollouts, self._splits = RolloutStore(database), SplitStore(database)
        self._comparer = Comparer(ChannelStore(database, tenant), artifacts)
        self._artifacts = artifacts
        self._clock = clock

    def register(self, new: NewVersion) -> ModelVersion:
        """Store a version under the next number; the same key gives the same version again.

        NotFound when its artifact is not in the store.
        """
        if self._artifacts is None:
            return self._registry.register(new, self._clock.now())
        return self._registry.register(new, self._clock.now(), self._artifacts.exists)

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
        """Compare-and-set: the alias must name `expect` now (or already `version`), else Conflict.

        NotFound for an unknown version, Refused for a pruned one.
        """
        return self._registry.set_alias(model, alias, version, expect, reason, actor, self._clock.now())

    def history(self, model: str) -> tuple[AliasChange, ...]:
        """Every change of every alias, newest first."""
        return self._registry.history(model)

    def verify(self, model: str, version: int, *, predictions: bool = True) -> ArtifactCheck:
        """Whether a version may be put into service: its artifact is whole, the registered one, and served here.

        NotFound, ArtifactCorrupt, Refused (pruned, other signature, other features), NotConfigured, StorageBroken.
        """
        return verify(self._artifacts, self._registry.get(model, version), predictions=predictions)

    def compare(self, model: str, first: int, second: int) -> Comparison:
        """The second version against the first on the same posts; NotFound, InvalidInput, Refused, InsufficientData."""
        versions = [self._registry.get(model, number) for number in (first, second)]
        return self._comparer.compare(versions[0], versions[1], self._clock.now())

    def prune(self, model: str, keep: int, dry_run: bool = False) -> PruneReport:
        """Give up artifacts of old versions that nobody uses; called again it finishes what was cut short."""
        if self._artifacts is None:
            raise NotConfigured("no artifact store was given: there is nothing to prune")
        management = Management(self._retention, self._artifacts)
        return management.prune(model, keep, self._clock.now(), dry_run=dry_run)

    def deployment(self, model: str) -> Deployment:
        """Which versions are in charge, since when and by whom, and what routers are told."""
        under_way = [rollout.id for rollout in self._rollouts.open() if rollout.model == model]
        return standing(
            model, self._registry.versions(model), self._registry.history(model), self._splits.read(model), under_way
        )

    def health(self) -> Health:
        """Look the champion up, with its lineage."""
        try:
            champion = self._registry.resolve(ENGAGEMENT, "champion")
        except AnalyticBotError as error:
            return Health("versioning", "broken", str(error), os.getpid())
        named = "there is none" if champion is None else f"v{champion.version}"
        return Health("versioning", "ok", f"looked up the champion of {ENGAGEMENT}: {named}", os.getpid())
