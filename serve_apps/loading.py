"""Finds a registered version's artifact and loads it, verified; shared by the predictor and versions on trial."""

from __future__ import annotations

from dataclasses import dataclass

from core.artifacts import ArtifactStore
from core.store.database import Database
from core.store.registry import Registry
from training.artifacts import load_model
from training.gpu import apply_gpu_share
from training.model import EngagementModel


@dataclass(frozen=True)
class ModelLoader:
    """Loads versions by number; picklable."""

    database: Database
    artifacts: ArtifactStore
    model: str
    device: str = "cpu"

    def load(self, version: int) -> EngagementModel:
        """The verified model; NotFound, ArtifactCorrupt, Refused (other features), StorageBroken."""
        import torch

        torch.set_num_threads(1)  # rows come one at a time: threads would only wait for each other
        device = apply_gpu_share() if self.device == "cuda" else self.device  # planned a share; is there a GPU?
        return load_model(self.artifacts, Registry(self.database).get(self.model, version).sha256, device)
