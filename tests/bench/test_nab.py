"""NAB's rules: worth of a hit by its place, cost of a false alarm by its distance, and figures that NAB published."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench import _gaussian, _nab, anomaly
from core.errors import InvalidInput

MARKED = _nab.labelled(200, [(100, 119)])


def scored(*rows: int) -> np.ndarray:
    scores = np.zeros(200)
    scores[list(rows)] = 1.0
    return scores


def worth(*rows: int, profile: str = "standard") -> float:
    return _nab.sweep([MARKED], [scored(*rows)]).at(1.0)[profile]


def test_finding_nothing_scores_0_and_a_hit_at_the_begin_of_the_window_100() -> None:
    assert worth(5) == 0.0  # in probation: does not count
    assert worth(100) == pytest.approx(100.0)
    assert worth(100, profile="low_fn") == pytest.approx(100.0)


def test_a_late_hit_earns_less_and_only_the_earliest_counts() -> None:
    middle = worth(110)
    assert middle == pytest.approx(100 * (1 + (2 / (1 + math.exp(-2.5)) - 1) / (2 / (1 + math.exp(-5)) - 1)) / 2)
    assert worth(110, 119) == pytest.approx(middle)
    assert worth(119) < middle


def test_a_false_alarm_costs_by_its_distance_to_the_last_window_and_by_profile() -> None:
    hit = worth(100)
    assert hit - worth(60, 100) == pytest.approx(11 / 2)
    assert hit - worth(100, 199) == pytest.approx(11 / 2)  # more than three window lengths after it
    assert 0 < hit - worth(100, 121) < 11 / 4
    assert hit - worth(60, 100, profile="low_fp") == pytest.approx(22 / 2)
    assert hit - worth(60, 100, profile="low_fn") == pytest.approx(11 / 3)


def test_gains_add_up_over_files() -> None:
    files, scores = [MARKED, MARKED], [scored(104, 150), scored(60)]
    whole = _nab.sweep(files, scores).at(1.0)["standard"]
    parts = sum(_nab.gained([f], [s], 1.0, "standard") for f, s in zip(files, scores, strict=True))
    assert _nab.normalised(parts, 2, "standard") == pytest.approx(whole)


def test_probation_is_15_percent_and_at_most_750_rows() -> None:
    assert (_nab.probation(1000), _nab.probation(20_000)) == (150, 750)


def test_windows_outside_the_series_and_no_windows_are_refused() -> None:
    times = pd.Series(["2024-01-01 00:00:00", "2024-01-01 00:05:00"])
    with pytest.raises(InvalidInput, match="no row lies"):
        _nab.rows_of(times, [("2025-01-01", "2025-01-02")])
    with pytest.raises(InvalidInput, match="no labelled windows"):
        _nab.sweep([_nab.labelled(10, [])], [np.zeros(10)])


@pytest.mark.data
def test_the_windowed_gaussian_scores_what_nab_published_of_it(data_dir: Path) -> None:
    folder = data_dir / "anomaly"
    with (folder / "published_detectors.csv").open() as file:
        published = {row["detector"]: row for row in csv.DictReader(file)}["windowedGaussian"]
    windows = _nab.read_windows(folder / "nab" / "windows.json")
    files = anomaly.read(folder / "nab")
    marked = [_nab.labelled(len(f.rows), _nab.rows_of(f.timestamps, windows[f.name])) for f in files]
    swept = _nab.sweep(marked, [_gaussian.scores(f.values) for f in files])
    at = swept.at(1 - 4e-13)  # the threshold that was best for the whole corpus, by which this half was published
    assert at["standard"] == pytest.approx(float(published["dev_standard"]), abs=0.01)
    assert at["low_fp"] == pytest.approx(float(published["dev_low_fp"]), abs=0.01)
    assert swept.best("low_fn")[1] == pytest.approx(float(published["dev_low_fn"]), abs=0.01)


def test_a_scored_file_is_the_file_read_with_a_column(tmp_path: Path) -> None:
    data = tmp_path / "in" / "deep"
    data.mkdir(parents=True)
    (data / "a.csv").write_text("timestamp,value\n2024-01-01 00:00:00,1.50\n2024-01-01 00:05:00,\n")
    (data / "other.csv").write_text("case,cause\n1,x\n")
    sheet = anomaly.Sheet()
    anomaly.over_files(sheet, tmp_path / "in", tmp_path / "out", None)
    assert (tmp_path / "out" / "deep" / "a.csv").read_text() == (
        "timestamp,value,anomaly_score\n2024-01-01 00:00:00,1.50,0.0\n2024-01-01 00:05:00,,0.0\n"
    )
    assert not (tmp_path / "out" / "deep" / "other.csv").exists()
    assert sheet.figures["rows that score otherwise in a batch"]["value"] == 0


def test_a_time_that_is_none_and_a_folder_without_series_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no series below"):
        anomaly.over_files(anomaly.Sheet(), tmp_path, tmp_path / "out", None)
    (tmp_path / "a.csv").write_text("timestamp,value\nyesterday-ish,1\n")
    with pytest.raises(InvalidInput, match=r"a\.csv"):
        anomaly.read(tmp_path)
