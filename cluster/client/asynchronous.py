"""The client for event loops: like the blocking one, every method awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

from cluster.client import alert_calls, calls, study_calls
from cluster.client.alerts import AsyncAlerts
from cluster.client.calls import Action, Readiness
from cluster.client.forecasts import AsyncChannelForecasts
from cluster.client.outlook import AsyncChannelOutlook, AsyncLinks
from cluster.client.reports import AsyncReports
from cluster.client.studies import AsyncChannelStudies, AsyncWatchLists
from cluster.client.transport import AsyncSender, Connection
from core.schemas.alerts import Live
from core.schemas.analytics import AnomalyFinding, DataStatus, Overview, PostRow, SeriesPoint
from core.schemas.channel_studies import ChannelComparison
from core.schemas.channels import Channel, PostDraft
from core.schemas.content import ContentAnswer
from core.schemas.health import Health
from core.schemas.models import Alias, AliasChange, ModelVersion, TaskState, TrainingTask
from core.schemas.monitoring import AlertChange, Degradation, DriftReport, SeriesLevels, SloReport, VersionMetrics
from core.schemas.predictions import (
    ENGAGEMENT,
    BulkItem,
    FeedbackAck,
    FeedbackItem,
    FeedbackSummary,
    Prediction,
    PredictionRequest,
    SettledPrediction,
)
from core.schemas.rollouts import (
    Explanation,
    Replayed,
    RolloutEvent,
    RolloutPlan,
    RolloutStatus,
    SplitReport,
    Strategy,
    TrafficFigures,
    WhenBusy,
)
from core.schemas.versions import ArtifactCheck, Comparison, Deployment, PruneReport
from core.schemas.workflows import LoopView, Switch, Workflow


class AsyncChannelView(AsyncChannelStudies, AsyncChannelForecasts, AsyncChannelOutlook):
    """One channel."""

    async def info(self) -> Channel:
        """What is stored of it itself."""
        return await self._send(calls.channel(self.name))

    async def status(self) -> DataStatus:
        """What is collected, and what is missing."""
        return await self._send(calls.data_status(self.name))

    async def overview(self, days: int = 30, until: int | None = None) -> Overview:
        """A period against the equal period before it."""
        return await self._send(calls.overview(self.name, days, until))

    async def posts(
        self,
        limit: int = 20,
        order: Literal["overperformance", "views", "er", "published_at"] = "overperformance",
        age_h: int = 24,
    ) -> tuple[PostRow, ...]:
        """Posts at equal age."""
        return await self._send(calls.posts(self.name, limit, order, age_h))

    async def series(
        self, metric: str, bucket: Literal["hour", "day", "week", "month"] = "day"
    ) -> tuple[SeriesPoint, ...]:
        """A metric over time, in the channel's zone."""
        return await self._send(calls.series(self.name, metric, bucket))

    async def anomalies(self, since: int | None = None) -> tuple[AnomalyFinding, ...]:
        """What was unusual, newest first, with causes and advice."""
        return await self._send(calls.channel_anomalies(self.name, since))

    async def live(self) -> Live:
        """Posts younger than 48 hours: how fast they are read, beside the usual at their age."""
        return await self._send(alert_calls.live(self.name))


class AsyncChannels:
    """All channels."""

    def __init__(self, send: AsyncSender) -> None:
        self._send = send

    def __getitem__(self, name: str) -> AsyncChannelView:
        """A channel by name; asking it raises NotFound when there is none."""
        return AsyncChannelView(self._send, name)

    async def __aiter__(self) -> AsyncIterator[Channel]:
        """Every channel, by name."""
        cursor: str | None = None
        while True:
            page = await self._send(calls.channels(cursor))
            for channel in page.items:
                yield channel
            if page.cursor is None:
                return
            cursor = page.cursor


