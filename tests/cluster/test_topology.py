from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from cluster import services, topology
from core.errors import InvalidInput
from core.settings import Profile

DOCUMENT: dict[str, Any] = yaml.safe_load(topology.FILE.read_text())


def changed(**entries: Any) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    for name, values in entries.items():
        document["services"].setdefault(name, {}).update(values)
    return document


@pytest.mark.parametrize("profile", get_args(Profile))
def test_every_profile_has_the_same_services(profile: Profile) -> None:
    assert topology.load(profile).services.keys() == topology.load("laptop").services.keys()


def test_every_service_of_the_file_can_be_built() -> None:
    shape = topology.load("laptop")
    assert set(shape.of_kind("actor")) == set(services._ACTORS)
    assert set(shape.of_kind("serve")) == set(services._APPS)


def test_a_profile_changes_only_what_it_names() -> None:
    laptop, server = topology.load("laptop"), topology.load("server")
    assert server.services["predictor"].replicas == 2
    assert laptop.services["predictor"].replicas == 1
    assert laptop.services["predictor"].route == server.services["predictor"].route == "/v1/predictions"


def test_services_on_demand_are_not_started_by_up() -> None:
    assert "canary" not in topology.load("laptop").of_kind("serve")


def test_shards_have_names_of_their_own() -> None:
    shape = topology.load("cluster")
    assert shape.actor_names("anomaly_analysis") == tuple(f"anomaly_analysis-{i}" for i in range(4))
    assert shape.actor_names("versioning") == ("versioning",)


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"drift": {"cpu": -1}}, "drift: cpu"),
        ({"drift": {"gpu": 1.5}}, "drift: gpu"),
        ({"drift": {"colour": "red"}}, "drift: colour"),
        ({"drift": {"replicas": 2}}, "an actor has shards"),
        ({"gateway": {"shards": 2}}, "replicas, not shards"),
        ({"new": {"kind": "thing", "cpu": 1, "memory_mb": 1, "concurrency": 1}}, "new: kind"),
    ],
)
def test_a_wrong_entry_is_named(entries: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        topology.parse(changed(**entries), "laptop")


def test_a_profile_that_changes_an_unknown_service_is_refused() -> None:
    document = copy.deepcopy(DOCUMENT)
    document["profiles"]["laptop"]["services"]["orchestra"] = {"cpu": 1}
    with pytest.raises(InvalidInput, match="unknown services: orchestra"):
        topology.parse(document, "laptop")


def test_an_unknown_profile_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InvalidInput, match="laptop, server, gpu, cluster"):
        topology.parse(DOCUMENT, "mainframe")  # type: ignore[arg-type]


def test_a_file_that_is_not_yaml_is_refused_by_name(tmp_path: Path) -> None:
    broken = tmp_path / "topology.yaml"
    broken.write_text("services: [")
    with pytest.raises(InvalidInput, match=r"topology\.yaml: cannot be read"):
        topology.load("laptop", broken)
    with pytest.raises(InvalidInput, match="needs the entries"):
        topology.parse([], "laptop")
