"""Reads and checks `topology.yaml`: which services there are, and what each is given under a profile."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import InvalidInput
from core.settings import Profile

M = TypeVar("M", bound=BaseModel)

FILE = Path(__file__).with_name("topology.yaml")


class Service(BaseModel):
    """A service as the file describes it, after the profile's overrides."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["actor", "serve"]
    cpu: float = Field(ge=0)
    gpu: float = Field(0.0, ge=0, le=1)
    memory_mb: int = Field(gt=0)
    concurrency: int = Field(gt=0)
    replicas: int = Field(1, ge=1)
    shards: int = Field(1, ge=1)
    route: str | None = None
    on_demand: bool = False

    @property
    def instances(self) -> int:
        """How many processes of it there are."""
        return self.replicas * self.shards


class System(BaseModel):
    """What Ray itself takes, and what is kept free for short-lived work."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory_mb: int = Field(gt=0)
    object_store_mb: int = Field(ge=80)
    spare_cpu: float = Field(ge=0)


@dataclass(frozen=True, slots=True)
class Topology:
    """All services of a profile, in the file's order."""

    profile: Profile
    system: System
    services: dict[str, Service]

    def of_kind(self, kind: Literal["actor", "serve"]) -> dict[str, Service]:
        """Those that `up` starts."""
        return {n: s for n, s in self.services.items() if s.kind == kind and not s.on_demand}

    def actor_names(self, service: str) -> tuple[str, ...]:
        """Names of a service's actors: the service's own, or one a shard."""
        shards = self.services[service].shards
        return (service,) if shards == 1 else tuple(f"{service}-{i}" for i in range(shards))


def load(profile: Profile, file: Path = FILE) -> Topology:
    """The topology under a profile; InvalidInput names the file and the entry that is wrong."""
    return parse(_read(file), profile, str(file))


def parse(document: Any, profile: Profile, where: str = "topology") -> Topology:
    """The topology in a YAML document's data."""
    if not isinstance(document, dict) or not {"system", "services", "profiles"} <= set(document):
        raise InvalidInput(f"{where}: needs the entries system, services and profiles")
    if profile not in document["profiles"]:
        raise InvalidInput(f"{where}: no profile {profile!r}, there are {', '.join(document['profiles'])}")
    overrides = document["profiles"][profile] or {}
    unknown = set(overrides.get("services", {})) - set(document["services"])
    if unknown:
        raise InvalidInput(f"{where}: profile {profile} changes unknown services: {', '.join(sorted(unknown))}")
    services = {
        name: _checked(Service, {**entry, **overrides.get("services", {}).get(name, {})}, f"{where}: {name}")
        for name, entry in document["services"].items()
    }
    for name, service in services.items():
        if service.kind == "actor" and (service.replicas != 1 or service.route):
            raise InvalidInput(f"{where}: {name}: an actor has shards, not replicas or a route")
        if service.kind == "serve" and service.shards != 1:
            raise InvalidInput(f"{where}: {name}: a Serve application has replicas, not shards")
    system = _checked(System, {**document["system"], **overrides.get("system", {})}, f"{where}: system")
    return Topology(profile, system, services)


def _checked(model: type[M], data: dict[str, Any], where: str) -> M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"{where}: {field}: {first['msg']}", field=field) from error


@cache
def _read(file: Path) -> Any:
    try:
        return yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise InvalidInput(f"{file}: cannot be read: {error}") from error
