"""Who may do what in Kafka, declared once: ACLs, the AsyncAPI document and tests are made from it.

A part of the service is a principal of its name (``User:scheduler``); so are a tenant's producers
(``User:producer-TENANT``) and an example of someone who reads the public feeds. Whoever is not
named may do nothing. What makes topics and grants (``infra.provision``) is a super user.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from schemas.job import PRIORITIES
from schemas.topics import Topics

Operation = Literal["READ", "WRITE", "DELETE", "DESCRIBE"]
Resource = Literal["TOPIC", "GROUP", "TRANSACTIONAL_ID"]

INGEST: Final = "ingest"
STREAMS: Final = "streams"
SCHEDULER: Final = "scheduler"
GPU: Final = "gpu"
CONSUMER: Final = "consumer"
#: The parts, each with what runs under its name.
PARTS: Final[dict[str, str]] = {
    INGEST: "the API and its worker",
    STREAMS: "admission, dead-letters and the collectors",
    SCHEDULER: "the schedulers",
    GPU: "the GPU consumers",
    CONSUMER: "whoever follows the public feeds; its groups are named consumer.*",
}


def producer(tenant_id: str) -> str:
    """The principal of a tenant's producers."""
    return f"producer-{tenant_id}"


@dataclass(frozen=True, slots=True)
class Access:
    """Principals by what they may do with a topic; ``trims``: delete what has been read."""

    writes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    trims: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Grant:
    """One permission.

    Attributes:
        principal: Without ``User:``.
        operation: What; READ, WRITE and DELETE imply DESCRIBE.
        resource: On what.
        name: Its name, or what its name begins with.
        prefixed: Which of the two.
    """

    principal: str
    operation: Operation
    resource: Resource
    name: str
    prefixed: bool = False


def topic_access(topics: Topics, pool: str, tenants: tuple[str, ...] = ()) -> dict[str, Access]:
    """Who may do what with each topic."""
    found = {
        topics.control: Access((INGEST,), (STREAMS,)),
        topics.events: Access((SCHEDULER, GPU), (INGEST, CONSUMER)),
        topics.completed: Access((SCHEDULER, GPU), (INGEST, STREAMS, CONSUMER)),
        topics.progress: Access((GPU,), (INGEST, CONSUMER)),
        topics.dlq: Access((STREAMS, SCHEDULER), (STREAMS, INGEST)),
        topics.tenants: Access((INGEST,), (STREAMS, SCHEDULER)),
        topics.audit: Access((INGEST,), ()),
        topics.inbox(pool): Access(
            (INGEST, STREAMS, SCHEDULER, GPU), (SCHEDULER,), trims=(SCHEDULER,)
        ),
        topics.state(pool): Access((SCHEDULER,), (SCHEDULER,)),
        topics.outlook(pool): Access((SCHEDULER,), (INGEST,)),
        topics.assignments(pool): Access((SCHEDULER,), (SCHEDULER, GPU), trims=(SCHEDULER,)),
    }
    for priority in PRIORITIES:
        # Admission moves a misplaced request.
        found[topics.requested(priority)] = Access((INGEST, STREAMS), (STREAMS,))
    for tenant in tenants:
        # Operators redrive, through ingest, what could not be read.
        own = Access((producer(tenant), INGEST), (STREAMS,))
        names = (*(topics.requested(each, tenant) for each in PRIORITIES), topics.cancels(tenant))
        found |= dict.fromkeys(names, own)
    return found


def grants(topics: Topics, pool: str, tenants: tuple[str, ...] = ()) -> Iterator[Grant]:
    """Every permission: of topics, groups and transactional ids."""
    for name, access in topic_access(topics, pool, tenants).items():
        yield from (Grant(one, "WRITE", "TOPIC", name) for one in access.writes)
        yield from (Grant(one, "READ", "TOPIC", name) for one in access.reads)
        yield from (Grant(one, "DELETE", "TOPIC", name) for one in access.trims)
    for principal, group in _groups(topics, pool):
        yield Grant(principal, "READ", "GROUP", group)
    yield Grant(CONSUMER, "READ", "GROUP", f"{CONSUMER}.", prefixed=True)
    slots = f"{topics.prefix}slot-{pool}-"
    for principal in (SCHEDULER, GPU):  # the scheduler fences slots
        yield Grant(principal, "WRITE", "TRANSACTIONAL_ID", slots, prefixed=True)
    own = f"{topics.prefix}scheduler-{pool}"
    yield Grant(SCHEDULER, "WRITE", "TRANSACTIONAL_ID", own)


def _groups(topics: Topics, pool: str) -> Iterator[tuple[str, str]]:
    for name in ("admission", "dead-letters", "collector", "collector-late"):
        yield STREAMS, topics.group(name)
    for name in ("scheduler", "restore", "slots"):
        yield SCHEDULER, topics.group(f"{name}.{pool}")
    yield GPU, topics.group(f"slots.{pool}")
    yield INGEST, topics.group("letters")