class AsyncModels:
    """Versions of a model, and how they do."""

    def __init__(self, send: AsyncSender, model: str = ENGAGEMENT) -> None:
        self._send, self.model = send, model

    def __getitem__(self, model: str) -> AsyncModels:
        """Another model."""
        return AsyncModels(self._send, model)

    async def versions(self) -> tuple[ModelVersion, ...]:
        """All, newest first."""
        return await self._send(calls.versions(self.model))

    async def version(self, number: int) -> ModelVersion:
        """One, with its evaluation and lineage."""
        return await self._send(calls.version(self.model, number))

    async def alias(self, name: Alias = "champion") -> ModelVersion:
        """The version that an alias names; NotFound while it names none."""
        return await self._send(calls.alias(self.model, name))

    async def set_alias(self, name: Alias, number: int | None, *, expect: int | None, reason: str) -> AliasChange:
        """Move an alias that names `expect` now; Conflict when it does not."""
        return await self._send(calls.set_alias(self.model, name, number, expect, reason))

    async def history(self) -> tuple[AliasChange, ...]:
        """Every change of every alias, newest first."""
        return await self._send(calls.history(self.model))

    async def deployment(self) -> Deployment:
        """Which versions are in charge, since when, by whom and why, and what routers are told."""
        return await self._send(calls.deployment(self.model))

    async def verify(self, number: int) -> ArtifactCheck:
        """Check that a version may be put into service; NotFound, ArtifactCorrupt or Refused says why not."""
        return await self._send(calls.verify(self.model, number))

    async def compare(self, first: int, second: int) -> Comparison:
        """The second version against the first on the same posts; Refused where there are none."""
        return await self._send(calls.compare(self.model, first, second))

    async def prune(self, keep: int, *, dry_run: bool = False) -> PruneReport:
        """Give up old versions that nobody uses, the newest `keep` excepted; says what stays and why."""
        return await self._send(calls.prune(self.model, keep, dry_run))

    async def traffic(self) -> SplitReport:
        """What one router really serves now."""
        return await self._send(calls.traffic(self.model))

    async def metrics(self, number: int) -> VersionMetrics:
        """Requests, errors, latency and quality in service."""
        return await self._send(calls.metrics(self.model, number))

    async def degradation(self, number: int, recent_days: int = 7) -> tuple[Degradation, ...]:
        """What got worse or better in recent days, each figure in its own direction."""
        return await self._send(calls.degradation(self.model, number, recent_days))

    async def levels(self, number: int | None = None) -> tuple[SeriesLevels, ...]:
        """When each stored figure changed, from what to what: of the model over all versions, or of one version."""
        return await self._send(calls.levels(self.model, number))

    async def slo(self, number: int | None = None) -> SloReport:
        """Objectives, what is left of their error budgets, and alerts: of the model, or of one version."""
        return await self._send(calls.slo(self.model, number))

    async def alerts(self, limit: int = 50) -> tuple[AlertChange, ...]:
        """Promises that began to be broken or are kept again, newest first."""
        return await self._send(calls.alerts(self.model, limit))

    async def drift(self, number: int) -> DriftReport:
        """The last drift report; NotFound before the first."""
        return await self._send(calls.drift(self.model, number))

    async def check_drift(self, number: int) -> DriftReport:
        """Compare recent requests with what the version learned from, now."""
        return await self._send(calls.check_drift(self.model, number))


class AsyncTasks:
    """Trainings and searches for better parameters."""

    def __init__(self, send: AsyncSender) -> None:
        self._send = send

    async def submit(
        self, kind: Literal["train", "tune"] = "train", *, key: str | None = None, **options: Any
    ) -> TrainingTask:
        """Queue one; options: those of POST /v1/tasks (strategy, channels, warm_start, after, timeout_s ...)."""
        return await self._send(calls.train({"kind": kind, **options}, key))

    async def list(
        self, model: str | None = None, state: TaskState | None = None, limit: int = 100
    ) -> tuple[TrainingTask, ...]:
        """Newest first, of one model or in one state where asked for."""
        return await self._send(calls.tasks(model, state, limit))

    async def get(self, task_id: str) -> TrainingTask:
        """State, progress and result."""
        return await self._send(calls.task(task_id))

    async def cancel(self, task_id: str) -> TrainingTask:
        """Ask it to stop at its next step."""
        return await self._send(calls.cancel(task_id))


