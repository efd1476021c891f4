"""Models of before: three targets, or a network alone. They serve on, and say nothing of what they never learned."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save

from core.artifacts import ArtifactStore
from core.errors import ArtifactCorrupt
from core.schemas.predictions import TARGETS
from tests.training.audience import QuietReporter, make_history
from training.artifacts import load_model
from training.calibration import Calibration
from training.contributions import explain
from training.corrector import Corrector
from training.dataset import Dataset, build
from training.engagement import fitted
from training.layout import GOLDEN, HEADER, PEERS, WEIGHTS
from training.model import EngagementModel

#: Targets, and members, that there were.
BEFORE = 3


@pytest.fixture(scope="module")
def rows() -> Dataset:
    return build([make_history(posts=90)], 2**40)


@pytest.fixture(scope="module")
def model(rows: Dataset) -> EngagementModel:
    """One that could have been made then: three members with one set of weights for all targets, widths for all."""
    made = fitted(rows, 1, QuietReporter())
    mix = np.zeros_like(made.calibration.mix)
    mix[:3] = np.array([0.25, 0.5, 0.25])[:, None, None]
    calibration = Calibration(made.calibration.trust, made.calibration.stretch, mix)
    model = replace(made, calibration=calibration, medians=rows.medians())
    corrector = Corrector()
    corrector.learn(model.calibrated(rows.x), rows.x, made.ages(rows.x), rows.residual, rows.known_at)
    return replace(model, corrector=corrector)


def as_of_before(files: Mapping[str, bytes], written: int) -> dict[str, bytes]:
    """The same model as format 2 or 1 stored it."""
    header = json.loads(files[HEADER]) | {"format": written}
    for name in ("trust", "stretch"):
        header[name] = header[name][:BEFORE]
    header["mix"] = [of_member[0] for of_member in header["mix"][:BEFORE]]
    header = {
        name: value for name, value in header.items() if name not in ("usual_spread", "size_edges", "size_factors")
    }
    if "corrector" in header:
        header["corrector"] = {name: values[:BEFORE] for name, values in header["corrector"].items()}
    weights, golden, peers = load(files[WEIGHTS]), load(files[GOLDEN]), load(files[PEERS])
    for name in ("head", "start"):
        weights[name] = np.ascontiguousarray(weights[name][:, :, : 3 * BEFORE])
    weights["spread"] = np.ascontiguousarray(weights["spread"][:, :BEFORE])
    golden["residuals"] = np.ascontiguousarray(golden["residuals"][:, :BEFORE])
    peers["linear.weights"] = np.ascontiguousarray(peers["linear.weights"][:, :BEFORE])
    peers["linear.start"] = np.ascontiguousarray(peers["linear.start"][:, :BEFORE])
    peers["trees.start"] = peers["trees.start"][:BEFORE]
    old = {**files, WEIGHTS: save(weights), GOLDEN: save(golden), PEERS: save(peers)}
    if written == 1:
        del header["mix"], old[PEERS]
    return old | {HEADER: json.dumps(header).encode()}


def test_a_model_of_three_targets_answers_as_it_did(tmp_path: object, model: EngagementModel, rows: Dataset) -> None:
    store = ArtifactStore(str(tmp_path))
    loaded = load_model(store, store.put(as_of_before(model.to_artifact(rows.x[:9]), 2)))
    now, before = loaded.residuals(rows.x), model.residuals(rows.x)
    np.testing.assert_allclose(now[:, :BEFORE], before[:, :BEFORE], rtol=0, atol=1e-12)
    assert np.isfinite(now).all()
    asked = {target: np.full(len(rows), 5.0) for target in TARGETS}
    assert set(loaded.predict(rows.x, asked)) == {"views_24h", "views_72h"}
    assert explain(loaded, rows.x[0], 5.0, 5.0, "views_24h").features()
    again = load_model(store, store.put(loaded.to_artifact(rows.x[:9])))
    np.testing.assert_array_equal(again.residuals(rows.x), now)


def test_a_network_alone_answers_as_it_did(model: EngagementModel, rows: Dataset) -> None:
    alone = EngagementModel(model.net, model.signature, Calibration.none(), model.hidden)
    files = as_of_before(alone.to_artifact(rows.x[:9]) | {PEERS: model.to_artifact(rows.x[:9])[PEERS]}, 1)
    loaded = EngagementModel.from_artifact(files)
    loaded.check_golden(files)
    np.testing.assert_array_equal(loaded.residuals(rows.x)[:, :BEFORE], alone.residuals(rows.x)[:, :BEFORE])


def test_a_stored_answer_of_before_is_still_checked(model: EngagementModel, rows: Dataset) -> None:
    files = as_of_before(model.to_artifact(rows.x[:9]), 2)
    golden = load(files[GOLDEN])
    golden["residuals"][3, 1, 1] += 0.01
    loaded = EngagementModel.from_artifact(files)
    with pytest.raises(ArtifactCorrupt, match="reproduce"):
        loaded.check_golden(files | {GOLDEN: save(golden)})


def test_arrays_that_do_not_fit_the_format_are_corrupt(model: EngagementModel, rows: Dataset) -> None:
    files = model.to_artifact(rows.x[:9])
    header = json.loads(files[HEADER]) | {"format": 2}
    with pytest.raises(ArtifactCorrupt, match="an array of 8 targets, not 3"):
        EngagementModel.from_artifact(files | {HEADER: json.dumps(header).encode()})
