"""A linear classifier that knows when to keep silent: logistic regression, a temperature, and a threshold.

Chosen by measurement over an embedding bag with a small network on top, which overfits thousands of posts within three
epochs (docs/content.md). Everything that is learned beside the weights comes from out-of-fold rows in order of time.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from core.history import Floats, Ints
from core.schemas.content import CLASSES, Task
from training.content.rows import RIPE_S, UNKNOWN
from training.content.text import Sparse, rarity, weighed

Weights = NDArray[np.float32]

#: Fewer posts with a label teach nothing.
LEAST_LABELS = 100
#: Answers must be wrong less often than the usual class by this share, and significantly, on LEAST_ANSWERED rows. A
#: share, because 5 points are little where the usual class is right in a quarter of all cases, and all there is above
#: 95 %.
MARGIN, LEAST_ANSWERED = 0.2, 30
#: Weights of the attributes beside the text's unit vector; the best one out of fold is taken.
SCALES = (0.0, 0.1, 0.3)
_FOLDS = 3
#: Inverse strength of the ridge; 3 and 0.3 were worse out of fold on real channels.
_C = 1.0
_CLIP = 4.0
#: Shares of the rows, the surest, that a threshold is tried for; the largest that holds is taken.
COVERAGES = (1.0, 0.8, 0.6, 0.4, 0.2, 0.1)
#: Chance, one-sided, that one of them holds by luck; all six together then fool nobody in 97 of 100 trainings.
_ALPHA = 0.005
_Z = 2.575829  # the normal distribution's quantile of 1 - _ALPHA


@dataclass(frozen=True)
class Table:
    """What a classifier sees of n rows: counted n-grams (n x WIDTH), attributes (n x A, NaN: not known), channel (n,
    places; -1: one that was not learned from), time of publication (n), labels (n, UNKNOWN where there is none).
    """

    counts: Sparse
    attributes: Floats
    channel: Ints
    published_at: Ints
    labels: Ints

    def take(self, rows: Ints | NDArray[np.bool_]) -> Table:
        """Some of the rows."""
        return Table(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


@dataclass(frozen=True)
class Trust:
    """What out-of-fold rows say of a classifier: how many there were, and what came of answering them.

    usual: accuracy of always saying the channel's usual class. answered, accuracy, usual_answered: share of rows above
    the threshold, and both accuracies on them.
    """

    n: int
    usual_class: str
    usual: float
    everywhere: float  # accuracy of the model on all rows
    answered: float = 0.0
    accuracy: float = 0.0
    usual_answered: float = 0.0

    def why_silent(self) -> str:
        """For a task without a threshold."""
        return (
            f"no better than always saying the channel's usual class (mostly {self.usual_class!r}): out of fold, on "
            f"{self.n:,} posts, {self.everywhere:.1%} right against {self.usual:.1%}, and no threshold of probability "
            f"has answers that are wrong {MARGIN:.0%} less often"
        )


@dataclass(frozen=True)
class Classifier:
    """Class probabilities of rows.

    text: K x WIDTH, idf: WIDTH, attributes: K x A with their mean and scale (A), channels: K x C, bias: K. temperature
    divides the logits (Guo et al. 2017). threshold: least probability of the first class at which it is said aloud;
    None: at no probability are answers worth more than a constant.
    """

    task: Task
    text: Weights
    idf: Weights
    attributes: Weights
    mean: Weights
    scale: Weights
    channels: Weights
    bias: Weights
    temperature: float
    threshold: float | None
    trust: Trust

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of probabilities."""
        return CLASSES[self.task]

    def probabilities(self, rows: Table) -> Floats:
        """n x K."""
        logits = weighed(rows.counts, self.idf) @ self.text.T.astype(np.float64)
        logits = logits + _standardised(rows.attributes, self.mean, self.scale) @ self.attributes.T + self.bias
        known = rows.channel >= 0
        logits[known] += self.channels.T[rows.channel[known]]
        return _softmax(logits / self.temperature)


