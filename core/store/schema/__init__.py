"""Every table, once, for SQLite and PostgreSQL alike; migrations are checked against it.

Times are epoch seconds (BigInteger); JSON documents are text written by `core.codec`. Identities that leave the
database (channel_id, prediction.id, ...) are derived or random, never counted, so that two databases do not collide.
`seq` columns order rows by commit: a consumer that stores the last one it read misses nothing (see `Database.append`).
"""

from __future__ import annotations

from core.store.schema.alerts import alert, alert_rule, delivery, report_file, report_schedule
from core.store.schema.forecasts import forecast
from core.store.schema.measured import (
    anomaly,
    drift_report,
    latency_sketch,
    metric_point,
    reference_window,
    series_state,
    slo_alert,
)
from core.store.schema.models import alias_history, model_alias, model_version, training_task
from core.store.schema.naming import metadata
from core.store.schema.observed import (
    api_key,
    channel,
    channel_snapshot,
    consumer_offset,
    event,
    ingest_batch,
    mention,
    post,
    post_snapshot,
    reaction_snapshot,
    replay_clock,
    tenant,
)
from core.store.schema.predictions import feedback, feedback_tally, outcome, prediction, shadow_score
from core.store.schema.rollouts import rollout, rollout_event, traffic_split, workflow, workflow_event
from core.store.schema.studies import channel_level, watch_list

__all__ = [
    "alert",
    "alert_rule",
    "alias_history",
    "anomaly",
    "api_key",
    "channel",
    "channel_level",
    "channel_snapshot",
    "consumer_offset",
    "delivery",
    "drift_report",
    "event",
    "feedback",
    "feedback_tally",
    "forecast",
    "ingest_batch",
    "latency_sketch",
    "mention",
    "metadata",
    "metric_point",
    "model_alias",
    "model_version",
    "outcome",
    "post",
    "post_snapshot",
    "prediction",
    "reaction_snapshot",
    "reference_window",
    "replay_clock",
    "report_file",
    "report_schedule",
    "rollout",
    "rollout_event",
    "series_state",
    "shadow_score",
    "slo_alert",
    "tenant",
    "traffic_split",
    "training_task",
    "watch_list",
    "workflow",
    "workflow_event",
]
