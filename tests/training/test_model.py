from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save

from core.artifacts import ArtifactStore
from core.errors import ArtifactCorrupt, InvalidInput, NotFound, Refused
from core.schemas.models import Signature
from core.schemas.predictions import TARGETS
from training.artifacts import load_model
from training.calibration import Calibration
from training.features import FEATURES, SCHEMA
from training.layout import GOLDEN, HEADER, WEIGHTS
from training.model import EngagementModel
from training.network import EngagementNet

F = len(FEATURES)


@pytest.fixture
def rows() -> np.ndarray:
    x = np.random.default_rng(1).normal(size=(40, F)).astype(np.float32)
    x[::4, 3] = np.nan
    return x


@pytest.fixture
def model() -> EngagementModel:
    generator = torch.Generator().manual_seed(1)
    net = EngagementNet(F, len(TARGETS), (8, 8), generator)
    with torch.no_grad():
        net.head.copy_(0.1 * torch.randn(net.head.shape, generator=generator))
    shape = Calibration.none().trust.shape
    calibration = Calibration(np.full(shape, 0.5), np.full(shape, 1.2))
    signature = Signature(FEATURES, ("views_24h", "views_72h"), SCHEMA)
    return EngagementModel(net.eval(), signature, calibration, (8, 8), notes={"epochs": 3})


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path))


def test_a_stored_model_predicts_the_same_bits(model: EngagementModel, store: ArtifactStore, rows: np.ndarray) -> None:
    loaded = load_model(store, store.put(model.to_artifact(rows[:5])))
    base = {"views_24h": np.full(40, 7.0), "views_72h": np.full(40, 7.5)}
    for target, quantiles in model.predict(rows, base).items():
        np.testing.assert_array_equal(loaded.predict(rows, base)[target], quantiles)
        assert quantiles.shape == (40, 3)
        assert (np.diff(quantiles, axis=1) >= 0).all()
    assert loaded.notes == {"epochs": 3}


def test_a_row_alone_and_among_others_says_the_same(model: EngagementModel, rows: np.ndarray) -> None:
    together = model.residuals(rows)
    alone = np.concatenate([model.residuals(rows[i : i + 1]) for i in range(len(rows))])
    np.testing.assert_allclose(alone, together, atol=1e-6)


def test_only_trained_targets_are_answered_and_unknown_starts_stay_unknown(
    model: EngagementModel, rows: np.ndarray
) -> None:
    base = np.full(40, 7.0)
    base[3] = np.nan
    answer = model.predict(rows, {"views_24h": base, "views_final": np.full(40, 7.0)})
    assert set(answer) == {"views_24h"}
    assert np.isnan(answer["views_24h"][3]).all()
    assert np.isfinite(np.delete(answer["views_24h"], 3, axis=0)).all()


def test_rows_of_another_width_are_invalid(model: EngagementModel, rows: np.ndarray) -> None:
    with pytest.raises(InvalidInput, match=f"n x {F}"):
        model.predict(rows[:, 1:], {"views_24h": np.full(40, 7.0)})


def test_the_same_model_has_the_same_address(model: EngagementModel, store: ArtifactStore, rows: np.ndarray) -> None:
    assert store.put(model.to_artifact(rows[:5])) == store.put(model.to_artifact(rows[:5]))


def test_a_tampered_artifact_is_not_loaded(
    model: EngagementModel, store: ArtifactStore, rows: np.ndarray, tmp_path: Path
) -> None:
    address = store.put(model.to_artifact(rows[:5]))
    path = next(tmp_path.rglob(address))
    blob = bytearray(path.read_bytes())
    blob[-100] ^= 1
    path.write_bytes(bytes(blob))
    with pytest.raises(ArtifactCorrupt):
        load_model(store, address)


def test_weights_that_do_not_reproduce_the_stored_predictions_are_refused(
    model: EngagementModel, store: ArtifactStore, rows: np.ndarray
) -> None:
    files = model.to_artifact(rows[:5])
    weights = {name: np.array(value) for name, value in load(files[WEIGHTS]).items()}
    weights["head"] = weights["head"] + 0.01
    with pytest.raises(ArtifactCorrupt, match="does not reproduce"):
        load_model(store, store.put(files | {WEIGHTS: save(weights)}))


def test_weights_that_are_not_finite_are_refused(
    model: EngagementModel, store: ArtifactStore, rows: np.ndarray
) -> None:
    files = model.to_artifact(rows[:5])
    weights = {name: np.array(value) for name, value in load(files[WEIGHTS]).items()}
    weights["head"] = weights["head"] * np.float32(np.nan)
    with pytest.raises(ArtifactCorrupt, match="finite"):
        load_model(store, store.put(files | {WEIGHTS: save(weights)}))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schema": "0"}, "feature schema 0"),
        ({"features": tuple(reversed(FEATURES))}, "another order"),
        ({"targets": ("views_90d",)}, "unknown targets"),
    ],
)
def test_a_model_for_other_input_is_refused(
    model: EngagementModel, store: ArtifactStore, rows: np.ndarray, changes: dict[str, object], says: str
) -> None:
    other = dataclasses.replace(model, signature=dataclasses.replace(model.signature, **changes))  # type: ignore[arg-type]
    with pytest.raises(Refused, match=says):
        load_model(store, store.put(other.to_artifact(rows[:5])))


@pytest.mark.parametrize("name", [WEIGHTS, HEADER, GOLDEN])
@pytest.mark.parametrize("content", [None, b"", b"{}"])
def test_an_incomplete_artifact_is_corrupt(
    model: EngagementModel, store: ArtifactStore, rows: np.ndarray, name: str, content: bytes | None
) -> None:
    files = model.to_artifact(rows[:5])
    if content is None:
        del files[name]
    else:
        files[name] = content
    with pytest.raises(ArtifactCorrupt):
        load_model(store, store.put(files))


def test_a_later_format_is_refused_by_name(model: EngagementModel, store: ArtifactStore, rows: np.ndarray) -> None:
    files = model.to_artifact(rows[:5])
    header = json.loads(files[HEADER]) | {"format": 99}
    with pytest.raises(ArtifactCorrupt, match="format 99"):
        load_model(store, store.put(files | {HEADER: json.dumps(header).encode()}))


def test_an_unknown_artifact_is_not_found(store: ArtifactStore) -> None:
    with pytest.raises(NotFound):
        load_model(store, "0" * 64)
