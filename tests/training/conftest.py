from __future__ import annotations

import pytest

from core.history import ChannelHistory
from tests.training.audience import make_history


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """As the product does: networks this small only lose by threads, most of all on a busy machine."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def history() -> ChannelHistory:
    return make_history()


@pytest.fixture
def histories() -> list[ChannelHistory]:
    return [make_history(number) for number in (1, 2, 3)]
