"""A stack for a storm: proxies between its parts, clocks to be set, crash points to be armed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.stack import Stack, identity, services
from infra.stack.layout import Layout
from infra.stack.services import MODULES
from tests.chaos.clock import WallClock, compile_clock
from tests.chaos.plan import BEAT_TIMEOUT, TRANSACTION_TIMEOUT
from tests.chaos.proxies import Links
from tests.support.kafka_proxy import KafkaProxy, kafka_proxy

#: GPU consumers whose connections to Kafka go through a proxy; one for each would cost much.
PROXIED: Final = 2

_SETTINGS: Final = {
    "TTV_BEAT_TIMEOUT": str(BEAT_TIMEOUT),
    "TTV_TRANSACTION_TIMEOUT": str(TRANSACTION_TIMEOUT),
    "TTV_CHECKPOINT_EVERY_STEPS": "5",
    "TTV_CRASH_AT": "crash/",
    # Collectors work beside the storm; later than a frozen slot can hold an upload back.
    "TTV_COLLECT_AFTER": str(4 * BEAT_TIMEOUT),
    # The history must be whole in the end.
    "TTV_TRIM_INTERVAL": "0",
    # Storms fail more renders than a pool earns retries for.
    "TTV_RETRY_EARN": "0.1",
    # The load is meant to come through: nothing may be refused.
    "TTV_TENANT_RATE": "10000",
    "TTV_LIMIT_KEY": "",
    "TTV_LIMIT_TENANT": "",
    "TTV_TENANT_BURST": "100000",
}


@dataclass
class Field:
    """What a storm rages on."""

    stack: Stack
    links: Links
    brokers: dict[str, KafkaProxy]
    clocks: dict[str, WallClock]


@contextmanager
def field(folder: Path, gpus: int, settings: dict[str, str]) -> Iterator[Field]:
    """Start it below ``folder``; ``settings`` are for all parts of the service."""
    layout = Layout.of(folder / "data")
    layout.create()
    known = identity.load_or_create(layout.identity, services.port_names(gpus))
    info = services.describe(layout, known, gpus)
    slots = [f"gpu-{slot}" for slot in range(gpus)]
    clock = compile_clock(folder)
    with ExitStack() as resources:
        links = Links()
        resources.callback(links.close)
        clocks = {
            part: WallClock(clock, folder / f"{part}.clock") for part in (*MODULES, *slots, "kafka")
        }
        env_of = {part: dict(each.environment) for part, each in clocks.items()}
        brokers = {
            part: resources.enter_context(kafka_proxy(info.kafka))
            for part in (*slots[:PROXIED], "scheduler")
        }
        for part, broker in brokers.items():
            env_of[part]["TTV_KAFKA"] = broker.address
        for part in slots:
            port = links.add(part, "s3", known.port("s3")).port
            env_of[part]["TTV_S3_ENDPOINT"] = f"http://{identity.HOST}:{port}"
        for part in ("api", "worker"):
            upstream = known.port("postgres")
            port = links.add(part, "postgres", upstream).port
            env_of[part]["TTV_POSTGRES"] = info.postgres.replace(f":{upstream}/", f":{port}/")
        env = _SETTINGS | settings
        stack = Stack.start(layout.data, gpus=gpus, env=env, env_of=env_of)
        resources.enter_context(stack)
        yield Field(stack, links, brokers, clocks)
