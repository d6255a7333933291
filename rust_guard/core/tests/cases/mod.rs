//! How many cases a property is tried with.

use proptest::test_runner::Config;

/// `PROPTEST_CASES` of them, or 4,000.
pub fn config() -> Config {
    let cases = std::env::var("PROPTEST_CASES").ok();
    Config::with_cases(cases.and_then(|text| text.parse().ok()).unwrap_or(4_000))
}
