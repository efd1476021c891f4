"""The blocking client."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from cluster.client import alert_calls, calls, study_calls
from cluster.client.alerts import Alerts
from cluster.client.calls import Action, Readiness
from cluster.client.forecasts import ChannelForecasts
from cluster.client.outlook import ChannelOutlook, Links
from cluster.client.reports import Reports
from cluster.client.studies import ChannelStudies, WatchLists
from cluster.client.transport import Connection, Sender
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
from core.settings import Settings

if TYPE_CHECKING:
    from cluster.services import Proxies


class ChannelView(ChannelStudies, ChannelForecasts, ChannelOutlook):
    """One channel."""

    def info(self) -> Channel:
        """What is stored of it itself."""
        return self._send(calls.channel(self.name))

    def status(self) -> DataStatus:
        """What is collected, and what is missing."""
        return self._send(calls.data_status(self.name))

    def overview(self, days: int = 30, until: int | None = None) -> Overview:
        """A period against the equal period before it."""
        return self._send(calls.overview(self.name, days, until))

    def posts(
        self,
        limit: int = 20,
        order: Literal["overperformance", "views", "er", "published_at"] = "overperformance",
        age_h: int = 24,
    ) -> tuple[PostRow, ...]:
        """Posts at equal age."""
        return self._send(calls.posts(self.name, limit, order, age_h))

    def series(self, metric: str, bucket: Literal["hour", "day", "week", "month"] = "day") -> tuple[SeriesPoint, ...]:
        """A metric over time, in the channel's zone."""
        return self._send(calls.series(self.name, metric, bucket))

    def anomalies(self, since: int | None = None) -> tuple[AnomalyFinding, ...]:
        """What was unusual, newest first, with causes and advice."""
        return self._send(calls.channel_anomalies(self.name, since))

    def live(self) -> Live:
        """Posts younger than 48 hours: how fast they are read, beside the usual at their age."""
        return self._send(alert_calls.live(self.name))


class Channels:
    """All channels."""

    def __init__(self, send: Sender) -> None:
        self._send = send

    def __getitem__(self, name: str) -> ChannelView:
        """A channel by name; asking it raises NotFound when there is none."""
        return ChannelView(self._send, name)

    def __iter__(self) -> Iterator[Channel]:
        """Every channel, by name."""
        cursor: str | None = None
        while True:
            page = self._send(calls.channels(cursor))
            yield from page.items
            if page.cursor is None:
                return
            cursor = page.cursor


class Models:
    """Versions of a model, and how they do."""

    def __init__(self, send: Sender, model: str = ENGAGEMENT) -> None:
        self._send, self.model = send, model

    def __getitem__(self, model: str) -> Models:
        """Another model."""
        return Models(self._send, model)

    def versions(self) -> tuple[ModelVersion, ...]:
        """All, newest first."""
        return self._send(calls.versions(self.model))

    def version(self, number: int) -> ModelVersion:
        """One, with its evaluation and lineage."""
        return self._send(calls.version(self.model, number))

    def alias(self, name: Alias = "champion") -> ModelVersion:
        """The version that an alias names; NotFound while it names none."""
        return self._send(calls.alias(self.model, name))

    def set_alias(self, name: Alias, number: int | None, *, expect: int | None, reason: str) -> AliasChange:
        """Move an alias that names `expect` now; Conflict when it does not."""
        return self._send(calls.set_alias(self.model, name, number, expect, reason))

    def history(self) -> tuple[AliasChange, ...]:
        """Every change of every alias, newest first."""
        return self._send(calls.history(self.model))

    def deployment(self) -> Deployment:
        """Which versions are in charge, since when, by whom and why, and what routers are told."""
        return self._send(calls.deployment(self.model))

    def verify(self, number: int) -> ArtifactCheck:
        """Check that a version may be put into service; NotFound, ArtifactCorrupt or Refused says why not."""
        return self._send(calls.verify(self.model, number))

    def compare(self, first: int, second: int) -> Comparison:
        """The second version against the first on the same posts; Refused where there are none."""
        return self._send(calls.compare(self.model, first, second))

    def prune(self, keep: int, *, dry_run: bool = False) -> PruneReport:
        """Give up old versions that nobody uses, the newest `keep` excepted; says what stays and why."""
        return self._send(calls.prune(self.model, keep, dry_run))

    def traffic(self) -> SplitReport:
        """What one router really serves now."""
        return self._send(calls.traffic(self.model))

    def metrics(self, number: int) -> VersionMetrics:
        """Requests, errors, latency and quality in service."""
        return self._send(calls.metrics(self.model, number))

    def degradation(self, number: int, recent_days: int = 7) -> tuple[Degradation, ...]:
        """What got worse or better in recent days, each figure in its own direction."""
        return self._send(calls.degradation(self.model, number, recent_days))

    def levels(self, number: int | None = None) -> tuple[SeriesLevels, ...]:
        """When each stored figure changed, from what to what: of the model over all versions, or of one version."""
        return self._send(calls.levels(self.model, number))

    def slo(self, number: int | None = None) -> SloReport:
        """Objectives, what is left of their error budgets, and alerts: of the model, or of one version."""
        return self._send(calls.slo(self.model, number))

    def alerts(self, limit: int = 50) -> tuple[AlertChange, ...]:
        """Promises that began to be broken or are kept again, newest first."""
        return self._send(calls.alerts(self.model, limit))

    def drift(self, number: int) -> DriftReport:
        """The last drift report; NotFound before the first."""
        return self._send(calls.drift(self.model, number))

    def check_drift(self, number: int) -> DriftReport:
        """Compare recent requests with what the version learned from, now."""
        return self._send(calls.check_drift(self.model, number))