def usual_classes(labels: Ints, channel: Ints, channels: int, classes: int) -> tuple[Floats, Floats]:
    """Shares of the classes over all rows (K, smoothed by one row) and inside each channel (C x K, held at the shares
    over all by as many pseudo-rows as there are classes).
    """
    shares = (np.bincount(labels, minlength=classes) + 1 / classes) / (len(labels) + 1)
    counts = np.zeros((channels, classes))
    np.add.at(counts, (channel, labels), 1)
    return shares, (counts + classes * shares) / (counts.sum(axis=1, keepdims=True) + classes)


def fit(task: Task, rows: Table, channels: int, seed: int) -> Classifier | str:
    """Learn a task from rows in order of publication; what is missing, in words, where it cannot be learned."""
    rows = rows.take(rows.labels != UNKNOWN)
    n, found = len(rows.labels), np.unique(rows.labels)
    if n < LEAST_LABELS:
        return f"too few posts with a known outcome: {n} of the {LEAST_LABELS} that a model needs"
    if len(found) == 1:
        return f"all {n:,} posts with a known outcome are {CLASSES[task][found[0]]!r}: there is nothing to tell apart"
    folds = list(_folds(rows))
    if not folds:
        return f"the {n:,} posts with a known outcome began to differ too late to judge a model on newer ones"
    trials = [_out_of_fold(task, rows, folds, channels, scale, seed) for scale in SCALES]
    judged = np.concatenate([after for _, after in folds])
    best = int(np.argmin([_log_loss(_softmax(logits / t), rows.labels[judged]) for logits, t in trials]))
    logits, temperature = trials[best]
    fitted = _fit(task, rows, channels, SCALES[best], seed)
    usual = np.concatenate([_usual(rows, before, after, channels, len(CLASSES[task])) for before, after in folds])
    threshold, trust = _threshold(_softmax(logits / temperature), rows.labels[judged], usual, CLASSES[task])
    return replace(fitted, temperature=temperature, threshold=threshold, trust=trust)


def _folds(rows: Table) -> Iterator[tuple[Ints, Ints]]:
    """Rows to learn from, and the span after them to be judged on; outcomes of the first are known by then."""
    edges = np.quantile(rows.published_at, np.linspace(0.5, 1.0, _FOLDS + 1), method="higher")
    edges[-1] += 1
    for low, high in pairwise(edges):
        before = np.flatnonzero(rows.published_at + RIPE_S <= low)
        after = np.flatnonzero((rows.published_at >= low) & (rows.published_at < high))
        if len(after) and len(np.unique(rows.labels[before])) > 1:
            yield before, after


def _out_of_fold(
    task: Task, rows: Table, folds: list[tuple[Ints, Ints]], channels: int, scale: float, seed: int
) -> tuple[Floats, float]:
    """Logits of the judged rows by the fit that has not seen them, and the temperature that makes them probable."""
    from scipy.optimize import minimize_scalar

    parts = []
    for before, after in folds:
        probable = _fit(task, rows.take(before), channels, scale, seed).probabilities(rows.take(after))
        parts.append(np.log(np.maximum(probable, 1e-12)))
    logits = np.concatenate(parts)
    labels = rows.labels[np.concatenate([after for _, after in folds])]
    found = minimize_scalar(
        lambda log_t: _log_loss(_softmax(logits / np.exp(log_t)), labels), bounds=(-1.5, 1.5), method="bounded"
    )
    return logits, float(np.exp(found.x))


