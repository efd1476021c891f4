"""Builds every service from its stores, clock, settings and the proxies of the others: the one place that wires them.

A service is handed what it needs and never looks for it, so each also runs in a plain test with real parts in
process. Classes are imported here, when wanted, so that a command that needs none of them stays quick.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from cluster.resources import Plan
from cluster.shards import sharded
from cluster.topology import Topology
from core.clock import Clock, SystemClock
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
    VersioningService,
)
from core.protocols.intelligence import Foreteller
from core.settings import Settings
from core.store.database import Database, StoredClock

if TYPE_CHECKING:
    from ray.serve import Application

    from core.artifacts import ArtifactStore
    from serve_apps.canary import CanaryFactory

P = TypeVar("P")
GATEWAY, PREDICTOR, ANALYTICS = "gateway", "predictor", "analytics_fusion"
INTELLIGENCE = "predictive_intelligence"


@dataclass(frozen=True)
class Wiring:
    """What services are built from."""

    settings: Settings
    topology: Topology
    plan: Plan
    database: Database
    clock: Clock

    @classmethod
    def of(cls, settings: Settings, topology: Topology, plan: Plan) -> Wiring:
        """From the settings: the database in force, and the data's own clock in a replay."""
        database = Database(settings.database)
        clock: Clock = StoredClock(database) if settings.clock == "replay" else SystemClock()
        return cls(settings, topology, plan, database, clock)

    @property
    def artifacts(self) -> ArtifactStore:
        """The artifact store in force."""
        from core.artifacts import ArtifactStore

        return ArtifactStore(self.settings.artifacts)

    def resources(self, service: str) -> dict[str, Any]:
        """Ray's options for one process of a service; a GPU's share also reaches torch, through the environment."""
        share = self.plan.share(service)
        options: dict[str, Any] = {"num_cpus": share.cpu}
        if share.gpu:
            from training.gpu import SHARE

            options |= {"num_gpus": share.gpu, "runtime_env": {"env_vars": {SHARE: str(share.gpu)}}}
        return options


@dataclass(frozen=True)
class ActorSpec:
    """An actor to be started: its class, its constructor's arguments, its options."""

    name: str
    service: str
    cls: type[Any]
    arguments: dict[str, Any]
    concurrency: int
    resources: dict[str, Any] = field(default_factory=dict)


# ---------------------------------------------------------------- proxies


@dataclass(frozen=True)
class Proxies:
    """Every service as seen by the others and by drivers."""

    versioning: VersioningService
    drift: DriftService
    feedback: FeedbackService
    monitoring: MonitoringService
    learning: LearningService
    orchestrator: OrchestratorService
    anomaly: AnomalyService
    alerts: AlertsService

    @classmethod
    def of(cls, topology: Topology) -> Proxies:
        """With the shards that the topology has; finds nothing yet, so it may be made before the actors are."""
        from actors.runtime import remote  # imports Ray, whose environment must be set by then

        def divided(protocol: type[P], service: str) -> P:
            return sharded(protocol, [remote(protocol, name) for name in topology.actor_names(service)])

        return cls(
            remote(VersioningService, "versioning"),
            remote(DriftService, "drift"),
            remote(FeedbackService, "feedback"),
            remote(MonitoringService, "monitoring"),
            remote(LearningService, "learner"),
            remote(OrchestratorService, "orchestrator"),
            divided(AnomalyService, "anomaly_analysis"),
            divided(AlertsService, "alerts_fusion"),
        )


# ---------------------------------------------------------------- actors


def _versioning(wiring: Wiring, _name: str, _shard: int) -> tuple[type[Any], dict[str, Any]]:
    from actors.adaptive_learning.versioning.actor import Versioning

    return Versioning, {
        "database": wiring.database,
        "clock": wiring.clock,
        "artifacts": wiring.artifacts,
        "tenant": wiring.settings.tenant,
    }


def _feedback(wiring: Wiring, _name: str, _shard: int) -> tuple[type[Any], dict[str, Any]]:
    from actors.adaptive_learning.feedback.actor import Feedback

    return Feedback, {"database": wiring.database, "clock": wiring.clock, "tenant": wiring.settings.tenant}


