"""The service's own processes in a local stack, configured by ``TTV_`` variables alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from infra.settings import Settings
from infra.setup import paths
from infra.stack import secure
from infra.stack.identity import HOST, Identity
from infra.stack.info import S3, KafkaLogin, StackInfo
from infra.stack.layout import Layout
from infra.stack.program import Group, Program, base_environment
from schemas import access

#: Bucket of a local stack.
BUCKET = "ttv"
#: Tenant that a local stack's API key belongs to.
TENANT = "default"

#: The parts that run once, by process name: the Python module and its arguments.
MODULES = {
    "api": "ingest.api",
    "worker": "ingest.worker",
    "admission": "streams.admission",
    "dead-letters": "streams.dead_letters",
    "collector": "streams.collector",
    "collector-late": "streams.collector late",
    "scheduler": "streams.scheduler",
}

_SERVER_PORTS = (
    "kafka",
    "kafka-controller",
    "registry",
    "registry-management",
    "s3",
    "postgres",
    "valkey",
    "http",
)


def names(gpus: int) -> list[str]:
    """Names of the service's processes, ``gpus`` GPU consumers among them."""
    return [*MODULES, *(f"gpu-{slot}" for slot in range(gpus))]


def port_names(gpus: int) -> list[str]:
    """Names of all ports that a stack with ``gpus`` GPU consumers needs."""
    return [*_SERVER_PORTS, *(f"metrics-{name}" for name in names(gpus))]


def describe(layout: Layout, identity: Identity, gpus: int, *, secured: bool = False) -> StackInfo:
    """``stack.json`` of the stack, before any process runs."""
    http = f"http://{HOST}:{identity.port('http')}"
    postgres = f"{HOST}:{identity.port('postgres')}"
    return StackInfo(
        http=http,
        ui=f"{http}/",
        kafka=f"{HOST}:{identity.port('kafka')}",
        registry=f"http://{HOST}:{identity.port('registry')}/apis/ccompat/v7",
        s3=S3(
            endpoint=f"http://{HOST}:{identity.port('s3')}",
            bucket=BUCKET,
            access_key=identity.s3_access_key,
            secret_key=identity.s3_secret_key,
        ),
        postgres=f"postgresql://ttv:{identity.postgres_password}@{postgres}/ttv",
        api_key=identity.api_key,
        data=str(layout.data),
        tenant=TENANT,
        webhook_secret=identity.webhook_secret,
        valkey=f"redis://:{identity.valkey_password}@{HOST}:{identity.port('valkey')}/0",
        kafka_login=_login(layout, identity) if secured else None,
        metrics=[
            f"http://{HOST}:{identity.port(f'metrics-{name}')}/metrics" for name in names(gpus)
        ],
    )


def _login(layout: Layout, identity: Identity) -> KafkaLogin:
    passwords = {name: identity.kafka_passwords[name] for name in secure.PRINCIPALS}
    del passwords[secure.BROKER]
    ca = secure.authority(layout.kafka_tls)
    return KafkaLogin(secure.PROTOCOL, secure.MECHANISM, str(ca), passwords)


def login_of(info: StackInfo, principal: str) -> dict[str, str]:
    """The settings by which a process is ``principal`` to the stack's Kafka."""
    login = info.kafka_login
    if login is None:
        return {}
    return {
        "TTV_KAFKA_SECURITY_PROTOCOL": login.protocol,
        "TTV_KAFKA_SASL_MECHANISM": login.mechanism,
        "TTV_KAFKA_SASL_USERNAME": principal,
        "TTV_KAFKA_SASL_PASSWORD": login.passwords[principal],
        "TTV_KAFKA_SSL_CA": login.ca,
    }


def _whom_to_believe(info: StackInfo) -> dict[str, str]:
    if info.kafka_login is not None:
        return {
            "TTV_KAFKA_TENANT": "topic",
            "TTV_PRODUCER_TENANTS": ",".join(secure.TENANTS),
        }
    # Whoever reaches a loopback port of this machine is trusted.
    return {"TTV_KAFKA_TENANT": "field"}