class AsyncRollouts:
    """Versions on trial."""

    def __init__(self, send: AsyncSender) -> None:
        self._send = send

    async def list(self, model: str = ENGAGEMENT) -> tuple[RolloutStatus, ...]:
        """Newest first."""
        return await self._send(calls.rollouts(model))

    async def plan(
        self,
        *,
        model: str = ENGAGEMENT,
        strategy: Strategy | None = None,
        assumed: TrafficFigures | None = None,
        **config: Any,
    ) -> RolloutPlan:
        """How long each step would need at the traffic measured, or assumed; config: as for `start`."""
        return await self._send(calls.plan_rollout(model, strategy, assumed, config))

    async def start(
        self,
        number: int,
        *,
        model: str = ENGAGEMENT,
        strategy: Strategy | None = None,
        when_busy: WhenBusy = "queue",
        key: str | None = None,
        **config: Any,
    ) -> RolloutStatus:
        """Put a version on trial; config: fields of RolloutConfig, the strategy's and settings' where left out.

        InvalidInput names the field that cannot work; Refused says what stands against it.
        """
        return await self._send(calls.start_rollout(model, number, strategy, when_busy, config, key))

    async def get(self, rollout_id: str) -> RolloutStatus:
        """Phase, weight, holds and evidence."""
        return await self._send(calls.rollout(rollout_id))

    async def events(self, rollout_id: str) -> tuple[RolloutEvent, ...]:
        """The audit log, oldest first."""
        return await self._send(calls.rollout_events(rollout_id))

    async def replay(self, rollout_id: str, *, strategy: Strategy | None = None, **config: Any) -> Replayed:
        """The log stepped through again: bit for bit, or with some settings laid over the roll-out's own."""
        return await self._send(calls.replay_rollout(rollout_id, strategy, config))

    async def explain(self, rollout_id: str) -> Explanation:
        """Why it stands where it stands, from the verified log."""
        return await self._send(calls.explain_rollout(rollout_id))

    async def pause(self, rollout_id: str, reason: str) -> RolloutStatus:
        """Keep the weight as it is."""
        return await self.steer(rollout_id, "pause", reason)

    async def resume(self, rollout_id: str, reason: str) -> RolloutStatus:
        """Go on; where a person's word is awaited, this is it."""
        return await self.steer(rollout_id, "resume", reason)

    async def promote(self, rollout_id: str, reason: str) -> RolloutStatus:
        """Take the next step without waiting out its time; Refused while the evidence is short."""
        return await self.steer(rollout_id, "promote", reason)

    async def abort(self, rollout_id: str, reason: str) -> RolloutStatus:
        """Back to the stable version."""
        return await self.steer(rollout_id, "abort", reason)

    async def steer(self, rollout_id: str, action: Action, reason: str) -> RolloutStatus:
        """Step in, and say why; Refused when the phase or the evidence does not allow it."""
        return await self._send(calls.steer(rollout_id, action, reason))


class AsyncWorkflows:
    """The orchestrator's workflows."""

    def __init__(self, send: AsyncSender) -> None:
        self._send = send

    async def list(self, model: str = ENGAGEMENT) -> tuple[Workflow, ...]:
        """Newest first, without their histories."""
        return await self._send(calls.workflows(model))

    async def start(self, *, model: str = ENGAGEMENT, key: str | None = None, **options: Any) -> Workflow:
        """Retrain by hand; options: tune, params, strategy, rollout, skip_validation. Refused while one is active."""
        return await self._send(calls.start_workflow(model, options, key))

    async def get(self, workflow_id: str) -> Workflow:
        """One with its history."""
        return await self._send(calls.workflow(workflow_id))

    async def cancel(self, workflow_id: str, reason: str) -> Workflow:
        """End it: its training stops, its roll-out goes back to the stable version. Refused when it has ended."""
        return await self._send(calls.cancel_workflow(workflow_id, reason))

    async def loop(self, model: str = ENGAGEMENT) -> LoopView:
        """What the loop may do by itself, what it has used of its weekly budget, and what it waits for."""
        return await self._send(calls.loop(model))

    async def switch(self, name: Switch, on: bool | None, *, model: str = ENGAGEMENT) -> LoopView:
        """auto_train or auto_rollout: on, off, or (None) as the settings say; lasts over restarts."""
        return await self._send(calls.switch(model, name, on))


