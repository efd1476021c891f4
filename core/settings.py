"""All configuration, from the environment only: `ANALYTICBOT_*`, plus the customary `DATABASE_URL` and `REDIS_URL`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.polarity import Polarity
from core.schemas.alerts import Target
from core.schemas.rollouts import GATES, GUARDS, Approval, RolloutConfig, configured

Profile = Literal["laptop", "server", "gpu", "cluster"]


#: What a roll-out does where nothing else is said; the defaults below are its own.
_USUAL = RolloutConfig()


class RolloutDefaults(BaseModel):
    """How a new model version is put into service, unless a roll-out says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: tuple[float, ...] = Field(
        _USUAL.steps, description="traffic shares of the challenger, rising to 1; a first 0 scores in the background"
    )
    hold_s: tuple[float, ...] = Field(_USUAL.hold_s, description="least time at each step, seconds")
    gates: tuple[tuple[str, ...], ...] = Field(
        _USUAL.gates, description=f"evidence that each step asks for before the next, of {', '.join(GATES)}"
    )
    guards: tuple[str, ...] = Field(_USUAL.guards, description=f"what may condemn, of {', '.join(GUARDS)}")
    by_known_age: bool = Field(_USUAL.by_known_age, description="watch every count for each known age too")
    approvals: tuple[Approval, ...] = Field(
        _USUAL.approvals, description="where a person's word is needed: before the first share, any rise, the end"
    )
    freeze: tuple[str, ...] = Field(
        _USUAL.freeze, description="weekly windows without a rise, like 'Fri 16:00 - Mon 08:00 Europe/Berlin'"
    )
    deadline_s: float = Field(
        _USUAL.deadline_s, description="without enough evidence by then: back to stable (outcomes take a day to come)"
    )
    alpha: float = Field(_USUAL.alpha, description="chance of rolling back a healthy version, per roll-out")
    beta: float = Field(_USUAL.beta, description="chance of promoting a version worse than the margin")
    error_slo: float = Field(
        _USUAL.error_slo, description="error rate that the challenger must be shown to be under (10 → 50)"
    )
    latency_tolerance: float = Field(
        _USUAL.latency_tolerance, description="slower than stable's quantile by this share of it is not slow yet"
    )
    latency_floor_ms: float = Field(_USUAL.latency_floor_ms, description="... nor is slower by this many milliseconds")
    latency_ratio: float = Field(
        _USUAL.latency_ratio, description="slow answers may come this many times as often as stable's"
    )
    quality_margin: float = Field(
        _USUAL.quality_margin, description="allowed rise of the mean |log error|, natural log units"
    )
    quality_clip: float = Field(
        _USUAL.quality_clip, description="|log error| differences are clipped here (scales the evidence)"
    )
    label_coverage: float = Field(
        _USUAL.label_coverage, description="of matured posts at least this share must get an outcome, or it holds"
    )
    lease_s: float = Field(
        _USUAL.lease_s, description="a split that the controller does not renew is frozen after this"
    )
    abandon_s: float = Field(_USUAL.abandon_s, description="... and goes back to stable after this")
    prepare_s: float = Field(_USUAL.prepare_s, description="the challenger must be loaded and answer by then")
    webhook: SecretStr | None = Field(None, description="notices of roll-outs and alerts go here; unset: only logged")

    def fields(self) -> dict[str, Any]:
        """As fields of RolloutConfig, for `configured`: all but where notices go."""
        return self.model_dump(exclude={"webhook"})

    def config(self) -> RolloutConfig:
        """The configuration of a roll-out that says nothing itself."""
        return configured(self.fields(), {})


class SloSettings(BaseModel):
    """What a model in service promises; alerts say when the promise will not be kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    availability: float = Field(0.995, gt=0, lt=1, description="share of requests that get an answer")
    latency: float = Field(0.99, gt=0, lt=1, description="share of answers within `latency_ms`")
    latency_ms: float = Field(500.0, gt=0, description="another value begins to count anew")
    coverage_low: float = Field(0.70, ge=0, le=1, description="share of outcomes inside the 80 % interval: at least")
    coverage_high: float = Field(0.90, ge=0, le=1, description="... and at most: beyond it intervals are too wide")
    error: float = Field(0.70, gt=0, description="mean |log error| of outcomes, natural: 0.7 is a factor of two")
    period_days: int = Field(30, ge=1, le=366, description="time that an error budget is for")
    least: int = Field(100, ge=1, description="events in a window below which nothing is said")


class LoopSettings(BaseModel):
    """When a model is trained again by itself, and how much of that is allowed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    least_new_labels: int = Field(
        30, ge=1, description="posts with a newly known outcome; with fewer a retraining only follows noise"
    )
    enough_new_labels: int = Field(60, ge=1, description="as many are a reason by themselves, if they are also ...")
    enough_new_share: float = Field(0.5, gt=0, description="... this share of the posts that the champion learned from")
    schedule_days: float | None = Field(
        None, gt=0, description="retrain when the champion's data is this old; unset: only for a reason"
    )
    cool_down_days: float = Field(2.0, ge=0, description="rest between a workflow's end and the next one by itself")
    trainings_a_week: int = Field(7, ge=0, description="trainings and searches in seven days, those by hand included")
    training_s_a_week: float = Field(14_400.0, ge=0, description="seconds that they may take together")


