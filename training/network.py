"""The engagement network: how far above or below its starting point a post will end, as three quantiles a target."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

#: Levels of the quantiles, in the order of the last axis.
QUANTILES = (0.1, 0.5, 0.9)
#: Normalised inputs are kept within this many standard deviations: one wild value must not carry a prediction away.
CLIP = 5.0


class EngagementNet(nn.Module):
    """A small multi-layer perceptron that holds its own input normalisation.

    Input n x F (NaN: not known); output n x T x 3, residual logarithms at QUANTILES, which never cross: the outer ones
    are the middle minus and plus a softplus. The last layer starts at zero, so that an untrained network says "the
    channel's usual" and learning has to earn every step away from it.
    """

    mean: Tensor
    scale: Tensor
    flagged: Tensor
    seen: Tensor

    def __init__(self, features: int, targets: int, hidden: Sequence[int] = (64, 64), dropout: float = 0.0) -> None:
        super().__init__()
        self.targets = targets
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        # Only columns that missed values in training tell the network so: a flag that never moved has random weights.
        self.register_buffer("flagged", torch.zeros(features))
        self.register_buffer("seen", torch.zeros(()))
        layers: list[nn.Module] = []
        width = 2 * features
        for size in hidden:
            layers += [nn.Linear(width, size), nn.SiLU(), nn.Dropout(dropout)]
            width = size
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width, targets * len(QUANTILES))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Residual quantiles of rows."""
        missing = torch.isnan(x)
        z = torch.clamp((x - self.mean) / self.scale, -CLIP, CLIP)
        z = torch.where(missing, torch.zeros_like(z), z)
        out: Tensor = self.head(self.body(torch.cat([z, missing * self.flagged], dim=1)))
        middle, below, above = out.view(-1, self.targets, len(QUANTILES)).unbind(dim=2)
        spread = nn.functional.softplus
        return torch.stack([middle - spread(below), middle, middle + spread(above)], dim=2)

    @torch.no_grad()
    def normalise(self, x: Tensor, keep: float = 0.0) -> None:
        """Set the normalisation from rows (n x F), or move it there from what it was.

        keep: rows that the present normalisation counts for (0: forget it). Running normalisation is the cheapest part
        of learning on: inputs that moved come back into the range that the weights know.
        """
        missing = torch.isnan(x)
        n = (~missing).sum(dim=0).clamp(min=1)
        mean = torch.where(missing, 0.0, x).sum(dim=0) / n
        spread = torch.where(missing, 0.0, x - mean).pow(2).sum(dim=0) / n
        old = min(keep, float(self.seen)) / (min(keep, float(self.seen)) + len(x))
        empty = missing.all(dim=0)
        mixed = old * self.mean + (1 - old) * mean
        variance = old * (self.scale**2 + self.mean**2) + (1 - old) * (spread + mean**2) - mixed**2
        scale = variance.clamp(min=0).sqrt()
        # A column that never moved carries nothing: dividing by its rounding error would make noise of it.
        scale = torch.where(scale < 1e-4, torch.ones_like(scale), scale)
        self.mean.copy_(torch.where(empty, self.mean, mixed))
        self.scale.copy_(torch.where(empty, self.scale, scale))
        some = (missing.any(dim=0) & ~empty).float()
        self.flagged.copy_(torch.maximum(self.flagged, some) if old > 0 else some)
        self.seen.fill_(min(keep, float(self.seen)) + len(x))

    @torch.no_grad()
    def set_spread(self, low: Tensor, high: Tensor) -> None:
        """Start the outer quantiles at given distances below and above the middle (T each, > 0)."""
        bias = self.head.bias.view(self.targets, len(QUANTILES))
        bias[:, 1] = _inverse_softplus(low)
        bias[:, 2] = _inverse_softplus(high)


def pinball(predicted: Tensor, actual: Tensor, weight: Tensor) -> Tensor:
    """Mean quantile loss; predicted n x T x 3, actual n x T (NaN: not known), weight n."""
    levels = torch.tensor(QUANTILES, dtype=predicted.dtype, device=predicted.device)
    known = torch.isfinite(actual)
    error = torch.where(known, actual, 0.0).unsqueeze(2) - predicted
    loss = torch.maximum(levels * error, (levels - 1) * error).mean(dim=2)
    weights = known * weight.unsqueeze(1)
    return (loss * weights).sum() / weights.sum().clamp(min=1e-12)


def _inverse_softplus(value: Tensor) -> Tensor:
    return torch.log(torch.expm1(value.clamp(min=1e-3)))
