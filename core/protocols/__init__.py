"""What each service domain offers to the others: implementations and remote handles satisfy the same protocol.

Methods are plain and blocking. Every one may be called again with the same arguments without doing harm, because a
caller retries when an actor dies in the middle of a call.
"""

from core.protocols.adaptive_learning import (
    DriftService,
    FeedbackService,
    LearningService,
    MonitoringService,
    OrchestratorService,
    VersioningService,
)
from core.protocols.alerts import AlertsService
from core.protocols.channels import AnalyticsService, AnomalyService, Narrator
from core.protocols.common import Service
from core.protocols.intelligence import IntelligenceService

__all__ = [
    "AlertsService",
    "AnalyticsService",
    "AnomalyService",
    "DriftService",
    "FeedbackService",
    "IntelligenceService",
    "LearningService",
    "MonitoringService",
    "Narrator",
    "OrchestratorService",
    "Service",
    "VersioningService",
]
