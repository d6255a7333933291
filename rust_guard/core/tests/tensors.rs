//! Checkpoint files: hostile safetensors bytes are never taken for a checkpoint, never a panic.

mod cases;

use guard_core::tensors::{MAX_BYTES, TensorFlaw, check, check_conditioning};
use proptest::prelude::*;

/// A safetensors file of `header` and `data`.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [&length, header.as_bytes(), data].concat()
}

fn entry(name: &str, dtype: &str, shape: &str, begin: usize, end: usize) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
}

/// A file of the given tensors, their data all zeros and one after another.
fn tensors(entries: &[(&str, &str, &str, usize)]) -> Vec<u8> {
    let mut at = 0;
    let header: Vec<_> = entries
        .iter()
        .map(|(name, dtype, shape, size)| {
            at += size;
            entry(name, dtype, shape, at - size, at)
        })
        .collect();
    file(&format!("{{{}}}", header.join(",")), &vec![0; at])
}

fn good() -> Vec<u8> {
    tensors(&[
        ("latents", "BF16", "[1,12,2,4,4]", 768),
        ("prompt_embeds", "F32", "[1,4,8]", 128),
        ("prompt_attention_mask", "BOOL", "[1,4]", 4),
        ("negative_prompt_embeds", "F16", "[1,4,8]", 64),
        ("negative_prompt_attention_mask", "I64", "[1,4]", 32),
    ])
}

#[test]
fn latents_with_or_without_their_prompts_pass() {
    assert_eq!(check(&good()), Ok(()));
    for (dtype, size) in [("F32", 8), ("F16", 4), ("BF16", 4)] {
        let alone = tensors(&[("latents", dtype, "[1,2]", size)]);
        assert_eq!(check(&alone), Ok(()), "{dtype}");
    }
}

#[test]
fn a_conditioning_has_the_prompts_and_no_latents() {
    let embeds = ("prompt_embeds", "BF16", "[1,4,8]", 64);
    let mask = ("prompt_attention_mask", "BOOL", "[1,4]", 4);
    let negative = ("negative_prompt_embeds", "BF16", "[1,4,8]", 64);
    for good in [&[embeds][..], &[embeds, mask], &[negative, mask, embeds]] {
        assert_eq!(check_conditioning(&tensors(good)), Ok(()), "{good:?}");
    }
    let latents = ("latents", "BF16", "[1,2]", 4);
    for bad in [
        &[][..],
        &[mask],
        &[negative, mask],
        &[embeds, latents],
        &[embeds, embeds],
        &[embeds, ("weights", "BF16", "[1,2]", 4)],
    ] {
        let judged = check_conditioning(&tensors(bad));
        assert_eq!(judged, Err(TensorFlaw::Names), "{bad:?}");
    }
    assert_eq!(check_conditioning(&good()), Err(TensorFlaw::Names));
    let mut infinite = tensors(&[embeds]);
    let last = infinite.len() - 1;
    infinite[last - 1..].copy_from_slice(&[0x80, 0x7f]);
    assert_eq!(check_conditioning(&infinite), Err(TensorFlaw::NotFinite));
    assert_eq!(
        check_conditioning(&infinite[..last]),
        Err(TensorFlaw::Truncated)
    );
}

