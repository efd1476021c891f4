"""One network being fitted to rows, epoch by epoch; everything random follows from its seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.errors import Broken
from core.history import Floats
from core.schemas.predictions import KNOWN_AGES_H, TARGETS
from training.dataset import Dataset
from training.names import CHANNEL_MARKS, FEATURES
from training.network import MEMBERS, EngagementNet, pinball
from training.stream.penalties import Ewc, L2sp

#: Parameters of the last layer: all that a fit of the head alone may change.
HEAD = frozenset({"head", "start"})
#: Old rows that a Fisher information is estimated from: one backward pass each.
FISHER_ROWS = 256


@dataclass(frozen=True, slots=True)
class FitParams:
    """How a network is fitted. Defaults were chosen on time-ordered folds of real channels (bench/engagement.py)."""

    hidden: tuple[int, ...] = (64, 64)
    lr: float = 5e-4
    weight_decay: float = 0.02
    dropout: float = 0.2
    batch: int = 0  # 0: a twelfth of the rows, 32 to 1,024
    channel_marks: bool = False  # let the network read CHANNEL_MARKS
    anchor: float = 0.0  # L2-SP: pull towards the weights that the fit started from
    ewc: float = 0.0  # EWC: old rows that the pull towards what mattered to them stands for, per new row
    keep: float = 0.0  # rows that the earlier normalisation counts for
    clip: float = 4.0  # largest gradient norm
    head_only: bool = False  # fit the last layer alone; all else, the normalisation too, stays as it was


@dataclass(slots=True)
class Fit:
    """A fit in progress.

    rows: n rows. warm: state of an earlier network to start from (its layer sizes must be `params.hidden`). rank and
    world: this process's share of every batch when several fit together (torch.distributed must be up). hold: what
    mattered to rows that are not here (see `consolidated`), weighed by `params.ewc`.
    """

    rows: Dataset
    params: FitParams
    seed: int
    warm: dict[str, Tensor] | None = None
    rank: int = 0
    world: int = 1
    device: str = "cpu"
    hold: Ewc | None = None
    epochs: int = field(default=0, init=False)
    net: EngagementNet = field(init=False)
    optimizer: torch.optim.AdamW = field(init=False)
    _module: nn.Module = field(init=False)
    _data: tuple[Tensor, Tensor, Tensor] = field(init=False)
    _balance: Tensor = field(init=False)
    _pull: L2sp = field(init=False)

    def __post_init__(self) -> None:
        rows = self.rows
        self._data = (
            torch.from_numpy(rows.x),
            torch.from_numpy(rows.residual.astype(np.float32)),
            torch.from_numpy(rows.weight.astype(np.float32)),
        )
        self._balance = torch.from_numpy(rows.balance.astype(np.float32)).to(self.device)
        generator = torch.Generator().manual_seed(self.seed)
        self.net = EngagementNet(len(FEATURES), len(TARGETS), self.params.hidden, generator)
        if self.warm is not None:
            self.net.load_state_dict(self.warm)
        else:
            self.net.set_spread(torch.from_numpy(_spread(rows)))
        if self.params.head_only:
            _only_head(self.net)
        else:
            if not self.params.channel_marks:
                self.net.used[[FEATURES.index(name) for name in CHANNEL_MARKS]] = 0.0
            self.net.normalise(self._data[0], self.params.keep if self.warm is not None else 0.0)
        self.net.to(self.device)
        self._pull = L2sp.anchored(self.net, self.params.anchor)
        fitted = [p for p in self.net.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(fitted, lr=self.params.lr, weight_decay=self.params.weight_decay)
        self._module = nn.parallel.DistributedDataParallel(self.net) if self.world > 1 else self.net

    def epoch(self) -> float:
        """Pass once over the rows; returns the mean loss. Raises Broken when it is not finite."""
        shuffle = torch.Generator().manual_seed(_mix(self.seed, self.epochs))
        noise = torch.Generator(self.device).manual_seed(_mix(self.seed, self.epochs, self.rank + 1))
        order = torch.randperm(len(self.rows), generator=shuffle)
        losses = []
        for batch in torch.split(order, self._batch()):
            mine = batch[self.rank :: self.world]
            # Every process must take part in every step, so a short last batch is shared by repeating rows.
            mine = mine if len(mine) else batch[:1]
            x, actual, weight = (part[mine].to(self.device) for part in self._data)
            predicted = self._module(x, self.params.dropout, noise)
            loss = pinball(predicted, actual, weight, self._balance) + self.penalty()
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.net.parameters(), self.params.clip)
            self.optimizer.step()
            losses.append(float(loss.detach()))
        self.epochs += 1
        mean = float(np.mean(losses))
        if not np.isfinite(mean):
            raise Broken(f"the loss is not finite after epoch {self.epochs}: lower lr ({self.params.lr:g})")
        return mean

    def penalty(self) -> Tensor:
        """What holds the weights: L2-SP towards those that the fit started from, and EWC towards those of `hold`."""
        total = torch.zeros((), device=self.device)
        if self.params.anchor > 0:
            total = total + self._pull(self.net)
        if self.hold is not None:
            total = total + self.hold(self.net)
        return total

    def quantiles(self, rows: Dataset) -> Floats:
        """The network's quantiles of residuals for other rows (n x T x 3)."""
        out: Floats = self.net.quantiles(torch.from_numpy(rows.x).to(self.device)).cpu().numpy().astype(float)
        return out

    def weights(self) -> dict[str, Tensor]:
        """A copy of the network's state on the CPU."""
        return {name: value.detach().cpu().clone() for name, value in self.net.state_dict().items()}

    def state(self) -> dict[str, Tensor]:
        """Everything needed to go on from here in another process, as flat tensors."""
        moments = {
            f"optimizer.{i}.{name}": value.detach().cpu().clone()
            for i, entry in self.optimizer.state_dict()["state"].items()
            for name, value in entry.items()
        }
        return {f"net.{k}": v for k, v in self.weights().items()} | moments | {"epochs": torch.tensor(self.epochs)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a state."""
        self.net.load_state_dict({k.removeprefix("net."): v for k, v in state.items() if k.startswith("net.")})
        entries: dict[int, dict[str, Any]] = {}
        for key, value in state.items():
            if key.startswith("optimizer."):
                _, place, name = key.split(".")
                entries.setdefault(int(place), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": entries, "param_groups": groups})
        self.epochs = int(state["epochs"])

    def _batch(self) -> int:
        # About as many steps an epoch whatever the rows: an epoch then means the same to a fold and to the final fit.
        return self.params.batch or int(min(max(len(self.rows) // 12, 32), 1024))


def network_of(state: dict[str, Tensor], params: FitParams) -> EngagementNet:
    """The network of a state, with the parameters trainable that a fit with `params` would change."""
    net = EngagementNet(len(FEATURES), len(TARGETS), params.hidden, torch.Generator().manual_seed(0))
    net.load_state_dict(state)
    if params.head_only:
        _only_head(net)
    return net


def consolidated(net: EngagementNet, rows: Dataset, strength: float, seed: int) -> Ewc:
    """EWC at the network's present weights, with the Fisher information of old rows (at most FISHER_ROWS of them).

    The loss of a row is its quantile loss over the mean one of the rows: the negative log-likelihood of an asymmetric
    Laplace distribution whose scale was fitted to them (Yu & Moyeed 2001, "Bayesian quantile regression"). Members of
    the committee count each for itself. The penalty comes in the units of the mean quantile loss, so that a strength of
    1 weighs the old rows like as many new ones. NoData without rows.
    """
    chosen = rows.take(np.sort(np.random.default_rng(seed).permutation(len(rows))[:FISHER_ROWS]))
    x = torch.from_numpy(chosen.x)
    actual = torch.from_numpy(chosen.residual.astype(np.float32))
    balance = torch.from_numpy(rows.balance.astype(np.float32))
    one = torch.ones(1)
    with torch.no_grad():
        scale = float(pinball(net(x), actual, torch.ones(len(x)), balance)) if len(x) else 1.0
    scale = max(scale, 1e-6)

    def loss(row: int) -> Tensor:
        here = slice(row, row + 1)
        return MEMBERS / scale * pinball(net(x[here]), actual[here], one, balance)

    return Ewc.anchored(net, loss, len(chosen), strength * scale / MEMBERS)


def _only_head(net: EngagementNet) -> None:
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name in HEAD)


def _spread(rows: Dataset) -> NDArray[np.float32]:
    """Usual size of a residual by known age and target; where an age has too few rows, the target's over all ages."""
    out = np.full((len(KNOWN_AGES_H), len(TARGETS)), 0.3, dtype=np.float32)
    for t in range(len(TARGETS)):
        for a, age in enumerate(KNOWN_AGES_H):
            groups = (rows.residual[rows.known_age == age, t], rows.residual[:, t])
            known = [np.abs(g[np.isfinite(g)]) for g in groups]
            chosen = next((g for g in known if len(g) >= 20), None)
            if chosen is not None:
                out[a, t] = max(float(np.quantile(chosen, 0.8)), 1e-3)
    return out


def _mix(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))
