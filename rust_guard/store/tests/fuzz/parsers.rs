//! The pure readers: whatever they take is exactly what was written.

use guard_core::checkpoint::{Checkpoint, Conditioning};
use guard_core::claim::{ClaimRecord, RecordRef, start_is_ours, start_json};
use guard_core::collect::Ended;
use guard_core::container::{Expected, check as check_video};
use guard_core::ids::{Digest, Fingerprint, JobId, Ordinal, PoolIncarnation, PutId, TenantId};
use guard_core::keys::{Place, Subject};
use guard_core::seal::Seal;
use guard_core::{manifest, tensors};
use guard_store::mp4::contents;

use crate::Run;
use crate::damage::{Draw, damaged};

const ID: &str = "00000000-0000-4000-8000-000000000001";
const CLIP: &[u8] = include_bytes!("../store/clip.mp4");
const VIDEO: Expected = Expected {
    frames: 7,
    fps: 30,
    width: 32,
    height: 32,
};

fn ordinal(number: i64) -> Ordinal {
    Ordinal::new("number", number).unwrap()
}

fn digest(byte: &str) -> Digest {
    Digest::new(&byte.repeat(32)).unwrap()
}

fn subject() -> Subject {
    Subject {
        pool_incarnation: PoolIncarnation::new(ID).unwrap(),
        tenant_id: TenantId::new("acme").unwrap(),
        job_id: JobId::new(ID).unwrap(),
        attempt: ordinal(2),
    }
}

fn claim() -> ClaimRecord {
    ClaimRecord {
        subject: subject(),
        record: RecordRef::new("ttv.pool.mochi-1.assignments", 4, 1_234).unwrap(),
        spec_digest: digest("a1"),
        put_id: PutId::new(ID).unwrap(),
    }
}

fn seal() -> Seal {
    Seal {
        attempt: ordinal(2),
        start: ordinal(3),
        spec_digest: digest("a1"),
        sha256: digest("b2"),
        size: 4_321,
        video: VIDEO,
        manifest: Some(digest("c3")),
    }
}

fn checkpoint() -> Checkpoint {
    Checkpoint {
        place: Place {
            step: ordinal(8),
            attempt: ordinal(2),
            start: ordinal(3),
        },
        total: ordinal(64),
        spec_digest: digest("a1"),
        fingerprint: Fingerprint::new("model=mochi-1;device=h100;torch=2.15").unwrap(),
        sha256: digest("b2"),
        size: 4_273_920,
        conditioning: Some(Conditioning {
            sha256: digest("d4"),
            size: 4_194_816,
        }),
    }
}

fn tensors_file() -> Vec<u8> {
    let header = concat!(
        r#"{"__metadata__":{"step":"8"},"#,
        r#""latents":{"dtype":"F32","shape":[1,12,2,2],"data_offsets":[0,192]},"#,
        r#""prompt_attention_mask":{"dtype":"BOOL","shape":[1,4],"data_offsets":[192,196]}}"#,
    );
    let data = [0.5_f32.to_le_bytes().repeat(48), vec![1; 4]].concat();
    let length = (header.len() as u64).to_le_bytes();
    [&length, header.as_bytes(), &data].concat()
}

fn keys() -> Vec<String> {
    let (subject, checkpoint) = (subject(), checkpoint());
    let (attempt, start) = (ordinal(2), ordinal(3));
    vec![
        subject.claim_key(),
        subject.start_key(start),
        subject.video_key(attempt, start),
        subject.seal_key(attempt, start),
        subject.manifest_key(attempt, start),
        subject.checkpoint_key(checkpoint.place),
        subject.checkpoint_record_key(checkpoint.place),
        subject.conditioning_key(attempt, start),
    ]
}

/// A key that is read as one's own is one that the guard itself would write.
fn judge_key(key: &str) {
    let subject = subject();
    if let Some((attempt, start)) = subject.parse_video_key(key) {
        let own = [
            subject.video_key(attempt, start),
            subject.seal_key(attempt, start),
            subject.manifest_key(attempt, start),
        ];
        assert!(own.contains(&key.to_owned()), "{key}");
    }
    if let Some(place) = subject.parse_checkpoint_record_key(key) {
        assert_eq!(subject.checkpoint_record_key(place), key);
    }
    if let Some(start) = subject.parse_start_key(key) {
        assert_eq!(subject.start_key(start), key);
    }
    let own = TenantId::new("acme").unwrap();
    let ended = Ended::new(own, JobId::new(ID).unwrap(), None).unwrap();
    if ended.may_go(key) {
        let job = format!("/{ID}/");
        assert!(key.contains(&job) && !key.starts_with("claims/"), "{key}");
        assert!(!key.split('/').any(|part| part.is_empty() || part == ".."));
    }
}

/// A file that still says it is this video has its frames and its size.
fn judge_video(bytes: &[u8]) {
    if let Ok(contents) = contents(bytes)
        && check_video(&contents, &VIDEO).is_ok()
    {
        let declared = (contents.samples, contents.width, contents.height);
        assert_eq!(declared, (7, 32, 32));
    }
}

fn judge(draw: &mut Draw) {
    let (subject, seal_of, checkpoint_of) = (subject(), seal(), checkpoint());
    let (record, put_id) = (claim(), PutId::new(ID).unwrap());
    let (claimed, sealed) = (record.to_json(), seal_of.to_json(&subject));
    let (kept, started) = (checkpoint_of.to_json(&subject), start_json(&put_id));
    let tensors_file = tensors_file();
    let others = [&claimed[..], &sealed, &kept, &started, &tensors_file, CLIP];
    match draw.below(8) {
        0 => {
            let read = ClaimRecord::from_json(&damaged(&claimed, &others, draw));
            assert!(read.is_err() || read == Ok(record));
        }
        1 => {
            let key = subject.seal_key(seal_of.attempt, seal_of.start);
            let read = Seal::from_json(&damaged(&sealed, &others, draw), &subject, &key);
            assert!(read.is_err() || read == Ok(seal_of));
        }
        2 => {
            let place = checkpoint_of.place;
            let read = Checkpoint::from_json(&damaged(&kept, &others, draw), &subject, place);
            assert!(read.is_err() || read == Ok(checkpoint_of));
        }
        3 => {
            let bytes = damaged(&started, &others, draw);
            // Written by this very put, or it names another: then the next number is taken.
            if start_is_ours(&bytes, &put_id) {
                assert!(String::from_utf8(bytes).unwrap().contains(ID));
            }
        }
        4 => judge_video(&damaged(CLIP, &others, draw)),
        5 => {
            let bytes = damaged(&tensors_file, &others, draw);
            if tensors::check(&bytes).is_ok() {
                assert!(bytes.len() > 192 && tensors::check_conditioning(&bytes).is_err());
            }
        }
        6 => {
            let bytes = damaged(br#"{"spec":{"seed":7},"kernels":["sdpa"]}"#, &others, draw);
            if manifest::check(&bytes).is_ok() {
                assert!(bytes.len() <= manifest::MAX_BYTES && bytes.contains(&b'{'));
            }
        }
        _ => {
            let keys = keys();
            let key = &keys[draw.below(keys.len())];
            let other = keys[draw.below(keys.len())].as_bytes();
            let bytes = damaged(key.as_bytes(), &[other], draw);
            judge_key(&String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn no_damage_is_taken_for_what_was_written() {
    Run::from_environment().each(judge);
}
