"""``/v1/dead-letters`` for operators, and the dead letter of one's own job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query

from infra.letters.desk import Letter, Outcome, Wanted
from infra.letters.log import LettersError
from infra.letters.shown import summary
from infra.telemetry import log
from ingest import letter_cursor
from ingest.api.edge import Edge, ReadsJobs, ReadsLetters, RedrivesLetters, UsesEdge, WritesJobs
from ingest.api.jobs import job_row
from ingest.api.letter_bodies import LetterBody, LetterDetails, LetterPage, LetterRedriven
from ingest.api.path_ids import JobId, LetterId
from ingest.api.problems import Problem, documented
from ingest.cursor import InvalidCursor
from ingest.identity.caller import Identity
from ingest.letters import LettersBusy
from ingest.metrics import LETTERS_REDRIVEN
from ingest.models import Time
from ingest.store import audit
from schemas.job import Violation, canonical_job_id

router: Final = APIRouter(tags=["dead letters"])
#: How far back a list goes unless asked otherwise; all letters are kept for 30 days.
_RECENT: Final = timedelta(days=7)
_ALL: Final = timedelta(days=30)
#: A job's letter is younger than the job, but for clocks that differ.
_SLACK: Final = timedelta(hours=1)
#: Told about a job id that was used twice; the job itself may be well.
_ABOUT_ANOTHER: Final = frozenset({"job_conflict"})
_READS: Final = documented("not_found")
_REDRIVES: Final = documented("not_found", "not_redrivable")

Since = Annotated[
    Time | None,
    Query(description="Only letters told since then, RFC 3339. The later, the faster."),
]


@contextmanager
def letters_answered() -> Iterator[None]:
    """Turn what reading letters raises into the problem that the client sees."""
    try:
        yield
    except LettersBusy:
        raise Problem("overloaded", "Too many questions about dead letters: ask again.") from None
    except LettersError as error:
        log().warning("letters.failed", error=type(error).__name__, why=str(error)[:300])
        text = "Dead letters could not be read or redriven in time: repeat it, or narrow `since`."
        raise Problem("dependency_unavailable", text) from error


def _since(given: datetime | None, most: timedelta) -> datetime:
    return datetime.now(UTC) - most if given is None else given


@router.get("/v1/dead-letters", response_model=LetterPage)
async def list_dead_letters(
    edge: UsesEdge,
    identity: ReadsLetters,
    tenant_id: Annotated[str | None, Query(max_length=64, description="Of this tenant.")] = None,
    code: Annotated[str | None, Query(max_length=64, description="Told for this reason.")] = None,
    topic: Annotated[
        str | None, Query(max_length=249, description="Of records that lay in this topic.")
    ] = None,
    since: Since = None,
    limit: Annotated[int, Query(ge=1, le=100, description="At most so many.")] = 20,
    after: Annotated[
        str | None,
        Query(
            alias="cursor", pattern=letter_cursor.PATTERN, description="The next_cursor of a page."
        ),
    ] = None,
) -> LetterPage:
    """Dead letters of all tenants, newest first, of the last 7 days unless ``since`` is given."""
    del identity
    try:
        before = None if after is None else letter_cursor.decode(after)
    except InvalidCursor as error:
        wrong = Violation("cursor", "invalid_cursor", f"{error}.")
        raise Problem("invalid_request", errors=[wrong]) from None
    wanted = Wanted(code=code, tenant_id=tenant_id, topic=topic, before=before)
    with letters_answered():
        found = await edge.letters.find(wanted, _since(since, _RECENT), limit)
    following = None
    if found.more and found.letters:
        last = found.letters[-1]
        following = letter_cursor.encode((last.at, last.offset, last.id))
    data = [LetterBody.model_validate(summary(one)) for one in found.letters]
    return LetterPage(data=data, next_cursor=following, unreadable=found.unreadable)


@router.get("/v1/dead-letters/{letter_id}", response_model=LetterDetails, responses=_READS)
async def get_dead_letter(
    letter_id: LetterId,
    edge: UsesEdge,
    identity: ReadsLetters,
    since: Since = None,
    *,
    prompt: Annotated[
        bool, Query(description="Show the prompts too: they are personal data.")
    ] = False,
) -> LetterDetails:
    """One dead letter: why, its job's attempts, and what a redrive would do."""
    del identity
    letter = await _by_id(edge, letter_id, since)
    return await _details(edge, letter, with_prompt=prompt)


