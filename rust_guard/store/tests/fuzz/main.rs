//! Random damage to everything the guard reads: never a panic, and nothing is taken for what was
//! not written.
//!
//! `TTV_FUZZ_CASES` inputs, or 10,000, for each of: stored checkpoints and manifests, other stored
//! objects, the parsers. `TTV_FUZZ_SEED` repeats a run, and a failure prints it.

mod damage;
mod parsers;
mod stored;

use damage::Draw;

/// What one run is made of.
pub struct Run {
    /// Inputs.
    pub cases: u64,
    /// What all their draws follow from.
    pub seed: u64,
}

impl Run {
    fn from_environment() -> Self {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
        Self {
            cases: number("TTV_FUZZ_CASES").unwrap_or(10_000),
            seed: number("TTV_FUZZ_SEED").unwrap_or(20_261_125),
        }
    }

    /// Gives each case to `judge` with a draw of its own, and says which one failed.
    fn each(&self, mut judge: impl FnMut(&mut Draw)) {
        let mut telling = Telling(self.seed, 0);
        for case in 0..self.cases {
            telling.1 = case;
            judge(&mut Draw::new(self.seed, case));
        }
        std::mem::forget(telling);
    }
}

/// Dropped only where a case panicked.
struct Telling(u64, u64);

impl Drop for Telling {
    fn drop(&mut self) {
        eprintln!("TTV_FUZZ_SEED={} failed in case {}", self.0, self.1);
    }
}
