"""Every setting of the service, one typed class, read from the environment with prefix ``TTV_``."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PlainSerializer, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from infra import rates
from infra.rates import Rates

#: The value of ``model`` that renders a pattern without a model.
STAND_IN: Final = "stand-in"
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

#: Rates as a setting, written as text.
_Rates = Annotated[Rates, NoDecode, BeforeValidator(rates.parse), PlainSerializer(str)]


class Settings(BaseSettings):
    """Settings shared by all processes; times are in seconds unless the name says otherwise.

    Raises:
        pydantic.ValidationError: at construction, naming each variable that is wrong.
    """

    model_config = SettingsConfigDict(env_prefix="TTV_", extra="ignore", frozen=True)

    # Kafka and the schema registry
    kafka: str = Field(
        default="127.0.0.1:9092", description="Bootstrap servers, host:port[,host:port]."
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="How clients talk to Kafka."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", description="With SASL: how clients prove who they are."
    )
    kafka_sasl_username: str = Field(default="", description="With SASL: who this process is.")
    kafka_sasl_password: SecretStr | None = Field(
        default=None, description="With SASL: its password."
    )
    kafka_ssl_ca: Path | None = Field(
        default=None, description="With SSL: a PEM file of the CA to trust; unset: the system's."
    )
    registry: str = Field(
        default="http://127.0.0.1:8081", description="Schema registry, Confluent API."
    )
    topic_prefix: str = Field(
        default="ttv.", description="Prepended to every topic and group name."
    )
    replication: int = Field(
        default=1, ge=1, description="Replication factor of topics that are created."
    )
    transaction_timeout: float = Field(
        default=10.0, ge=10, description="Kafka aborts a transaction left open for longer."
    )

    # Who may say whose a record on Kafka is
    kafka_tenant: Literal["header", "topic", "field"] = Field(
        default="header",
        description="What vouches for a record's tenant_id: 'header' (signed by the tenant), "
        "'topic' (a topic for each tenant, guarded by Kafka's ACLs), or 'field' (nothing: all who "
        "may produce are trusted).",
    )
    producer_secret: SecretStr | None = Field(
        default=None,
        description="With 'header': secrets that tenants' keys are made from, comma-separated; "
        "the first signs, all are believed.",
    )
    producer_tenants: str = Field(
        default="", description="With 'topic': tenants with topics of their own, comma-separated."
    )

    # Object store
    s3_endpoint: str = Field(default="http://127.0.0.1:9000", description="URL of the S3 endpoint.")
    s3_bucket: str = Field(default="ttv", description="Bucket for claims, checkpoints and videos.")
    s3_access_key: str = Field(default="ttv", description="S3 access key.")
    s3_secret_key: SecretStr = Field(default=SecretStr("ttv-local"), description="S3 secret key.")
    s3_region: str = Field(default="us-east-1", description="Region used in signatures.")

    # Edge
    postgres: SecretStr = Field(
        default=SecretStr("postgresql://ttv@127.0.0.1:5432/ttv"), description="PostgreSQL URL."
    )
    http_host: str = Field(default="127.0.0.1", description="Address the API binds to.")
    http_port: int = Field(default=8000, description="Port the API binds to.")
    http_connections: int = Field(
        default=12_000, ge=1, description="Connections of one API process; more get 503."
    )
    http_pending: int = Field(
        default=1000,
        ge=1,
        description="Requests of one API process whose answer has not begun; more get 503.",
    )
    trusted_proxies: str = Field(
        default="",
        description="Addresses or networks, comma-separated, whose X-Forwarded-For is believed; "
        "empty: none.",
    )
    public_url: str = Field(
        default="",
        description="The API's address in webhooks, as receivers reach it; empty: where it binds.",
    )
    bootstrap_api_key: SecretStr | None = Field(
        default=None, description="An admin API key that exists from the first start; unset: none."
    )
    bootstrap_tenant: str = Field(default="default", description="Tenant of the bootstrap API key.")
    download_ttl: int = Field(
        default=300, ge=1, le=3600, description="Life of a presigned download link."
    )
    max_unconfirmed: int = Field(
        default=1000,
        ge=1,
        description="Submitted jobs not yet admitted above which submits answer 503.",
    )
    relay_after: float = Field(
        default=5.0, description="A job unconfirmed for longer is produced again."
    )
    retention: int | None = Field(
        default=None,
        ge=60,
        description="Seconds a video is kept whose job does not say; unset: for ever.",
    )
    tenant_retention: dict[str, Annotated[int, Field(ge=60)]] = Field(
        default_factory=dict,
        description='The same for single tenants, as JSON: {"TENANT": SECONDS}.',
    )
    letters_timeout: float = Field(
        default=10.0, ge=1, description="Deadline of reading dead letters over HTTP."
    )
    webhook_secret: SecretStr = Field(
        default=SecretStr("whsec_bG9jYWwtc2VjcmV0LWNoYW5nZS1tZSE="),
        description="Signs deliveries to a job's own webhook_url (whsec_ + base64).",
    )
    webhook_timeout: float = Field(
        default=10.0, gt=0, description="Deadline of one delivery attempt."
    )
    webhook_allow_private: bool = Field(
        default=False,
        description="Allow webhook targets on loopback, private and link-local addresses.",
    )
    webhook_deny: str = Field(
        default="",
        description="Networks that webhooks never reach (CIDR, with commas): your own public ones.",
    )
    webhook_ports: str = Field(
        default="",
        description="The only ports of webhook targets, with commas; empty: all but well-known "
        "ports of other protocols.",
    )
    webhook_overlap: float = Field(
        default=86_400.0, ge=0, description="How long a rotated secret still signs beside the new."
    )
    webhook_disable_after: float = Field(
        default=5 * 86_400.0,
        gt=0,
        description="An endpoint whose every delivery has failed for so long is disabled ...",
    )
    webhook_disable_failures: int = Field(
        default=20, ge=1, description="... once so many of its deliveries have failed."
    )
    webhook_keep: float = Field(
        default=35 * 86_400.0,
        gt=0,
        description="How long ended deliveries stay in the log; longer than jobs.completed is "
        "kept, or a feed that is read anew sends them again.",
    )
    secrets_key: SecretStr = Field(
        default=SecretStr(""),
        description="Keys that seal webhook secrets in the database (32 bytes in base64, with "
        "commas): the first seals, all open. Empty: stored as they are.",
    )

    # Identity: tokens of an OpenID provider
    oidc_issuers: str = Field(
        default="",
        description="Issuers whose tokens are trusted, with commas between; empty: API keys alone.",
    )
    oidc_audience: str = Field(default="ttv", description="What a token's aud must hold.")
    oidc_jwks_url: str | None = Field(
        default=None,
        description="Key set of the one issuer; unset: where its discovery document says.",
    )
    oidc_tenant_claim: str = Field(
        default="tenant_id", description="Claim that names the tenant; dots lead into objects."
    )
    oidc_role_claim: str = Field(
        default="role", description="Claim with the role, or a list of which the strongest counts."
    )
    oidc_leeway: float = Field(
        default=30.0, ge=0, le=300, description="By how much the issuers' clocks may differ."
    )
    oidc_jwks_refresh: float = Field(
        default=300.0, gt=0, description="After this, key sets are fetched again."
    )
    oidc_jwks_min_interval: float = Field(
        default=30.0, gt=0, description="Between two fetches of a key set, whatever tokens come."
    )
    oidc_jwks_keep: float = Field(
        default=3600.0, gt=0, description="How long the last keys count while an issuer is away."
    )

    # Protection of the API
    limiter: SecretStr = Field(
        default=SecretStr(""),
        description="redis:// or rediss:// URL of the store that replicas share their rate limits "
        "in; empty: each replica counts for itself.",
    )
    limit_key: _Rates = Field(
        default=Rates(submit=3000, write=3000, read=30_000),
        description="Requests a minute of one API key, by class: submit=N write=N read=N.",
    )
    limit_tenant: _Rates = Field(
        default=Rates(submit=3000, write=3000, read=30_000),
        description="Requests a minute of one tenant, by class.",
    )
    limit_group: _Rates = Field(
        default=rates.UNLIMITED,
        description="Requests a minute of one user group (role or group claim) within a tenant.",
    )
    limit_region: _Rates = Field(
        default=rates.UNLIMITED, description="Requests a minute of one region within a tenant."
    )
    limit_region_header: str = Field(
        default="",
        pattern="^[A-Za-z0-9-]{0,64}$",
        description="Header, set by a trusted proxy, that names the region; empty: no regions.",
    )
    limit_regions: str = Field(
        default="",
        max_length=4096,
        description="Regions that are told apart, comma-separated; all others count as one.",
    )
    limit_failures: int = Field(
        default=600,
        ge=0,
        description="Failed sign-ins a minute of one address, before it gets 429; 0: any number.",
    )

    blocked_terms: Path | None = Field(
        default=None, description="File of blocked terms, one a line; unset: the built-in list."
    )
    moderation: str = Field(
        default="",
        pattern=r"^([A-Za-z_][\w.]*:[A-Za-z_]\w*)?$",
        description="module:name of a coroutine function that moderates the API's prompts, after "
        "the block list; empty: none.",
    )
    moderation_deadline: float = Field(
        default=2.0, gt=0, le=30, description="Seconds that moderation may take."
    )
    moderation_fail_open: bool = Field(
        default=False, description="Let a prompt pass when moderation fails; else answer 503."
    )
    audit_key: SecretStr = Field(
        default=SecretStr(""),
        description="Key of the digests that stand for prompts in the audit; empty: drawn anew at "
        "each start, so that digests of two starts do not compare.",
    )

    # Event streams and estimates
    streams_per_tenant: int = Field(
        default=1000, ge=1, description="Event streams of one tenant on one API process."
    )
    streams_per_process: int = Field(
        default=10_000, ge=1, description="Event streams on one API process; each is a socket."
    )
    price_per_gpu_s: float | None = Field(
        default=None, ge=0, description="Money per GPU-second in estimates; unset: no money shown."
    )
    currency: str = Field(
        default="USD", pattern="^[A-Z]{3}$", description="Currency of the price, ISO 4217."
    )

    # Admission and scheduling
    pool: str = Field(default="mochi-1", description="Pool this scheduler or GPU consumer serves.")
    tenant_rate: float = Field(
        default=50.0, gt=0, description="Admissions per second and tenant, sustained."
    )
    tenant_burst: int = Field(
        default=200, ge=1, description="Admissions a tenant may make at once."
    )
    instance: str = Field(
        default="0", description="Names this replica to its consumer group, stably."
    )
    tick_interval: float = Field(
        default=1.0, gt=0, description="Seconds between Ticks of the scheduler."
    )
    beat_interval: float = Field(default=1.0, gt=0, description="Seconds between SlotBeats.")
    beat_timeout: float = Field(
        default=15.0, gt=0, description="A slot silent for longer is fenced."
    )
    retry_earn: float = Field(
        default=10.0, gt=0, description="A slot earns its pool's failed jobs a retry in so long."
    )
    trim_interval: float = Field(
        default=300.0, ge=0, description="How often read records of a pool's logs go; 0: never."
    )
    trim_keep: float = Field(
        default=3600.0, ge=0, description="Records younger than this stay in a pool's logs."
    )
    dedupe_window: float = Field(
        default=7 * 86400.0, gt=0, description="How long ended jobs are remembered."
    )

    # Collection of what ended jobs leave in the object store
    collect_after: float = Field(
        default=600.0,
        ge=0,
        description="Seconds from a job's end until its leftovers are deleted; longer than a "
        "frozen slot can hold an upload back.",
    )
    collect_late_after: float = Field(
        default=86_400.0,
        ge=0,
        description="Seconds from a job's end until they are deleted once more.",
    )

    # GPU consumer
    slot: int = Field(
        default=0, ge=0, description="Slot number: the partition of the pool's assignments."
    )
    slots: int = Field(default=64, ge=1, description="Partitions of the pool's assignments topic.")
    model: str = Field(
        default="tiny",
        description="'tiny' (random weights, made locally), a local folder, a hub id, or "
        "'stand-in' (no model: a seeded pattern in milliseconds, for load tests alone).",
    )
    stand_in_step: float = Field(
        default=0.001, ge=0, description="What a denoising step of the stand-in takes."
    )
    model_dir: Path = Field(
        default=Path(".cache/models"), description="Where the tiny model is kept once made."
    )
    device: str = Field(default="auto", description="torch device: auto, cpu, cuda:N.")
    work_dir: Path = Field(
        default=Path("var/work"), description="Scratch space for frames and MP4 files."
    )
    load_timeout: float = Field(
        default=1800.0, gt=0, description="A model loading for longer is stuck."
    )
    step_timeout: float = Field(
        default=120.0, gt=0, description="A denoising step silent longer is stuck."
    )
    checkpoint_every_steps: int | None = Field(
        default=None, ge=1, description="Steps between checkpoints; unset: by their cost."
    )
    checkpoint_mtbf: float = Field(
        default=6 * 3600.0, gt=0, description="Mean time between failures of a GPU consumer."
    )

    quarantine_after: int = Field(
        default=3, ge=1, description="Jobs failed in a row before a slot must pass a test."
    )
    quarantine_pause: float = Field(
        default=60.0, gt=0, description="After a failed test, time to the next; doubled each time."
    )

    # Telemetry
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR.")
    trace_dir: Path | None = Field(
        default=None, description="Write finished spans as JSON lines into this folder."
    )
    otlp_endpoint: str | None = Field(default=None, description="OTLP/HTTP traces endpoint.")
    metrics_port: int = Field(default=0, description="Prometheus port on loopback; 0: none.")
    crash_at: str | None = Field(
        default=None, description="Named crash point: exit there, for tests."
    )

    @property
    def oidc_issuer_urls(self) -> tuple[str, ...]:
        """The issuers whose tokens are trusted."""
        return tuple(filter(None, (url.strip() for url in self.oidc_issuers.split(","))))

    @model_validator(mode="after")
    def _keys_come_over_https(self) -> Self:
        urls = [*self.oidc_issuer_urls, *filter(None, [self.oidc_jwks_url])]
        if self.oidc_jwks_url is not None and len(self.oidc_issuer_urls) > 1:
            raise ValueError("TTV_OIDC_JWKS_URL is for one issuer: leave it out, or name one")
        if not all(safe_key_url(url) for url in urls):
            raise ValueError("TTV_OIDC_ISSUERS and TTV_OIDC_JWKS_URL: https, or this machine")
        return self


def safe_key_url(url: str) -> bool:
    """Whether an issuer's keys may come from ``url``: over https, or from this machine."""
    parts = urlsplit(url)
    if parts.username is not None or parts.fragment or not parts.hostname:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)


@functools.cache
def settings() -> Settings:
    """The process's settings, read once."""
    return Settings()
