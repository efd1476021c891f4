"""Decides which old versions may be given up, and gives them up: none that is named, served, on trial or planned with.

Kept are: the newest `keep` versions; every version that an alias names; those that routers are told to serve and those
of open roll-outs; those that an unfinished training starts from or is compared with, and those of open workflows; and
the parent of a version that is named, served or on trial, because that one was judged against it and going back leads
there. Grandparents are not kept: a line of warm starts would then keep all of itself.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from core.artifacts import ArtifactStore
from core.errors import InvalidInput
from core.schemas.models import ModelVersion
from core.schemas.versions import Kept, Pruned, PruneReport
from core.store.retention import Retention, Uses


def reasons(uses: Uses, keep: int) -> dict[int, tuple[str, ...]]:
    """Every version that is not pruned yet, newest first, and why it is kept; no reason: it may go.

    keep: how many of the newest stay whatever becomes of them.
    """
    present = [version for version in uses.versions if version.pruned_at is None]
    found: dict[int, list[str]] = defaultdict(list)
    for version in present[:keep]:
        found[version.version].append(f"among the newest {keep}")
    in_charge = [(f"{alias} names it", v.version) for v in uses.versions for alias in v.aliases] + list(uses.serving)
    for reason, number in in_charge:
        found[number].append(reason)
    parents = {v.version: v.lineage.parent for v in uses.versions}
    for number in sorted({number for _, number in in_charge}):
        parent = parents.get(number)
        if parent is not None:
            found[parent].append(f"parent of v{number}")
    for reason, number in uses.planned:
        found[number].append(reason)
    return {v.version: tuple(dict.fromkeys(found[v.version])) for v in present}


@dataclass(frozen=True)
class Management:
    """Retention over one registry and its artifact store."""

    retention: Retention
    artifacts: ArtifactStore

    def prune(self, model: str, keep: int, now: int, *, dry_run: bool = False) -> PruneReport:
        """Give up all versions without a reason to stay, and delete artifacts that no kept version has.

        Marks first, deletes after; called again it finishes what was cut short. dry_run changes nothing. InvalidInput
        for keep below 1, StorageBroken when the artifact store refuses (the marks stay).
        """
        if keep < 1:
            raise InvalidInput(f"keep must be at least 1, not {keep}: the newest version always stays", field="keep")
        if dry_run:
            uses = self.retention.uses(model)
        else:
            uses = self.retention.mark(model, lambda found: _going(reasons(found, keep)), now)
        why = reasons(uses, keep)
        going = {number: v for number, v in _by_number(uses).items() if number in _going(why)}
        shared = self._shared(model, going)
        gone = [v for v in uses.versions if v.version in going or v.pruned_at is not None]
        deleted, freed = self._release({v.sha256 for v in gone if v.sha256 not in shared}, dry_run)
        numbers = _by_number(uses)
        return PruneReport(
            model=model,
            keep=keep,
            dry_run=dry_run,
            kept=tuple(Kept(n, numbers[n].semantic, reason) for n, reason in why.items() if reason),
            pruned=tuple(Pruned(n, v.semantic, v.sha256, shared.get(v.sha256)) for n, v in going.items()),
            deleted=deleted,
            freed_bytes=freed,
        )

    def _shared(self, model: str, going: dict[int, ModelVersion]) -> dict[str, str]:
        """Artifacts that a version which stays has, and the newest such version in words."""
        staying = {
            sha256: [(m, n) for m, n in holders if m != model or n not in going]
            for sha256, holders in self.retention.holders().items()
        }
        return {sha256: f"{who[-1][0]} v{who[-1][1]}" for sha256, who in staying.items() if who}

    def _release(self, addresses: set[str], dry_run: bool) -> tuple[tuple[str, ...], int]:
        """Addresses (to be) deleted and their bytes; those that are gone already are not named."""
        deleted, freed = [], 0
        for address in sorted(addresses):
            size = (
                self.artifacts.size(address) or 0 if dry_run else self.retention.release(address, self.artifacts.delete)
            )
            if size:
                deleted.append(address)
                freed += size
        return tuple(deleted), freed


def _going(why: dict[int, tuple[str, ...]]) -> set[int]:
    return {number for number, reason in why.items() if not reason}


def _by_number(uses: Uses) -> dict[int, ModelVersion]:
    return {v.version: v for v in uses.versions}