class AsyncBot:
    """A deployment."""

    def __init__(self, connection: Connection) -> None:
        self.url = connection.url
        self._send = AsyncSender(connection)
        self.channels = AsyncChannels(self._send)
        self.models = AsyncModels(self._send)
        self.tasks = AsyncTasks(self._send)
        self.rollouts = AsyncRollouts(self._send)
        self.workflows = AsyncWorkflows(self._send)
        self.alerts = AsyncAlerts(self._send)
        self.reports = AsyncReports(self._send)
        self.watch_lists = AsyncWatchLists(self._send)
        self.links = AsyncLinks(self._send)

    async def __aenter__(self) -> AsyncBot:
        """Itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    async def close(self) -> None:
        """End the connections."""
        await self._send.close()

    async def readiness(self) -> Readiness:
        """Whether questions can be answered, and what is in the way."""
        return await self._send(calls.ready())

    async def ready(self) -> bool:
        """Whether questions can be answered."""
        return (await self.readiness()).ready

    async def health(self) -> tuple[Health, ...]:
        """Each service, really asked."""
        return tuple((await self._send(calls.health())).services.values())

    async def predict(
        self,
        channel: str,
        *,
        post_id: int | None = None,
        draft: PostDraft | None = None,
        published_at: int | None = None,
        known_age_h: int = 0,
        as_of: int | None = None,
        key: str | None = None,
        explain: bool = False,
    ) -> Prediction:
        """Views of a stored post (`post_id`) or of a draft; the same key gives the same answer.

        explain: with `contributions`, what moved the first target's median.
        """
        return await self._send(
            calls.predict(
                channel,
                post_id=post_id,
                draft=draft,
                published_at=published_at,
                known_age_h=known_age_h,
                as_of=as_of,
                key=key,
                explain=explain,
            )
        )

    async def predict_many(self, requests: Sequence[PredictionRequest]) -> tuple[BulkItem, ...]:
        """Views of at most 256 posts at once: an answer or a problem for each, in order."""
        return await self._send(calls.predict_many(requests))

    async def content(
        self,
        channel: str,
        *,
        post_id: int | None = None,
        draft: PostDraft | None = None,
        published_at: int | None = None,
    ) -> ContentAnswer:
        """Tone, engagement and topic of a stored post or a draft; each says when it cannot tell, and why.

        NotConfigured while no content model is in service.
        """
        return await self._send(calls.content(channel, post_id, draft, published_at))

    async def prediction(self, prediction_id: str) -> SettledPrediction:
        """A prediction, and what was measured of it so far."""
        return await self._send(calls.prediction(prediction_id))

    async def feedback(self, items: Sequence[FeedbackItem]) -> tuple[FeedbackAck, ...]:
        """Ratings and corrections: an answer for each, in order; one with an id is stored.

        A refused item among several says why in its `problem`; sent alone it raises NotFound, InvalidInput or Conflict.
        """
        return await self._send(calls.feedback(items))

    async def feedback_summary(self) -> FeedbackSummary:
        """Feedback by what became of it, and what was said of each version's answers."""
        return await self._send(calls.feedback_summary())

    async def compare(self, channels: Sequence[str], days: int = 30, until: int | None = None) -> ChannelComparison:
        """Channels side by side, each over its own last `days` days."""
        return await self._send(study_calls.compare(channels, days, until))

    async def anomalies(self, since: int | None = None, limit: int = 100) -> tuple[AnomalyFinding, ...]:
        """What was unusual anywhere, newest first."""
        return await self._send(calls.anomalies(since, limit))
