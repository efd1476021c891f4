"""A predictor that notes when it took each split over: asking it through Serve would measure Serve's queue as well."""

from __future__ import annotations

import os
import time

from core.schemas.rollouts import SplitReport, TrafficSplit
from serve_apps.predictor.app import Predictor

#: Names the file of notes: pid, epoch, weight of the canary, Unix seconds; a line each.
NOTES = "BENCH_SPLITS"


class ClockedPredictor(Predictor):
    """The product's predictor, and a line a split."""

    _noted = 0

    def _taken(self, split: TrafficSplit) -> SplitReport:
        report = super()._taken(split)
        if report.epoch > self._noted:
            self._noted = report.epoch
            with open(os.environ[NOTES], "a") as notes:
                notes.write(f"{report.pid} {report.epoch} {report.weight} {time.time()}\n")
        return report
