"""Every reason a request is turned down or a job ends early, declared once.

HTTP problem types, Refused and Failed events, dead letters and their documentation all use these
codes. They are stable: a code may be added, never renamed.
"""

from __future__ import annotations

from typing import Final, NamedTuple

#: The remedy of what the service sees to itself.
AGAIN: Final = "It is tried again."


class ReasonSpec(NamedTuple):
    """How one reason is shown: HTTP status, short title, and what its reader can do."""

    status: int
    title: str
    remedy: str


REASONS: Final[dict[str, ReasonSpec]] = {
    # The request itself
    "invalid_request": ReasonSpec(422, "Invalid request", "Correct the fields listed in `errors`."),
    "malformed_body": ReasonSpec(400, "Malformed body", "Send one JSON object, UTF-8."),
    "malformed_request": ReasonSpec(400, "Not a valid HTTP request", "Send HTTP/1.1."),
    "uri_too_long": ReasonSpec(414, "The address is too long", "Send at most 8 KiB."),
    "headers_too_large": ReasonSpec(
        431, "The headers are too large", "Send at most 64 of them, 16 KiB in all."
    ),
    "body_too_large": ReasonSpec(413, "Body too large", "Send at most 64 KiB."),
    "unsupported_media_type": ReasonSpec(
        415, "Unsupported media type", "Send Content-Type: application/json, uncompressed."
    ),
    "request_timeout": ReasonSpec(408, "The request came too slowly", "Send it again, faster."),
    "unauthenticated": ReasonSpec(
        401, "No valid API key", "Send a valid key: Authorization: Bearer KEY."
    ),
    "invalid_token": ReasonSpec(
        401, "The token is not valid", "Get a new token from your identity provider."
    ),
    "forbidden": ReasonSpec(403, "Not allowed", "Use a key with the needed scope."),
    "tenant_suspended": ReasonSpec(
        403,
        "The tenant is suspended",
        "Read, download and cancel what is there; ask the operator about new jobs.",
    ),
    "key_ended": ReasonSpec(409, "The key was revoked or has expired", "Make a new key."),
    "not_found": ReasonSpec(404, "Not found", "Check the id and the path."),
    "method_not_allowed": ReasonSpec(405, "Method not allowed", "See the `Allow` header."),
    "idempotency_conflict": ReasonSpec(
        422, "Idempotency key was used for another request", "Use a fresh Idempotency-Key."
    ),
    "idempotency_in_flight": ReasonSpec(
        409, "The first request with this key is still under way", "Send it again in a moment."
    ),
    "job_conflict": ReasonSpec(
        409, "The job id belongs to another request", "Use a fresh job_id for another video."
    ),
    "prompt_blocked": ReasonSpec(
        422, "The prompt is not allowed", "Describe something else: see the operator's policy."
    ),
    "video_not_ready": ReasonSpec(
        409, "The job has no video", "Wait until its status is completed."
    ),
    "preview_failed": ReasonSpec(
        500, "No picture could be made of the video", "Download the video itself."
    ),
    "unsupported": ReasonSpec(
        404, "Mochi-1 makes videos from text alone", "Create a video from a prompt instead."
    ),
    "job_deleted": ReasonSpec(404, "The job was deleted", "Submit another one."),
    "video_expired": ReasonSpec(
        410, "The video is kept no longer", "Submit it again, with a longer retention_s."
    ),
    "job_ended": ReasonSpec(409, "The job has ended", "Nothing is left to cancel."),
    "webhook_disabled": ReasonSpec(
        409, "The endpoint is disabled", "Enable it first: PATCH it with `enabled`: true."
    ),
    "too_many_endpoints": ReasonSpec(409, "Too many endpoints", "Remove one first."),
    "not_redrivable": ReasonSpec(
        409, "The dead letter cannot be redriven", "Submit the request again."
    ),
    "range_not_satisfiable": ReasonSpec(
        416, "The range lies outside the video", "Ask for bytes below the size."
    ),
    "rate_limited": ReasonSpec(429, "Too many requests", "Slow down and send it again."),
    "too_many_streams": ReasonSpec(
        429, "Too many event streams", "Close some, or follow all jobs on one stream."
    ),
    "overloaded": ReasonSpec(503, "Too much is under way", "Try again after Retry-After seconds."),
    "dependency_unavailable": ReasonSpec(
        503, "A dependency is unavailable", "Try again after Retry-After seconds."
    ),
    "internal": ReasonSpec(500, "Internal error", "Try again; report the trace id if it stays."),
    # Records on Kafka
    "unreadable_record": ReasonSpec(
        400, "The record is not Avro in a known framing", "Use the Confluent wire format."
    ),
    "unknown_schema": ReasonSpec(
        400, "The record's schema is not one this service ships", "Produce with schemas/avro."
    ),
    "wrong_record_type": ReasonSpec(
        400, "The record has the schema of another topic", "Check which topic you produce to."
    ),
    "record_too_large": ReasonSpec(413, "The record is too large", "Shorten the prompt."),
    "unauthenticated_producer": ReasonSpec(
        401, "The record does not prove who sent it", "Sign it with your tenant's key."
    ),
    "tenant_conflict": ReasonSpec(
        403, "The record names another tenant than its producer's", "Send your own tenant_id."
    ),
    "unknown_pool": ReasonSpec(422, "No such pool", "Leave `pool` out or name one that exists."),
    "too_old": ReasonSpec(
        410, "The request is older than the dedupe window", "Send it again with a fresh job_id."
    ),
    # Jobs
    "expired": ReasonSpec(410, "The job expired before it started", "Give it more time."),
    "cancelled_by_owner": ReasonSpec(409, "Cancelled by its owner", "Nothing to do."),
    "slot_fenced": ReasonSpec(503, "The GPU consumer was lost", AGAIN),
    "out_of_memory": ReasonSpec(
        503, "The GPU ran out of memory", "Ask for fewer frames or a smaller size."
    ),
    "render_crashed": ReasonSpec(503, "The render process died", AGAIN),
    "render_stuck": ReasonSpec(503, "The render stopped making progress", AGAIN),
    "bad_output": ReasonSpec(503, "The video failed its checks", AGAIN),
    "store_unavailable": ReasonSpec(503, "The object store failed", AGAIN),
    "model_unavailable": ReasonSpec(503, "The model could not be loaded", "Tell the operator."),
    "invalid_spec": ReasonSpec(422, "The model refused the parameters", "Change them."),
    "claim_conflict": ReasonSpec(
        409, "Another spec holds this job's claim", "Tell the operator: ids were reused."
    ),
    "attempts_exhausted": ReasonSpec(503, "Every attempt failed", "Submit it again later."),
}


def last_words(code: str) -> str:
    """What the owner of a job is told that ended for this reason, all tries used up."""
    why = REASONS.get(code, REASONS["attempts_exhausted"])
    remedy = REASONS["attempts_exhausted"].remedy if why.remedy == AGAIN else why.remedy
    return f"{why.title}. {remedy}"
