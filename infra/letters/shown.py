"""A letter, in short and in full, as an operator may see it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from infra.letters.desk import Desk, Letter
from infra.letters.redrive import NotRedrivableError
from schemas.errors import CodecError
from schemas.records import CancelRequested, JobRequested, PoolFact, Record

_PROMPTS: Final = ("prompt", "negative_prompt")
_HIDDEN: Final = "(hidden)"


def summary(one: Letter) -> dict[str, Any]:
    """A letter in short: where it comes from and why, without what it holds."""
    letter = one.letter
    return {
        "id": one.id,
        "at": one.at.isoformat(timespec="milliseconds"),
        "code": letter.code,
        "error_class": letter.error_class,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "tenant_id": letter.tenant_id,
        "job_id": letter.job_id,
        "origin": {
            "topic": letter.topic,
            "partition": letter.partition,
            "offset": letter.offset,
        },
        "size": one.size,
        "times": one.times,
    }


def details(desk: Desk, letter: Letter, now: datetime, *, with_prompt: bool) -> dict[str, Any]:
    """What a summary leaves out: the attempts, what it holds, and what a redrive would do.

    Args:
        desk: Reads what the letter holds.
        letter: With its value.
        now: Decides whether an expiry has passed.
        with_prompt: Whether prompts, which are personal data, are shown.

    Raises:
        LettersError: the registry does not answer.
    """
    content = desk.content(letter.letter)
    shown: dict[str, Any] = {
        "occurred_at": letter.letter.occurred_at.isoformat(timespec="milliseconds"),
        "history": [one.model_dump(mode="json") for one in letter.letter.history],
        "holds": _held(content, with_prompt=with_prompt),
    }
    try:
        plan = desk.plan(letter.letter, now)
    except NotRedrivableError as error:
        shown["redrive"] = {"possible": False, "why": str(error)}
    else:
        notes = "; ".join(plan.notes) or None
        shown["redrive"] = {
            "possible": True,
            "topic": plan.topic,
            "job_id": plan.job_id,
            "notes": notes,
        }
    return shown


def _held(content: Record | CodecError | None, *, with_prompt: bool) -> dict[str, Any]:
    match content:
        case None:
            return {"kind": "a record of a topic that takes no requests"}
        case CodecError():
            return {"kind": "unreadable", "code": content.code, "why": str(content)}
        case PoolFact(admitted=job) if job is not None:
            spec = _spec(job.spec.model_dump(), with_prompt=with_prompt)
            about = job.model_dump(mode="json", exclude={"spec"})
            return {"kind": "an admitted job", **about, **spec}
        case JobRequested():
            fields = content.model_dump(mode="json")
            return {"kind": "a request", **_spec(fields, with_prompt=with_prompt)}
        case CancelRequested():
            return {"kind": "a wish to cancel", **content.model_dump(mode="json")}
        case _:
            return {"kind": type(content).__name__}


def _spec(fields: dict[str, Any], *, with_prompt: bool) -> dict[str, Any]:
    if with_prompt:
        return fields
    return fields | {name: _HIDDEN for name in _PROMPTS if fields.get(name)}
