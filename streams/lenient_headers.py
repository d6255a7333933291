r"""Read records whose header names are not UTF-8.

aiokafka decodes header names strictly while it fetches, and fails for good at a record that has
another one: whoever may produce could stop the consumer with a single record. Here the bytes that
are no text are written as ``\xNN``, and the record is judged like any other.
"""

from __future__ import annotations

from typing import Any, Final, SupportsIndex

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy

_FIRST_WITH_HEADERS: Final = 2


class _Name(bytearray):
    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, errors)


class _Buffer(bytearray):
    def __getitem__(self, at: SupportsIndex | slice) -> Any:
        found = super().__getitem__(at)
        return _Name(found) if isinstance(found, bytearray) else found


class _LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc] # the library has no types
    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer: Any = _Buffer(self._buffer)


class LenientRecords(_MemoryRecordsPy):  # type: ignore[misc] # the library has no types
    """A fetched set of batches; one that the fast reader cannot read is read leniently."""

    def next_batch(self, *arguments: Any) -> Any:
        """The next batch, not read yet, or None at the end."""
        data = self._next_slice
        batch = super().next_batch(*arguments)
        if batch is None or data[self.MAGIC_OFFSET] < _FIRST_WITH_HEADERS:
            return batch
        if batch.is_control_batch or _is_readable(DefaultRecordBatch(data)):
            return batch
        return _LenientBatch(data)


def _is_readable(batch: Any) -> bool:
    try:
        for _ in batch:
            pass
    except UnicodeDecodeError:
        return False
    return True


def install() -> None:
    """Make every aiokafka consumer of this process lenient."""
    fetcher.MemoryRecords = LenientRecords
