//! Protocol bugs, each a switch: the checker has to catch every one of them.

use crate::faults::{Fault, Left, NAMES};
use crate::protocol::Protocol;

/// A way to get the protocol wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bug {
    /// The scheduler reads records of transactions that are not committed.
    ReadUncommitted,
    /// Admission acknowledges a request before its fact is durable.
    AckBeforeOutput,
    /// A slot goes on under the same epoch after a commit of unknown outcome: the late EndTxn ends its next one.
    SharedEpoch,
    /// A slot's commit is taken whoever holds the epoch.
    UnfencedZombie,
    /// A scheduler's commit is taken whoever holds the epoch.
    UnfencedScheduler,
    /// A slot whose committed offset is gone begins at the end of its log.
    OffsetResetLatest,
    /// A slot whose committed offset is gone begins at the start of its log.
    OffsetResetEarliest,
    /// The scheduler restores until the state topic is silent, not until the cursor is the committed offset.
    RestoreUntilSilence,
    /// A 412 always means that somebody else has the claim, also after one's own lost 200.
    OwnPutIsDuplicate,
    /// A start marker with equal content is taken for one's own.
    EqualContentOwns,
    /// The store takes every put, `If-None-Match` or not.
    StoreIgnoresCondition,
    /// A refused start marker is read as a conflict that was won.
    ConflictIsWin,
    /// A fence hits a later opening too, and moves the offset to the end of the log, not past its order.
    FenceSkipsToEnd,
    /// A fence hits a later opening too, and the fold takes a SlotFenced of any incarnation and number.
    FencedOfAnyIncarnation,
    /// The fold gives a silent slot's job to another before the fence is committed.
    RequeueBeforeFence,
    /// The fence does not take the slot's transactional id.
    FenceWithoutInit,
    /// The fold forgets a job as soon as it has ended.
    NoDedupeWindow,
    /// The scheduler sends orders that the slot has not asked for.
    AssignBeyondCredit,
    /// The fold takes a SlotFree whatever number it is done through.
    SlotFreeUnchecked,
    /// The completion is announced before the artifact is sealed.
    AnnounceBeforeSeal,
    /// Checkpoints and start markers are deleted before the end is committed.
    ReleaseBeforeAnnounce,
    /// The collector deletes the artifact that the terminal event names.
    CollectorDeletesNamed,
    /// The collector does not wait for the job's terminal event.
    CollectorBeforeTerminal,
    /// A recreated cluster goes on with the old pool incarnation.
    SameIncarnation,
    /// A slot commits its offset after the transaction, not in it.
    OffsetOutsideTransaction,
    /// A slot repeats a commit of unknown outcome without reading its mark.
    RepeatUnknownCommit,
    /// A start does not look for what earlier ones stored.
    RedeliveredIsNew,
    /// A start goes on only from checkpoints of its own attempt.
    CheckpointOfOwnAttempt,
    /// A job that is tried again keeps its attempt number.
    RetryWithoutAttempt,
    /// A cancel of a running job ends it at once, and the slot ends it again.
    CancelTwice,
    /// A cancel for a job not seen yet is dropped.
    EarlyCancelForgotten,
    /// The scheduler polls on after an abort, without restoring.
    PollOnAfterAbort,
    /// An artifact of another spec is adopted, and keys do not tell pool incarnations apart.
    AdoptsAnySpec,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 33] = [
        Self::ReadUncommitted,
        Self::AckBeforeOutput,
        Self::SharedEpoch,
        Self::UnfencedZombie,
        Self::UnfencedScheduler,
        Self::OffsetResetLatest,
        Self::OffsetResetEarliest,
        Self::RestoreUntilSilence,
        Self::OwnPutIsDuplicate,
        Self::EqualContentOwns,
        Self::StoreIgnoresCondition,
        Self::ConflictIsWin,
        Self::FenceSkipsToEnd,
        Self::FencedOfAnyIncarnation,
        Self::RequeueBeforeFence,
        Self::FenceWithoutInit,
        Self::NoDedupeWindow,
        Self::AssignBeyondCredit,
        Self::SlotFreeUnchecked,
        Self::AnnounceBeforeSeal,
        Self::ReleaseBeforeAnnounce,
        Self::CollectorDeletesNamed,
        Self::CollectorBeforeTerminal,
        Self::SameIncarnation,
        Self::OffsetOutsideTransaction,
        Self::RepeatUnknownCommit,
        Self::RedeliveredIsNew,
        Self::CheckpointOfOwnAttempt,
        Self::RetryWithoutAttempt,
        Self::CancelTwice,
        Self::EarlyCancelForgotten,
        Self::PollOnAfterAbort,
        Self::AdoptsAnySpec,
    ];

    /// The smallest bounds within which it is caught.
    #[must_use]
    pub fn bounds(self) -> Protocol {
        let (slots, jobs, left) = match self {
            Self::ReadUncommitted => (1, 2, Left::NONE.with(Fault::Crash, 1).with(Fault::Net, 1)),
            Self::AssignBeyondCredit => (1, 2, Left::NONE),
            Self::FenceSkipsToEnd | Self::FencedOfAnyIncarnation => {
                (1, 1, Left::NONE.with(Fault::Crash, 1).with(Fault::Split, 1))
            }
            _ => (
                2,
                1,
                NAMES
                    .iter()
                    .fold(Left::NONE, |left, (_, fault)| left.with(*fault, 1))
                    .at_most(1),
            ),
        };
        let mut protocol = Protocol::new(slots, jobs);
        (protocol.left, protocol.collector) = (left, true);
        protocol
    }

    /// Its name, as the command line takes it.
    #[must_use]
    pub fn name(self) -> String {
        format!("{self:?}")
    }
}
