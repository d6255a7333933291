"""Types of the Rust module; import from ``rust_guard``."""

import os
from typing import ClassVar, Literal, final

__all__ = [
    "Artifact",
    "BadArtifact",
    "BadCheckpoint",
    "BadManifest",
    "Checkpoint",
    "Claim",
    "ClaimConflict",
    "ClaimLost",
    "Conditioning",
    "CorruptRecord",
    "DuplicateClaim",
    "FailureClass",
    "Guard",
    "GuardError",
    "InvalidId",
    "OutOfOrder",
    "Record",
    "RetryDecision",
    "RetryPolicy",
    "StaleAttempt",
    "StoreUnavailable",
    "StoreUnsafe",
    "TooManyStarts",
    "check_checkpoint",
    "check_conditioning",
    "check_video",
    "classify",
    "failure_codes",
    "retry",
    "retry_budget",
]

@final
class FailureClass:
    """What may be done about a failure."""

    RETRYABLE: ClassVar[FailureClass]
    """The same may work later, on any slot."""
    RETRYABLE_ELSEWHERE: ClassVar[FailureClass]
    """It may work on another slot."""
    PERMANENT: ClassVar[FailureClass]
    """It will never work."""
    CONFLICT: ClassVar[FailureClass]
    """Two claimants for one thing."""

    @property
    def value(self) -> Literal["retryable", "retryable_elsewhere", "permanent", "conflict"]:
        """Stable name, as it is stored and logged."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...
    def __int__(self, /) -> int: ...

@final
class Record:
    """Where the assignment record lies in Kafka; checked when it is used."""

    def __new__(cls, topic: str, partition: int, offset: int) -> Record: ...
    @property
    def topic(self) -> str:
        """Topic name."""

    @property
    def partition(self) -> int:
        """Partition number."""

    @property
    def offset(self) -> int:
        """Offset in the partition."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...

@final
class Claim:
    """The right to work on one attempt at a job. Made by :meth:`Guard.claim`."""

    @property
    def job_id(self) -> str:
        """The job."""

    @property
    def tenant_id(self) -> str:
        """Its owner."""

    @property
    def pool_incarnation(self) -> str:
        """Life of the pool's state."""

    @property
    def spec_digest(self) -> str:
        """Digest of the job's canonical spec."""

    @property
    def attempt(self) -> int:
        """Which attempt, from 1."""

    @property
    def start(self) -> int:
        """Which start of that attempt, from 1: no other process has it."""

    @property
    def resumed(self) -> bool:
        """Whether the same record was claimed before."""

