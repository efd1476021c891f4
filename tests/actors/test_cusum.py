"""False alarms at the stated rate whatever the distribution, real shifts soon, state that can be written down."""

from __future__ import annotations

import numpy as np
import pytest

from actors.adaptive_learning.drift.cusum import LEAST, SLACKS, Cusum, long_run_variance
from actors.adaptive_learning.drift.residuals import ResidualDetector, combined
from core.codec import from_json, to_json
from core.errors import InsufficientData
from core.history import Floats

RATE = 1e-5


def stream(kind: str, n: int, rng: np.random.Generator) -> Floats:
    """n values of mean 0 and standard deviation 1."""
    return streams(kind, n, 1, rng)[:, 0]


def streams(kind: str, n: int, width: int, rng: np.random.Generator) -> Floats:
    """Independent streams (n x width)."""
    if kind == "t3":
        return rng.standard_t(3, (n, width)) / np.sqrt(3)
    values = rng.normal(size=(n, width))
    if kind == "ar":
        for t in range(1, n):
            values[t] = 0.5 * values[t - 1] + np.sqrt(0.75) * values[t]
    return values


def standardised(cusum: Cusum, values: Floats) -> Floats:
    return (np.clip((values - cusum.centre) / cusum.scale, -3, 3) - cusum.offset) / cusum.deviation


def alarms(cusum: Cusum, values: Floats) -> int:
    """The same sums for many streams at once (rows x streams)."""
    z = standardised(cusum, values)
    slack, height = np.array(SLACKS)[:, None], np.array(cusum.thresholds)[:, None]
    up = down = np.zeros((len(SLACKS), values.shape[1]))
    found = 0
    for row in z:
        up, down = np.maximum(up + row - slack, 0), np.maximum(down - row - slack, 0)
        over = ((up > height) | (down > height)).any(axis=0)
        found += int(over.sum())
        up, down = np.where(over, 0, up), np.where(over, 0, down)
    return found


def delay(cusum: Cusum, values: Floats) -> int:
    for at, value in enumerate(values):
        alarm = cusum.update(float(value), at)
        if alarm is not None:
            return at + 1
    return len(values)


@pytest.mark.parametrize("kind", ["gauss", "t3", "ar"])
def test_false_alarms_come_at_the_stated_rate(kind: str) -> None:
    rng = np.random.default_rng(11)
    found = rows = 0
    for _ in range(4):
        cusum = Cusum.calibrated(stream(kind, 1000, rng), RATE, rng)
        values = streams(kind, 1000, 150, rng)
        found, rows = found + alarms(cusum, values), rows + values.size
    assert found / rows <= 2.5e-5  # 600,000 rows: 6 expected, 15 with probability .001


@pytest.mark.parametrize(("kind", "shift", "within"), [("gauss", 0.5, 150), ("gauss", 1.0, 40), ("t3", 0.5, 120)])
def test_a_shift_is_found_soon(kind: str, shift: float, within: int) -> None:
    rng = np.random.default_rng(5)
    reference = stream(kind, 500, rng)
    calibrated = to_json(Cusum.calibrated(reference, RATE, rng))
    delays = [
        delay(from_json(Cusum, calibrated), np.concatenate([stream(kind, 100, rng), stream(kind, 900, rng) + shift]))
        for _ in range(30)
    ]
    after = np.array(delays) - 100
    assert (after > 0).all()
    assert np.median(after) <= within


def test_a_shift_down_is_found_as_well_unless_only_rising_is_asked_for() -> None:
    rng = np.random.default_rng(2)
    reference = rng.normal(size=500)
    down = Cusum.calibrated(reference, RATE, rng)
    fallen = [alarm for at in range(300) if (alarm := down.update(float(rng.normal() - 1), at))]
    assert fallen
    assert not any(alarm.up for alarm in fallen)
    rising_only = Cusum.calibrated(reference, RATE, rng, both=False)
    assert not any(rising_only.update(float(rng.normal() - 1), at) for at in range(300))


def test_the_onset_is_about_where_the_shift_began_and_the_means_are_told() -> None:
    rng = np.random.default_rng(4)
    cusum = Cusum.calibrated(0.1 + 0.2 * rng.normal(size=800), RATE, rng)
    values = 0.1 + 0.2 * np.concatenate([rng.normal(size=400), rng.normal(size=200) + 1.5])
    alarm = next(found for at, value in enumerate(values) if (found := cusum.update(float(value), at)))
    assert 385 <= alarm.onset <= 410
    assert alarm.at > 400
    assert alarm.up
    assert cusum.mean_before == pytest.approx(0.1, abs=0.02)
    assert cusum.mean_after == pytest.approx(0.4, abs=0.1)
    assert cusum.effect > 1


def test_a_lasting_shift_goes_on_raising_alarms_against_the_old_reference() -> None:
    rng = np.random.default_rng(6)
    cusum = Cusum.calibrated(rng.normal(size=500), RATE, rng)
    found = [at for at in range(1000) if cusum.update(float(rng.normal() + 1), at)]
    assert len(found) >= 10
    assert cusum.effect == pytest.approx(1.0, abs=0.5)


