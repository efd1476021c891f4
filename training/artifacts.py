"""Loading a model version so that it is certainly the one that was registered, and one that this code can serve."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from core.artifacts import ArtifactStore
from core.codec import from_plain
from core.errors import AnalyticBotError, ArtifactCorrupt, InvalidInput, Refused
from core.schemas.models import Signature
from core.schemas.predictions import TARGETS
from training.features import FEATURES, SCHEMA
from training.layout import HEADER
from training.model import EngagementModel

if TYPE_CHECKING:
    from training.content.model import ContentModel


def load_model(store: ArtifactStore, sha256: str, device: str = "cpu") -> EngagementModel:
    """The verified model of an artifact: bytes by hash, input signature, and its stored predictions computed again.

    Raises NotFound, ArtifactCorrupt (bytes or predictions differ), Refused (trained for other features), StorageBroken.
    """
    files = store.get(sha256)
    try:
        model = EngagementModel.from_artifact(files, device)
        check_signature(model.signature)
        model.check_golden(files)
    except ArtifactCorrupt as error:
        raise ArtifactCorrupt(f"artifact {sha256}: {error}", artifact=sha256) from error
    except Refused as error:
        raise _named(error, sha256) from error
    return model


def load_content(store: ArtifactStore, sha256: str) -> ContentModel:
    """The verified content model of an artifact; NotFound, ArtifactCorrupt, Refused (other inputs), StorageBroken."""
    from training.content.model import SIGNATURE, ContentModel

    try:
        model = ContentModel.from_artifact(store.get(sha256))
    except ArtifactCorrupt as error:
        raise ArtifactCorrupt(f"artifact {sha256}: {error}", artifact=sha256) from error
    if model.signature != SIGNATURE:
        raise Refused(f"artifact {sha256}: the content model expects other inputs: train it again", artifact=sha256)
    return model


def stored_signature(files: Mapping[str, bytes]) -> Signature:
    """The input that an artifact says it was trained for, read without loading its network; ArtifactCorrupt."""
    try:
        return from_plain(Signature, json.loads(files[HEADER])["signature"])
    except (KeyError, ValueError, InvalidInput) as error:
        raise ArtifactCorrupt(f"{HEADER} does not say what the model was trained for") from error


def check_signature(signature: Signature) -> None:
    """Refused unless this code makes exactly the features that a model expects, for targets that it knows."""
    if signature.schema != SCHEMA:
        raise Refused(f"the model expects feature schema {signature.schema}, this code makes {SCHEMA}: train it again")
    if signature.features != FEATURES:
        other = sorted(set(signature.features) ^ set(FEATURES))
        raise Refused(f"the model expects other features ({', '.join(other[:5]) or 'another order'}): train it again")
    unknown = set(signature.targets) - set(TARGETS)
    if unknown or not signature.targets:
        raise Refused(f"the model predicts unknown targets: {', '.join(sorted(unknown)) or 'none'}")


def _named(error: AnalyticBotError, sha256: str) -> Refused:
    return Refused(f"artifact {sha256}: {error}", artifact=sha256)
