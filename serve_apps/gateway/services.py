"""What the gateway asks: every service by its protocol, real objects in tests and proxies at run time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

from actors.runtime import RemoteService
from core.clock import Clock
from core.protocols import (
    AlertsService,
    AnalyticsService,
    AnomalyService,
    DriftService,
    FeedbackService,
    IntelligenceService,
    LearningService,
    MonitoringService,
    OrchestratorService,
    Service,
    VersioningService,
)
from core.schemas.content import ContentAnswer, ContentRequest
from core.schemas.rollouts import SplitReport
from core.settings import Settings
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.splits import SplitStore
from serve_apps.proxy import ServedService


class PredictorService(Service, Protocol):
    """What the predictor answers beside HTTP."""

    def split_report(self) -> SplitReport:
        """What one of its routers really serves."""
        ...

    def content(self, request: ContentRequest) -> ContentAnswer:
        """What the content version in service says of a post."""
        ...


@dataclass(frozen=True)
class Services:
    """Every service; picklable as long as its members are."""

    versioning: VersioningService
    drift: DriftService
    feedback: FeedbackService
    monitoring: MonitoringService
    learning: LearningService
    orchestrator: OrchestratorService
    anomaly: AnomalyService
    analytics: AnalyticsService
    intelligence: IntelligenceService
    alerts: AlertsService
    predictor: PredictorService

    def named(self) -> dict[str, Service]:
        """By name, as they appear in health reports."""
        return {
            "versioning": self.versioning,
            "drift": self.drift,
            "feedback": self.feedback,
            "monitoring": self.monitoring,
            "learner": self.learning,
            "orchestrator": self.orchestrator,
            "anomaly_analysis": self.anomaly,
            "analytics_fusion": self.analytics,
            "predictive_intelligence": self.intelligence,
            "alerts_fusion": self.alerts,
            "predictor": self.predictor,
        }


def brief(service: Any, timeout_s: float) -> Any:
    """A proxy that does not wait for a dead service to come back: health questions want to know now."""
    if isinstance(service, RemoteService):
        return replace(service, timeout_s=timeout_s, patience_s=0.0)
    if isinstance(service, ServedService):
        return replace(service, timeout_s=timeout_s)
    shards = getattr(service, "shards", None)  # of cluster.shards, which this layer does not know
    if isinstance(shards, tuple):
        return replace(service, shards=tuple(brief(shard, timeout_s) for shard in shards))
    return service


@dataclass(frozen=True)
class GatewayParts:
    """What the gateway is made of; picklable."""

    services: Services
    database: Database
    clock: Clock
    settings: Settings

    @property
    def channels(self) -> ChannelStore:
        """The tenant's channels."""
        return ChannelStore(self.database, self.settings.tenant)

    @property
    def splits(self) -> SplitStore:
        """Traffic splits."""
        return SplitStore(self.database)
