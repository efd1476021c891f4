"""Trains a content version on all channels, registers it with its evaluation, and puts it in service.

The same data, emoji meanings and seed give the same version: a job that was killed after registering goes on where it
stopped. A version that can tell nothing at all is registered too, because it knows the channels' topics, and says so.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from core import telemetry
from core.artifacts import ArtifactStore
from core.clock import Clock
from core.codec import to_plain
from core.protocols import VersioningService
from core.schemas.content import CONTENT, ContentEvaluation
from core.schemas.models import Lineage, NewVersion
from core.settings import Settings
from core.store.database import Database, StoredClock


@dataclass(frozen=True, slots=True)
class ContentReport:
    """The version that a run left in service, and how well it does."""

    version: int
    rows: int
    channels: int
    evaluation: ContentEvaluation


def run(
    settings: Settings, database: Database, artifacts: ArtifactStore, versioning: VersioningService, clock: Clock
) -> ContentReport:
    """Train, register, and move the champion's alias; NoData and InsufficientData say what is missing."""
    from cluster.code import version as code_version
    from core.store.channels import ChannelStore
    from training.content.model import SIGNATURE
    from training.content.rows import ChannelPosts
    from training.content.train import train_content

    store, until = ChannelStore(database, settings.tenant), clock.now()
    meanings = settings.content.polarity
    channels = [ChannelPosts.read(store, c, until, meanings.get(c.name)) for c in store.channels()]
    trained = train_content(channels, until, settings.seed)
    lineage = Lineage(
        parent=None,
        data_from=trained.data_from,
        data_until=until,
        rows=trained.rows,
        data_sha256=trained.data_sha256,
        code=f"analyticbot, sources {code_version()}",
        seed=settings.seed,
        strategy="batch",
        posts=trained.rows,
    )
    sha256 = artifacts.put(trained.files)
    params = {"evaluation": to_plain(trained.evaluation)}
    version = versioning.register(NewVersion(CONTENT, sha256, SIGNATURE, params, None, lineage, f"content:{sha256}"))
    versioning.verify(CONTENT, version.version)
    champion = versioning.resolve(CONTENT, "champion")
    versioning.set_alias(
        CONTENT,
        "champion",
        version.version,
        expect=None if champion is None else champion.version,
        reason=f"trained on {trained.rows} posts of {len(channels)} channels",
        actor="job content",
    )
    return ContentReport(version.version, trained.rows, len(channels), trained.evaluation)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the job."""
    from actors.runtime import remote
    from cluster.jobs.session import job
    from core.codec import to_json

    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(
        arguments
    )
    with job("content") as settings:
        database = Database(settings.database)
        versioning = remote(VersioningService, "versioning")
        report = run(settings, database, ArtifactStore(settings.artifacts), versioning, StoredClock(database))
        telemetry.logger("content").info("in service", version=report.version, rows=report.rows)
        print(to_json(report))


if __name__ == "__main__":
    main()
