"""A search for training parameters with Ray Tune: Optuna proposes, ASHA ends what falls behind, a budget ends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from core.errors import Broken
from training.dataset import from_parquet
from training.fit import Fit, FitParams
from training.folds import Folds

METRIC = "out_of_fold_loss"
EPOCHS, GRACE = 30, 5
#: Parameters that a study looks for; layer sizes stay, so that a later warm start fits whatever was found.
_SPACE: dict[str, Any] = {
    "lr": tune.loguniform(1e-4, 2e-3),
    "weight_decay": tune.loguniform(1e-3, 0.3),
    "dropout": tune.uniform(0.0, 0.5),
    "batch": tune.choice([0, 64, 256]),
    "channel_marks": tune.choice([False, True]),
}


@dataclass(frozen=True, slots=True)
class Study:
    """What a search found. trials: parameters, epochs and best out-of-fold loss of each, best first."""

    best_params: dict[str, Any]
    trials: tuple[dict[str, Any], ...]


def study(
    rows: bytes,
    *,
    seed: int,
    name: str,
    storage: Path,
    budget_s: float,
    trials: int = 40,
    concurrent: int = 2,
    cpu: float = 0.25,
    should_stop: Callable[[], bool] = lambda: False,
    on_trials: Callable[[int, float], None] = lambda done, best: None,
) -> Study:
    """Search; rows: Parquet of the rows before the holdout, on which folds in order of time validate.

    The defaults are the first trial, so the answer is never worse than they are on the folds. A search of the same name
    below `storage` that was cut short goes on where it was. cpu: share of a core that a trial asks Ray for.
    Raises Broken when no trial gave a result.
    """
    trainable = tune.with_resources(tune.with_parameters(_trial, rows=rows, seed=seed), {"cpu": cpu})
    path = str((storage / name).absolute())
    if tune.Tuner.can_restore(path):
        tuner = tune.Tuner.restore(path, trainable, resume_errored=True, param_space=_SPACE)
    else:
        config = tune.TuneConfig(
            search_alg=OptunaSearch(metric=METRIC, mode="min", seed=seed, points_to_evaluate=[_defaults()]),
            scheduler=ASHAScheduler(metric=METRIC, mode="min", max_t=EPOCHS, grace_period=GRACE),
            num_samples=trials,
            time_budget_s=budget_s,
            max_concurrent_trials=concurrent,
            reuse_actors=True,
        )
        stop = _Stop(should_stop, on_trials)
        run = tune.RunConfig(name=name, storage_path=str(storage.absolute()), stop=stop, verbose=0)
        tuner = tune.Tuner(trainable, param_space=_SPACE, tune_config=config, run_config=run)
    found = [_summary(result) for result in cast(Any, tuner.fit()) if result.metrics and METRIC in result.metrics]
    if not found:
        raise Broken("no trial gave a result within the budget: give the study more time")
    found.sort(key=lambda trial: (trial[METRIC], trial["lr"]))
    return Study({key: found[0][key] for key in _SPACE}, tuple(found))


def _trial(config: dict[str, Any], *, rows: bytes, seed: int) -> None:
    import torch

    torch.set_num_threads(1)
    data = from_parquet(rows)
    params = FitParams(**config)
    folds = Folds.over(data, 3, None, lambda before, number: Fit(before, params, seed + number))
    if not folds.fits:
        raise Broken("too few rows for folds in order of time")
    for _ in range(EPOCHS):
        folds.epoch()
        tune.report({METRIC: min(folds.curve), "best_epoch": folds.best(), "last": folds.curve[-1]})


def _defaults() -> dict[str, Any]:
    defaults = asdict(FitParams())
    return {name: defaults[name] for name in _SPACE}


def _summary(result: Any) -> dict[str, Any]:
    epochs = int(result.metrics["training_iteration"])
    return dict(result.config) | {METRIC: float(result.metrics[METRIC]), "epochs": epochs}


def _never() -> bool:
    return False


def _silent(_done: int, _best: float) -> None:
    """Nobody listens."""


class _Stop(tune.Stopper):
    """Ends the whole search when asked to; tells how many results have come."""

    def __init__(self, should_stop: Callable[[], bool], on_trials: Callable[[int, float], None]) -> None:
        self._should_stop = should_stop
        self._on_trials = on_trials
        self._seen: set[str] = set()
        self._best = float(np.inf)

    def __getstate__(self) -> dict[str, Any]:
        # Tune stores the search on disk with its stopper; what listens in this process (locks, stores) stays here. A
        # search that is taken up again in another process runs to the end of its budget.
        return {"_seen": self._seen, "_best": self._best, "_should_stop": _never, "_on_trials": _silent}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self._seen.add(trial_id)
        self._best = min(self._best, float(result[METRIC]))
        self._on_trials(len(self._seen), self._best)
        return False

    def stop_all(self) -> bool:
        return self._should_stop()
