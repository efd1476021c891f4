"""False alarms at the stated rate whatever the distribution, real shifts soon, state that can be written down."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from scipy.signal import lfilter

from actors.adaptive_learning.drift.cusum import LEAST, REACH, Alarm, Cusum
from actors.adaptive_learning.drift.dependence import long_run
from bench._made_streams import stream
from core.codec import from_json, to_json
from core.errors import InsufficientData, InvalidInput
from core.history import Floats

RATE = 1e-5
#: Written by the detector before slacks and learning were part of its state.
EARLIER = (
    '{"centre":0.1,"deviation":1.02,"down":[{"onset":7,"rows":3,"total":-1.2,"value":0.45},{"onset":0,"rows":0,'
    '"total":0.0,"value":0.0}],"offset":0.01,"scale":0.2,"since_rows":40,"since_total":1.5,"thresholds":[21.5,12.5],'
    '"up":[{"onset":9,"rows":1,"total":0.3,"value":0.05},{"onset":0,"rows":0,"total":0.0,"value":0.0}]}'
)


def one_by_one(cusum: Cusum, values: Floats, start: int = 0) -> list[tuple[int, Alarm]]:
    found = [(row, cusum.update(value, start + row)) for row, value in enumerate(values.tolist())]
    return [(row, alarm) for row, alarm in found if alarm is not None]


def alarms(cusum: Cusum, values: Floats, start: int = 0) -> list[Alarm]:
    return [alarm for _, alarm in cusum.update_many(values, np.arange(start, start + len(values)))]


@pytest.mark.parametrize("kind", ["gauss", "t3", "ar"])
def test_false_alarms_come_at_the_stated_rate(kind: str) -> None:
    rng = np.random.default_rng(11)
    found = rows = 0
    for _ in range(40):
        cusum = Cusum.calibrated(stream(kind, 1000, rng), RATE)
        found, rows = found + len(alarms(cusum, stream(kind, 15_000, rng))), rows + 15_000
    assert found / rows <= 2.5e-5  # 600,000 rows: 6 expected, 15 with probability .001


@pytest.mark.parametrize(("kind", "shift", "within"), [("gauss", 0.5, 110), ("gauss", 1.0, 32), ("t3", 0.5, 90)])
def test_a_shift_is_found_soon(kind: str, shift: float, within: int) -> None:
    rng = np.random.default_rng(5)
    calibrated = Cusum.calibrated(stream(kind, 500, rng), RATE)
    delays = []
    for _ in range(30):
        values = np.concatenate([stream(kind, 100, rng), stream(kind, 900, rng) + shift])
        delays.append(alarms(copy.deepcopy(calibrated), values)[0].at + 1 - 100)
    assert min(delays) > 0
    assert np.median(delays) <= within


@pytest.mark.parametrize("seed", range(12))
def test_a_block_gives_what_single_values_give_to_the_last_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind = ("gauss", "t3", "ar")[seed % 3]
    single = Cusum.calibrated(3 + stream(kind, 120 + 40 * seed, rng), RATE, both=seed % 2 == 0)
    block = copy.deepcopy(single)
    expected, found, at = [], [], 0
    for size in rng.integers(0, 900, 12).tolist():
        values = 3 + stream(kind, size, rng) + rng.choice([0.0, 0.0, 0.0, 0.7, -0.7])
        if size:
            values[0] = rng.choice([values[0], 1e9, -np.inf])
        ats = at + np.sort(rng.integers(0, 5 * size + 1, size))
        expected += [(at, row, a) for row, v in enumerate(values.tolist()) if (a := single.update(v, int(ats[row])))]
        found += [(at, row, alarm) for row, alarm in block.update_many(values, ats)]
        assert block == single
        at += size
    assert found == expected
    assert found


def test_blocks_and_values_agree_where_alarms_and_new_means_fall_together() -> None:
    rng = np.random.default_rng(0)
    single = Cusum.calibrated(rng.normal(size=150), RATE)
    single.thresholds = tuple(0.2 * height for height in single.thresholds)
    block = copy.deepcopy(single)
    values = rng.normal(size=2000)
    assert one_by_one(single, values) == block.update_many(values, np.arange(2000))
    assert block == single


def test_what_is_not_a_number_is_refused_and_changes_nothing() -> None:
    cusum = Cusum.calibrated(np.random.default_rng(0).normal(size=200), RATE)
    before = to_json(cusum)
    with pytest.raises(InvalidInput, match="not a number"):
        cusum.update(float("nan"), 0)
    with pytest.raises(InvalidInput, match="not a number"):
        cusum.update_many(np.array([0.0, np.nan]), np.arange(2))
    with pytest.raises(InvalidInput, match="differ in number"):
        cusum.update_many(np.zeros(2), np.arange(3))
    assert to_json(cusum) == before


def test_a_shift_down_is_found_as_well_unless_only_rising_is_asked_for() -> None:
    rng = np.random.default_rng(2)
    reference, fallen = rng.normal(size=500), rng.normal(size=300) - 1
    found = alarms(Cusum.calibrated(reference, RATE), fallen)
    assert found
    assert not any(alarm.up for alarm in found)
    assert not alarms(Cusum.calibrated(reference, RATE, both=False), fallen)


def test_a_skewed_reference_gives_no_more_alarms_on_its_long_side() -> None:
    rng = np.random.default_rng(9)
    found = 0
    for _ in range(30):
        cusum = Cusum.calibrated(np.abs(rng.normal(size=500)), RATE, both=False)
        found += len(alarms(cusum, np.abs(rng.normal(size=10_000))))
    assert found <= 8  # 3 expected, more than 8 with probability .004


def test_the_onset_is_about_where_the_shift_began_and_the_means_are_told() -> None:
    rng = np.random.default_rng(4)
    calibrated = Cusum.calibrated(0.1 + 0.2 * rng.normal(size=800), RATE)
    off = []
    for _ in range(20):
        cusum = copy.deepcopy(calibrated)
        values = 0.1 + 0.2 * np.concatenate([rng.normal(size=400), rng.normal(size=100) + 1.5])
        alarm = alarms(cusum, values)[0]
        assert alarm.at > 400
        assert alarm.up
        off.append(abs(alarm.onset - 400))
    assert np.median(off) <= 2
    assert cusum.mean_before == pytest.approx(0.1, abs=0.02)
    assert cusum.mean_after == pytest.approx(0.4, abs=0.1)
    assert cusum.effect > 1


def test_alarms_of_a_lasting_shift_have_one_onset_and_a_later_shift_has_its_own() -> None:
    rng = np.random.default_rng(5)
    cusum = Cusum.calibrated(rng.normal(size=800), RATE)
    parts = ((400, 0.0), (300, 1.0), (1500, 0.0), (200, -1.0))
    found = alarms(cusum, np.concatenate([rng.normal(size=n) + shift for n, shift in parts]))
    rising, falling = ([alarm for alarm in found if alarm.up is up] for up in (True, False))
    assert len(rising) > 3
    assert {alarm.onset for alarm in rising} == {rising[0].onset}
    assert abs(rising[0].onset - 400) <= 10
    assert all(abs(alarm.onset - 2200) <= 10 for alarm in falling)
    assert falling
    assert cusum.mean_after == pytest.approx(-1, abs=0.2)


def test_the_old_reference_stays_after_an_alarm() -> None:
    rng = np.random.default_rng(6)
    cusum = Cusum.calibrated(rng.normal(size=500), RATE)
    assert alarms(cusum, rng.normal(size=600) * 1.0) == []
    assert cusum.learning is not None
    assert cusum.learning.moved != 0
    first, *later = alarms(cusum, rng.normal(size=1000) + 1, 600)
    assert first.at < 660
    assert len(later) >= 10  # a lasting shift raises alarm after alarm: nothing was learned from it
    assert cusum.learning is None
    mean, heights = cusum.mean_before, cusum.thresholds
    assert abs(mean) < 0.1
    alarms(cusum, rng.normal(size=3000), 2000)  # nor from quiet rows after it
    assert (cusum.mean_before, cusum.thresholds) == (mean, heights)


def test_quiet_rows_make_the_mean_better_known_and_the_heights_lower() -> None:
    rng = np.random.default_rng(3)
    nearer = 0
    for _ in range(12):
        cusum = Cusum.calibrated(rng.normal(size=200), RATE)
        mean, heights = cusum.mean_before, cusum.thresholds
        assert alarms(cusum, rng.normal(size=4000)) == []
        assert cusum.thresholds < heights
        assert cusum.learning is None  # every step taken
        nearer += abs(cusum.mean_before) < abs(mean)
    assert nearer >= 10


def test_a_slow_drift_is_not_learned_as_the_new_mean() -> None:
    rng = np.random.default_rng(8)
    cusum = Cusum.calibrated(rng.normal(size=300), RATE)
    assert cusum.learning is not None
    before, reach = cusum.mean_before, cusum.learning.reach * cusum.deviation * cusum.scale
    found = alarms(cusum, rng.normal(size=6000) + np.linspace(0, 1, 6000))
    assert found
    assert found[0].at < 4500
    assert abs(cusum.mean_before - before) <= reach * 1.0001
    assert reach == pytest.approx(REACH / np.sqrt(300), rel=0.3)


def test_one_wild_value_is_no_alarm() -> None:
    rng = np.random.default_rng(7)
    cusum = Cusum.calibrated(rng.normal(size=500), RATE)
    assert alarms(cusum, np.concatenate([[1e9], rng.normal(size=300)])) == []


def test_a_short_reference_waits_longer_instead_of_crying_wolf() -> None:
    rng = np.random.default_rng(8)
    values = rng.normal(size=2000)
    shift = rng.normal(size=3000) + 0.5
    short, long = (alarms(Cusum.calibrated(values[:n], RATE), shift)[0].at for n in (120, 2000))
    assert short > 1.2 * long
    with pytest.raises(InsufficientData) as gap:
        Cusum.calibrated(values[: LEAST - 1], RATE)
    assert (gap.value.needed, gap.value.have) == (LEAST, LEAST - 1)


def test_values_that_do_not_vary_cannot_be_a_reference() -> None:
    with pytest.raises(InsufficientData, match="do not vary"):
        Cusum.calibrated(np.full(500, 0.3), RATE)


def test_two_valued_errors_can() -> None:
    rng = np.random.default_rng(1)
    cusum = Cusum.calibrated((rng.random(500) < 0.2).astype(float), RATE)
    assert alarms(cusum, (rng.random(2000) < 0.4).astype(float))[0].at < 250


@pytest.mark.parametrize(("kind", "low", "high"), [("gauss", 1.0, 1.15), ("ar", 2.7, 3.5)])
def test_dependence_is_measured_and_never_below_none(kind: str, low: float, high: float) -> None:
    rng = np.random.default_rng(3)
    laws = []
    for _ in range(10):
        values = stream(kind, 2000, rng)
        laws.append(long_run((values - values.mean()) / values.std()))
    assert low <= np.median([law.deviation**2 for law in laws]) <= high
    assert min(law.deviation for law in laws) >= 1
    for law in laws:
        assert law.increments.std() == pytest.approx(law.deviation, rel=0.02)
        assert 0.01 < law.uncertainty < 0.15


def test_alternating_values_count_as_independent() -> None:
    rng = np.random.default_rng(3)
    z = lfilter([1.0], [1, 0.6], rng.normal(size=1000))
    assert long_run((z - z.mean()) / z.std()).deviation == 1.0


def test_the_heights_depend_on_the_reference_alone() -> None:
    reference = np.random.default_rng(0).normal(size=300)
    assert Cusum.calibrated(reference, RATE) == Cusum.calibrated(reference, RATE)


def test_a_state_written_earlier_is_read_and_goes_on() -> None:
    cusum = from_json(Cusum, EARLIER)
    assert cusum.learning is None
    assert cusum.update(0.1, 10) is None
    found = alarms(cusum, 0.1 + 0.2 * (np.random.default_rng(0).normal(size=100) + 1.5), 11)
    assert found
    assert found[0].onset <= 14
