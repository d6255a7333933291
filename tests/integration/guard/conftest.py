"""A bucket of one's own on the stack's store, and guards over it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from minio import Minio

from rust_guard import Claim, Guard, Record

DIGEST = "5a" * 32


@dataclass(frozen=True)
class Store:
    """The stack's store, and the bucket of one test."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str
    client: Minio

    def guard(self, endpoint: str | None = None, timeout_s: float = 20.0) -> Guard:
        return Guard(
            endpoint or self.endpoint,
            self.bucket,
            self.access_key,
            self.secret_key,
            timeout_s=timeout_s,
        )

    def listing(self, prefix: str = "") -> list[str]:
        found = self.client.list_objects(self.bucket, prefix=prefix, recursive=True)
        return [str(entry.object_name) for entry in found]

    def read(self, key: str) -> bytes:
        response = self.client.get_object(self.bucket, key)
        try:
            return response.read()
        finally:
            response.close()
            response.release_conn()


@dataclass(frozen=True)
class Job:
    """Ids of one job, and how it is claimed."""

    pool_incarnation: str
    tenant_id: str
    job_id: str

    def claim(
        self, guard: Guard, *, offset: int = 7, attempt: int = 1, digest: str = DIGEST
    ) -> Claim:
        record = Record("assignments", 3, offset)
        ids = (self.pool_incarnation, self.tenant_id, self.job_id, attempt)
        return guard.claim(*ids, record, digest)

    @property
    def claim_key(self) -> str:
        return f"claims/{self.pool_incarnation}/{self.job_id}/1"

    @property
    def videos(self) -> str:
        return f"videos/{self.tenant_id}/{self.job_id}/{self.pool_incarnation}"


@pytest.fixture(scope="session")
def store(stack: Any) -> Iterator[Store]:
    s3 = stack.info.s3
    address = s3.endpoint.removeprefix("http://")
    client = Minio(address, access_key=s3.access_key, secret_key=s3.secret_key, secure=False)
    bucket = f"guard-{uuid.uuid4().hex[:12]}"
    client.make_bucket(bucket)
    store = Store(s3.endpoint, bucket, s3.access_key, s3.secret_key, client)
    yield store
    for key in store.listing():
        client.remove_object(bucket, key)
    client.remove_bucket(bucket)


@pytest.fixture
def guard(store: Store) -> Guard:
    return store.guard()


@pytest.fixture
def new_job() -> Callable[[], Job]:
    return lambda: Job(str(uuid.uuid4()), "acme", str(uuid.uuid4()))


@pytest.fixture
def job(new_job: Callable[[], Job]) -> Job:
    return new_job()
