"""Two predictors and a trainer on one device, each within its share.

The same test on a GPU and without one. Without one there is no device memory to hold anybody to: the three still run
side by side on the CPU, and only the assertion about memory is left out (and said to be).
"""

from __future__ import annotations

import multiprocessing
import os
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from training.gpu import SHARE, accelerated, apply_gpu_share

SHARES = {"predictor-1": 0.3, "predictor-2": 0.3, "trainer": 0.4}


@dataclass(frozen=True)
class Told:
    """What one process found: whether it computed, was refused 1.25 times its share, and the most that it held."""

    device: str
    computed: bool
    refused: bool | None = None
    reserved: float | None = None


def _work(role: str, share: float) -> Told:
    """In a process of its own, with its share in the environment as the topology sets it."""
    os.environ[SHARE] = str(share)
    torch.set_num_threads(1)
    device = apply_gpu_share()
    layer = torch.nn.Linear(64, 64, device=device)
    out = layer(torch.ones(32, 64, device=device))
    if role == "trainer":
        out.square().mean().backward()
        out = layer.weight.grad
    computed = bool(torch.isfinite(out).all())
    if device == "cpu":
        return Told(device, computed)
    total = torch.cuda.get_device_properties(0).total_memory
    try:
        torch.empty(int(1.25 * share * total), dtype=torch.uint8, device=device)
        refused = False
    except torch.OutOfMemoryError:
        refused = True
    return Told(device, computed, refused, torch.cuda.max_memory_reserved() / total)


def test_two_predictors_and_a_trainer_work_side_by_side_within_their_shares() -> None:
    assert sum(SHARES.values()) <= 1
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # A GPU's context does not survive a fork; on the CPU a fork spares each process its own import of torch.
    context = multiprocessing.get_context("spawn" if device == "cuda" else "fork")
    with ProcessPoolExecutor(len(SHARES), mp_context=context) as pool:
        told = dict(zip(SHARES, pool.map(_work, SHARES, SHARES.values(), timeout=300), strict=True))
    for role, share in SHARES.items():
        assert (told[role].device, told[role].computed) == (device, True)
        if device == "cuda":
            reserved = told[role].reserved
            assert told[role].refused is True
            assert reserved is not None
            assert reserved <= share
    if device == "cpu":
        warnings.warn("no GPU here: that no process exceeds its share of device memory was not checked", stacklevel=1)


def test_a_share_outside_its_range_is_refused() -> None:
    for share in (-0.1, 1.5):
        with pytest.raises(ValueError, match="between 0 and 1"):
            apply_gpu_share(share)
    assert apply_gpu_share(0.0) == "cpu"


def test_a_lower_precision_gives_nearly_the_same_quantiles_in_order() -> None:
    from tests.serve_apps.world import tiny_model
    from training.model import EngagementModel

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = EngagementModel.from_artifact(tiny_model(0.1), device)
    rows = np.random.default_rng(3).normal(size=(16, len(model.signature.features))).astype(np.float32)
    lower = accelerated(model, "bfloat16", compile=False)
    assert accelerated(model, "float32", compile=False) is model
    full, low = model.residuals(rows), lower.residuals(rows)
    assert np.abs(full - low).max() < 0.05  # bfloat16 has eight bits of mantissa
    assert (np.diff(low, axis=2) >= 0).all()
    assert lower.weights() == model.weights()