#[test]
fn metadata_of_strings_passes_and_nothing_else_does() {
    let latents = entry("latents", "F32", "[1]", 0, 4);
    let with = |metadata: &str| check(&file(&format!("{{{metadata},{latents}}}"), &[0; 4]));
    assert_eq!(with(r#""__metadata__":{"format":"pt"}"#), Ok(()));
    for bad in [
        r#""__metadata__":{"step":8}"#,
        r#""__metadata__":[]"#,
        r#""__metadata__":{},"__metadata__":{}"#,
    ] {
        assert_eq!(with(bad), Err(TensorFlaw::Header), "{bad}");
    }
}

#[test]
fn tensors_are_there_once_and_are_those_of_a_checkpoint() {
    let latents = ("latents", "F32", "[1]", 4);
    for bad in [
        &[][..],
        &[("prompt_embeds", "F32", "[1]", 4)],
        &[latents, latents],
        &[latents, ("weights", "F32", "[1]", 4)],
        &[latents, ("", "F32", "[1]", 4)],
    ] {
        assert_eq!(check(&tensors(bad)), Err(TensorFlaw::Names), "{bad:?}");
    }
}

#[test]
fn types_that_do_not_belong_are_refused() {
    for (name, dtype) in [
        ("latents", "F64"),
        ("latents", "I64"),
        ("latents", "BOOL"),
        ("latents", "f32"),
        ("latents", ""),
    ] {
        let bad = tensors(&[(name, dtype, "[1]", 8)]);
        assert_eq!(check(&bad), Err(TensorFlaw::Dtype), "{name} {dtype}");
    }
    let bad = tensors(&[
        ("latents", "F32", "[1]", 4),
        ("prompt_embeds", "I32", "[1]", 4),
    ]);
    assert_eq!(check(&bad), Err(TensorFlaw::Dtype));
}

#[test]
fn shapes_that_are_empty_or_absurd_are_refused() {
    for shape in [
        "[]",
        "[0]",
        "[1,0,4]",
        "[1,1,1,1,1,1,1,1,1]",
        "[1048577]",
        "[1048576,1048576,1048576,1048576]",
        "[18446744073709551615,2]",
    ] {
        let bad = tensors(&[("latents", "F32", shape, 4)]);
        assert_eq!(check(&bad), Err(TensorFlaw::Shape), "{shape}");
    }
}

#[test]
fn offsets_cover_the_file_without_gap_or_overlap() {
    let two = |a: (usize, usize), b: (usize, usize), length: usize| {
        let header = format!(
            "{{{},{}}}",
            entry("latents", "F32", "[2]", a.0, a.1),
            entry("prompt_embeds", "F32", "[1]", b.0, b.1)
        );
        check(&file(&header, &vec![0; length]))
    };
    assert_eq!(two((0, 8), (8, 12), 12), Ok(()));
    assert_eq!(two((4, 12), (0, 4), 12), Ok(()));
    for bad in [
        two((0, 8), (12, 16), 16),
        two((4, 12), (8, 12), 12),
        two((0, 8), (4, 8), 8),
        two((0, 8), (0, 4), 8),
        two((0, 8), (8, 12), 13),
        two((0, 4), (4, 8), 8),
        two((8, 0), (8, 12), 12),
        two((0, 8), (8, usize::MAX), 12),
        two((1, 9), (9, 13), 13),
    ] {
        assert_eq!(bad, Err(TensorFlaw::Layout));
    }
    assert_eq!(two((0, 8), (8, 12), 11), Err(TensorFlaw::Truncated));
}

#[test]
fn headers_that_lie_about_their_length_are_refused() {
    for (length, flaw) in [
        (0, TensorFlaw::Header),
        (1, TensorFlaw::Header),
        (16_000, TensorFlaw::Truncated),
        (16_385, TensorFlaw::Header),
        (1 << 63, TensorFlaw::Header),
        (u64::MAX, TensorFlaw::Header),
    ] {
        let mut bytes = good();
        bytes[..8].copy_from_slice(&u64::to_le_bytes(length));
        assert_eq!(check(&bytes), Err(flaw), "{length}");
    }
    assert_eq!(check(b""), Err(TensorFlaw::Truncated));
    let nested = format!(r#"{{"latents":{}"#, "[".repeat(10_000));
    assert_eq!(check(&file(&nested, &[])), Err(TensorFlaw::Header));
    let padded = format!(" {{{}}}", entry("latents", "F32", "[1]", 0, 4));
    assert_eq!(check(&file(&padded, &[0; 4])), Err(TensorFlaw::Header));
}

#[test]
fn half_a_million_empty_tensors_are_not_even_parsed() {
    let entries: Vec<_> = (0..500_000)
        .map(|n| entry(&n.to_string(), "F32", "[0]", 0, 0))
        .collect();
    let bad = file(&format!("{{{}}}", entries.join(",")), &[]);
    assert_eq!(check(&bad), Err(TensorFlaw::Header));
}

#[test]
fn a_file_beyond_the_cap_is_refused() {
    let header = format!(
        "{{{}}}",
        entry("latents", "F32", "[16,1048576]", 0, 64 << 20)
    );
    let bad = file(&header, &vec![0; 64 << 20]);
    assert!(bad.len() as u64 > MAX_BYTES);
    assert_eq!(check(&bad), Err(TensorFlaw::TooLarge));
}

#[test]
fn nan_and_infinity_are_refused_wherever_they_stand() {
    let with = |dtype: &str, value: &[u8], index: usize| {
        let mut data = vec![0; value.len() * 16];
        data[index * value.len()..(index + 1) * value.len()].copy_from_slice(value);
        let header = format!("{{{}}}", entry("latents", dtype, "[16]", 0, data.len()));
        check(&file(&header, &data))
    };
    for index in [0, 7, 15] {
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let bits = bad.to_le_bytes();
            assert_eq!(with("F32", &bits, index), Err(TensorFlaw::NotFinite));
            assert_eq!(with("BF16", &bits[2..], index), Err(TensorFlaw::NotFinite));
        }
        for bad in [0x7c00_u16, 0xfc00, 0x7e00, 0xffff, 0x7c01] {
            let bits = bad.to_le_bytes();
            assert_eq!(with("F16", &bits, index), Err(TensorFlaw::NotFinite));
        }
        for good in [f32::MAX, f32::MIN, f32::MIN_POSITIVE / 4.0, -0.0] {
            let bits = good.to_le_bytes();
            assert_eq!(with("F32", &bits, index), Ok(()));
            assert_eq!(with("BF16", &bits[2..], index), Ok(()));
        }
        assert_eq!(with("F16", &0x7bff_u16.to_le_bytes(), index), Ok(()));
    }
}

#[test]
fn every_truncation_is_refused() {
    let whole = good();
    for length in 0..whole.len() {
        assert!(check(&whole[..length]).is_err(), "cut to {length} bytes");
    }
}

proptest! {
    #![proptest_config(cases::config())]

    #[test]
    fn arbitrary_bytes_are_no_checkpoint(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        prop_assert!(check(&bytes).is_err());
    }

    #[test]
    fn arbitrary_headers_are_no_checkpoint(header in ".{0,300}", data in prop::collection::vec(any::<u8>(), 0..64)) {
        prop_assert!(check(&file(&header, &data)).is_err());
    }

    #[test]
    fn a_damaged_header_is_refused(at: prop::sample::Index, byte: u8) {
        let whole = good();
        let mut bytes = whole.clone();
        // Damage in the data may leave a checkpoint, if another: the hash is for that.
        bytes[at.index(whole.len() - 996)] = byte;
        prop_assert_eq!(check(&bytes).is_ok(), bytes == whole);
    }

    #[test]
    fn a_checkpoint_covers_its_file_exactly(extra in prop::collection::vec(any::<u8>(), 1..64)) {
        prop_assert!(check(&[good(), extra].concat()).is_err());
    }
}
