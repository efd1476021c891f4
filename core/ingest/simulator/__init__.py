"""Simulated channels that know their own truth; everything they write says that it is simulated."""

from core.ingest.simulator.config import SimulatorConfig
from core.ingest.simulator.simulate import GroundTruth, simulate

__all__ = ["GroundTruth", "SimulatorConfig", "simulate"]
