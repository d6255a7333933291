"""The probe: a store that cannot keep claims apart is refused."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import pytest

from rust_guard import FailureClass, Guard, StoreUnavailable, StoreUnsafe
from tests.integration.guard.conftest import Store
from tests.integration.guard.proxy import Answer, error, running

pytestmark = pytest.mark.stack


def test_the_real_store_passes_and_nothing_is_left(guard: Guard, store: Store) -> None:
    guard.probe()
    assert store.listing("probe/") == []


def test_a_store_that_ignores_the_condition_is_refused(store: Store) -> None:
    def overwrite(_n: int, path: str, body: bytes, _forward: Callable[[], Answer]) -> Answer:
        # minio cannot send If-None-Match: exactly what a careless store makes of the request.
        key = path.removeprefix(f"/{store.bucket}/")
        store.client.put_object(store.bucket, key, BytesIO(body), len(body))
        return 200, [("Content-Length", "0"), ("ETag", '"careless"')], b""

    with running(store.endpoint) as (proxy, url):
        proxy.on_put = overwrite
        with pytest.raises(StoreUnsafe, match="64 of 64") as caught:
            store.guard(url).probe()
    assert caught.value.failure_class == FailureClass.RETRYABLE_ELSEWHERE
    assert store.listing("probe/") == []


def test_a_store_that_refuses_everything_is_unavailable(store: Store) -> None:
    with running(store.endpoint) as (proxy, url):
        proxy.on_put = lambda *_: error(503)
        with pytest.raises(StoreUnavailable, match="503"):
            store.guard(url, timeout_s=1).probe()


def test_lost_answers_do_not_make_a_sound_store_look_unsafe(store: Store) -> None:
    def lose(number: int, _path: str, _body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        answer = forward()
        return None if number <= 30 else answer

    with running(store.endpoint) as (proxy, url):
        proxy.on_put = lose
        store.guard(url).probe()


def test_a_bucket_that_is_not_there_is_said_so(store: Store) -> None:
    guard = Guard(store.endpoint, "no-such-bucket", store.access_key, store.secret_key)
    with pytest.raises(StoreUnavailable, match="NoSuchBucket"):
        guard.probe()


def test_wrong_keys_are_not_tried_for_ever(store: Store) -> None:
    guard = Guard(store.endpoint, store.bucket, store.access_key, "wrong-secret")
    with pytest.raises(StoreUnavailable) as caught:
        guard.probe()
    assert "wrong-secret" not in str(caught.value)