def environment(info: StackInfo) -> dict[str, str]:
    """The settings that point a process of the service, or its operator, at the stack ``info``."""
    port = info.http.rsplit(":", 1)[1]
    return {
        "TTV_KAFKA": info.kafka,
        **login_of(info, secure.ADMIN),
        **_whom_to_believe(info),
        "TTV_REGISTRY": info.registry,
        "TTV_S3_ENDPOINT": info.s3.endpoint,
        "TTV_S3_BUCKET": info.s3.bucket,
        "TTV_S3_ACCESS_KEY": info.s3.access_key,
        "TTV_S3_SECRET_KEY": info.s3.secret_key,
        "TTV_POSTGRES": info.postgres,
        "TTV_HTTP_HOST": HOST,
        "TTV_HTTP_PORT": port,
        "TTV_BOOTSTRAP_API_KEY": info.api_key,
        "TTV_BOOTSTRAP_TENANT": info.tenant,
        "TTV_WEBHOOK_SECRET": info.webhook_secret,
        "TTV_LIMITER": info.valkey,
        "TTV_WEBHOOK_ALLOW_PRIVATE": "true",
        "TTV_MODEL_DIR": str(paths.MODELS),
        "TTV_TRACE_DIR": str(Path(info.data) / "traces"),
    }


def settings_of(info: StackInfo) -> Settings:
    """The settings of the operator of the stack ``info``; ``TTV_`` variables do not count."""
    fields = {name.removeprefix("TTV_").lower(): it for name, it in environment(info).items()}
    return Settings.model_validate(fields)


def programs(
    layout: Layout, identity: Identity, info: StackInfo, gpus: int, extra: Mapping[str, str]
) -> list[Program]:
    """The service's processes; ``extra`` are settings that win over the stack's own."""
    shared = {**_inherited(), **environment(info), **extra}
    made = [
        _program(
            layout,
            identity,
            name,
            ["-m", *module.split()],
            {**shared, **login_of(info, _principal(module)), **_threads(1)},
            "apps",
        )
        for name, module in MODULES.items()
    ]
    cores = len(os.sched_getaffinity(0))
    for slot in range(gpus):
        env = {**shared, **_threads(max(1, cores // gpus)), "TTV_SLOT": str(slot)}
        env |= login_of(info, access.GPU)
        made.append(_program(layout, identity, f"gpu-{slot}", ["-m", "gpu_consumer"], env, "gpus"))
    return made


def _principal(module: str) -> str:
    """Who a part is to Kafka."""
    if module.startswith("ingest."):
        return access.INGEST
    return access.SCHEDULER if module == MODULES["scheduler"] else access.STREAMS


def helper(layout: Layout, name: str, arguments: list[str], info: StackInfo) -> Program:
    """A process of the stack itself: the one that starts it, or that keeps ``stack.json``."""
    return Program(
        name,
        argv=[sys.executable, "-m", "infra.stack", name, str(layout.data), *arguments],
        env={**python_environment(), **_inherited(), **environment(info)},
        cwd=layout.work,
        death_signal="SIGTERM",
    )


def python_environment() -> dict[str, str]:
    """What every Python process of the stack gets."""
    return {
        **base_environment(),
        "PYTHONPATH": str(paths.ROOT),
        "PYTHONUNBUFFERED": "1",
        "HF_HOME": str(paths.CACHE / "huggingface"),
    }


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("TTV_")}


def _threads(count: int) -> dict[str, str]:
    # Renders share the cores; more threads than cores make all of them slower.
    return {
        name: str(count) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    }


def _program(
    layout: Layout,
    identity: Identity,
    name: str,
    arguments: list[str],
    env: Mapping[str, str],
    group: Group,
) -> Program:
    work = layout.work / name
    work.mkdir(exist_ok=True)
    port = identity.port(f"metrics-{name}")
    return Program(
        name,
        argv=[sys.executable, *arguments],
        group=group,
        env={
            **python_environment(),
            **env,
            "TTV_METRICS_PORT": str(port),
            "TTV_WORK_DIR": str(work),
        },
        cwd=work,
        stop_seconds=15,
    )
