"""Who gets which event: every stream of the process, by job and by tenant. No I/O."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from ingest.identity.caller import Identity
from ingest.live.frames import BEAT, event_frame, progress_frame, progress_mark
from ingest.live.mailbox import End, Mailbox
from ingest.live.position import Position, Seal
from schemas.states import TERMINAL_KINDS

Row = Mapping[Any, Any]
K = TypeVar("K")
#: An idle stream gets a comment so often.
BEAT_SECONDS: Final = 15.0


class TooManyStreams(Exception):
    """The tenant, or this process, has as many streams as it may have."""


class Hub:
    """Hands each event to the mailboxes that want it, encoded once for all of them.

    Args:
        per_tenant: Streams that one tenant may have here.
        per_process: Streams in all.

    Attributes:
        position: The last offset handed out, by partition. A stream that joins gets what follows.
    """

    def __init__(self, per_tenant: int, per_process: int) -> None:
        self.position: dict[int, int] = {}
        self._seal: Seal | None = None
        self._per_tenant = per_tenant
        self._per_process = per_process
        self._size = 0
        self._of_job: dict[uuid.UUID, set[Mailbox]] = {}
        self._of_tenant: dict[str, set[Mailbox]] = {}
        self._of_identity: dict[Identity, set[Mailbox]] = {}
        self._counts: dict[str, int] = {}
        self._marks: dict[uuid.UUID, int] = {}
        self._stopped = False

    def __len__(self) -> int:
        return self._size

    @property
    def seal(self) -> Seal:
        """Makes and reads ids. Raises RuntimeError before :meth:`begin`."""
        if self._seal is None:
            raise RuntimeError("the hub has not begun")
        return self._seal

    def begin(self, seal: Seal) -> None:
        """Set what ids are made with."""
        self._seal = seal

    def join(
        self,
        identity: Identity,
        job_id: uuid.UUID | None,
        since: Position,
        *,
        events_only: bool = False,
    ) -> Mailbox:
        """A mailbox for what comes after :attr:`position` as it is now.

        Args:
            identity: Who reads.
            job_id: One job, or None: all of the tenant's.
            since: What the client has seen; it may be ahead of this process.
            events_only: Neither progress nor beats.

        Raises:
            TooManyStreams: nothing was joined.
        """
        tenant = identity.tenant_id
        if self._size >= self._per_process or self._counts.get(tenant, 0) >= self._per_tenant:
            raise TooManyStreams
        ahead = {p: n for p, n in since.seen.items() if n > self.position.get(p, -1)}
        box = Mailbox(identity, job_id, ahead, since.mark, events_only=events_only)
        self._size += 1
        self._counts[tenant] = self._counts.get(tenant, 0) + 1
        if job_id is None:
            self._of_tenant.setdefault(tenant, set()).add(box)
        else:
            self._of_job.setdefault(job_id, set()).add(box)
        self._of_identity.setdefault(identity, set()).add(box)
        if self._stopped:
            box.finish("shutdown")
        return box

    def leave(self, box: Mailbox) -> None:
        """Forget a mailbox; safe to repeat."""
        tenant = box.identity.tenant_id
        if box not in self._of_identity.get(box.identity, ()):
            return
        self._size -= 1
        _drop(self._of_identity, box.identity, box)
        if box.job_id is None:
            _drop(self._of_tenant, tenant, box)
        else:
            _drop(self._of_job, box.job_id, box)
        self._counts[tenant] -= 1
        if not self._counts[tenant]:
            del self._counts[tenant]

    def _wanting(self, row: Row) -> tuple[list[Mailbox], list[Mailbox]]:
        """Who wants what happened to a job: its own streams, and its tenant's."""
        tenant = row["tenant_id"]
        own = self._of_job.get(row["job_id"], ())
        return (
            [box for box in own if box.identity.tenant_id == tenant],
            list(self._of_tenant.get(tenant, ())),
        )

    def happened(self, rows: Sequence[Row]) -> None:
        """Hand out events: rows of ``job_events`` after :attr:`position`, in order by partition."""
        for row in rows:
            partition, offset = row["partition"], row["offset"]
            self.position[partition] = offset
            own, all_jobs = self._wanting(row)
            if not own and not all_jobs:
                continue
            frame = event_frame(row, self.seal.encode(row["tenant_id"], self.position))
            terminal = row["kind"] in TERMINAL_KINDS
            for box in own:
                if not box.seen(partition, offset):
                    box.put(frame, last=terminal)
            for box in all_jobs:
                if not box.seen(partition, offset):
                    box.put(frame)

    def progressed(self, rows: Sequence[Row]) -> None:
        """Hand out what is new in the progress of all running jobs."""
        marks = {row["job_id"]: progress_mark(row) for row in rows}
        for row in rows:
            mark = marks[row["job_id"]]
            own, all_jobs = self._wanting(row)
            behind = [box for box in own if box.mark != mark and not box.events_only]
            if behind:
                place = self.seal.encode(row["tenant_id"], self.position, mark)
                frame = progress_frame(row, place)
                for box in behind:
                    box.mark = mark
                    box.put(frame)
            if all_jobs and self._marks.get(row["job_id"]) != mark:
                frame = progress_frame(row, None)
                for box in all_jobs:
                    box.put(frame)
        self._marks = marks

    def identities(self) -> set[Identity]:
        """Who reads here."""
        return set(self._of_identity)

    def revoke(self, identities: Collection[Identity]) -> None:
        """End the streams of callers who may no longer read."""
        for identity in identities:
            for box in self._of_identity.get(identity, ()):
                box.finish("revoked")

    def beat(self, now: float) -> None:
        """Keep idle streams alive."""
        for box in self._boxes():
            box.beat(BEAT, now, BEAT_SECONDS)

    def close(self, why: End = "shutdown") -> None:
        """End every stream, and each that joins from now on."""
        self._stopped = True
        for box in self._boxes():
            box.finish(why)

    def _boxes(self) -> Iterator[Mailbox]:
        for boxes in self._of_identity.values():
            yield from boxes


def _drop(groups: dict[K, set[Mailbox]], key: K, box: Mailbox) -> None:
    groups[key].discard(box)
    if not groups[key]:
        del groups[key]
