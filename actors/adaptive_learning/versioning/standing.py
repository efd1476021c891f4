"""Says which versions are in charge, since when and by whom, and whether routers are told the same. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from core.schemas.models import AliasChange, ModelVersion
from core.schemas.rollouts import TrafficSplit
from core.schemas.versions import AliasHolder, Deployment

_ORDER = ("champion", "challenger", "previous")


def standing(
    model: str,
    versions: Sequence[ModelVersion],
    history: Sequence[AliasChange],
    split: TrafficSplit | None,
    open_rollouts: Sequence[str],
) -> Deployment:
    """The deployment of a model. history: newest first."""
    holders = []
    for alias in _ORDER:
        holder = next((v for v in versions if alias in v.aliases), None)
        change = next((c for c in history if c.alias == alias), None)
        if holder is not None and change is not None:
            holders.append(
                AliasHolder(
                    alias, holder.version, holder.semantic, change.at, change.actor, change.reason, change.generation
                )
            )
    differences = () if open_rollouts else _differences(model, {h.alias: h.version for h in holders}, split)
    return Deployment(model, tuple(holders), split, tuple(open_rollouts), differences)


def _differences(model: str, named: dict[str, int], split: TrafficSplit | None) -> tuple[str, ...]:
    champion = named.get("champion")
    if split is None:
        return () if champion is None else (f"v{champion} is champion of {model}, routers were told of no version",)
    found = []
    if champion != split.stable:
        title = "no version" if champion is None else f"v{champion}"
        found.append(f"{title} is champion of {model}, routers are told to serve v{split.stable}")
    if split.canary is not None:
        found.append(f"routers are told of v{split.canary} beside it, and no roll-out is open")
    return tuple(found)
