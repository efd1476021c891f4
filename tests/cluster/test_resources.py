from __future__ import annotations

import sys
import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster import resources, topology
from cluster.resources import Machine, PlanDoesNotFit
from cluster.topology import Service, System, Topology
from training.gpu import SHARE, apply_gpu_share

ROOMY = Machine(cpus=16, memory_mb=64_000)


def test_a_laptop_of_two_cores_and_four_gigabytes_is_enough() -> None:
    plan = resources.make(topology.load("laptop"), Machine(cpus=2, memory_mb=4096))
    assert plan.problems == ()
    assert resources.require(plan) is plan


def test_without_a_gpu_the_same_services_run_on_the_cpu() -> None:
    bare = resources.make(topology.load("gpu"), ROOMY)
    fitted = resources.make(topology.load("gpu"), Machine(16, 64_000, (24_000,)))
    assert [s.service for s in bare.shares] == [s.service for s in fitted.shares]
    assert all(s.gpu == 0 for s in bare.shares)
    assert any("no GPU" in note for note in bare.notes)


def test_shares_of_one_gpu_leave_room_for_the_learner() -> None:
    plan = resources.make(topology.load("gpu"), Machine(16, 64_000, (24_000,)))
    assert plan.problems == ()
    assert sum(s.gpu * s.instances for s in plan.shares) <= 1
    assert plan.share("learner").gpu > 0


def test_too_little_memory_is_one_line_that_says_what_to_do() -> None:
    plan = resources.make(topology.load("laptop"), Machine(cpus=2, memory_mb=1000))
    with pytest.raises(PlanDoesNotFit, match=r"too little memory: .* wanted, 1,000 MB available: end other"):
        resources.require(plan)


def test_a_refusal_carries_the_table_of_who_wants_what() -> None:
    plan = resources.make(topology.load("server"), Machine(cpus=1, memory_mb=64_000))
    with pytest.raises(PlanDoesNotFit, match="too few CPUs") as refusal:
        resources.require(plan)
    wanted = {row["service"]: row["cpu"] for row in refusal.value.details["plan"]["shares"]}
    assert wanted["predictor"] == 0.5


def made_of(*gpu_shares: float) -> Topology:
    services = {
        f"s{i}": Service(kind="actor", cpu=0, gpu=share, memory_mb=1, concurrency=1)
        for i, share in enumerate(gpu_shares)
    }
    return Topology("gpu", System(memory_mb=1, object_store_mb=80, spare_cpu=0), services)


def test_shares_that_fit_in_sum_but_on_no_single_gpu_are_refused() -> None:
    plan = resources.make(made_of(0.7, 0.7, 0.6), Machine(4, 1000, (1, 1)))
    assert plan.problems == (
        "too little GPU: 2.00 wanted on 2 GPUs, no room for 0.6 of s2: lower gpu shares in cluster/topology.yaml",
    )


@given(st.lists(st.floats(0.05, 1.0), min_size=1, max_size=12), st.integers(1, 4))
def test_no_gpu_is_ever_promised_more_than_once(wanted: list[float], gpus: int) -> None:
    plan = resources.make(made_of(*wanted), Machine(4, 1000, (1,) * gpus))
    held = [0.0] * gpus
    for share in plan.shares:
        for gpu in share.gpus:
            held[gpu] += share.gpu
    assert all(load <= 1 + 1e-6 for load in held)
    placed = sum(len(share.gpus) for share in plan.shares)
    assert placed == len(wanted) or plan.problems


def test_this_machine_has_cpus_and_memory() -> None:
    machine = resources.this_machine()
    assert machine.cpus >= 1
    assert machine.memory_mb > 100


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands for NVIDIA's driver, which this machine may not have: two GPUs of 24 and 48 GB."""
    told: dict[str, Any] = {"sizes": [24, 48], "fails": False}

    class NVMLError(Exception):
        pass

    def init() -> None:
        if told["fails"]:
            raise NVMLError("driver not loaded")

    module = types.ModuleType("pynvml")
    module.__spec__ = types.SimpleNamespace(name="pynvml")  # type: ignore[assignment]
    values = {
        "NVMLError": NVMLError,
        "nvmlInit": init,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: len(told["sizes"]),
        "nvmlDeviceGetHandleByIndex": lambda i: i,
        "nvmlDeviceGetMemoryInfo": lambda i: types.SimpleNamespace(total=told["sizes"][i] * 2**30),
    }
    for name, value in values.items():
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return told


def test_gpus_are_those_that_the_driver_reports(driver: dict[str, Any]) -> None:
    assert resources.this_machine().gpu_memory_mb == (24 * 1024, 48 * 1024)


def test_gpus_that_are_hidden_from_this_process_do_not_count(
    driver: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert resources.this_machine().gpu_memory_mb == (48 * 1024,)


def test_no_driver_means_no_gpu(driver: dict[str, Any]) -> None:
    driver["fails"] = True
    assert resources.this_machine().gpu_memory_mb == ()


def test_without_a_share_a_process_uses_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SHARE, raising=False)
    assert apply_gpu_share() == "cpu"
    assert apply_gpu_share(0.0) == "cpu"


def test_a_share_is_enforced_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    held: list[float] = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", held.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv(SHARE, "0.25")
    assert apply_gpu_share() == "cuda"
    assert held == [0.25]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert apply_gpu_share() == "cpu"
    assert held == [0.25]


def test_a_share_of_more_than_one_gpu_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        apply_gpu_share(1.5)