def _monitoring(wiring: Wiring, _name: str, _shard: int) -> tuple[type[Any], dict[str, Any]]:
    from actors.adaptive_learning.monitoring.actor import Monitoring

    return Monitoring, {"database": wiring.database, "clock": wiring.clock, "promised": wiring.settings.slo}


def _drift(wiring: Wiring, _name: str, _shard: int) -> tuple[type[Any], dict[str, Any]]:
    from actors.adaptive_learning.drift.actor import Drift

    return Drift, {
        "database": wiring.database,
        "artifacts": wiring.artifacts,
        "clock": wiring.clock,
        "versioning": Proxies.of(wiring.topology).versioning,
    }


def _learner(wiring: Wiring, _name: str, _shard: int) -> tuple[type[Any], dict[str, Any]]:
    from actors.adaptive_learning.learning.actor import Learner

    return Learner, {
        "database": wiring.database,
        "artifacts": wiring.artifacts,
        "clock": wiring.clock,
        "settings": wiring.settings,
        "versioning": Proxies.of(wiring.topology).versioning,
    }


def _anomaly(wiring: Wiring, name: str, shard: int) -> tuple[type[Any], dict[str, Any]]:
    from actors.anomaly_analysis.actor import AnomalyAnalysis

    return AnomalyAnalysis, {
        "database": wiring.database,
        "clock": wiring.clock,
        "tenant": wiring.settings.tenant,
        "shard": shard,
        "shards": wiring.topology.services["anomaly_analysis"].shards,
    }


def _alerts(wiring: Wiring, _name: str, shard: int) -> tuple[type[Any], dict[str, Any]]:
    from actors.alerts_fusion.actor import Alerts
    from serve_apps.proxy import served

    return Alerts, {
        "database": wiring.database,
        "clock": wiring.clock,
        "anomaly": Proxies.of(wiring.topology).anomaly,
        "analytics": served(AnalyticsService, ANALYTICS),
        "intelligence": served(IntelligenceService, INTELLIGENCE),
        "settings": wiring.settings.alerts,
        "tenant": wiring.settings.tenant,
        "tick_s": wiring.settings.tick_s,
        "shard": shard,
        "shards": wiring.topology.services["alerts_fusion"].shards,
    }


def _orchestrator(wiring: Wiring, _name: str, _shard: int) -> tuple[type[Any], dict[str, Any]]:
    from actors.adaptive_learning.deployment.actuator import ServeActuator
    from actors.adaptive_learning.orchestrator.actor import Orchestrator

    others = Proxies.of(wiring.topology)
    return Orchestrator, {
        "database": wiring.database,
        "clock": wiring.clock,
        "settings": wiring.settings,
        "versioning": others.versioning,
        "drift": others.drift,
        "feedback": others.feedback,
        "monitoring": others.monitoring,
        "learning": others.learning,
        "anomaly": others.anomaly,
        "actuator": ServeActuator(wiring.database, wiring.clock, canary_factory(wiring)),
    }


_ACTORS: dict[str, Callable[[Wiring, str, int], tuple[type[Any], dict[str, Any]]]] = {
    "versioning": _versioning,
    "feedback": _feedback,
    "monitoring": _monitoring,
    "drift": _drift,
    "learner": _learner,
    "anomaly_analysis": _anomaly,
    "alerts_fusion": _alerts,
    "orchestrator": _orchestrator,
}


def actor_specs(wiring: Wiring) -> tuple[ActorSpec, ...]:
    """Every actor of the topology, shards included."""
    specs = []
    for service, entry in wiring.topology.of_kind("actor").items():
        for shard, name in enumerate(wiring.topology.actor_names(service)):
            cls, arguments = _ACTORS[service](wiring, name, shard)
            specs.append(ActorSpec(name, service, cls, arguments, entry.concurrency, wiring.resources(service)))
    return tuple(specs)


# ---------------------------------------------------------------- Serve applications


