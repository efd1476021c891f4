"""Looks ahead for all channels at once: forecasts of every channel, and predictions for a Parquet file of drafts.

Forecasts that have come due are held to what came first.

`home/reports/ahead/<day>/forecasts-<shard>.parquet`, and with `--drafts FILE` beside them `drafts-<shard>.parquet`;
`done.json` says that the result is complete. Sharded over the cluster by channel, restartable (see cluster.jobs.parts).

Columns of FILE: channel; optionally id, text, media, published_at (epoch seconds), and the counts of a draft
(text_len, n_words, ...). A draft that cannot be scored keeps its row, with the reason in `problem`.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.jobs.parts import Columns, Parts, Rows, Shard, Tables, Task, shards, spread
from core import telemetry
from core.codec import from_plain
from core.errors import AnalyticBotError, InsufficientData, InvalidInput, NoData, NotConfigured
from core.schemas.forecasts import FORECAST_METRICS, Forecast, ForecastMetric
from core.schemas.predictions import ENGAGEMENT, TARGETS, PredictionRequest
from core.settings import Settings
from core.store.database import Database, StoredClock
from serve_apps.predictor.body import DraftBody, PredictionBody

if TYPE_CHECKING:
    from actors.predictive_intelligence.actor import Intelligence
    from serve_apps.predictor.question import Question
    from training.model import EngagementModel

#: Days ahead: the longest of these that a channel's history allows.
DAYS = (90, 30, 7)
#: Part of the fingerprint: parts of another layout are made again.
_LAYOUT = 1
_FORECASTS: Columns = {
    "channel": "string",
    "metric": "string",
    "origin": "int64",
    "last": "float64",
    "horizon_days": "int64",
    "at": "int64",
    "mean": "float64",
    "lo80": "float64",
    "hi80": "float64",
    "lo95": "float64",
    "hi95": "float64",
    "problem": "string",
}
_DRAFTS: Columns = {
    "row": "int64",
    "id": "string",
    "channel": "string",
    "target": "string",
    "q10": "float64",
    "q50": "float64",
    "q90": "float64",
    "usual": "float64",
    "version": "int64",
    "problem": "string",
}


@dataclass(frozen=True, slots=True)
class BulkReport:
    """What a run did."""

    day: str
    channels: int
    drafts: int
    made: int  # shards
    kept: int  # shards that were true already
    folder: str


def run(settings: Settings, drafts: Path | None = None) -> BulkReport:
    """Forecast and score what changed; needs a connected Ray.

    InvalidInput for a file that is none, or has columns that no draft has; NoData without channels.
    """
    from actors.predictive_intelligence.actor import Intelligence
    from core.store.channels import ChannelStore
    from core.store.registry import Registry

    log = telemetry.logger("bulk")
    database = Database(settings.database)
    settled = Intelligence(database, StoredClock(database), settings.tenant).score_due()
    log.info("earlier forecasts held to what came", points=settled)
    now = StoredClock(database).now()
    day = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
    wanted = _read(drafts)
    champion = Registry(database).resolve(ENGAGEMENT, "champion")
    version = None if champion is None else champion.version
    parts = Parts(_folder(settings, day, drafts), {"drafts": _DRAFTS, "forecasts": _FORECASTS})
    channels = ChannelStore(database, settings.tenant).channels()
    cut = shards(channels)
    if not cut:
        raise NoData("no channel is stored: import data first")
    tasks = _tasks(settings, cut, wanted, version, day)
    made = 0
    for number, tables in spread(parts, tasks):
        made += 1
        log.info("shard done", shard=number, forecasts=len(tables["forecasts"]), drafts=len(tables["drafts"]))
    count = sum(map(len, wanted.values()))
    parts.finish(len(cut), {"day": day, "channels": len(channels), "drafts": count, "version": version})
    return BulkReport(day, len(channels), count, made, len(cut) - made, str(parts.folder))


def _folder(settings: Settings, day: str, drafts: Path | None) -> Path:
    """Each file of drafts has a result of its own."""
    name = day if drafts is None else f"{day}-{blake2b(str(drafts.resolve()).encode(), digest_size=4).hexdigest()}"
    return settings.home / "reports" / "ahead" / name


def _tasks(
    settings: Settings, cut: Sequence[Shard], wanted: Mapping[str, Rows], version: int | None, day: str
) -> dict[int, Task]:
    """A shard's drafts are those of its channels; the first one also has those of channels that nobody knows."""
    known = {channel.name for shard in cut for channel in shard.channels}
    tasks = {}
    for shard in cut:
        names = [channel.name for channel in shard.channels]
        if shard is cut[0]:
            names += sorted(wanted.keys() - known)
        own = {name: wanted[name] for name in names if name in wanted}
        about = blake2b(repr(own).encode(), digest_size=16).hexdigest()
        mark = shard.fingerprint(_LAYOUT, day, version if own else None, about)
        tasks[shard.number] = Task(mark, partial(look_ahead, settings, shard, own, version))
    return tasks


