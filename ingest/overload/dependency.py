"""A dependency of the API behind its breaker, its bulkhead and a deadline."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Literal, NoReturn

from ingest.metrics import BREAKER_STATE, DEPENDENCY_FAILURES, DEPENDENCY_REJECTED
from ingest.overload.breaker import Breaker, Permit
from ingest.overload.bulkhead import Bulkhead, BulkheadFull

Name = Literal["postgres", "kafka", "objects", "limiter", "registry", "jwks", "moderation"]

_STATES: Final = {"closed": 0, "half_open": 1, "open": 2}


class Unavailable(Exception):
    """The dependency was not asked; ``retry_after`` is when to try again, in whole seconds."""

    def __init__(self, name: str, retry_after: int) -> None:
        super().__init__(name)
        self.name = name
        self.retry_after = retry_after


class Dependency:
    """Guards each use of one dependency in this process.

    Args:
        name: What it is called in metrics.
        is_failure: Whether an error means that the dependency is in trouble. Any other error is
            an answer.
        deadline: Most seconds of one use; then it fails with TimeoutError.
        breaker: When it is not asked.
        bulkhead: How many ask at once.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        name: Name,
        is_failure: Callable[[BaseException], bool],
        deadline: float,
        *,
        breaker: Breaker | None = None,
        bulkhead: Bulkhead | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name: Name = name
        self._is_failure = is_failure
        self._deadline = deadline
        self._breaker = breaker or Breaker()
        self._bulkhead = bulkhead or Bulkhead(slots=100, waiting=0, wait=0)
        self._clock = clock
        self._show()

    @asynccontextmanager
    async def use(self) -> AsyncIterator[None]:
        """Use the dependency in the block.

        Raises:
            Unavailable: it is not asked now.
            TimeoutError: the block took longer than the deadline.
        """
        permit = self._permit()
        try:
            async with self._bulkhead.slot(), asyncio.timeout(self._deadline):
                yield
        except BulkheadFull:
            self._breaker.abandoned(permit)
            self._reject("full", 1)
        except Exception as error:
            self._note(permit, error)
            raise
        except BaseException:
            self._breaker.abandoned(permit)
            raise
        else:
            self._breaker.succeeded(permit)
        finally:
            self._show()

    def _permit(self) -> Permit:
        now = self._clock()
        permit = self._breaker.permit(now)
        if permit is None:
            self._show()
            self._reject("open", max(1, math.ceil(self._breaker.retry_after(now))))
        return permit

    def _reject(self, why: Literal["open", "full"], retry_after: int) -> NoReturn:
        DEPENDENCY_REJECTED.labels(self.name, why).inc()
        raise Unavailable(self.name, retry_after) from None

    def _note(self, permit: Permit, error: Exception) -> None:
        if isinstance(error, TimeoutError) or self._is_failure(error):
            DEPENDENCY_FAILURES.labels(self.name).inc()
            self._breaker.failed(permit, self._clock())
        else:
            self._breaker.succeeded(permit)

    def _show(self) -> None:
        BREAKER_STATE.labels(self.name).set(_STATES[self._breaker.state(self._clock())])
