//! Hostile MP4 bytes: never a panic, never accepted for what they are not.

use crate::cases::{CLIP, VIDEO};
use guard_core::container::{Flaw, check};
use guard_store::mp4::contents;
use proptest::prelude::*;

fn judge(bytes: &[u8]) -> Result<(), Flaw> {
    contents(bytes).and_then(|contents| check(&contents, &VIDEO))
}

/// Where the four bytes `name` first stand.
fn find(name: &[u8; 4]) -> usize {
    CLIP.windows(4).position(|window| window == name).unwrap()
}

fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut clip = CLIP.to_vec();
    clip[at..at + bytes.len()].copy_from_slice(bytes);
    clip
}

#[test]
fn a_real_clip_passes() {
    assert_eq!(judge(CLIP), Ok(()));
}

#[test]
fn every_truncation_is_refused() {
    for length in 0..CLIP.len() {
        assert!(judge(&CLIP[..length]).is_err(), "cut to {length} bytes");
    }
}

#[test]
fn trailing_garbage_is_refused() {
    let longer = [CLIP, b"\xff\xff\xff\xffjunk"].concat();
    assert_eq!(judge(&longer), Err(Flaw::Truncated));
}

#[test]
fn box_sizes_are_never_believed() {
    for name in [
        b"mdat", b"moov", b"trak", b"mdia", b"stbl", b"stsd", b"stsz", b"stts", b"stco",
    ] {
        for size in [1_u32, 7, 0x7fff_ffff, u32::MAX] {
            let at = find(name) - 4;
            assert!(
                judge(&patched(at, &size.to_be_bytes())).is_err(),
                "{name:?} {size}"
            );
        }
    }
}

#[test]
fn media_data_that_says_it_goes_on_to_the_end_swallows_the_index() {
    assert_eq!(
        judge(&patched(find(b"mdat") - 4, &[0; 4])),
        Err(Flaw::NoMoov)
    );
}

#[test]
fn counts_are_never_believed() {
    let [stsz, stts, stsc, stco] = [find(b"stsz"), find(b"stts"), find(b"stsc"), find(b"stco")];
    for at in [stsz + 12, stts + 8, stsc + 8, stco + 8] {
        for count in [0_u32, 6, 8, 0x1000_0000, u32::MAX] {
            assert!(
                judge(&patched(at, &count.to_be_bytes())).is_err(),
                "{count} at {at}"
            );
        }
    }
}

#[test]
fn samples_outside_the_media_data_are_refused() {
    for offset in [0_u32, 1, 0xffff_0000, u32::MAX] {
        let moved = patched(find(b"stco") + 12, &offset.to_be_bytes());
        assert_eq!(judge(&moved), Err(Flaw::Truncated), "{offset}");
    }
}

#[test]
fn two_moov_boxes_are_refused() {
    let moov = &CLIP[find(b"moov") - 4..];
    assert_eq!(judge(&[CLIP, moov].concat()), Err(Flaw::NoMoov));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn noise_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(judge(&bytes).is_err());
    }

    #[test]
    fn damage_never_panics(damage in proptest::collection::vec((0..CLIP.len(), any::<u8>()), 1..20)) {
        let mut clip = CLIP.to_vec();
        for (at, byte) in damage {
            clip[at] = byte;
        }
        // Damage to the media data itself is found by the hash, not here.
        let _ = judge(&clip);
    }

    #[test]
    fn damage_to_the_index_never_hides_a_missing_frame(
        at in find(b"moov")..CLIP.len(),
        word: u32,
    ) {
        let mut clip = CLIP.to_vec();
        for (byte, new) in clip[at..].iter_mut().zip(word.to_be_bytes()) {
            *byte = new;
        }
        if let Ok(contents) = contents(&clip)
            && check(&contents, &VIDEO).is_ok()
        {
            prop_assert_eq!((contents.samples, contents.width, contents.height), (7, 32, 32));
        }
    }
}
