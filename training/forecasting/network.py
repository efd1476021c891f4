"""A network over all series of a batch: quantiles of each one's next points from its recent past."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import ArtifactCorrupt, InvalidInput
from core.history import Floats
from training.forecasting.batch import Batch
from training.forecasting.members.windows import latest, windows

FORMAT = 1
WEIGHTS, HEADER = "weights.safetensors", "forecaster.json"
QUANTILES = (0.1, 0.5, 0.9)
_WINDOWS = 20_000
_ROWS = 256  # a step of the descent


class ForecastNet(nn.Module):
    """Past n x W to quantiles n x H x 3 that never cross, in the past's own units.

    Residual blocks that each explain a part of the past and hand on the rest (N-BEATS, generic form: Oreshkin et al.,
    2020), beside a linear map (DLinear: Zeng et al., 2023). First weights come from a generator passed in.
    """

    def __init__(self, width: int, horizon: int, hidden: int, blocks: int, generator: torch.Generator | None = None):
        super().__init__()
        self.width, self.horizon, self.blocks = width, horizon, blocks

        def made(rows: int, columns: int, gain: float = 1.0) -> nn.Parameter:
            return nn.Parameter(gain * torch.randn(rows, columns, generator=generator) / math.sqrt(rows))

        out = horizon * len(QUANTILES)
        self.line = made(width, out, 0.1)
        self.start = nn.Parameter(torch.zeros(out))
        self.inner = nn.ParameterList(made(width, hidden) for _ in range(blocks))
        self.deeper = nn.ParameterList(made(hidden, hidden) for _ in range(blocks))
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(hidden)) for _ in range(2 * blocks))
        self.back = nn.ParameterList(made(hidden, width, 0.1) for _ in range(blocks))
        self.ahead = nn.ParameterList(made(hidden, out, 0.1) for _ in range(blocks))

    def forward(self, past: Tensor) -> Tensor:
        """n x W to n x H x 3."""
        said, rest = past @ self.line + self.start, past
        for b in range(self.blocks):
            h = torch.relu(rest @ self.inner[b] + self.biases[2 * b])
            h = torch.relu(h @ self.deeper[b] + self.biases[2 * b + 1])
            rest = rest - h @ self.back[b]
            said = said + h @ self.ahead[b]
        low, middle, high = said.view(len(past), self.horizon, len(QUANTILES)).unbind(dim=2)
        away = nn.functional.softplus
        return torch.stack([middle - away(low), middle, middle + away(high)], dim=2)


@dataclass(frozen=True)
class Network:
    """How a network is trained: windows of W points, so many steps of Adam on the pinball loss, the rate falling to 0.

    It stands for election like any other member; seed: of first weights and order of rows.
    """

    window: int
    hidden: int = 128
    blocks: int = 2
    steps: int = 300
    rate: float = 1e-3
    seed: int = 0

    def fit(self, batch: Batch, horizon: int) -> Trained:
        """On windows of all series; untrained (the last level) where none is long enough."""
        width = min(self.window, max(batch.length - horizon, 1))
        rows = list(windows(batch, width, horizon, _WINDOWS))
        generator = torch.Generator().manual_seed(self.seed)
        net = ForecastNet(width, horizon, self.hidden, self.blocks, generator)
        if not rows:
            for parameter in net.parameters():
                nn.init.zeros_(parameter)
            return Trained(net, self.hidden)
        x, y = (torch.from_numpy(np.concatenate(part).astype(np.float32)) for part in zip(*rows, strict=True))
        self._descend(net, x, y, generator)
        return Trained(net, self.hidden)

    def _descend(self, net: ForecastNet, x: Tensor, y: Tensor, generator: torch.Generator) -> None:
        levels = torch.tensor(QUANTILES)
        optimiser = torch.optim.Adam(net.parameters(), lr=self.rate)
        for step in range(self.steps):
            for group in optimiser.param_groups:
                group["lr"] = self.rate * 0.5 * (1 + math.cos(math.pi * step / self.steps))
            chosen = torch.randint(len(x), (_ROWS,), generator=generator)
            off = y[chosen].unsqueeze(2) - net(x[chosen])
            loss = torch.maximum(levels * off, (levels - 1) * off).mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network as a member; quantiles as well for who wants them."""

    net: ForecastNet
    hidden: int

    def __call__(self, batch: Batch, horizon: int) -> Floats:
        """Medians, n x H; InvalidInput for a horizon that it was not trained for."""
        result: Floats = self.quantiles(batch, horizon)[:, :, 1]
        return result

    @torch.inference_mode()
    def quantiles(self, batch: Batch, horizon: int) -> Floats:
        """n x H x 3 at QUANTILES."""
        if horizon > self.net.horizon:
            raise InvalidInput(f"trained for {self.net.horizon} steps, not {horizon}", field="horizon")
        past, level, unit = latest(batch, self.net.width)
        said = self.net(torch.from_numpy(past.astype(np.float32)))[:, :horizon].numpy().astype(np.float64)
        result: Floats = level[:, :, None] + unit[:, :, None] * said
        return result

    def to_artifact(self) -> dict[str, bytes]:
        """Its files: weights and header."""
        from safetensors.torch import save

        net = self.net
        header = {
            "format": FORMAT,
            "width": net.width,
            "horizon": net.horizon,
            "hidden": self.hidden,
            "blocks": net.blocks,
        }
        weights = {name: value.detach().contiguous() for name, value in net.state_dict().items()}
        return {WEIGHTS: save(weights), HEADER: json.dumps(header, sort_keys=True).encode()}

    @classmethod
    def from_artifact(cls, files: Mapping[str, bytes]) -> Trained:
        """The network in an artifact's files; ArtifactCorrupt when they do not hold one."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            header = json.loads(files[HEADER])
            if header["format"] != FORMAT:
                raise ArtifactCorrupt(f"forecaster format {header['format']} is not {FORMAT}: train it again")
            width, horizon, hidden, blocks = (int(header[name]) for name in ("width", "horizon", "hidden", "blocks"))
            net = ForecastNet(width, horizon, hidden, blocks)
            net.load_state_dict(load(files[WEIGHTS]))
        except (KeyError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
            raise ArtifactCorrupt(f"the artifact does not hold a forecaster: {error!r}") from error
        return cls(net, hidden)
