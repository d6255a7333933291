//! Faults, each kind with a budget of its own and all of them with one together.

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A process dies.
    Crash,
    /// A process is replaced and goes on: frozen and woken, or on the other side of a partition.
    Split,
    /// A live slot is found silent.
    Suspect,
    /// An answer of Kafka is lost, or an EndTxn held back.
    Net,
    /// An answer of the store is lost.
    Store,
    /// A request is admitted twice.
    Repeat,
    /// A job's owner cancels it.
    Cancel,
    /// A render fails, or a slot is told to stop.
    Failure,
    /// The cluster is lost and made anew over the old bucket.
    Recreate,
    /// A slot's committed offset is lost.
    OffsetLoss,
}

/// How many kinds there are.
pub const KINDS: usize = 10;

/// Kinds, by the name that the command line gives their budget.
pub const NAMES: [(&str, Fault); KINDS] = [
    ("crashes", Fault::Crash),
    ("splits", Fault::Split),
    ("suspicions", Fault::Suspect),
    ("net", Fault::Net),
    ("store", Fault::Store),
    ("repeats", Fault::Repeat),
    ("cancels", Fault::Cancel),
    ("failures", Fault::Failure),
    ("recreations", Fault::Recreate),
    ("losses", Fault::OffsetLoss),
];

/// Faults that may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Left {
    /// Of each kind.
    pub kinds: [u8; KINDS],
    /// Of all kinds together.
    pub total: u8,
}

impl Left {
    /// None at all.
    pub const NONE: Self = Self {
        kinds: [0; KINDS],
        total: 0,
    };

    /// Whether one may happen.
    #[must_use]
    pub const fn allows(&self, fault: Fault) -> bool {
        self.total > 0 && self.kinds[fault as usize] > 0
    }

    /// One has happened.
    pub fn spend(&mut self, fault: Fault) {
        self.kinds[fault as usize] -= 1;
        self.total -= 1;
        if self.total == 0 {
            self.kinds = [0; KINDS]; // equal from here on
        }
    }

    /// With `count` faults of a kind, and as many more in all.
    #[must_use]
    pub const fn with(mut self, fault: Fault, count: u8) -> Self {
        self.kinds[fault as usize] = count;
        self.total += count;
        self
    }

    /// With at most `total` faults in all.
    #[must_use]
    pub const fn at_most(mut self, total: u8) -> Self {
        self.total = total;
        self
    }
}
