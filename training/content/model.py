"""A trained content model as serving knows it: a text and its attributes in, classes or silence out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.codec import from_plain, to_plain
from core.errors import ArtifactCorrupt, InvalidInput
from core.history import Floats
from core.schemas.content import CLASSES, CONTENT, TASKS, ContentEvaluation, Judgement, Task
from core.schemas.models import Signature
from training.content.classifier import Classifier, Table, Trust
from training.content.rows import ATTRIBUTE_NAMES
from training.content.text import LEAST_KNOWN, WIDTH, Representation, check_size, count
from training.content.topic import Topic

FORMAT = 1
HEADER, TENSORS = "model.json", "content.safetensors"
#: Largest difference at which stored probabilities count as reproduced.
GOLDEN_TOLERANCE = 1e-5
SIGNATURE = Signature(("text", *ATTRIBUTE_NAMES), TASKS, "content-1")
#: Made-up texts whose probabilities every artifact holds, so that whoever loads it can check its own arithmetic.
PROBES = (
    "",
    "Breaking: the city opens a new bridge today, more in the evening",
    "Ставка снижена: что это значит для вкладов? Разбираем в новом посте",
    "Bugungi ob-havo: kechqurun yomg'ir kutilmoqda #obhavo",
)
_ARRAYS = ("text", "idf", "attributes", "mean", "scale", "channels", "bias")


@dataclass(frozen=True)
class ContentModel:
    """classifiers: of the tasks that could be learned; gaps: why the others could not. channels: ids, in the order of
    the classifiers' channel weights.
    """

    representation: Representation
    classifiers: Mapping[Task, Classifier]
    gaps: Mapping[Task, str]
    channels: tuple[int, ...]
    evaluation: ContentEvaluation | None = None
    signature: Signature = SIGNATURE

    def judge(self, channel_id: int, text: str | None, attributes: Floats) -> dict[Task, Judgement]:
        """Every task's answer about a post.

        attributes: len(ATTRIBUTE_NAMES), NaN: not known (`training.content.rows.attribute_row`). InvalidInput for a
        text of more than 64 KB. Without a text the answer rests on the attributes alone.
        """
        check_size(text)
        known = self.representation.known(text) if text else None
        place = self.channels.index(channel_id) if channel_id in self.channels else -1
        row = _table([text or ""], attributes[np.newaxis, :], np.array([place]))
        return {task: self._judge(task, known, row) for task in TASKS}

    def topic(self, texts: list[str]) -> Topic:
        """What a channel publishes, from its texts."""
        return Topic.of(self.representation.vectors(texts))

    def _judge(self, task: Task, known: float | None, row: Table) -> Judgement:
        classifier = self.classifiers.get(task)
        if classifier is None:
            return Judgement(None, None, self.gaps[task])
        if classifier.threshold is None:
            return Judgement(None, None, classifier.trust.why_silent())
        if known is not None and known < LEAST_KNOWN:
            return Judgement(None, None, f"{known:.0%} of its words occurred in what the model learned from")
        probable = classifier.probabilities(row)[0]
        best = int(probable.argmax())
        named = dict(zip(classifier.classes, probable.tolist(), strict=True))
        if probable[best] < classifier.threshold:
            unsure = (
                f"unsure: {classifier.classes[best]!r} has {probable[best]:.0%}, {classifier.threshold:.0%} is asked"
            )
            return Judgement(None, named, unsure)
        return Judgement(classifier.classes[best], named)

    # ---------------------------------------------------------------- artifact

    def to_artifact(self) -> dict[str, bytes]:
        """Files of the artifact: JSON and safetensors, no text of anybody's."""
        from safetensors.numpy import save

        header = {
            "format": FORMAT,
            "model": CONTENT,
            "signature": to_plain(self.signature),
            "channels": list(self.channels),
            "gaps": dict(self.gaps),
            "tasks": {
                task: {"temperature": c.temperature, "threshold": c.threshold, "trust": to_plain(c.trust)}
                for task, c in self.classifiers.items()
            },
            "evaluation": None if self.evaluation is None else to_plain(self.evaluation),
        }
        tensors: dict[str, NDArray[Any]] = {"idf": self.representation.idf, "words": self.representation.words}
        for task, classifier in self.classifiers.items():
            tensors |= {f"{task}.{name}": np.ascontiguousarray(getattr(classifier, name)) for name in _ARRAYS}
            tensors[f"golden.{task}"] = _golden(classifier)
        return {HEADER: json.dumps(header, sort_keys=True, indent=1).encode(), TENSORS: save(tensors)}

    @classmethod
    def from_artifact(cls, files: Mapping[str, bytes]) -> ContentModel:
        """The model in an artifact's files, its stored probabilities computed again.

        ArtifactCorrupt when a file is missing, does not fit the others, or the probabilities do not come out.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            header, tensors = json.loads(files[HEADER]), load(files[TENSORS])
            if header["format"] != FORMAT:
                raise ArtifactCorrupt(f"content model format {header['format']} is not {FORMAT}: train it again")
            channels = tuple(int(i) for i in header["channels"])
            model = cls(
                Representation(_shaped(tensors["idf"], (WIDTH,)), tensors["words"]),
                {task: _classifier(task, told, tensors, len(channels)) for task, told in header["tasks"].items()},
                header["gaps"],
                channels,
                None if header["evaluation"] is None else from_plain(ContentEvaluation, header["evaluation"]),
                from_plain(Signature, header["signature"]),
            )
            if set(model.classifiers) | set(model.gaps) != set(TASKS):
                raise ArtifactCorrupt("the artifact says nothing of one of its tasks")
            model._check(tensors)
        except ArtifactCorrupt:
            raise
        except (KeyError, ValueError, TypeError, SafetensorError, InvalidInput) as error:
            raise ArtifactCorrupt(f"the artifact does not hold a content model: {error!r}") from error
        return model

    def with_evaluation(self, evaluation: ContentEvaluation) -> ContentModel:
        """The same, and how well it does."""
        return replace(self, evaluation=evaluation)

    def _check(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        for task, classifier in self.classifiers.items():
            worst = float(np.abs(_golden(classifier) - tensors[f"golden.{task}"]).max())
            if not worst <= GOLDEN_TOLERANCE:
                raise ArtifactCorrupt(f"{task}: stored probabilities do not come out again (off by {worst:.2g})")


def _golden(classifier: Classifier) -> Floats:
    width = len(ATTRIBUTE_NAMES)
    attributes = np.linspace(-1.0, 2.0, len(PROBES) * width).reshape(len(PROBES), width)
    attributes[0] = np.nan
    places = np.where(np.arange(len(PROBES)) < classifier.channels.shape[1], np.arange(len(PROBES)), -1)
    return classifier.probabilities(_table(list(PROBES), attributes, places))


def _table(texts: list[str], attributes: Floats, places: NDArray[np.int64]) -> Table:
    none = np.zeros(len(texts), dtype=np.int64)
    return Table(count(texts), attributes, places, none, none)


def _classifier(task: str, told: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]], channels: int) -> Classifier:
    known = next(name for name in TASKS if name == task)
    classes, width = len(CLASSES[known]), len(ATTRIBUTE_NAMES)

    def tensor(name: str, *shape: int) -> NDArray[np.float32]:
        return _shaped(tensors[f"{task}.{name}"], shape)

    return Classifier(
        task=known,
        text=tensor("text", classes, WIDTH),
        idf=tensor("idf", WIDTH),
        attributes=tensor("attributes", classes, width),
        mean=tensor("mean", width),
        scale=tensor("scale", width),
        channels=tensor("channels", classes, channels),
        bias=tensor("bias", classes),
        temperature=float(told["temperature"]),
        threshold=None if told["threshold"] is None else float(told["threshold"]),
        trust=from_plain(Trust, told["trust"]),
    )


def _shaped(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float32]:
    if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
        raise ArtifactCorrupt(f"a tensor is {array.dtype} {array.shape}, not finite float32 {shape}")
    return array
