from __future__ import annotations

from dataclasses import fields

import pytest

from core.schemas.rollouts import RolloutConfig
from core.settings import RolloutDefaults, Settings


def test_the_settings_carry_every_setting_of_a_rollout_with_its_own_default() -> None:
    # Whether to skip the offline check is said for one version, never for all.
    assert set(RolloutDefaults().fields()) == {field.name for field in fields(RolloutConfig)} - {"skip_validation"}
    assert RolloutDefaults().config() == RolloutConfig()


def test_defaults_of_rollouts_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANALYTICBOT_ROLLOUT__FREEZE", '["Fri 16:00 - Mon 08:00 Europe/Berlin"]')
    monkeypatch.setenv("ANALYTICBOT_ROLLOUT__GUARDS", '["errors", "quality"]')
    monkeypatch.setenv("ANALYTICBOT_ROLLOUT__BY_KNOWN_AGE", "true")
    monkeypatch.setenv("ANALYTICBOT_ROLLOUT__WEBHOOK", "https://a.example/secret")
    rollout = Settings().rollout
    config = rollout.config()
    assert config.freeze == ("Fri 16:00 - Mon 08:00 Europe/Berlin",)
    assert (config.guards, config.by_known_age, config.alpha) == (("errors", "quality"), True, RolloutConfig().alpha)
    assert rollout.webhook is not None
    assert rollout.webhook.get_secret_value() == "https://a.example/secret"
    assert "secret" not in repr(rollout)


def test_variables_of_others_mean_nothing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALPHA", "STEPS", "FREEZE", "WEBHOOK", "GATES"):
        monkeypatch.setenv(name, "[1]")
    assert Settings().rollout == RolloutDefaults()


def test_fewer_steps_in_the_settings_need_no_other_holds_and_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANALYTICBOT_ROLLOUT__STEPS", "[0.2, 1.0]")
    config = Settings().rollout.config()
    assert (config.steps, config.hold_s) == ((0.2, 1.0), RolloutConfig().hold_s[:2])
    assert config.gates == RolloutConfig().gates[:2]


def test_a_setting_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANALYTICBOT_ROLLOUT__BEAUTY", "1")
    with pytest.raises(ValueError, match="beauty"):
        Settings()
