import pytest
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from streams.lenient_headers import LenientRecords


class RawName(str):
    """A header name whose bytes are no UTF-8: what a hostile client can send."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:  # noqa: ARG002
        return b"a\xff"


def a_batch(first_offset: int, name: str, compression: int = 0) -> bytes:
    builder = _DefaultRecordBatchBuilderPy(2, compression, 0, -1, -1, -1, 1 << 20)
    for number in range(3):
        builder.append(number, 1000, b"k", f"v{number}".encode(), [(name, b"1"), ("plain", None)])
    batch = bytearray(builder.build())
    batch[:8] = first_offset.to_bytes(8)
    return bytes(batch)


@pytest.mark.parametrize("compression", [0, 1])
def test_records_with_any_header_name_are_read_and_so_are_those_around_them(
    compression: int,
) -> None:
    data = a_batch(0, "fine") + a_batch(3, RawName("x"), compression) + a_batch(6, "fine")
    records = LenientRecords(data)
    seen = []
    while records.has_next():
        batch = records.next_batch()
        assert batch.validate_crc()
        seen += [(record.offset, record.value, list(record.headers)) for record in batch]
    assert [offset for offset, _, _ in seen] == list(range(9))
    names = [headers[0][0] for _, _, headers in seen]
    assert names == ["fine"] * 3 + ["a\\xff"] * 3 + ["fine"] * 3
    assert all(headers[1] == ("plain", None) for _, _, headers in seen)
    assert [value for _, value, _ in seen] == [b"v0", b"v1", b"v2"] * 3
    assert records.next_batch() is None
