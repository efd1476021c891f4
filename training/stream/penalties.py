"""What holds a network near what it knew while it learns something new: EWC, L2-SP and distillation, for any nn.Module.

    hold = Ewc.anchored(net, row_loss, len(old), strength=100.0)   # before the new data
    loss = data_loss(net) + hold(net)                              # at every step

A penalty keeps detached copies of the weights it was made from. An anchor that is the parameter itself moves with it,
and its penalty is 0 with gradient 0 whatever happens.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from core.errors import Broken, InvalidInput, NoData

#: Loss of one old row, by its number: a scalar that depends on the network's parameters.
RowLoss = Callable[[int], Tensor]


def anchors(net: nn.Module) -> dict[str, Tensor]:
    """Detached copies of every trainable parameter, by name."""
    return {name: p.detach().clone() for name, p in net.named_parameters() if p.requires_grad}


def fisher_diagonal(net: nn.Module, row_loss: RowLoss, rows: int | Iterable[int]) -> dict[str, Tensor]:
    """Diagonal of the empirical Fisher information: mean over rows of the squared gradient of one row's loss.

    row_loss must be a negative log-likelihood up to a constant (cross-entropy, half the squared error over the noise
    variance) for the name to be exact; with any other loss it is the mean squared sensitivity. Rows that the network
    fits exactly have no gradient, so its own answers with noise (labels drawn from what it predicts) hold better than
    the rows' labels. One backward pass a row: the square of a batch's mean gradient would be smaller by about the batch
    size. A few hundred rows are enough.
    Gradients that the parameters already hold are left as they are. Raises NoData without a row, Broken when a gradient
    is not finite. (Kirkpatrick et al. 2017, "Overcoming catastrophic forgetting in neural networks".)
    """
    numbers = range(rows) if isinstance(rows, int) else list(rows)
    if not numbers:
        raise NoData("the Fisher information needs rows of the old data")
    named = {name: p for name, p in net.named_parameters() if p.requires_grad}
    total = {name: torch.zeros_like(p) for name, p in named.items()}
    for number in numbers:
        gradients = torch.autograd.grad(row_loss(number), list(named.values()), allow_unused=True)
        for name, gradient in zip(named, gradients, strict=True):
            if gradient is not None:
                total[name] += gradient.detach().pow(2)
    out = {name: value / len(numbers) for name, value in total.items()}
    if not all(bool(torch.isfinite(value).all()) for value in out.values()):
        raise Broken("the Fisher information of the old rows is not finite")
    return out


@dataclass(frozen=True, slots=True)
class Ewc:
    """Elastic weight consolidation: strength / 2 x sum of Fisher x squared distance to the anchor.

    anchor, fisher: one tensor a trainable parameter, by name, detached. strength: how many old rows the mean Fisher
    stands for, relative to the mean loss of the new ones.
    """

    strength: float
    anchor: Mapping[str, Tensor]
    fisher: Mapping[str, Tensor]

    @classmethod
    def anchored(cls, net: nn.Module, row_loss: RowLoss, rows: int | Iterable[int], strength: float) -> Ewc:
        """Anchor at the network's present weights, with the Fisher information of old rows; NoData, Broken."""
        return cls(_checked(strength), anchors(net), fisher_diagonal(net, row_loss, rows))

    def joined(self, before: Ewc | None, decay: float = 1.0) -> Ewc:
        """This anchor with an earlier penalty's Fisher added, decay (0..1] times.

        One anchor and one sum stand for all earlier tasks (Schwarz et al. 2018, "Progress & Compress").
        """
        if before is None:
            return self
        summed = {name: value + decay * before.fisher[name] for name, value in self.fisher.items()}
        return Ewc(self.strength, self.anchor, summed)

    def __call__(self, net: nn.Module) -> Tensor:
        """The penalty at the network's present weights: a scalar with a gradient; InvalidInput for another network."""
        return self.strength / 2 * _distance(net, self.anchor, self.fisher)

    def state(self) -> dict[str, Tensor]:
        """Flat tensors to store beside the weights."""
        flat = {f"anchor.{name}": value for name, value in self.anchor.items()}
        return flat | {f"fisher.{name}": value for name, value in self.fisher.items()}

    @classmethod
    def restored(cls, state: Mapping[str, Tensor], strength: float) -> Ewc:
        """The penalty of a stored state."""
        parts: dict[str, dict[str, Tensor]] = {"anchor": {}, "fisher": {}}
        for key, value in state.items():
            part, _, name = key.partition(".")
            if part not in parts:
                raise InvalidInput(f"{key!r} is not part of an EWC state", field=key)
            parts[part][name] = value.detach().clone()
        return cls(_checked(strength), parts["anchor"], parts["fisher"])


