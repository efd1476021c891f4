from __future__ import annotations

import pytest

from core.history import ChannelHistory
from tests.training.audience import make_history


@pytest.fixture
def history() -> ChannelHistory:
    return make_history()


@pytest.fixture
def histories() -> list[ChannelHistory]:
    return [make_history(number) for number in (1, 2, 3)]
