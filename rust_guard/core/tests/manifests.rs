//! Manifests: one JSON object, not too long, whatever it holds.

use guard_core::manifest::{MAX_BYTES, ManifestFlaw, check};
use proptest::prelude::*;

#[test]
fn one_object_passes() {
    for good in ["{}", r#"{"spec":{"seed":7},"kernels":["sdpa"]}"#, " {} \n"] {
        assert_eq!(check(good.as_bytes()), Ok(()), "{good}");
    }
}

#[test]
fn anything_else_is_refused() {
    let nested = format!("{{\"a\":{}", "[".repeat(MAX_BYTES - 5));
    for bad in [
        "",
        "[]",
        "null",
        "{",
        "{}{}",
        "{\"a\":NaN}",
        "{\"a\"}",
        &nested,
    ] {
        assert_eq!(check(bad.as_bytes()), Err(ManifestFlaw::Malformed));
    }
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_BYTES));
    assert_eq!(check(long.as_bytes()), Err(ManifestFlaw::TooLong));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 3..600)) {
        prop_assert!(check(&bytes).is_err());
    }
}
