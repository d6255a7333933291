"""What ``ttv doctor`` looks at: each dependency, with the remedy for what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from infra.kafka_login import librdkafka_login
from infra.settings import Settings
from infra.stack import info, probes, services, supervision
from infra.stack.layout import Layout


@dataclass(frozen=True)
class Finding:
    """One thing looked at: whether it is well, else what is wrong and what to do."""

    name: str
    address: str
    ok: bool
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class _Target:
    """The dependencies to ask, and where their logs are, if the stack here runs them."""

    kafka: str
    login: dict[str, Any]
    registry: str
    s3: info.S3
    postgres: str
    valkey: str
    http: str
    layout: Layout | None


def diagnose(layout: Layout) -> list[Finding]:
    """Ask the stack in ``layout`` if it runs, else what the settings name."""
    local = supervision.is_running(layout)
    target = _of_stack(layout) if local else _of_settings(Settings())
    asked: dict[str, tuple[str, probes.Probe]] = {
        "kafka": (target.kafka, lambda: probes.kafka(target.kafka, target.login)),
        "registry": (target.registry, lambda: probes.registry(target.registry)),
        "s3": (target.s3.endpoint, lambda: probes.s3(target.s3)),
        "postgres": (target.postgres.rsplit("@", 1)[-1], lambda: probes.postgres(target.postgres)),
        "api": (target.http, lambda: probes.http(f"{target.http}/readyz")),
    }
    if target.valkey:  # it is not needed: without it each replica limits for itself
        host = target.valkey.rsplit("@", 1)[-1]
        asked["valkey"] = (host, lambda: probes.valkey(target.valkey))
    findings = [
        _finding(probes.check(name, address, probe), target.layout)
        for name, (address, probe) in asked.items()
    ]
    return findings + (_processes(layout) if local else [])


def _of_stack(layout: Layout) -> _Target:
    known = info.read(layout.info)
    login = librdkafka_login(services.settings_of(known))
    return _Target(
        known.kafka,
        login,
        known.registry,
        known.s3,
        known.postgres,
        known.valkey,
        known.http,
        layout,
    )


def _of_settings(settings: Settings) -> _Target:
    return _Target(
        kafka=settings.kafka,
        login=librdkafka_login(settings),
        registry=settings.registry,
        s3=info.S3(
            settings.s3_endpoint,
            settings.s3_bucket,
            settings.s3_access_key,
            settings.s3_secret_key.get_secret_value(),
        ),
        postgres=settings.postgres.get_secret_value(),
        valkey=settings.limiter.get_secret_value(),
        http=f"http://{settings.http_host}:{settings.http_port}",
        layout=None,
    )


_SETTING = {
    "kafka": "TTV_KAFKA",
    "registry": "TTV_REGISTRY",
    "s3": "TTV_S3_ENDPOINT, TTV_S3_ACCESS_KEY and TTV_S3_SECRET_KEY",
    "postgres": "TTV_POSTGRES",
    "valkey": "TTV_LIMITER",
    "api": "TTV_HTTP_HOST and TTV_HTTP_PORT",
}


def _finding(outcome: probes.Outcome, layout: Layout | None) -> Finding:
    if outcome.ok:
        return Finding(outcome.name, outcome.address, ok=True)
    remedy = (
        f"look at {layout.logs / (outcome.name + '.log')}"
        if layout
        else f"no stack runs here: start one with 'ttv up', or check {_SETTING[outcome.name]}"
    )
    return Finding(outcome.name, outcome.address, ok=False, problem=outcome.detail, remedy=remedy)


def _processes(layout: Layout) -> list[Finding]:
    return [
        Finding(
            process.name,
            f"pid {process.pid or '-'}",
            ok=process.state == "RUNNING",
            problem=f"it is {process.state}: it ends soon after each start",
            remedy=f"look at {process.log}",
        )
        for process in info.read(layout.info).processes
        if process.state != "RUNNING"
    ]
