"""Makes a planned share of a GPU real: Ray counts shares, torch alone can keep a process within its own."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.model import EngagementModel

#: Set by the topology for each process that was given a share; absent where there is no GPU.
SHARE = "ANALYTICBOT_GPU_SHARE"


def apply_gpu_share(fraction: float | None = None) -> str:
    """Hold this process to a share of its GPU's memory; returns the device to use, "cuda" or "cpu".

    fraction: of one GPU, in (0, 1]; unless given, the environment's (see `SHARE`), 0 where there is none. "cpu" when
    the share is 0 or torch finds no GPU. An allocation beyond the share then raises torch's out-of-memory error in
    this process, instead of taking memory that another service was promised. Call before the first tensor on the GPU.
    """
    wanted = float(os.environ.get(SHARE, "0")) if fraction is None else fraction
    if not 0 <= wanted <= 1:
        raise ValueError(f"a GPU share is between 0 and 1, not {wanted}")
    if wanted == 0:
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    torch.cuda.set_per_process_memory_fraction(wanted)
    return "cuda"


def accelerated(model: EngagementModel, precision: str, compile: bool) -> EngagementModel:
    """The model with its network computing in a lower precision, or compiled; itself where neither is asked for.

    precision: "float32", or "bfloat16": matrix products under autocast. Both only where it was measured to pay
    (docs/benchmarks.md). The stored predictions were checked before, in full precision.
    """
    import torch

    if compile:
        model.net.compile(dynamic=True)
    if precision == "float32":
        return model
    return replace(model, net=_Lower(model.net, model.device, torch.bfloat16))  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Lower:
    """A network whose quantiles come out of a lower precision."""

    net: Any
    device: str
    dtype: Any

    def quantiles(self, x: Any) -> Any:
        """As the network's, in float32."""
        import torch

        with torch.autocast(self.device, self.dtype):
            return self.net.quantiles(x).float()

    def state_dict(self) -> Any:
        """The network's own."""
        return self.net.state_dict()
