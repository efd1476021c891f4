"""The network of a stream learner: several small perceptrons side by side, with gradients in closed form.

A step on 32 rows is too small for a general autograd: its bookkeeping costs several times the arithmetic. `gradient`
writes the same numbers (a test compares them) by nine matrix products; `forward` is the ordinary differentiable form,
for penalties and anything else that needs autograd.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Task = Literal["classification", "regression"]
F32 = NDArray[np.float32]
#: Regression: errors above this many standard deviations of the target pull no harder (Huber).
HUBER = 1.0


class StreamNet(nn.Module):
    """M perceptrons with two hidden layers of rectifiers, all parameters in one flat vector on the CPU.

    Input M x B x inputs (or B x inputs, the same for all), output M x B x outputs: logits, or standardised values.
    """

    def __init__(
        self, members: int, inputs: int, outputs: int, hidden: Sequence[int], rng: np.random.Generator
    ) -> None:
        super().__init__()
        self.members, self.inputs, self.outputs, self.hidden = members, inputs, outputs, tuple(hidden)
        a, b = self.hidden
        m = members
        self.shapes = ((m, inputs, a), (m, a, b), (m, b, outputs), (m, 1, a), (m, 1, b), (m, 1, outputs))
        self.flat = nn.Parameter(torch.zeros(sum(int(np.prod(s)) for s in self.shapes)))
        # A small last layer: the first answers are near "nothing known".
        for layer, gain in zip(self.arrays()[:3], (2.0, 2.0, 0.3), strict=True):
            layer[:] = rng.normal(size=layer.shape) * np.sqrt(gain / layer.shape[1])

    def arrays(self) -> list[F32]:
        """The weights and biases as numpy views of the parameter: writing them changes the network."""
        return self._views(self.flat.detach().numpy())

    def forward(self, x: Tensor) -> Tensor:
        """Differentiable answers."""
        parts, at = [], 0
        for shape in self.shapes:
            size = int(np.prod(shape))
            parts.append(self.flat[at : at + size].view(shape))
            at += size
        w1, w2, w3, b1, b2, b3 = parts
        h = torch.relu(x @ w1 + b1)
        h = torch.relu(h @ w2 + b2)
        out: Tensor = h @ w3 + b3
        return out

    def answers(self, x: F32) -> F32:
        """The same without autograd, for numpy rows."""
        w1, w2, w3, b1, b2, b3 = self.arrays()
        h = np.maximum(x @ w1 + b1, 0)
        out: F32 = np.maximum(h @ w2 + b2, 0) @ w3 + b3
        return out

    def gradient(self, x: F32, y: NDArray[Any], task: Task) -> F32:
        """Gradient (flat) of the sum over members of their mean loss.

        x M x B x inputs; y M x B: class numbers (cross-entropy) or standardised values (Huber).
        """
        w1, w2, w3, b1, b2, b3 = self.arrays()
        h1 = np.maximum(x @ w1 + b1, 0)
        h2 = np.maximum(h1 @ w2 + b2, 0)
        error = h2 @ w3 + b3
        members, batch = y.shape
        if task == "classification":
            error = np.exp(error - error.max(axis=2, keepdims=True))
            error /= error.sum(axis=2, keepdims=True)
            error[np.arange(members)[:, None], np.arange(batch), y] -= 1
        else:
            error = np.clip(error - y[:, :, None], -HUBER, HUBER).astype(np.float32)
        error /= batch
        out = np.empty(self.flat.numel(), dtype=np.float32)
        g1, g2, g3, c1, c2, c3 = self._views(out)
        np.matmul(_turned(h2), error, out=g3)
        d2 = (error @ _turned(w3)) * (h2 > 0)
        np.matmul(_turned(h1), d2, out=g2)
        d1 = (d2 @ _turned(w2)) * (h1 > 0)
        np.matmul(_turned(x), d1, out=g1)
        c1[:], c2[:], c3[:] = (d.sum(axis=1, keepdims=True) for d in (d1, d2, error))
        return out

    def widened(self, inputs: int, outputs: int) -> tuple[StreamNet, NDArray[np.int64]]:
        """The same network with room for more inputs and outputs, and where each old parameter went.

        New inputs are not read yet (weight 0); new outputs start unlikely (bias -3).
        """
        wide = StreamNet(self.members, inputs, outputs, self.hidden, np.random.default_rng(0))
        place = [
            p.reshape(s) for p, s in zip(np.split(np.arange(wide.flat.numel()), wide._ends()), wide.shapes, strict=True)
        ]
        kept = [p[:, : s[1], : s[2]].reshape(-1) for p, s in zip(place, self.shapes, strict=True)]
        moved = np.concatenate(kept)
        arrays = wide.arrays()
        for array in (arrays[0], arrays[2]):
            array[:] = 0
        arrays[5][:] = -3.0
        wide.flat.detach().numpy()[moved] = self.flat.detach().numpy()
        return wide, moved

    def _ends(self) -> NDArray[np.int64]:
        return np.cumsum([int(np.prod(s)) for s in self.shapes])[:-1]

    def _views(self, flat: F32) -> list[F32]:
        out, at = [], 0
        for m, a, b in self.shapes:
            out.append(flat[at : at + m * a * b].reshape(m, a, b))
            at += m * a * b
        return out


class Adam:
    """Adam on one flat vector, with decoupled weight decay (Kingma & Ba 2015; Loshchilov & Hutter 2019)."""

    def __init__(self, size: int, weight_decay: float) -> None:
        self.first, self.second = np.zeros(size, np.float32), np.zeros(size, np.float32)
        self.steps, self.weight_decay = 0, weight_decay

    def step(self, weights: F32, gradient: F32, lr: float) -> None:
        """Move the weights in place."""
        self.steps += 1
        self.first *= 0.9
        self.first += 0.1 * gradient
        self.second *= 0.999
        self.second += 0.001 * gradient * gradient
        size = lr * np.sqrt(1 - 0.999**self.steps) / (1 - 0.9**self.steps)
        weights *= np.float32(1 - lr * self.weight_decay)
        weights -= np.float32(size) * self.first / (np.sqrt(self.second) + np.float32(1e-8))

    def moved(self, size: int, place: NDArray[np.int64]) -> Adam:
        """The optimizer of a widened network."""
        out = Adam(size, self.weight_decay)
        out.first[place], out.second[place], out.steps = self.first, self.second, self.steps
        return out


def _turned(a: F32) -> F32:
    return a.transpose(0, 2, 1)