def canary_factory(wiring: Wiring) -> CanaryFactory:
    """Builds the application of a version on trial."""
    from serve_apps.canary import CanaryFactory

    share = wiring.plan.share("canary")
    return CanaryFactory(
        wiring.database,
        wiring.artifacts,
        _device(share.gpu),
        wiring.settings.serving,
        actor_options=wiring.resources("canary"),
    )


def _device(gpu: float) -> str:
    return "cuda" if gpu else "cpu"


def _predictor(wiring: Wiring) -> Application:
    from serve_apps.predictor.app import PredictorFactory, PredictorParts

    share = wiring.plan.share(PREDICTOR)
    parts = PredictorParts(wiring.database, wiring.artifacts, wiring.settings, wiring.clock, device=_device(share.gpu))
    return PredictorFactory(parts, share.instances, wiring.resources(PREDICTOR))()


@dataclass(frozen=True)
class AnalyticsFactory:
    """Makes the channel numbers' service inside a replica; picklable."""

    database: Database
    clock: Clock
    settings: Settings

    def __call__(self) -> AnalyticsService:
        """The service, with the cache in force."""
        from actors.analytics_fusion.actor import Analytics
        from core.cache import make_cache

        redis = self.settings.redis_url
        cache = make_cache(None if redis is None else redis.get_secret_value())
        return Analytics(self.database, self.clock, self.settings.tenant, cache)


def _analytics(wiring: Wiring) -> Application:
    from serve_apps.stateless import build_stateless

    make = AnalyticsFactory(wiring.database, wiring.clock, wiring.settings)
    replicas = wiring.plan.share(ANALYTICS).instances
    return build_stateless(
        AnalyticsService, ANALYTICS, make, num_replicas=replicas, actor_options=wiring.resources(ANALYTICS)
    )


@dataclass(frozen=True)
class IntelligenceFactory:
    """Makes the service that looks ahead inside a replica; picklable."""

    database: Database
    clock: Clock
    settings: Settings
    foreteller: Foreteller

    def __call__(self) -> IntelligenceService:
        """The service, with the cache in force."""
        from actors.predictive_intelligence.actor import Intelligence
        from core.cache import make_cache

        redis = self.settings.redis_url
        cache = make_cache(None if redis is None else redis.get_secret_value())
        return Intelligence(
            self.database, self.clock, self.settings.tenant, cache, self.settings.calendar, self.foreteller
        )


def _intelligence(wiring: Wiring) -> Application:
    from serve_apps.proxy import served
    from serve_apps.stateless import build_stateless

    foreteller = served(Foreteller, PREDICTOR, timeout_s=60.0)
    make = IntelligenceFactory(wiring.database, wiring.clock, wiring.settings, foreteller)
    replicas = wiring.plan.share(INTELLIGENCE).instances
    return build_stateless(
        IntelligenceService, INTELLIGENCE, make, num_replicas=replicas, actor_options=wiring.resources(INTELLIGENCE)
    )


def _gateway(wiring: Wiring) -> Application:
    from serve_apps.gateway.app import build_gateway
    from serve_apps.gateway.services import GatewayParts, PredictorService, Services
    from serve_apps.proxy import served

    others = Proxies.of(wiring.topology)
    services = Services(
        versioning=others.versioning,
        drift=others.drift,
        feedback=others.feedback,
        monitoring=others.monitoring,
        learning=others.learning,
        orchestrator=others.orchestrator,
        anomaly=others.anomaly,
        analytics=served(AnalyticsService, ANALYTICS),
        intelligence=served(IntelligenceService, INTELLIGENCE),
        alerts=others.alerts,
        predictor=served(PredictorService, PREDICTOR),
    )
    parts = GatewayParts(services, wiring.database, wiring.clock, wiring.settings)
    replicas = wiring.plan.share(GATEWAY).instances
    return build_gateway(parts, num_replicas=replicas, actor_options=wiring.resources(GATEWAY))


_APPS: dict[str, Callable[[Wiring], Application]] = {
    PREDICTOR: _predictor,
    ANALYTICS: _analytics,
    INTELLIGENCE: _intelligence,
    GATEWAY: _gateway,
}


def serve_app(wiring: Wiring, name: str) -> Application:
    """One Serve application of the topology."""
    return _APPS[name](wiring)