@final
class Artifact:
    """A sealed video."""

    @property
    def key(self) -> str:
        """Key in the bucket."""

    @property
    def sha256(self) -> str:
        """SHA-256 of its bytes, hex."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def frames(self) -> int:
        """Frames in the video track."""

    @property
    def fps(self) -> int:
        """Frames a second."""

    @property
    def width(self) -> int:
        """Pixels."""

    @property
    def height(self) -> int:
        """Pixels."""

    @property
    def duration_s(self) -> float:
        """Seconds: frames over frames a second."""

    @property
    def manifest_key(self) -> str | None:
        """Key of the manifest beside it, if there is one."""

    @property
    def manifest_sha256(self) -> str | None:
        """SHA-256 of the manifest's bytes, hex."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Checkpoint:
    """A job's latents after some of its denoising steps, as they are stored."""

    @property
    def key(self) -> str:
        """Key in the bucket."""

    @property
    def step(self) -> int:
        """Denoising steps finished, from 1."""

    @property
    def total(self) -> int:
        """Steps of the whole job."""

    @property
    def attempt(self) -> int:
        """Attempt that made it."""

    @property
    def start(self) -> int:
        """Start of that attempt which made it."""

    @property
    def fingerprint(self) -> str:
        """Model, hardware and software that computed it."""

    @property
    def sha256(self) -> str:
        """SHA-256 of its bytes, hex."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def conditioning_sha256(self) -> str | None:
        """SHA-256 of the conditioning that is stored apart from it, hex, if one is."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Conditioning:
    """What the checkpoints of one start share. Made by :meth:`Guard.conditioning`."""

    @property
    def key(self) -> str:
        """Key in the bucket."""

    @property
    def sha256(self) -> str:
        """SHA-256 of its bytes, hex."""

    @property
    def size(self) -> int:
        """Bytes."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Guard:
    """Claims, checkpoints, seals and releases in one bucket.

    Safe to share between threads, not across a fork. Every call ends within ``timeout_s`` seconds
    (those that carry a file get a second more for each MiB of it), releases the GIL while it waits,
    and raises a :class:`GuardError`.
    """

    def __new__(
        cls,
        endpoint: str,
        bucket: str,
        access_key: str,
        secret_key: str,
        region: str = "us-east-1",
        timeout_s: float = 30.0,
        multipart_above: int = 33_554_432,
    ) -> Guard:
        """Opens no connection yet. Files of more than ``multipart_above`` bytes go in parts.

        Raises:
            InvalidId: ``endpoint`` is no URL, or another argument cannot be used; it is named.
            ValueError: ``timeout_s`` is not above 0 and at most 3600.
        """

    def probe(self) -> None:
        """Races 64 conditional puts to a fresh key: exactly one must win.

        Raises:
            StoreUnsafe: the store ignores ``If-None-Match``.
            StoreUnavailable: it did not answer in time.
        """

    def claim(
        self,
        pool_incarnation: str,
        tenant_id: str,
        job_id: str,
        attempt: int,
        record: Record,
        spec_digest: str,
        put_id: str | None = None,
    ) -> Claim:
        """Claims an attempt for the record that ordered it, and takes a start number.

        Ids are lower-case UUIDs, ``spec_digest`` is SHA-256 in lower-case hex; ``put_id`` names
        this call and is drawn at random when not given.

        Raises:
            DuplicateClaim: another record ordered this attempt first.
            ClaimConflict: the attempt belongs to another spec or tenant.
            CorruptRecord: the stored claim is not one.
            StaleAttempt: a later attempt at the job has been claimed.
            TooManyStarts: ten starts in a row ended without a checkpoint, and no video is sealed.
            InvalidId: an argument may not stand in a key.
            StoreUnavailable: the store did not answer in time.
        """

    def sealed(self, claim: Claim) -> Artifact | None:
        """The sealed artifact of this job and spec, of whichever attempt or start.

        Its bytes are hashed again. What cannot be used is set aside: see :meth:`take_rejected`.

        Raises:
            StoreUnavailable: the store did not answer in time.
        """

    def take_rejected(self) -> list[tuple[str, str]]:
        """Seals and checkpoints set aside since the last call, as (key, reason), at most 1,000."""

    def seal(
        self,
        claim: Claim,
        path: str | os.PathLike[str],
        frames: int,
        fps: int,
        width: int,
        height: int,
        manifest: str | None = None,
    ) -> Artifact:
        """Checks the MP4 at ``path``, uploads it under this start's key, and seals it.

        ``manifest`` is a JSON object of at most 64 KiB: what it takes to render the video again. It
        is put beside the video before the seal, which holds its hash. May be repeated with the same
        file; another render needs another claim.

        Raises:
            BadArtifact: a check failed (see ``reason``); nothing was uploaded.
            BadManifest: it is no such object; nothing was uploaded.
            ClaimConflict: this start has sealed other bytes or another manifest.
            ClaimLost: the claim is gone or another's; nothing was uploaded.
            OutOfOrder: the start has ended; nothing was uploaded.
            StoreUnavailable: the store did not answer in time.
        """

    def manifest(self, artifact: Artifact) -> str | None:
        """The manifest of a sealed artifact, if it has one; its bytes are hashed again.

        Raises:
            BadManifest: it is gone, or not the one that was sealed.
            StoreUnavailable: the store did not answer in time.
        """

    def conditioning(self, claim: Claim, path: str | os.PathLike[str]) -> Conditioning:
        """Checks the safetensors file at ``path`` and stores what this start's checkpoints share.

        For the file see :func:`check_conditioning`. May be repeated with the same file.

        Raises:
            BadCheckpoint: a check failed (see ``reason``); nothing was uploaded.
            ClaimConflict: this start has stored another; that stays.
            StoreUnavailable: the store did not answer in time.
        """

    def checkpoint(
        self,
        claim: Claim,
        path: str | os.PathLike[str],
        step: int,
        total: int,
        fingerprint: str,
        conditioning: Conditioning | None = None,
    ) -> Checkpoint:
        """Checks the safetensors file at ``path`` and stores it: ``step`` of ``total`` steps done.

        ``fingerprint`` names the model, hardware and software (1 to 512 printable ASCII
        characters). For the file see :func:`check_checkpoint`; what it lacks of the prompts is in
        ``conditioning``, stored under the same claim. May be repeated with the same file.

        Raises:
            BadCheckpoint: a check failed (see ``reason``); nothing was uploaded.
            ClaimConflict: this start has stored other bytes for that step; those stay.
            InvalidId: ``step``, ``total`` or ``fingerprint`` cannot be used, or ``conditioning`` is
                of another claim.
            OutOfOrder: a later step is stored, or the start has sealed or ended; nothing was
                uploaded.
            StoreUnavailable: the store did not answer in time.
        """

    def latest_checkpoint(
        self,
        claim: Claim,
        path: str | os.PathLike[str],
        fingerprint: str | None = None,
        conditioning: str | os.PathLike[str] | None = None,
        identity: str = "",
    ) -> Checkpoint | None:
        """Writes the best checkpoint of this job and spec to ``path``, whoever made it.

        The newest step wins; among equal steps one of ``fingerprint``; then the newest attempt and
        start. Its hash and its structure are checked again; what fails is set aside (see
        :meth:`take_rejected`) and the next best is tried. The file at ``path`` is replaced whole;
        without a checkpoint it is left alone.

        What the checkpoint shares with others is checked likewise and written to ``conditioning``;
        where it has none, no file is left there. Without that path it is not looked at.

        Checkpoints whose fingerprint does not begin with ``identity`` are passed over: something
        else made them, and they would be refused.

        Raises:
            BadCheckpoint: a path cannot be written; ``reason`` is unwritable.
            InvalidId: ``fingerprint`` cannot be used.
            StoreUnavailable: the store did not answer in time.
        """

    def announce(self, claim: Claim, artifact: Artifact | None = None) -> None:
        """Asks whether the start may announce ``artifact``, or without one that it was cancelled.

        To be called before that is committed; nothing but :meth:`release` follows. Touches no
        store. Repeatable with the same end.

        Raises:
            OutOfOrder: it is not the artifact that the start has sealed or adopted, there is one
                and a cancellation is told, or another end was told before.
        """

    def give_back(self, claim: Claim) -> None:
        """Says that the start ends without an end of the job: failed, preempted or a duplicate.

        Nothing follows; what is stored stays for whoever goes on. Touches no store. Repeatable.

        Raises:
            OutOfOrder: an end of the job was told before.
        """

    def release(self, claim: Claim) -> None:
        """Deletes the job's start markers and its checkpoints of this pool incarnation.

        For when its terminal event is committed. Repeatable.

        Raises:
            OutOfOrder: no end was announced, or the job was given back; nothing was deleted.
            StoreUnavailable: the store did not answer in time.
        """

    def collect(self, tenant_id: str, job_id: str, keep: str | None = None) -> int:
        """Deletes what an ended job has left in the bucket; gives the number of objects deleted.

        Of every pool incarnation, attempt and start: start markers, checkpoints, and videos with
        their seals and manifests, except those of the video ``keep``. Claims stay, and so does
        whatever the guard did not write. For when its terminal event is committed and read:
        ``keep`` is the key of the artifact that it names; None: it names none. Repeatable, and to
        be repeated later where a start of the job may still be at work. Each page of 1,000 objects
        has ``timeout_s`` to itself.

        Raises:
            InvalidId: ``keep`` is not the key of a video of this job, or an id is none; nothing
                was deleted.
            StoreUnavailable: the store did not answer in time; some may be deleted.
        """

@final
class RetryPolicy:
    """Bounds of the backoff, and how many attempts a failure of each class may cost in all."""

    def __new__(
        cls,
        base_ms: int = 500,
        cap_ms: int = 60_000,
        retryable: int = 5,
        elsewhere: int = 3,
    ) -> RetryPolicy: ...
    @property
    def base_ms(self) -> int:
        """Ceiling of the first delay, milliseconds."""

    @property
    def cap_ms(self) -> int:
        """Ceiling of every delay, milliseconds."""

    @property
    def retryable(self) -> int:
        """Attempts a retryable failure may cost."""

    @property
    def elsewhere(self) -> int:
        """Attempts a failure that is retryable elsewhere may cost."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...

