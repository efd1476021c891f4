from __future__ import annotations

import numpy as np
import pytest

from core.errors import InvalidInput, NoData
from training.stream.memory import Memory, Reservoir, Window, restored_rng, rng_state
from training.stream.scaling import CLIP, Encoder, RunningScale


@pytest.mark.parametrize("part", [7, 100])
def test_a_reservoir_keeps_every_row_with_the_same_chance(part: int) -> None:
    counts = np.zeros(100)
    for seed in range(400):
        reservoir, held = Reservoir(10, np.random.default_rng(seed)), np.full(10, -1)
        for start in range(0, 100, part):
            rows = np.arange(start, min(start + part, 100))
            place = reservoir.places(len(rows))
            held[place[place >= 0]] = rows[place >= 0]
        assert len(set(held)) == 10
        counts[held] += 1
    # 400 trials at p = .1: 40 expected, standard deviation 6; by tenths 400 and 18 or less
    assert counts.max() < 40 + 5 * 6
    assert np.abs(counts.reshape(10, 10).sum(axis=1) - 400).max() < 80


def test_a_window_holds_the_newest() -> None:
    window, held = Window(5), np.full(5, -1)
    for start, n in ((0, 3), (3, 4), (7, 12)):
        held[window.places(n)] = np.arange(start, start + n)
    assert sorted(held) == [14, 15, 16, 17, 18]
    assert held[window.newest(3)].tolist() == [16, 17, 18]
    assert len(window.newest(99)) == 5


def test_a_mix_has_the_shares_asked_for() -> None:
    memory = Memory(50, 200, np.random.default_rng(1))
    memory.add(np.arange(1000.0)[:, None], np.arange(1000))
    (number,) = memory.rows(memory.draw((20, 40), 0.5))[1:]
    assert (number[:, :20] >= 950).all()
    assert (number[:, 20:] < 950).mean() > 0.8
    (fresh,) = memory.rows(memory.draw((20, 40), 0.0, fresh=10, fresh_share=0.25))[1:]
    assert (fresh[:, :10] >= 990).all()
    assert len(memory) == len(memory.everything()) == 250


def test_a_stored_memory_goes_on_the_same() -> None:
    rng = np.random.default_rng(3)
    memory = Memory(20, 30, rng)
    memory.add(np.arange(100.0)[:, None])
    again = Memory(20, 30, restored_rng(rng_state(rng)))
    again.restore(memory.state())
    for m in (memory, again):
        m.add(np.arange(100.0, 160.0)[:, None])
    assert (memory.columns[0] == again.columns[0]).all()
    assert (memory.draw((5, 8), 0.5) == again.draw((5, 8), 0.5)).all()


def test_what_a_memory_refuses() -> None:
    memory = Memory(5, 5, np.random.default_rng(1))
    with pytest.raises(NoData):
        memory.draw((1, 4), 0.5)
    memory.add(np.zeros((3, 2)))
    with pytest.raises(InvalidInput):
        memory.add(np.zeros((3, 4)))
    with pytest.raises(InvalidInput):
        Window(0)


def test_running_moments_are_those_of_the_rows() -> None:
    x = np.random.default_rng(2).normal(3, 2, (1000, 4))
    x[::5, 1] = np.nan
    whole, parts = RunningScale(4, float("inf")), RunningScale(4, float("inf"))
    whole.update(x)
    for part in np.array_split(x, 13):
        parts.update(part)
    assert parts.mean == pytest.approx(np.nanmean(x, axis=0))
    assert parts.variance == pytest.approx(np.nanvar(x, axis=0))
    assert whole.variance == pytest.approx(parts.variance)


def test_a_running_scale_follows_and_bounds() -> None:
    rng, scale = np.random.default_rng(4), RunningScale(2, 500)
    scale.update(np.column_stack([rng.normal(size=2000), np.full(2000, 7.0)]))
    for _ in range(30):
        scale.update(np.column_stack([rng.normal(50, 3, 100), np.full(100, 7.0)]))
    assert scale.mean[0] == pytest.approx(50, abs=1)
    wild = scale(np.array([[1e30, 7.0], [-np.inf, np.inf], [np.nan, 9.0]]))
    assert np.isfinite(wild).all()
    assert np.abs(wild).max() <= CLIP
    assert (wild[:, 1] == 0).all()  # a column that never moved says nothing


def test_steps_run_from_nothing_to_whole_between_quantiles() -> None:
    x = np.random.default_rng(5).normal(size=(800, 3))
    x[:, 2] = np.arange(800) % 3 == 0
    encoder = Encoder(3, 1e9)
    encoder.fit(x)
    coded = encoder(x)
    assert coded.shape == (800, encoder.width)
    steps = coded[:, 3:]
    assert steps.min() == 0
    assert steps.max() == 1
    assert (encoder.column == 0).sum() == 16
    # two values need no bend: the normalised column itself tells them apart
    assert (encoder.column == 2).sum() == 0
    order = np.argsort(x[:, 0])
    assert (np.diff(steps[order][:, encoder.column == 0].sum(axis=1)) >= 0).all()