@dataclass(frozen=True, slots=True)
class L2sp:
    """L2-SP: strength x squared distance to the starting point (Li et al. 2018, "Explicit inductive bias")."""

    strength: float
    anchor: Mapping[str, Tensor]

    @classmethod
    def anchored(cls, net: nn.Module, strength: float) -> L2sp:
        """Anchor at the network's present weights."""
        return cls(_checked(strength), anchors(net))

    def __call__(self, net: nn.Module) -> Tensor:
        """The penalty at the network's present weights: a scalar with a gradient; InvalidInput for another network."""
        return self.strength * _distance(net, self.anchor, None)


@dataclass(frozen=True, slots=True)
class Distillation:
    """Learning without forgetting: the new network's answers to the new rows stay near the old network's.

    kind "classes": outputs are logits n x C, the penalty is strength x T^2 x KL(old || new) at temperature T; a new
    network may have more classes than the old one, which has no opinion of those. kind "values": strength x mean
    squared difference. (Li & Hoiem 2016, "Learning without Forgetting"; Hinton et al. 2015 for the temperature.)
    """

    strength: float
    teacher: nn.Module
    kind: Literal["classes", "values"]
    temperature: float = 2.0

    @classmethod
    def frozen(
        cls, net: nn.Module, strength: float, kind: Literal["classes", "values"], temperature: float = 2.0
    ) -> Distillation:
        """A frozen copy of the network as it is now."""
        if not temperature > 0:
            raise InvalidInput(f"temperature must be above 0, not {temperature:g}", field="temperature")
        teacher = copy.deepcopy(net).eval().requires_grad_(False)
        return cls(_checked(strength), teacher, kind, temperature)

    def __call__(self, x: Tensor, answers: Tensor) -> Tensor:
        """The penalty of the new network's answers to rows x: a scalar with a gradient."""
        with torch.no_grad():
            old = self.teacher(x)
        if self.kind == "values":
            gap: Tensor = (answers - old).pow(2).mean()
            return self.strength * gap
        known = answers[:, : old.shape[1]]
        t = self.temperature
        new_log, old_log = (known / t).log_softmax(dim=1), (old / t).log_softmax(dim=1)
        divergence: Tensor = (old_log.exp() * (old_log - new_log)).sum(dim=1).mean()
        return self.strength * t * t * divergence


def _distance(net: nn.Module, anchor: Mapping[str, Tensor], weight: Mapping[str, Tensor] | None) -> Tensor:
    named = {name: p for name, p in net.named_parameters() if p.requires_grad}
    if named.keys() != anchor.keys() or any(p.shape != anchor[name].shape for name, p in named.items()):
        raise InvalidInput("the penalty was anchored at a network of another shape")
    parts = []
    for name, p in named.items():
        square = (p - anchor[name].detach().to(p.device)).pow(2)
        parts.append(square.sum() if weight is None else (weight[name].detach().to(p.device) * square).sum())
    total: Tensor = torch.stack(parts).sum()
    return total


def _checked(strength: float) -> float:
    if not 0 <= strength < float("inf"):
        raise InvalidInput(f"strength must be 0 or above, not {strength!r}", field="strength")
    return strength