class ServingSettings(BaseModel):
    """How model versions are held and computed where they are served."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    warm_versions: int = Field(4, ge=1, description="versions that a predictor keeps loaded, the one in service too")
    warm_mb: int = Field(256, ge=1, description="... and the megabytes that they may take together")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the network on a GPU; on a CPU always float32 (docs/benchmarks.md)"
    )
    compile: bool = Field(False, description="torch.compile on a GPU: seconds at the first requests")


class ContentSettings(BaseModel):
    """What content models learn from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    polarity: dict[str, dict[str, Polarity]] = Field(
        default_factory=dict, description="by channel: what an emoji means there (-1, 0, 1), over core/polarity.py"
    )


class AlertSettings(BaseModel):
    """Where alerts may be told, and with how much patience."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    webhook_secret: SecretStr | None = Field(
        None, description="webhooks are signed with it (Standard Webhooks; whsec_ and base64, or any text)"
    )
    telegram_token: SecretStr | None = Field(None, description="of the bot that sends alerts to Telegram chats")
    telegram_url: str = Field("https://api.telegram.org", description="where the Bot API answers")
    smtp_host: str | None = Field(None, description="the mail server; unset: no alerts by mail")
    smtp_port: int = Field(587, ge=1, le=65535)
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    smtp_user: str | None = None
    smtp_password: SecretStr | None = None
    smtp_from: str = Field("analyticbot@localhost", description="sender of alerts by mail")
    allow_private: bool = Field(False, description="webhooks may go to private, loopback and link-local addresses")
    attempts: int = Field(8, ge=1, le=100, description="tries of a delivery before it is given up")
    back_off_s: float = Field(5.0, gt=0, description="wait after the first failed try; doubles with each, with jitter")
    longest_back_off_s: float = Field(3600.0, gt=0)
    timeout_s: float = Field(10.0, gt=0, le=30, description="for the whole of one try")
    sweep_s: float = Field(
        60.0, gt=0, description="how often rules are judged by the clock alone: stale data, findings"
    )
    digest_at: str | None = Field(None, description="HH:MM: a digest of the last 24 hours, every day")
    digest_timezone: str = "UTC"
    digest_targets: tuple[Target, ...] = Field((Target("log"),), description="who gets it")

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown, in clear."""
        held = (self.webhook_secret, self.telegram_token, self.smtp_password)
        return tuple(secret.get_secret_value() for secret in held if secret is not None)


class Settings(BaseSettings):
    """Read once at start and handed to everything that needs a part of it."""

    model_config = SettingsConfigDict(
        env_prefix="ANALYTICBOT_", env_nested_delimiter="__", env_file=".env", frozen=True, extra="ignore"
    )

    env: Literal["development", "test", "staging", "production"] = "development"
    home: Path = Field(Path("var"), description="everything the product writes, unless another URL says otherwise")
    database_url: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("DATABASE_URL", "database_url"),
        description="unset: SQLite in `home`; postgresql://… for PostgreSQL",
    )
    redis_url: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("REDIS_URL", "redis_url"),
        description="unset: a bounded cache in each process",
    )
    artifacts_url: str | None = Field(None, description="unset: `home`/artifacts; a path or object store URL")
    host: str = Field("127.0.0.1", description="beyond loopback, API keys are required")
    require_keys: bool = Field(False, description="ask for API keys on loopback too")
    http_port: int = Field(8000, ge=1, le=65535)
    ray_port: int = Field(6391, ge=1, le=65535, description="the head's port; `up` takes the next free one")
    dashboard_port: int = Field(8270, ge=1, le=65535, description="Ray's dashboard and job server")
    ray_address: str | None = Field(None, description="an existing cluster to join instead of starting one")
    profile: Profile = "laptop"
    clock: Literal["system", "replay"] = Field("system", description="replay: time is what the replay has stored")
    tenant: str = "default"
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    train_workers: int = Field(0, ge=0, description="Ray Train workers of a long fit; 0: inside the learner's process")
    tune_budget_s: float = Field(45.0, gt=0, description="time for the search of parameters before a first training")
    auto_train: bool = Field(True, description="retrain when a trigger fires")
    auto_rollout: bool = Field(True, description="roll a validated version out without asking")
    tick_s: float = Field(1.0, gt=0, description="the orchestrator's and predictor's tick")
    correction_weight: float = Field(3.0, gt=0, le=100, description="measured posts that a correction is worth")
    calendar: Path | None = Field(
        None, description="a .json or .csv file of days (date, name, source, until): the only source of outside factors"
    )
    seed: int = 7
    rollout: RolloutDefaults = Field(default_factory=lambda: RolloutDefaults())
    loop: LoopSettings = Field(default_factory=lambda: LoopSettings())
    slo: SloSettings = Field(default_factory=lambda: SloSettings())
    alerts: AlertSettings = Field(default_factory=lambda: AlertSettings())
    serving: ServingSettings = Field(default_factory=lambda: ServingSettings())
    content: ContentSettings = Field(default_factory=lambda: ContentSettings())

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in force."""
        if self.database_url is None:
            return f"sqlite:///{self.home.absolute() / 'analyticbot.db'}"
        url = self.database_url.get_secret_value()
        for short in ("postgres://", "postgresql://"):
            if url.startswith(short):
                return "postgresql+psycopg://" + url.removeprefix(short)
        return url

    @property
    def artifacts(self) -> str:
        """The artifact store in force."""
        return self.artifacts_url or str(self.home.absolute() / "artifacts")

    @property
    def keys_required(self) -> bool:
        """Whether a request needs an API key: always, unless only this machine can ask."""
        return self.require_keys or not self.loopback

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        return self.host in ("127.0.0.1", "localhost", "::1")
