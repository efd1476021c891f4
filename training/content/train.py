"""Trains a content version on all channels: judged in order of time first, then learned from everything."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import InsufficientData, NoData
from core.history import Floats, Ints
from core.schemas.content import CLASSES, TASKS, ContentEvaluation, Scores, Task, TaskEvaluation, TopicEvaluation
from training.content.classifier import LEAST_LABELS, Classifier, Table, fit, usual_classes
from training.content.model import ContentModel
from training.content.rows import RIPE_S, UNKNOWN, ChannelPosts, Rows, rows_of
from training.content.text import Representation, count
from training.content.topic import LEAST_TEXTS, TEXTS, Topic
from training.dataset import HOLDOUT

#: Newest posts that are learned from, over all channels.
ROWS = 20_000
_BINS = 10


@dataclass(frozen=True)
class ContentTraining:
    """A trained version: its artifact's files, how well it does, and what it learned from."""

    files: dict[str, bytes]
    evaluation: ContentEvaluation
    rows: int
    data_from: int
    data_sha256: str


def train_content(channels: Sequence[ChannelPosts], until: int, seed: int) -> ContentTraining:
    """Learn the tone of reactions and the quarter of engagement from posts that were ripe by a moment.

    Judged on the newest HOLDOUT of the posts by a model of the older ones; what is returned learned from all. Raises
    NoData without a post, InsufficientData where too few posts have any outcome that could be learned from.
    """
    if not any(channel.history.n for channel in channels):
        raise NoData("no posts are stored: import a channel first")
    rows = rows_of(channels, until)
    rows = rows.take(np.arange(len(rows))[-ROWS:])
    labelled = {task: int((rows.labels(task) != UNKNOWN).sum()) for task in TASKS}
    if max(labelled.values()) < LEAST_LABELS:
        known = ", ".join(f"{n} posts with a known {task}" for task, n in labelled.items())
        raise InsufficientData(
            f"content needs reactions (five or more a post), or forwards, comments or reactions that are a day old: "
            f"{known}",
            needed=LEAST_LABELS,
            have=max(labelled.values()),
        )
    ids = tuple(channel.history.channel.id for channel in channels)
    evaluation = evaluate_content(rows, ids, seed)
    model = _learn(rows, ids, seed).with_evaluation(evaluation)
    files = model.to_artifact()
    ContentModel.from_artifact(files)  # what is registered can be loaded
    return ContentTraining(files, evaluation, len(rows), int(rows.published_at[0]), _sha256(rows))


def evaluate_content(rows: Rows, channels: tuple[int, ...], seed: int, holdout: float = HOLDOUT) -> ContentEvaluation:
    """Judge on the newest share of the rows a model that learned from those whose outcomes were known before."""
    begin = int(np.quantile(rows.published_at, 1 - holdout, method="higher"))
    before, after = rows.take(rows.published_at + RIPE_S <= begin), rows.take(rows.published_at >= begin)
    model = _learn(before, channels, seed)
    tasks = {task: _judged(task, model, before, after) for task in TASKS}
    topic = evaluate_topic(model.representation, before, after)
    return ContentEvaluation(begin, int(rows.published_at[-1]), tasks, topic)


def evaluate_topic(representation: Representation, before: Rows, after: Rows) -> TopicEvaluation:
    """Later posts of every channel, held against the topic of their own channel and of all others."""
    from scipy.stats import rankdata

    home, abroad, ranks, posts = [], [], [], 0
    texts = {c: [t for t in before.texts[before.channel == c] if t][-TEXTS:] for c in np.unique(after.channel)}
    topics = {c: Topic.of(representation.vectors(t)) for c, t in texts.items() if len(t) >= LEAST_TEXTS}
    later = {c: [t for t in after.texts[after.channel == c] if t] for c in topics}
    vectors = {c: representation.vectors(t) for c, t in later.items() if t}
    for c, own in vectors.items():
        mine = topics[c].percentiles(own)
        home.append(float(mine.mean()))
        posts += len(mine)
        theirs = [topics[c].percentiles(other) for name, other in vectors.items() if name != c]
        if theirs:
            foreign = np.concatenate(theirs)
            abroad.append(float(foreign.mean()))
            order = rankdata(np.concatenate([mine, foreign]))[: len(mine)].sum()
            ranks.append(float((order - len(mine) * (len(mine) + 1) / 2) / (len(mine) * len(foreign))))
    return TopicEvaluation(len(vectors), posts, *(float(np.mean(x)) if x else None for x in (home, abroad, ranks)))


