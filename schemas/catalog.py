"""The shipped Avro schemas: loaded from schemas/avro, self-contained, with their fingerprints."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fastavro.schema import fingerprint, load_schema, parse_schema, to_parsing_canonical_form

from schemas import records
from schemas.records import Record

_HERE: Final = Path(__file__).parent
AVRO: Final = _HERE / "avro"
RELEASED: Final = _HERE / "released"

#: The record types that travel on topics, by Avro name without the namespace.
TOPIC_RECORDS: Final = (
    "JobRequested",
    "CancelRequested",
    "PoolFact",
    "PoolState",
    "Assignment",
    "PoolOutlook",
    "JobEvent",
    "JobProgress",
    "DeadLetter",
    "Tenant",
    "AuditEvent",
)

#: The order in which a schema's members are written.
_MEMBERS: Final = ("type", "logicalType", "name", "namespace", "doc", "fields", "items", "values")


@dataclass(frozen=True)
class Shipped:
    """One schema as shipped.

    Attributes:
        name: Record name without namespace, such as ``JobEvent``.
        parsed: Ready for fastavro.
        text: Self-contained JSON, as registered.
        fingerprint: CRC-64-AVRO of the parsing canonical form, little-endian (8 bytes).
    """

    name: str
    parsed: Any
    text: str
    fingerprint: bytes

    @property
    def model(self) -> type[Record]:
        """The Python type of this record."""
        model: type[Record] = getattr(records, self.name)
        return model


def fingerprint_of(parsed: Any) -> bytes:
    """CRC-64-AVRO of a schema's parsing canonical form: 8 bytes, as in single-object encoding."""
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(parsed), "CRC-64-AVRO"))


def _plain(node: Any) -> Any:
    """The schema without fastavro's own marks, its members in one order: fastavro has a set's."""
    if isinstance(node, dict):
        kept = sorted((key for key in node if not key.startswith("__")), key=_rank)
        return {key: _plain(node[key]) for key in kept}
    return [_plain(item) for item in node] if isinstance(node, list) else node


def _rank(member: str) -> tuple[int, str]:
    return (_MEMBERS.index(member) if member in _MEMBERS else len(_MEMBERS), member)


@functools.cache
def shipped(name: str) -> Shipped:
    """The current schema of record ``name``.

    Raises:
        FileNotFoundError: no such schema is shipped.
    """
    parsed = load_schema(str(AVRO / f"ttv.{name}.avsc"))
    text = json.dumps(_plain(parsed), separators=(",", ":"), ensure_ascii=False)
    return Shipped(name, parse_schema(json.loads(text)), text, fingerprint_of(parsed))


def released(name: str) -> list[tuple[int, str]]:
    """Version and text of every released schema of record ``name``, oldest first."""
    files = sorted((RELEASED / name).glob("*.avsc"), key=lambda path: int(path.stem))
    return [(int(path.stem), path.read_text()) for path in files]


@functools.cache
def accepted() -> dict[bytes, tuple[str, Any]]:
    """Fingerprint to (record name, parsed writer schema) of everything a reader accepts."""
    table: dict[bytes, tuple[str, Any]] = {}
    for name in TOPIC_RECORDS:
        texts = [text for _, text in released(name)] + [shipped(name).text]
        for parsed in (parse_schema(json.loads(text)) for text in texts):
            table[fingerprint_of(parsed)] = (name, parsed)
    return table