@router.post(
    "/v1/dead-letters/{letter_id}/redrive",
    status_code=202,
    response_model=LetterRedriven,
    responses=_REDRIVES,
)
async def redrive_dead_letter(
    letter_id: LetterId, edge: UsesEdge, identity: RedrivesLetters, since: Since = None
) -> LetterRedriven:
    """Have it tried again as a new job: one, however often this is called."""
    return await _redriven(edge, identity, await _by_id(edge, letter_id, since))


@router.get("/v1/jobs/{job_id}/dead-letter", response_model=LetterDetails, responses=_READS)
async def get_dead_letter_of_job(
    job_id: JobId, edge: UsesEdge, identity: ReadsJobs
) -> LetterDetails:
    """The dead letter of a failed job of one's own; its prompts are with the job."""
    letter = await _of_job(edge, identity.tenant_id, job_id)
    return await _details(edge, letter, with_prompt=False)


@router.post(
    "/v1/jobs/{job_id}/dead-letter/redrive",
    status_code=202,
    response_model=LetterRedriven,
    responses=_REDRIVES,
)
async def redrive_dead_letter_of_job(
    job_id: JobId, edge: UsesEdge, identity: WritesJobs
) -> LetterRedriven:
    """Have a failed job of one's own tried again as a new job: one, however often."""
    return await _redriven(edge, identity, await _of_job(edge, identity.tenant_id, job_id))


async def _by_id(edge: Edge, text: str, since: datetime | None) -> Letter:
    letter_id = canonical_job_id(text)
    if letter_id is None:
        raise Problem("not_found")
    wanted = Wanted(ids=frozenset({letter_id}))
    with letters_answered():
        letter = await edge.letters.one(wanted, _since(since, _ALL))
    if letter is None:
        raise Problem("not_found")
    return letter


async def _of_job(edge: Edge, tenant_id: str, text: str) -> Letter:
    row = await job_row(edge, tenant_id, text)
    if row["status"] != "failed":
        raise Problem("not_found", "The job has no dead letter: it has not failed.")
    job_id = str(row["job_id"])
    wanted = Wanted(tenant_id=tenant_id, job_id=job_id, not_codes=_ABOUT_ANOTHER)
    with letters_answered():
        letter = await edge.letters.one(wanted, row["created_at"] - _SLACK)
    if letter is None:
        raise Problem("not_found", "The job has no dead letter, or none any more.")
    return letter


async def _details(edge: Edge, letter: Letter, *, with_prompt: bool) -> LetterDetails:
    with letters_answered():
        shown = await edge.letters.shown(letter, with_prompt=with_prompt)
    return LetterDetails.model_validate(shown)


async def _redriven(edge: Edge, identity: Identity, letter: Letter) -> LetterRedriven:
    """Redrive it, and have the audit topic told; told first, so that none goes untold."""
    with letters_answered():
        plan = (await edge.letters.shown(letter, with_prompt=False))["redrive"]
    outcome: Outcome | None = None
    if plan["possible"]:
        await _note(edge, identity, letter, str(plan["job_id"] or ""))
        with letters_answered():
            outcome = await edge.letters.redrive(letter)
    refused = plan.get("why") if outcome is None else outcome.detail
    if outcome is None or outcome.action not in {"sent", "ended"}:
        LETTERS_REDRIVEN.labels("refused").inc()
        raise Problem("not_redrivable", refused)
    LETTERS_REDRIVEN.labels(outcome.action).inc()
    return LetterRedriven.model_validate(
        {
            "id": outcome.id,
            "action": outcome.action,
            "job_id": outcome.job_id,
            "detail": outcome.detail,
        }
    )


async def _note(edge: Edge, identity: Identity, letter: Letter, job_id: str) -> None:
    said = {"code": letter.letter.code, "new_job_id": job_id}
    said["job_id"] = letter.letter.job_id or ""
    async with edge.connection() as connection:
        await audit.note(
            connection,
            "letter.redriven",
            identity.actor,
            letter.letter.tenant_id,
            letter.id,
            details=said,
        )