def _fit(task: Task, rows: Table, channels: int, scale: float, seed: int) -> Classifier:
    from scipy import sparse
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    classes, idf = len(CLASSES[task]), rarity(rows.counts[np.diff(rows.counts.indptr) > 0])
    mean, spread = _moments(rows.attributes)
    here = sparse.csr_matrix(
        (np.ones(len(rows.channel)), (np.arange(len(rows.channel)), rows.channel)), (len(rows.channel), channels)
    )
    dense = scale * _standardised(rows.attributes, mean, spread)
    design = sparse.hstack([weighed(rows.counts, idf), sparse.csr_matrix(dense), here]).tocsr()
    # A column that is empty gets no weight from a ridge: a small channel's fit need not carry them all.
    used = np.unique(design.indices)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last digits of a ridge's weights decide nothing
        fitted = LogisticRegression(C=_C, max_iter=100, random_state=seed).fit(design[:, used], rows.labels)
    weights = np.zeros((classes, design.shape[1]))
    # A class that never occurred is as improbable as half a row would make it.
    bias = np.full(classes, np.log(0.5 / len(rows.labels)))
    two = len(fitted.classes_) == 2  # scikit-learn then gives the second one's weights against the first
    learned = np.vstack([0 * fitted.coef_, fitted.coef_]) if two else fitted.coef_
    weights[np.ix_(fitted.classes_, used)] = learned
    bias[fitted.classes_] = np.append(0.0, fitted.intercept_) if two else fitted.intercept_
    text, attributes, places = np.split(weights, [idf.size, idf.size + len(mean)], axis=1)
    return Classifier(
        task=task,
        text=text.astype(np.float32),
        idf=idf,
        attributes=(scale * attributes).astype(np.float32),
        mean=mean.astype(np.float32),
        scale=spread.astype(np.float32),
        channels=places.astype(np.float32),
        bias=bias.astype(np.float32),
        temperature=1.0,
        threshold=None,
        trust=Trust(0, "", 0.0, 0.0),
    )


def _threshold(probable: Floats, labels: Ints, usual: Ints, classes: tuple[str, ...]) -> tuple[float | None, Trust]:
    """The least threshold at which answers beat the usual class: overall, and on the very rows that are answered."""
    from scipy.stats import binomtest

    right, simple = probable.argmax(axis=1) == labels, usual == labels
    surest = probable.max(axis=1)
    most = classes[int(np.bincount(usual).argmax())]
    base = Trust(len(labels), most, float(simple.mean()), float(right.mean()))
    for coverage in COVERAGES:
        threshold = float(np.quantile(surest, 1 - coverage))
        said = surest >= threshold
        n, accuracy, there = int(said.sum()), float(right[said].mean()), float(simple[said].mean())
        if n < LEAST_ANSWERED or 1 - accuracy > (1 - MARGIN) * (1 - max(base.usual, there)):
            continue
        # Row by row (McNemar 1947): where only one of the two is right, it is the model more often than not.
        won, lost = int((right & ~simple & said).sum()), int((simple & ~right & said).sum())
        luck = binomtest(won, won + lost, alternative="greater").pvalue
        if luck < _ALPHA and wilson_low(accuracy, n) > base.usual:
            return threshold, replace(base, answered=n / len(labels), accuracy=accuracy, usual_answered=there)
    return None, base


def wilson_low(share: float, n: int) -> float:
    """Lower end of a share's one-sided interval at 1 - _ALPHA (Wilson 1927)."""
    middle = share + _Z**2 / (2 * n)
    return float((middle - _Z * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n * n))) / (1 + _Z**2 / n))


def _usual(rows: Table, before: Ints, after: Ints, channels: int, classes: int) -> Ints:
    _, inside = usual_classes(rows.labels[before], rows.channel[before], channels, classes)
    usual: Ints = inside[rows.channel[after]].argmax(axis=1)
    return usual


def _moments(x: Floats) -> tuple[Floats, Floats]:
    known = np.isfinite(x)
    n = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, x, 0.0).sum(axis=0) / n
    spread = np.sqrt(np.where(known, (x - mean) ** 2, 0.0).sum(axis=0) / n)
    return mean, np.where(spread < 1e-6, 1.0, spread)


def _standardised(x: Floats, mean: Floats | Weights, scale: Floats | Weights) -> Floats:
    """What is not known is as usual: 0."""
    z: Floats = np.where(np.isfinite(x), np.clip((x - mean) / scale, -_CLIP, _CLIP), 0.0)
    return z


def _softmax(logits: Floats) -> Floats:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    probable: Floats = raised / raised.sum(axis=1, keepdims=True)
    return probable


def _log_loss(probable: Floats, labels: Ints) -> float:
    return float(-np.log(np.maximum(probable[np.arange(len(labels)), labels], 1e-12)).mean())
