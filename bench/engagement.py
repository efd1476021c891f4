"""How well the engagement model does on channels it has seen the past of, beside what needs no model.

    python -m bench.engagement [--data BUNDLE] [--test-from DATE] [--out FILE.csv] [--timezone ZONE] [--seed 7]
                               [--refit-days 7] [--above VIEWS] [--json FILE]

BUNDLE is anything that can be imported, or a table that `bench/_channels.py` reads (default:
ANALYTICBOT_TEST_DATA/channels/tracked). Posts published from DATE on (default: the last quarter of the time that posts
with a known outcome span) are asked for at every known age. The model is fitted anew every `--refit-days` on what was
known by then, and nothing that became known after a post's own moment goes into its answer.

FILE.csv has a row for each answer: channel, post_id, known_age_h, target_age_h, predicted, q10, q90 (views).

Printed by target and known age, on posts whose outcome was measured: mean |log error| (natural), AUC of "above the
channel's own rolling median of 30", coverage of the 80 % interval; and the same errors for what needs no model: the
mean of the channel's matured posts, medians of the last 10 and 30, the last one, views so far times the channel's usual
ratio, and gradient boosting (scikit-learn, absolute loss) fitted to the same rows as often. Last, the model's error
minus that of the best of those, paired by post, with its 95 % interval.

`--above VIEWS` adds the AUC of "more than so many views" (of articles: shares), a label that is the same for all
channels: some published tables are judged by it.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from bench._channels import load
from bench._reporter import Silent
from bench._usual import RATIO, RULES, usual
from core.clock import DAY
from core.history import ChannelHistory, Floats
from core.schemas.models import Score
from core.schemas.predictions import KNOWN_AGES_H, TARGET_AGE_H, TARGETS, VIEWS
from training.baselines import gradient_boosting
from training.dataset import Dataset, Mask, build
from training.engagement import fitted, log_quantiles
from training.evaluate import auc_of, bootstrap_mean, scores
from training.localtime import zone_of

DEFAULT = Path(os.environ.get("ANALYTICBOT_TEST_DATA", "../shared/data")) / "channels" / "tracked"
MODEL, BOOSTING = "model", "boosting"
BESIDE = (*RULES, RATIO, BOOSTING)
#: Share of the time, the newest, that is tested where no date is given.
TESTED = 0.25

Fit = Callable[[Dataset], Callable[[Dataset], Floats]]
#: Target and known age.
Place = tuple[str, int]


def main() -> int:
    """Print the figures; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT)
    parser.add_argument("--test-from")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--timezone", default="Europe/Moscow")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--refit-days", type=int, default=7)
    parser.add_argument("--above", type=float)
    parser.add_argument("--json", type=Path)
    options, _ = parser.parse_known_args()
    import torch

    torch.set_num_threads(1)
    started = time.monotonic()
    histories = load(options.data, options.timezone)
    rows = build(histories, until=max(int(h.reading_ts.max(initial=0)) for h in histories))
    begin = _moment(options.test_from, options.timezone) if options.test_from else _last_part(rows)
    test = rows.take(rows.published_at >= begin)
    if not len(test):
        print(f"no post published from {options.test_from} on has a known outcome", file=sys.stderr)
        return 1
    answers = walk(rows, test, begin, options.refit_days * DAY, lambda known: _model(known, options.seed))
    boosted = walk(rows, test, begin, options.refit_days * DAY, lambda known: _boosting(known, options.seed))
    forecasts = usual(histories, test) | {BOOSTING: boosted, MODEL: answers}
    judged = {name: scores(test, logs, options.seed) for name, logs in forecasts.items()}
    before = rows.known_by(begin).n_posts
    spent = time.monotonic() - started
    print(f"{options.data.name}: {before} posts known before {_date(begin)}, {test.n_posts} after, {spent:.0f} s")
    _show(judged, paired(test, forecasts, options.seed))
    if options.above is not None:
        _show_above(above(test, forecasts, options.above), options.above)
    if options.out:
        _write(options.out, histories, test, answers)
    if options.json:
        options.json.write_text(
            json.dumps({name: list(map(_plain, found)) for name, found in judged.items()}, indent=1)
        )
    return 0


def walk(rows: Dataset, test: Dataset, begin: int, every: int, fit: Fit) -> Floats:
    """Answers to the test rows (n x T x ...), each by a fit to what was known when its span of time began."""
    parts: list[tuple[Any, Floats]] = []
    for moment in range(begin, int(test.as_of.max()) + 1, every):
        here = np.flatnonzero((test.as_of >= moment) & (test.as_of < moment + every))
        if len(here):
            parts.append((here, fit(rows.known_by(moment))(test.take(here))))
    out = np.empty((len(test), *parts[0][1].shape[1:]))
    for here, answers in parts:
        out[here] = answers
    return out