def look_ahead(settings: Settings, shard: Shard, drafts: Mapping[str, Rows], version: int | None) -> Tables:
    """Rows of both tables for a shard."""
    database = Database(settings.database)
    try:
        return {
            "drafts": list(_scored(settings, database, drafts, version)),
            "forecasts": list(_forecasts(settings, database, shard)),
        }
    finally:
        database.dispose()


def _forecasts(settings: Settings, database: Database, shard: Shard) -> Iterator[dict[str, Any]]:
    from actors.predictive_intelligence.actor import Intelligence

    service = Intelligence(database, StoredClock(database), settings.tenant)
    empty = dict.fromkeys(_FORECASTS)
    for channel in shard.channels:
        for metric in FORECAST_METRICS:
            row = {**empty, "channel": channel.name, "metric": metric}
            try:
                found = _longest(service, channel.name, metric)
            except AnalyticBotError as error:
                yield {**row, "problem": error.message}
                continue
            for point in found.points:
                yield {**row, "origin": found.origin, "last": found.last, **asdict(point)}


def _longest(service: Intelligence, channel: str, metric: ForecastMetric) -> Forecast:
    for days in DAYS[:-1]:
        try:
            return service.forecast(channel, metric, days)
        except NoData:
            raise
        except InsufficientData:
            continue
    return service.forecast(channel, metric, DAYS[-1])


def _scored(
    settings: Settings, database: Database, drafts: Mapping[str, Rows], version: int | None
) -> Iterator[dict[str, Any]]:
    """The drafts of each channel, scored together."""
    from core.artifacts import ArtifactStore
    from core.store.channels import ChannelStore
    from serve_apps.loading import ModelLoader
    from serve_apps.predictor.question import Questions

    if not drafts:
        return
    questions = Questions(ChannelStore(database, settings.tenant), StoredClock(database))
    model = (
        None if version is None else ModelLoader(database, ArtifactStore(settings.artifacts), ENGAGEMENT).load(version)
    )
    for name, rows in drafts.items():
        asked: list[tuple[dict[str, Any], Question]] = []
        for row in rows:
            plain = {**dict.fromkeys(_DRAFTS), "row": row["row"], "id": row.get("id"), "channel": name}
            try:
                if version is None:
                    raise NotConfigured(f"no version of {ENGAGEMENT} is in charge: train one first")
                asked.append((plain, questions.ask(questions.channel(name), _request(row))))
            except AnalyticBotError as error:
                yield {**plain, "problem": error.message}
        if asked and model is not None:
            yield from _answers(asked, model, version)


def _answers(
    asked: Sequence[tuple[dict[str, Any], Question]], model: EngagementModel, version: int | None
) -> Iterator[dict[str, Any]]:
    x = np.stack([question.vector for _, question in asked])
    base = {t: np.array([q.base_log.get(t, np.nan) for _, q in asked]) for t in TARGETS}
    scores = model.predict(x, base)
    for i, (plain, question) in enumerate(asked):
        for target in question.targets:
            if target in scores:
                low, middle, high = map(float, scores[target][i])
                about = {"target": target, "q10": low, "q50": middle, "q90": high}
                yield {**plain, **about, "usual": question.usual, "version": version}


def _request(row: Mapping[str, Any]) -> PredictionRequest:
    """A row as the HTTP endpoint would take it; InvalidInput names the column."""
    draft = {name: row[name] for name in DraftBody.model_fields if row.get(name) is not None}
    body = {"channel": row["channel"], "published_at": row.get("published_at"), "draft": draft}
    return from_plain(PredictionBody, body).request(None)


def _read(drafts: Path | None) -> dict[str, Rows]:
    """The file's rows by channel, numbered."""
    if drafts is None:
        return {}
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(drafts)
    except (OSError, pa.ArrowInvalid) as error:
        raise InvalidInput(f"{drafts}: no Parquet file that can be read: {error}", field="drafts") from error
    allowed = {"channel", "id", "published_at", *DraftBody.model_fields}
    unknown = set(table.column_names) - allowed
    if "channel" not in table.column_names or unknown:
        wrong = f"unknown columns {', '.join(sorted(unknown))}" if unknown else "no column channel"
        raise InvalidInput(f"{drafts}: {wrong}; there may be {', '.join(sorted(allowed))}", field="drafts")
    if "id" in table.column_names:
        table = table.set_column(table.column_names.index("id"), "id", table["id"].cast(pa.string()))
    wanted: dict[str, Rows] = defaultdict(list)
    for number, row in enumerate(table.to_pylist()):
        wanted[str(row["channel"])].append({**row, "row": number})
    return dict(wanted)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the job."""
    from cluster.jobs.session import job
    from core.codec import to_json

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drafts", type=Path, help="Parquet file of drafts, readable by the head")
    options = parser.parse_args(arguments)
    with job("bulk") as settings:
        print(to_json(run(settings, options.drafts)))


if __name__ == "__main__":
    main()
