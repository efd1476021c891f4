"""Trains a content version on all channels, registers it with its evaluation, and puts it in service.

The same data, emoji meanings and seed give the same version: a job that was killed after registering goes on where it
stopped. A version that can tell nothing at all is registered too, because it knows the channels' topics, and says so.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core import telemetry
from core.artifacts import ArtifactStore
from core.clock import Clock
from core.codec import to_plain
from core.protocols import VersioningService
from core.schemas.content import CONTENT, ContentEvaluation
from core.schemas.models import Lineage, NewVersion
from core.settings import Settings
from core.store.database import Database, StoredClock

if TYPE_CHECKING:
    from training.content.train import ContentTraining


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
    from core.store.channels import ChannelStore
    from training.content.rows import ChannelPosts
    from training.content.train import train_content

    store, until = ChannelStore(database, settings.tenant), clock.now()
    meanings = settings.content.polarity
    channels = [ChannelPosts.read(store, c, until, meanings.get(c.name)) for c in store.channels()]
    trained = train_content(channels, until, settings.seed)
    number = put_in_service(trained, artifacts, versioning, until, settings.seed)
    return ContentReport(number, trained.rows, len(channels), trained.evaluation)


def put_in_service(
    trained: ContentTraining, artifacts: ArtifactStore, versioning: VersioningService, until: int, seed: int
) -> int:
    """Store, register and verify a training's version, and make it the champion; returns its number."""
    from cluster.code import version as code_version
    from training.content.model import SIGNATURE

    lineage = Lineage(
        parent=None,
        data_from=trained.data_from,
        data_until=until,
        rows=trained.rows,
        data_sha256=trained.data_sha256,
        code=f"analyticbot, sources {code_version()}",
        seed=seed,
        strategy="batch",
        posts=trained.rows,
    )
    sha256 = artifacts.put(trained.files)
    params = {"evaluation": to_plain(trained.evaluation)}
    new = NewVersion(CONTENT, sha256, SIGNATURE, params, None, lineage, f"content:{sha256}")
    number = versioning.register(new).version
    versioning.verify(CONTENT, number)
    champion = versioning.resolve(CONTENT, "champion")
    before = None if champion is None else champion.version
    reason = f"trained on {trained.rows} posts"
    versioning.set_alias(CONTENT, "champion", number, expect=before, reason=reason, actor="job content")
    return number


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
