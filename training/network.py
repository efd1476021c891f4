"""The engagement network: how far above or below its starting point a post will end, as three quantiles a target."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from core.schemas.predictions import KNOWN_AGES_H
from training.names import FEATURES

#: Levels of the quantiles, in the order of the last axis.
QUANTILES = (0.1, 0.5, 0.9)
#: Normalised inputs are kept within this many standard deviations: one wild value must not carry a prediction away.
CLIP = 5.0
_AGES = [FEATURES.index(f"age_{age}") for age in KNOWN_AGES_H]
#: Networks in the committee whose mean answers; they differ in their first weights only.
MEMBERS = 4


class EngagementNet(nn.Module):
    """A committee of small multi-layer perceptrons that holds its own input normalisation.

    Input n x F (NaN: not known); output n x T x 3, residual logarithms at QUANTILES, which never cross: the outer ones
    are the middle minus and plus a softplus. The last layer starts at zero, so an untrained network says "the channel's
    usual", and learning has to earn every step away from it. No global random state is touched: first weights and
    dropout come from generators passed in.
    """

    mean: Tensor
    scale: Tensor
    flagged: Tensor
    used: Tensor
    seen: Tensor
    spread: Tensor

    def __init__(
        self, features: int, targets: int, hidden: Sequence[int], generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.targets = targets
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        # Only columns that missed values in training tell the network so: a flag that never moved has random weights.
        self.register_buffer("flagged", torch.zeros(features))
        self.register_buffer("used", torch.ones(features))
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("spread", torch.ones(len(_AGES), targets))
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for wide, narrow in zip((2 * features, *hidden), hidden, strict=False):
            first = torch.randn(MEMBERS, wide, narrow, generator=generator) / math.sqrt(3 * wide)
            self.weights.append(nn.Parameter(first))
            self.biases.append(nn.Parameter(torch.zeros(MEMBERS, 1, narrow)))
        self.head = nn.Parameter(torch.zeros(MEMBERS, hidden[-1], targets * len(QUANTILES)))
        self.start = nn.Parameter(torch.zeros(MEMBERS, 1, targets * len(QUANTILES)))

    def forward(self, x: Tensor, dropout: float = 0.0, generator: torch.Generator | None = None) -> Tensor:
        """Residual quantiles of each member: members x n x T x 3."""
        return self.from_inputs(self.inputs(x), x[:, _AGES].argmax(dim=1), dropout, generator)

    def inputs(self, x: Tensor) -> Tensor:
        """What the first layer sees: each feature in standard deviations, and flags of those not known (n x 2 F)."""
        missing = torch.isnan(x)
        z = torch.where(missing, 0.0, torch.clamp((x - self.mean) / self.scale, -CLIP, CLIP))
        return torch.cat([z * self.used, missing * self.flagged * self.used], dim=1)

    def from_inputs(
        self, z: Tensor, ages: Tensor, dropout: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """The same from `inputs`; ages: places in KNOWN_AGES_H (n)."""
        h = z.unsqueeze(0).expand(MEMBERS, -1, -1)
        for weight, bias in zip(self.weights, self.biases, strict=True):
            h = nn.functional.silu(torch.baddbmm(bias, h, weight))
            if dropout > 0:
                kept = torch.rand(h.shape, generator=generator, device=h.device) >= dropout
                h = h * kept / (1 - dropout)
        out = torch.baddbmm(self.start, h, self.head).view(MEMBERS, len(z), self.targets, len(QUANTILES))
        middle, below, above = out.unbind(dim=3)
        away = nn.functional.softplus
        unit = self.spread[ages].unsqueeze(2)
        return unit * torch.stack([middle - away(below), middle, middle + away(above)], dim=3)

    @torch.inference_mode()
    def quantiles(self, x: Tensor) -> Tensor:
        """The committee's answer: n x T x 3."""
        mean: Tensor = self(x).mean(dim=0)
        return mean

    @torch.no_grad()
    def normalise(self, x: Tensor, keep: float = 0.0) -> None:
        """Set the normalisation from rows (n x F), or move it there from what it was.

        keep: how many rows the present normalisation may count for (0: forget it). A running normalisation brings
        inputs that have moved back into the range that the weights know.
        """
        missing = torch.isnan(x)
        n = (~missing).sum(dim=0)
        mean = torch.where(missing, 0.0, x).sum(dim=0) / n.clamp(min=1)
        variance = torch.where(missing, 0.0, x - mean).pow(2).sum(dim=0) / n.clamp(min=1)
        before = min(keep, float(self.seen))
        old = before / (before + len(x))
        mixed = old * self.mean + (1 - old) * mean
        moment = old * (self.scale**2 + self.mean**2) + (1 - old) * (variance + mean**2)
        scale = (moment - mixed**2).clamp(min=0).sqrt()
        # A column that never moved carries nothing: dividing by its rounding error would make noise of it.
        scale = torch.where(scale < 1e-4, torch.ones_like(scale), scale)
        some, none = (missing.any(dim=0) & (n > 0)).float(), n == 0
        self.mean.copy_(torch.where(none, self.mean, mixed))
        self.scale.copy_(torch.where(none, self.scale, scale))
        self.flagged.copy_(torch.maximum(self.flagged, some) if before > 0 else some)
        self.seen.fill_(before + len(x))

    @torch.no_grad()
    def set_spread(self, spread: Tensor) -> None:
        """Set the units (known ages x T, > 0); the outer quantiles start one unit below and above the middle."""
        self.spread.copy_(spread)
        start = self.start.view(MEMBERS, self.targets, len(QUANTILES))
        start[:, :, 1:] = math.log(math.expm1(1.0))


def pinball(predicted: Tensor, actual: Tensor, weight: Tensor, balance: Tensor | None = None) -> Tensor:
    """Mean quantile loss; predicted ... x n x T x 3, actual n x T (NaN: not known), weight n.

    balance: T, what a loss of each target counts (1).
    """
    levels = torch.tensor(QUANTILES, dtype=predicted.dtype, device=predicted.device)
    known = torch.isfinite(actual)
    error = torch.where(known, actual, 0.0).unsqueeze(2) - predicted
    loss = torch.maximum(levels * error, (levels - 1) * error).mean(dim=-1)
    weights = known * weight.unsqueeze(1)
    if balance is not None:
        loss = loss * balance
    members = loss.numel() // max(loss.shape[-2] * loss.shape[-1], 1)
    return (loss * weights).sum() / (members * weights.sum()).clamp(min=1e-12)
