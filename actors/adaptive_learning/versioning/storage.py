"""Decides whether a version's artifact may go into service: whole, the one registered, one that this code serves."""

from __future__ import annotations

from core.artifacts import ArtifactStore
from core.errors import NotConfigured, Refused
from core.schemas.content import CONTENT
from core.schemas.models import ModelVersion
from core.schemas.predictions import ENGAGEMENT
from core.schemas.versions import ArtifactCheck
from core.store.registry import check_kept
from training.artifacts import check_signature, load_content, load_model, stored_signature


def verify(artifacts: ArtifactStore | None, version: ModelVersion, *, predictions: bool = True) -> ArtifactCheck:
    """Read the artifact and check everything about it that can be checked without traffic.

    predictions: whether the stored ones are computed again, which loads the network; whoever serves a version does so
    anyway.

    Raises Refused for a version that was pruned, whose artifact has another signature than was registered, or that
    expects features which this code does not make; NotFound for an artifact that is missing; ArtifactCorrupt for
    damaged bytes and for stored predictions that do not come out again; NotConfigured without a store (None) and for a
    model that this code has no network for; StorageBroken.
    """
    check_kept(version)
    if artifacts is None:
        raise NotConfigured("no artifact store was given: nothing can be verified")
    files = artifacts.get(version.sha256)
    if version.model not in (ENGAGEMENT, CONTENT):
        raise NotConfigured(f"this code serves {ENGAGEMENT!r} and {CONTENT!r}; it has no network for {version.model!r}")
    _same_signature(files, version)
    if predictions:
        _load(artifacts, version)
    sizes = {name: len(data) for name, data in sorted(files.items())}
    return ArtifactCheck(
        model=version.model,
        version=version.version,
        semantic=version.semantic,
        sha256=version.sha256,
        bytes=sum(sizes.values()),
        files=sizes,
        checks=("sha256", "signature", "features", *(("predictions",) if predictions else ())),
    )


def _same_signature(files: dict[str, bytes], version: ModelVersion) -> None:
    signature = stored_signature(files)
    if signature != version.signature:
        raise Refused(
            f"artifact {version.sha256} has another signature than v{version.version} of {version.model} was "
            "registered with: register it again",
            artifact=version.sha256,
            version=version.version,
        )
    if version.model == ENGAGEMENT:
        check_signature(signature)


def _load(artifacts: ArtifactStore, version: ModelVersion) -> None:
    if version.model == CONTENT:
        load_content(artifacts, version.sha256)
        return
    import torch  # seconds of imports that a registry does without

    torch.set_num_threads(1)  # a few rows: threads would only wait for each other
    load_model(artifacts, version.sha256)