@final
class RetryDecision:
    """What to do about a failed attempt. Made by :func:`retry`."""

    @property
    def action(self) -> Literal["retry", "fail"]:
        """Try again, or end the job."""

    @property
    def delay_ms(self) -> int:
        """Milliseconds from the failure to the next attempt; 0 when there is none."""

    @property
    def elsewhere(self) -> bool:
        """Whether the slot that failed should be avoided."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

def classify(code: str) -> FailureClass:
    """The class of a failure code; a code that is not in the table is ``unknown``."""

def failure_codes() -> list[tuple[str, FailureClass]]:
    """Every failure code with its class."""

def retry(code: str, attempt: int, job_id: str, policy: RetryPolicy | None = None) -> RetryDecision:
    """Decides about attempt number ``attempt`` (from 1), which ended with failure ``code``.

    Full jitter: uniform in ``0..=min(cap_ms, base_ms * 2**(attempt - 1))``, drawn from the job id
    and the attempt (splitmix64 over FNV-1a 64), so it is the same everywhere and in every replay.
    """

def retry_budget(
    tat_ms: int, now_ms: int, *, interval_ms: int = 1_000, burst: int = 30
) -> tuple[int, int]:
    """Reserves the next retry of a pool: the new ``tat_ms``, and the milliseconds it has to wait.

    The generic cell rate algorithm (ITU-T I.371, annex A). ``tat_ms`` is what the last call
    returned, 0 at first; ``now_ms`` any clock in milliseconds. No window of ``w`` milliseconds has
    more than ``burst + w / interval_ms`` retries, whatever the clock says; a retry is put off by
    up to an hour, never dropped. ``interval_ms`` 0: retries are free; ``burst`` 0 counts as 1.

    Raises:
        OverflowError: an argument is negative, or does not fit in 64 bits (``burst``: in 32).
    """

def check_video(data: bytes, frames: int, fps: int, width: int, height: int) -> None:
    """Checks the bytes of an MP4 as :meth:`Guard.seal` does, without a store.

    Raises:
        BadArtifact: a check failed; ``reason`` is one of not_mp4, truncated, no_moov, bad_moov,
            tracks, codec, dimensions, frame_count, duration.
    """

def check_checkpoint(data: bytes) -> None:
    """Checks the bytes of a checkpoint as :meth:`Guard.checkpoint` does, without a store.

    A safetensors file of at most 64 MiB with ``latents`` and, as wished, ``prompt_embeds``,
    ``prompt_attention_mask``, ``negative_prompt_embeds`` and ``negative_prompt_attention_mask``;
    of F32, F16 or BF16 and finite, the masks also of BOOL, U8, I32 or I64; metadata may be there.
    Whether the shapes are those of a job is for its renderer to say.

    Raises:
        BadCheckpoint: a check failed; ``reason`` is one of too_large, truncated, header, names,
            dtype, shape, layout, not_finite.
    """

def check_conditioning(data: bytes) -> None:
    """Checks the bytes of a conditioning as :meth:`Guard.conditioning` does, without a store.

    As :func:`check_checkpoint`, but with ``prompt_embeds`` and without ``latents``.

    Raises:
        BadCheckpoint: a check failed; ``reason`` says which.
    """

class GuardError(Exception):
    """The guard refused or failed; `failure_class` says what may be done."""

    code: str
    """Stable code, a key of ``FAILURE_CODES``."""
    failure_class: FailureClass
    """What may be done about it."""
    reason: str
    """The check that failed, of an artifact or a checkpoint; otherwise the code."""

class StoreUnavailable(GuardError):
    """The object store did not answer in time or refused access. Try again later."""

class StoreUnsafe(GuardError):
    """The object store ignores If-None-Match. Use a store that honours conditional puts."""

class DuplicateClaim(GuardError):
    """Another record ordered this attempt first. Skip this record, end it as a duplicate."""

class ClaimConflict(GuardError):
    """The key belongs to another spec, tenant or file: ids were reused."""

class CorruptRecord(GuardError):
    """A stored claim is damaged or was not written by a guard."""

class OutOfOrder(GuardError):
    """What was asked for does not follow from where the start is. Nothing was done."""

class StaleAttempt(GuardError):
    """A later attempt at the job has been claimed, so this one is for nothing."""

class ClaimLost(GuardError):
    """The claim is gone, damaged or another's: this start no longer owns its attempt."""

class TooManyStarts(GuardError):
    """Ten starts of the attempt in a row ended without a checkpoint. Look at this slot."""

class BadArtifact(GuardError):
    """The video failed a check and was not uploaded; `reason` names the check."""

class BadCheckpoint(GuardError):
    """The checkpoint failed a check and was not uploaded, or could not be written.

    ``reason`` says which. Render on without it.
    """

class BadManifest(GuardError):
    """The manifest is not a JSON object of at most 64 KiB, or not the one that was sealed."""

class InvalidId(GuardError):
    """An id may not stand in a key. Correct the argument that is named."""
