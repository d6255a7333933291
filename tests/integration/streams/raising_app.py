"""A Faust app on the service's own discipline that copies requests to the inbox, and fails once.

``python -m tests.integration.streams.raising_app MARKER``: while the file MARKER exists, the
handler raises at the record whose value is ``2``, and removes the file first.
"""

import sys
from pathlib import Path

from infra.kafka import Outgoing
from infra.settings import settings
from schemas.codec import codec
from schemas.topics import Topics
from streams.faust_app import Outbox, run
from streams.incoming import Incoming


def main(marker: Path) -> None:
    config = settings()
    topics = Topics(config.topic_prefix)

    def make(outbox: Outbox) -> "Copy":
        return Copy(outbox, topics.inbox(config.pool), marker)

    run(config, "copy", [topics.requested("normal")], make, codec(config.registry))


class Copy:
    def __init__(self, outbox: Outbox, to: str, marker: Path) -> None:
        self._outbox = outbox
        self._to = to
        self._marker = marker

    async def __call__(self, record: Incoming, /) -> None:
        if record.value == b"2" and self._marker.exists():
            self._marker.unlink()
            raise ValueError("record two")
        await self._outbox.send(Outgoing(self._to, record.value, partition=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
