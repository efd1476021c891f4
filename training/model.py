"""A trained engagement model as serving knows it: rows in, counts out, always the same for the same input."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.codec import from_plain, to_plain
from core.errors import ArtifactCorrupt, InvalidInput
from core.history import Floats
from core.schemas.models import Signature
from core.schemas.predictions import KNOWN_AGES_H, METRIC_OF, TARGETS, Target
from core.targets import from_log
from training.calibration import Calibration
from training.corrector import Corrector
from training.layout import FORMAT, GOLDEN, HEADER, PEERS, REFERENCE, WEIGHTS
from training.older import of_now
from training.peers import MEMBERS, Peers

if TYPE_CHECKING:
    from training.network import EngagementNet

#: Largest difference (natural log) at which stored predictions count as reproduced.
GOLDEN_TOLERANCE = 1e-4

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class EngagementModel:
    """Network, signature and calibration; hidden: sizes of the network's layers; device: "cpu" or "cuda"; corrector:
    what was learned since, on top of the network (read only); peers: what answers beside the network; medians: of the
    rows that it learned from, by known age (A x F, NaN: never known), what its answers are explained against.

    The network answers for every target that the system knows; the signature names those that it was trained on.
    """

    net: EngagementNet
    signature: Signature
    calibration: Calibration
    hidden: tuple[int, ...]
    device: str = "cpu"
    notes: dict[str, Any] = field(default_factory=dict)
    corrector: Corrector | None = None
    peers: Peers | None = None
    medians: Floats | None = None

    def predict(self, x: Rows, base: Mapping[Target, Floats]) -> dict[Target, Floats]:
        """Counts at the 10 %, 50 % and 90 % quantiles: n x 3 for each target of both `base` and the signature.

        x: n x F in the order of the signature. base: natural logarithm that each row starts from (n; NaN: the target
        cannot be asked, and the answer is NaN too). Raises InvalidInput for rows of another width.
        """
        residuals = self.residuals(x)
        known = [t for t in base if t in self.signature.targets]
        return {t: from_log(METRIC_OF[t], base[t][:, None] + residuals[:, TARGETS.index(t)]) for t in known}

    def residuals(self, x: Rows) -> Floats:
        """Calibrated and corrected quantiles of log(count) - base: n x len(TARGETS) x 3, never crossing."""
        quantiles = self.calibrated(x)
        return quantiles if self.corrector is None else self.corrector.apply(quantiles, x, self.ages(x))

    def calibrated(self, x: Rows) -> Floats:
        """The same without the corrector: what it learns from."""
        ages = self.ages(x)
        return self.calibration.apply(self.raw(x), ages, x, None if self.peers is None else self.peers.steps(x, ages))

    def raw(self, x: Rows) -> Floats:
        """The network's own quantiles, before calibration."""
        import torch

        expected = len(self.signature.features)
        if x.ndim != 2 or x.shape[1] != expected:
            raise InvalidInput(f"rows must be n x {expected}, not {'x'.join(map(str, x.shape))}", field="features")
        rows = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)).to(self.device)
        result: Floats = self.net.quantiles(rows).cpu().numpy().astype(float)
        return result

    def ages(self, x: Rows) -> NDArray[np.intp]:
        """Place in KNOWN_AGES_H of each row's known age (n)."""
        columns = [self.signature.features.index(f"age_{age}") for age in KNOWN_AGES_H]
        ages: NDArray[np.intp] = np.argmax(x[:, columns], axis=1)
        return ages

    def weights(self) -> bytes:
        """The network's state as safetensors: what a warm start begins from."""
        from safetensors.torch import save

        return save({name: value.detach().cpu().contiguous() for name, value in self.net.state_dict().items()})

    def to_artifact(self, golden_x: Rows, reference: bytes | None = None) -> dict[str, bytes]:
        """Files of the artifact.

        golden_x: some rows whose predictions are stored beside the weights, so that whoever loads them can check that
        this machine computes the same. reference: Arrow stream of training rows and holdout residuals, for drift.
        """
        from safetensors.numpy import save

        header = {
            "format": FORMAT,
            "signature": to_plain(self.signature),
            "hidden": list(self.hidden),
            "notes": self.notes,
            **self.calibration.to_plain(),
        }
        if self.medians is not None:
            header["medians"] = [[None if np.isnan(v) else float(v) for v in row] for row in self.medians]
        if self.corrector is not None:
            header["corrector"] = self.corrector.to_plain()
        golden: dict[str, NDArray[Any]] = {"x": np.ascontiguousarray(golden_x), "residuals": self.residuals(golden_x)}
        files = {
            WEIGHTS: self.weights(),
            HEADER: json.dumps(header, sort_keys=True, indent=1).encode(),
            GOLDEN: save(golden),
        }
        if self.peers is not None:
            files[PEERS] = self.peers.to_bytes()
        return files if reference is None else files | {REFERENCE: reference}

    @classmethod
    def from_artifact(cls, files: Mapping[str, bytes], device: str = "cpu") -> EngagementModel:
        """The model in an artifact's files; ArtifactCorrupt when one is missing or does not fit the others."""
        try:
            files = of_now(files)
            header = json.loads(files[HEADER])
            if header["format"] != FORMAT:
                raise ArtifactCorrupt(f"model format {header['format']} is not {FORMAT}: train the model again")
            signature = from_plain(Signature, header["signature"])
            hidden = tuple(int(size) for size in header["hidden"])
            net = _network(hidden, files[WEIGHTS], device, len(signature.features))
            peers = Peers.of(files[PEERS]) if PEERS in files else None
            calibration = Calibration.of(header, 1 if peers is None else len(MEMBERS))
            medians = _medians(header.get("medians"), len(signature.features))
            corrector = Corrector.from_plain(header["corrector"]) if "corrector" in header else None
        except ArtifactCorrupt:
            raise
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise ArtifactCorrupt(f"the artifact does not hold an engagement model: {error!r}") from error
        return cls(net, signature, calibration, hidden, device, header["notes"], corrector, peers, medians)

    def check_golden(self, files: Mapping[str, bytes]) -> None:
        """Compute the stored predictions again; ArtifactCorrupt when they differ by more than GOLDEN_TOLERANCE."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            golden = load(of_now(files)[GOLDEN])
            stored = golden["residuals"]
            checked = ~np.isnan(stored)
            worst = float(np.max(np.abs(self.residuals(golden["x"])[checked] - stored[checked]), initial=0.0))
        except (KeyError, SafetensorError, ValueError, InvalidInput) as error:
            raise ArtifactCorrupt(f"the artifact's stored predictions cannot be checked: {error!r}") from error
        if not worst <= GOLDEN_TOLERANCE:
            raise ArtifactCorrupt(f"the model does not reproduce its stored predictions (off by {worst:.2g})")


def model_of(
    weights: bytes,
    signature: Signature,
    calibration: Calibration,
    hidden: tuple[int, ...],
    notes: dict[str, Any] | None = None,
    peers: bytes | None = None,
    medians: Floats | None = None,
) -> EngagementModel:
    """A model of fitted weights and peers (safetensors)."""
    return EngagementModel(
        _network(hidden, weights, "cpu", len(signature.features)),
        signature,
        calibration,
        hidden,
        notes=notes or {},
        peers=None if peers is None else Peers.of(peers),
        medians=medians,
    )


def _medians(stored: Any, features: int) -> Floats | None:
    if stored is None:
        return None
    return np.array(stored, dtype=float).reshape(len(KNOWN_AGES_H), features)


def _network(hidden: tuple[int, ...], weights: bytes, device: str, features: int) -> EngagementNet:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    from training.network import EngagementNet

    # First weights are drawn only to be overwritten: building on the "meta" device instead, which has no memory, makes
    # torch import its compiler, several seconds in every process that serves.
    net = EngagementNet(features, len(TARGETS), hidden, torch.Generator())
    try:
        net.load_state_dict(load(weights), assign=True)
    except SafetensorError as error:
        raise ArtifactCorrupt(f"the artifact's weights cannot be read: {error}") from error
    if not all(bool(torch.isfinite(value).all()) for value in net.state_dict().values()):
        raise ArtifactCorrupt("the artifact's weights are not all finite")
    return net.to(device).eval()