def paired(rows: Dataset, forecasts: Mapping[str, Floats], seed: int) -> dict[Place, tuple[str, float, float, float]]:
    """By place, the best of the others (least mean |log error|), and the model's error minus that one's with its 95 %
    interval, on the rows that both answer, drawn by post.
    """
    found: dict[Place, tuple[str, float, float, float]] = {}
    for place, here, t in _places(rows):
        errors = {name: np.abs(rows.actual[here, t] - middle(logs)[here, t]) for name, logs in forecasts.items()}
        others = {name: e for name, e in errors.items() if name != MODEL and np.isfinite(e).any()}
        best = min(others, key=lambda name: float(np.nanmean(others[name])))
        difference = errors[MODEL] - others[best]
        known = np.isfinite(difference)
        if known.any():
            low, high = bootstrap_mean(difference[known], rows.posts[here][known], seed)
            found[place] = best, float(difference[known].mean()), low, high
    return found


def above(rows: Dataset, forecasts: Mapping[str, Floats], views: float) -> dict[str, dict[Place, float]]:
    """AUC of "more than so many views" of each forecaster's median, by place; a place with one class has none."""
    found: dict[str, dict[Place, float]] = {name: {} for name in forecasts}
    for place, here, t in _places(rows):
        for name, logs in forecasts.items() if TARGETS[t] in VIEWS else ():
            score = middle(logs)[here, t]
            known = np.isfinite(score)
            value = auc_of(rows.actual[here, t][known] > np.log(views), score[known])
            if value is not None:
                found[name][place] = value
    return found


def middle(logs: Floats) -> Floats:
    """Medians (n x T) of quantiles or of single values."""
    return logs[:, :, 1] if logs.ndim == 3 else logs


def _places(rows: Dataset) -> Iterator[tuple[Place, Mask, int]]:
    for t, target in enumerate(TARGETS):
        for age in KNOWN_AGES_H:
            here = (rows.known_age == age) & np.isfinite(rows.actual[:, t])
            if here.any():
                yield (target, age), here, t


def _model(known: Dataset, seed: int) -> Callable[[Dataset], Floats]:
    model = fitted(known, seed, Silent())
    return lambda rows: log_quantiles(model, rows)


def _boosting(known: Dataset, seed: int) -> Callable[[Dataset], Floats]:
    return lambda rows: gradient_boosting(known, rows, seed)


def _moment(text: str, timezone: str) -> int:
    at = datetime.fromisoformat(text)
    return int((at if at.tzinfo else at.replace(tzinfo=zone_of(timezone))).timestamp())


def _last_part(rows: Dataset) -> int:
    first, last = int(rows.published_at.min()), int(rows.published_at.max())
    return int(last - (last - first) * TESTED)


def _date(moment: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(moment))


def _show(judged: Mapping[str, Sequence[Score]], differences: Mapping[Place, tuple[str, float, float, float]]) -> None:
    names = " ".join(f"{name:>12}" for name in BESIDE)
    print(
        f"{'target':11} {'known h':>7} {'n':>5}   model  [95 %]            AUC   cover {names} "
        f"{'their best AUC':>15}  minus the best"
    )
    places = {name: {(s.target, s.known_age_h): s for s in found} for name, found in judged.items()}
    for place, ours in places[MODEL].items():
        others = [places[name].get(place) for name in BESIDE]
        errors = " ".join(f"{'-' if other is None else format(other.mae_log, '.4f'):>12}" for other in others)
        best = max((s.auc for s in others if s is not None and s.auc is not None), default=float("nan"))
        auc = "-" if ours.auc is None else f"{ours.auc:.3f}"
        print(
            f"{ours.target:11} {ours.known_age_h:7} {ours.n:5}  {ours.mae_log:.4f} [{ours.mae_log_low:.4f}, "
            f"{ours.mae_log_high:.4f}]  {auc:5} {ours.coverage:.3f} {errors} {best:15.3f}  "
            f"{_minus(differences.get(place))}"
        )


def _minus(difference: tuple[str, float, float, float] | None) -> str:
    if difference is None:
        return "-"
    name, mean, low, high = difference
    return f"{name}: {mean:+.4f} [{low:+.4f}, {high:+.4f}]"


def _show_above(found: Mapping[str, Mapping[Place, float]], views: float) -> None:
    for place in found[MODEL]:
        values = ", ".join(f"{name} {found[name][place]:.3f}" for name in (MODEL, *BESIDE) if place in found[name])
        print(f"AUC of more than {views:g}, {place[0]} at {place[1]} h: {values}")


def _plain(score: Score) -> dict[str, Any]:
    return {name: getattr(score, name) for name in Score.__dataclass_fields__}


def _write(path: Path, histories: Sequence[ChannelHistory], test: Dataset, answers: Floats) -> None:
    names = {history.channel.id: history.channel.name for history in histories}
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(("channel", "post_id", "known_age_h", "target_age_h", "predicted", "q10", "q90"))
        out.writerows(_lines(names, test, np.exp(answers)))


def _lines(names: dict[int, str], test: Dataset, views: Floats) -> Iterator[tuple[object, ...]]:
    for i in range(len(test)):
        post = (names[int(test.channel[i])], int(test.post_id[i]), int(test.known_age[i]))
        for t, target in enumerate(TARGETS):
            if target in VIEWS and np.isfinite(views[i, t]).all():
                low, middle, high = (round(float(v), 2) for v in views[i, t])
                yield (*post, TARGET_AGE_H[target], middle, low, high)


if __name__ == "__main__":
    raise SystemExit(main())