class Tasks:
    """Trainings and searches for better parameters."""

    def __init__(self, send: Sender) -> None:
        self._send = send

    def submit(
        self, kind: Literal["train", "tune"] = "train", *, key: str | None = None, **options: Any
    ) -> TrainingTask:
        """Queue one; options: those of POST /v1/tasks (strategy, channels, warm_start, after, timeout_s ...)."""
        return self._send(calls.train({"kind": kind, **options}, key))

    def list(
        self, model: str | None = None, state: TaskState | None = None, limit: int = 100
    ) -> tuple[TrainingTask, ...]:
        """Newest first, of one model or in one state where asked for."""
        return self._send(calls.tasks(model, state, limit))

    def get(self, task_id: str) -> TrainingTask:
        """State, progress and result."""
        return self._send(calls.task(task_id))

    def cancel(self, task_id: str) -> TrainingTask:
        """Ask it to stop at its next step."""
        return self._send(calls.cancel(task_id))


class Rollouts:
    """Versions on trial."""

    def __init__(self, send: Sender) -> None:
        self._send = send

    def list(self, model: str = ENGAGEMENT) -> tuple[RolloutStatus, ...]:
        """Newest first."""
        return self._send(calls.rollouts(model))

    def plan(
        self,
        *,
        model: str = ENGAGEMENT,
        strategy: Strategy | None = None,
        assumed: TrafficFigures | None = None,
        **config: Any,
    ) -> RolloutPlan:
        """How long each step would need at the traffic measured, or assumed; config: as for `start`."""
        return self._send(calls.plan_rollout(model, strategy, assumed, config))

    def start(
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
        return self._send(calls.start_rollout(model, number, strategy, when_busy, config, key))

    def get(self, rollout_id: str) -> RolloutStatus:
        """Phase, weight, holds and evidence."""
        return self._send(calls.rollout(rollout_id))

    def events(self, rollout_id: str) -> tuple[RolloutEvent, ...]:
        """The audit log, oldest first."""
        return self._send(calls.rollout_events(rollout_id))

    def replay(self, rollout_id: str, *, strategy: Strategy | None = None, **config: Any) -> Replayed:
        """The log stepped through again: bit for bit, or with some settings laid over the roll-out's own."""
        return self._send(calls.replay_rollout(rollout_id, strategy, config))

    def explain(self, rollout_id: str) -> Explanation:
        """Why it stands where it stands, from the verified log."""
        return self._send(calls.explain_rollout(rollout_id))

    def pause(self, rollout_id: str, reason: str) -> RolloutStatus:
        """Keep the weight as it is."""
        return self.steer(rollout_id, "pause", reason)

    def resume(self, rollout_id: str, reason: str) -> RolloutStatus:
        """Go on; where a person's word is awaited, this is it."""
        return self.steer(rollout_id, "resume", reason)

    def promote(self, rollout_id: str, reason: str) -> RolloutStatus:
        """Take the next step without waiting out its time; Refused while the evidence is short."""
        return self.steer(rollout_id, "promote", reason)

    def abort(self, rollout_id: str, reason: str) -> RolloutStatus:
        """Back to the stable version."""
        return self.steer(rollout_id, "abort", reason)

    def steer(self, rollout_id: str, action: Action, reason: str) -> RolloutStatus:
        """Step in, and say why; Refused when the phase or the evidence does not allow it."""
        return self._send(calls.steer(rollout_id, action, reason))


class Workflows:
    """The orchestrator's workflows."""

    def __init__(self, send: Sender) -> None:
        self._send = send

    def list(self, model: str = ENGAGEMENT) -> tuple[Workflow, ...]:
        """Newest first, without their histories."""
        return self._send(calls.workflows(model))

    def start(self, *, model: str = ENGAGEMENT, key: str | None = None, **options: Any) -> Workflow:
        """Retrain by hand; options: tune, params, strategy, rollout, skip_validation. Refused while one is active."""
        return self._send(calls.start_workflow(model, options, key))

    def get(self, workflow_id: str) -> Workflow:
        """One with its history."""
        return self._send(calls.workflow(workflow_id))

    def cancel(self, workflow_id: str, reason: str) -> Workflow:
        """End it: its training stops, its roll-out goes back to the stable version. Refused when it has ended."""
        return self._send(calls.cancel_workflow(workflow_id, reason))

    def loop(self, model: str = ENGAGEMENT) -> LoopView:
        """What the loop may do by itself, what it has used of its weekly budget, and what it waits for."""
        return self._send(calls.loop(model))

    def switch(self, name: Switch, on: bool | None, *, model: str = ENGAGEMENT) -> LoopView:
        """auto_train or auto_rollout: on, off, or (None) as the settings say; lasts over restarts."""
        return self._send(calls.switch(model, name, on))


class Bot:
    """A deployment."""

    def __init__(self, connection: Connection, settings: Settings | None = None) -> None:
        self.url = connection.url
        self._send = Sender(connection)
        self._settings = settings
        self.channels = Channels(self._send)
        self.models = Models(self._send)
        self.tasks = Tasks(self._send)
        self.rollouts = Rollouts(self._send)
        self.workflows = Workflows(self._send)
        self.alerts = Alerts(self._send)
        self.reports = Reports(self._send)
        self.watch_lists = WatchLists(self._send)
        self.links = Links(self._send)

    def __enter__(self) -> Bot:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """End the connections."""
        self._send.close()

    def readiness(self) -> Readiness:
        """Whether questions can be answered, and what is in the way."""
        return self._send(calls.ready())

    def ready(self) -> bool:
        """Whether questions can be answered."""
        return (self.readiness()).ready

    def health(self) -> tuple[Health, ...]:
        """Each service, really asked."""
        return tuple((self._send(calls.health())).services.values())

    def predict(
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
        return self._send(
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

    def predict_many(self, requests: Sequence[PredictionRequest]) -> tuple[BulkItem, ...]:
        """Views of at most 256 posts at once: an answer or a problem for each, in order."""
        return self._send(calls.predict_many(requests))

    def content(
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
        return self._send(calls.content(channel, post_id, draft, published_at))

    def prediction(self, prediction_id: str) -> SettledPrediction:
        """A prediction, and what was measured of it so far."""
        return self._send(calls.prediction(prediction_id))

    def feedback(self, items: Sequence[FeedbackItem]) -> tuple[FeedbackAck, ...]:
        """Ratings and corrections: an answer for each, in order; one with an id is stored.

        A refused item among several says why in its `problem`; sent alone it raises NotFound, InvalidInput or Conflict.
        """
        return self._send(calls.feedback(items))

    def feedback_summary(self) -> FeedbackSummary:
        """Feedback by what became of it, and what was said of each version's answers."""
        return self._send(calls.feedback_summary())

    def compare(self, channels: Sequence[str], days: int = 30, until: int | None = None) -> ChannelComparison:
        """Channels side by side, each over its own last `days` days."""
        return self._send(study_calls.compare(channels, days, until))

    def anomalies(self, since: int | None = None, limit: int = 100) -> tuple[AnomalyFinding, ...]:
        """What was unusual anywhere, newest first."""
        return self._send(calls.anomalies(since, limit))

    @property
    def services(self) -> Proxies:
        """The actors themselves, called through Ray: this process becomes a driver of the cluster.

        ServiceUnavailable where no deployment runs in the settings' home.
        """
        from cluster import environment, state, topology
        from cluster.up import connect_ray
        from core.errors import ServiceUnavailable

        settings = environment.absolute(self._settings or Settings())
        known = state.running(settings)
        if known is None:
            raise ServiceUnavailable(f"nothing runs in {settings.home}: raw handles need the machine it runs on")
        connect_ray(settings, known)
        from cluster.services import Proxies

        return Proxies.of(topology.load(settings.profile))
