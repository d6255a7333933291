"""What the tests of admission are built from."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from infra.prompts.block_list import BlockList
from schemas.records import JobRequested
from streams.admission.decide import Admission, Moment, partition_of
from streams.admission.trust import Trust, TrustsField
from streams.incoming import Incoming
from streams.rate_limit import Limit, RateLimiter

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
PARTITIONS = 6
TENANT = "acme"
TOPIC = "ttv.jobs.requested.normal"
JOB_ID = "0b6f7a52-3f0e-4d4e-9a63-8b7a3f6f2a10"
MOMENT = Moment(now=NOW, partitions=PARTITIONS, traceparent=f"00-{'a' * 32}-{'b' * 16}-01")


def admission(burst: int = 1000, trust: Trust | None = None) -> Admission:
    return Admission(
        pools={"mochi-1"},
        dedupe_window=timedelta(days=7),
        limiter=RateLimiter(lambda _: Limit(rate=1.0, burst=burst)),
        priority_of=lambda _: "normal",
        is_blocked=BlockList(["forbidden thing"]).blocks,
        trust=trust or TrustsField(),
    )


def a_record(**fields: object) -> Incoming:
    """A record in its tenant's partition."""
    record = Incoming(
        topic=TOPIC,
        partition=partition_of(TENANT, PARTITIONS),
        offset=41,
        key=TENANT.encode(),
        value=b"the bytes",
        timestamp_ms=NOW_MS,
        headers=[("traceparent", b"kept")],
    )
    return replace(record, **fields)  # type: ignore[arg-type]


def a_request(**fields: object) -> JobRequested:
    base = JobRequested(tenant_id=TENANT, prompt="a lighthouse")
    return base.model_copy(update=fields)
