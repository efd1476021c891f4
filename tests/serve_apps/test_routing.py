"""Routing: sticky, monotone in the weight, fair in share; pins name versions in service."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Conflict, InvalidInput
from serve_apps.predictor.lease import Lease, Standing
from serve_apps.predictor.routing import bucket, parse_pin, route, side


@given(st.integers(0, 2**63 - 1), st.floats(0, 1), st.floats(0, 1))
def test_channels_move_only_from_stable_to_canary_as_the_weight_rises(channel: int, a: float, b: float) -> None:
    place = bucket("engagement", channel)
    low, high = sorted((a, b))
    assert not (side(place, low) == "canary" and side(place, high) == "stable")


@given(st.integers(0, 2**63 - 1))
def test_no_channel_is_on_the_canary_at_zero_and_every_one_is_at_one(channel: int) -> None:
    place = bucket("engagement", channel)
    assert (side(place, 0.0), side(place, 1.0)) == ("stable", "canary")


@pytest.mark.parametrize("weight", [0.1, 0.5])
def test_the_realised_share_lies_in_the_binomial_band(weight: float) -> None:
    n = 20_000
    share = sum(side(bucket("engagement", i), weight) == "canary" for i in range(n)) / n
    assert abs(share - weight) < 3.29 * (weight * (1 - weight) / n) ** 0.5


def test_a_place_is_the_same_in_every_process_and_differs_between_models() -> None:
    assert bucket("engagement", 42) == pytest.approx(0.0379673644604589, abs=1e-15)
    assert bucket("engagement", 42) != bucket("other", 42)


def test_a_pin_chooses_a_version_in_service_and_nothing_else() -> None:
    args = {"stable": 1, "canary": 2, "weight": 0.0}
    assert route("engagement", 7, **args, pin=2).side == "canary"
    assert route("engagement", 7, **args, pin=1).side == "stable"
    with pytest.raises(Conflict, match="version 3"):
        route("engagement", 7, **args, pin=3)
    assert route("engagement", 7, stable=1, canary=None, weight=1.0, pin=None).side == "stable"


@pytest.mark.parametrize(("header", "pin"), [(None, None), (" ", None), ("3", 3), ("v12", 12)])
def test_a_pin_is_a_version_number(header: str | None, pin: int | None) -> None:
    assert parse_pin(header) == pin


@pytest.mark.parametrize("header", ["latest", "-1", "1.5", "9" * 30])
def test_anything_else_in_the_pin_is_refused(header: str) -> None:
    with pytest.raises(InvalidInput):
        parse_pin(header)


class TestLease:
    """Silence freezes, longer silence abandons, a renewal revives."""

    @staticmethod
    def split(world_epoch: int, renewals: int) -> object:
        from core.schemas.rollouts import TrafficSplit

        return TrafficSplit("engagement", world_epoch, 1, 2, 0.1, True, 30.0, 300.0, renewals)

    def test_silence_freezes_then_abandons(self) -> None:
        lease = Lease.of(self.split(1, 0), now=100.0)  # type: ignore[arg-type]
        standings = [lease.standing(100.0 + s) for s in (0, 29.9, 30, 299, 300)]
        assert standings == [Standing.ALIVE, Standing.ALIVE, Standing.FROZEN, Standing.FROZEN, Standing.ABANDONED]

    def test_only_a_grown_count_or_a_new_epoch_renews(self) -> None:
        lease = Lease.of(self.split(3, 5), now=0.0)  # type: ignore[arg-type]
        for epoch, renewals in ((3, 5), (3, 4), (2, 9)):
            assert lease.seen(self.split(epoch, renewals), 50.0).standing(50.0) is Standing.FROZEN  # type: ignore[arg-type]
        for epoch, renewals in ((3, 6), (4, 0)):
            assert lease.seen(self.split(epoch, renewals), 50.0).standing(50.0) is Standing.ALIVE  # type: ignore[arg-type]