def _learn(rows: Rows, channels: tuple[int, ...], seed: int) -> ContentModel:
    counts = count(list(rows.texts))
    classifiers: dict[Task, Classifier] = {}
    gaps: dict[Task, str] = {}
    for task in TASKS:
        found = fit(task, _table(rows, task, counts), len(channels), seed)
        if isinstance(found, str):
            gaps[task] = found
        else:
            classifiers[task] = found
    representation = Representation.of([text for text in rows.texts if text])
    return ContentModel(representation, classifiers, gaps, channels)


def _table(rows: Rows, task: Task, counts: object) -> Table:
    return Table(counts, rows.attributes, rows.channel, rows.published_at, rows.labels(task))


def _judged(task: Task, model: ContentModel, before: Rows, after: Rows) -> TaskEvaluation:
    after, before = (part.take(part.labels(task) != UNKNOWN) for part in (after, before))
    labels, classes = after.labels(task), CLASSES[task]
    shares = np.bincount(labels, minlength=len(classes)) / max(len(labels), 1)
    told = dict(zip(classes, shares.tolist(), strict=True))
    if task in model.gaps or len(labels) == 0:
        return TaskEvaluation(len(labels), told, gap=model.gaps.get(task, "no newer post has a known outcome"))
    classifier = model.classifiers[task]
    probable = classifier.probabilities(_table(after, task, count(list(after.texts))))
    everywhere, inside = usual_classes(before.labels(task), before.channel, len(model.channels), len(classes))
    usual = inside[after.channel]
    forecasts = {"model": probable, "prior": np.tile(everywhere, (len(labels), 1)), "channel_prior": usual}
    scores = {name: _scores(p, labels) for name, p in forecasts.items()}
    surest, right = probable.max(axis=1), probable.argmax(axis=1) == labels
    said = np.zeros(len(labels), bool) if classifier.threshold is None else surest >= classifier.threshold
    answered = (float(right[said].mean()), float((usual.argmax(axis=1) == labels)[said].mean())) if said.any() else None
    return TaskEvaluation(
        n=len(labels),
        shares=told,
        scores=scores,
        answered=float(said.mean()),
        accuracy_answered=None if answered is None else answered[0],
        usual_answered=None if answered is None else answered[1],
        calibration_error=_calibration_error(surest, right),
        gap=classifier.trust.why_silent() if classifier.threshold is None else None,
    )


def _scores(probable: Floats, labels: Ints) -> Scores:
    chance = np.maximum(probable[np.arange(len(labels)), labels], 1e-12)
    return Scores(float(-np.log(chance).mean()), float((probable.argmax(axis=1) == labels).mean()))


def _calibration_error(surest: Floats, right: Floats) -> float:
    """Expected calibration error: |accuracy - probability| over bins of equal width, weighed by rows."""
    places = np.minimum((surest * _BINS).astype(int), _BINS - 1)
    off = np.bincount(places, right - surest, minlength=_BINS)
    return float(np.abs(off).sum() / len(surest))


def _sha256(rows: Rows) -> str:
    digest = hashlib.sha256()
    for column in (rows.published_at, rows.channel, rows.reaction, rows.engagement, rows.attributes):
        digest.update(np.ascontiguousarray(column).tobytes())
    for text in rows.texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()
