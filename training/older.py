"""Artifacts that were made before: what was put into service then goes on serving, and can be started from.

Format 1 has a network alone. Formats 1 and 2 know the first three targets; to the arrays of all others is added what
says nothing, and their signature does not name them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from core.schemas.predictions import KNOWN_AGES_H, TARGETS
from training.layout import FORMAT, GOLDEN, HEADER, PEERS, WEIGHTS

_KNOWN, _ALL, _AGES, _QUANTILES = 3, len(TARGETS), len(KNOWN_AGES_H), 3
#: Where each array of a safetensors file holds its targets, and what those that it lacks get.
_NETWORK = {"spread": (1, 1.0)}
_PEERS = {"trees.start": (0, 0.0), "linear.weights": (1, 0.0), "linear.start": (1, 0.0)}


def of_now(files: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """The files as they would be written today; those of today as they are.

    KeyError, ValueError, TypeError or SafetensorError for files that hold no engagement model.
    """
    header = json.loads(files[HEADER])
    if header["format"] not in (1, 2):
        return files
    if header["format"] == 1:
        header["mix"] = np.ones((1, _AGES)).tolist()
    for name in ("trust", "stretch"):
        header[name] = _padded(np.array(header[name], dtype=float), 0, 1.0).tolist()
    if "corrector" in header:
        parts = {name: np.array(value) for name, value in header["corrector"].items()}
        header["corrector"] = {name: _padded(value, 0, 0).tolist() for name, value in parts.items()}
    new = {**files, HEADER: json.dumps({**header, "format": FORMAT}, sort_keys=True, indent=1).encode()}
    new[WEIGHTS] = _network(files[WEIGHTS])
    if PEERS in files:
        peers = load(files[PEERS])
        new[PEERS] = save({name: _placed(_PEERS, name, array) for name, array in peers.items()})
    golden = load(files[GOLDEN])
    # What was not stored cannot be checked.
    new[GOLDEN] = save({**golden, "residuals": _padded(golden["residuals"], 1, math.nan)})
    return new


def _network(blob: bytes) -> bytes:
    weights = {name: _placed(_NETWORK, name, array) for name, array in load(blob).items()}
    for name in ("head", "start"):  # members x (hidden or 1) x (targets and quantiles in one)
        flat = weights[name]
        parted = _padded(flat.reshape(*flat.shape[:2], _KNOWN, _QUANTILES), 2, 0.0)
        weights[name] = parted.reshape(*flat.shape[:2], _ALL * _QUANTILES)
    return save(weights)


def _placed(places: Mapping[str, tuple[int, float]], name: str, array: NDArray[Any]) -> NDArray[Any]:
    return _padded(array, *places[name]) if name in places else array


def _padded(array: NDArray[Any], axis: int, value: float) -> NDArray[Any]:
    if array.shape[axis] != _KNOWN:
        raise ValueError(f"an array of {array.shape[axis]} targets, not {_KNOWN}")
    width = [(0, 0)] * array.ndim
    width[axis] = (0, _ALL - _KNOWN)
    return np.ascontiguousarray(np.pad(array, width, constant_values=value))