def test_one_wild_value_is_no_alarm() -> None:
    rng = np.random.default_rng(7)
    cusum = Cusum.calibrated(rng.normal(size=500), RATE, rng)
    assert cusum.update(1e9, 0) is None
    assert not any(cusum.update(float(value), at) for at, value in enumerate(rng.normal(size=300)))


def test_a_short_reference_waits_longer_instead_of_crying_wolf() -> None:
    rng = np.random.default_rng(8)
    values = rng.normal(size=2000)
    short, long = (Cusum.calibrated(values[:n], RATE, rng) for n in (120, 2000))
    assert short.thresholds[0] > 1.3 * long.thresholds[0]
    with pytest.raises(InsufficientData) as gap:
        Cusum.calibrated(values[: LEAST - 1], RATE, rng)
    assert (gap.value.needed, gap.value.have) == (LEAST, LEAST - 1)


def test_values_that_do_not_vary_cannot_be_a_reference() -> None:
    with pytest.raises(InsufficientData, match="do not vary"):
        Cusum.calibrated(np.full(500, 0.3), RATE, np.random.default_rng(0))


def test_two_valued_errors_can() -> None:
    rng = np.random.default_rng(1)
    cusum = Cusum.calibrated((rng.random(500) < 0.2).astype(float), RATE, rng)
    assert delay(cusum, (rng.random(2000) < 0.4).astype(float)) < 250


@pytest.mark.parametrize(("kind", "low", "high"), [("gauss", 1.0, 1.25), ("ar", 2.6, 3.5)])
def test_dependence_is_measured_and_never_below_none(kind: str, low: float, high: float) -> None:
    rng = np.random.default_rng(3)
    found = [long_run_variance(z) for z in streams(kind, 2000, 10, rng).T]
    assert low <= np.median(found) <= high
    assert min(found) >= 1


def test_the_same_seed_gives_the_same_threshold() -> None:
    reference = np.random.default_rng(0).normal(size=300)
    one, two = (Cusum.calibrated(reference, RATE, np.random.default_rng(9)) for _ in range(2))
    assert one == two


def fed(detector: ResidualDetector, errors: Floats, start: int = 0) -> int:
    rng = np.random.default_rng(0)
    return sum(detector.feed(float(e), start + i, f"p{start + i}", rng) for i, e in enumerate(errors))


def test_errors_that_grow_in_size_are_drift_and_errors_that_shrink_are_not() -> None:
    rng = np.random.default_rng(12)
    reference = rng.normal(0, 0.2, 500)
    growing = ResidualDetector.started(reference, np.random.default_rng(1))
    assert fed(growing, rng.normal(0, 0.4, 400)) > 0
    shrinking = ResidualDetector.started(reference, np.random.default_rng(1))
    assert fed(shrinking, rng.normal(0, 0.05, 400)) == 0
    drift = combined({"views_24h@0": growing, "views_24h@1": shrinking})
    assert drift.n == 800
    assert drift.alarms == growing.alarms
    assert drift.stream is not None
    assert drift.stream.startswith("views_24h@0 ")
    assert drift.effect is not None
    assert drift.effect > 0.5


def test_a_detector_written_down_goes_on_as_if_nothing_had_happened() -> None:
    rng = np.random.default_rng(13)
    errors = rng.normal(0.1, 0.2, 600)
    whole = ResidualDetector.started(rng.normal(0, 0.2, 300), np.random.default_rng(1))
    parts = from_json(ResidualDetector, to_json(whole))
    assert fed(whole, errors) > 0
    for start in range(0, 600, 50):
        fed(parts, errors[start : start + 50], start)
        parts = from_json(ResidualDetector, to_json(parts))
    assert parts == whole
    assert len(to_json(parts)) < 4000


def test_without_a_reference_the_first_errors_become_one() -> None:
    rng = np.random.default_rng(14)
    detector = ResidualDetector.started(rng.normal(0, 0.2, 60), np.random.default_rng(1))
    assert detector.needs == 40
    assert fed(detector, rng.normal(0, 0.2, 39)) == 0
    assert detector.needs == 1
    fed(detector, rng.normal(0, 0.2, 1), 39)
    assert detector.needs == 0
    assert fed(detector, rng.normal(0.4, 0.2, 200), 40) > 0


def test_a_post_asked_for_again_counts_once() -> None:
    detector = ResidualDetector.started(np.random.default_rng(0).normal(0, 0.2, 300), np.random.default_rng(1))
    assert not any(detector.feed(5.0, at, "same", np.random.default_rng(0)) for at in range(50))
    assert detector.n == 1


def test_no_alarm_says_nothing_of_means() -> None:
    drift = combined({"views_24h@0": ResidualDetector()})
    assert (drift.n, drift.alarms, drift.effect, drift.mean_after) == (0, 0, None, None)
