//! Reads out of an MP4 file what `guard_core::container` judges.
//!
//! Top-level boxes are walked here, in checked arithmetic; `moov` is parsed by `mp4-atom`. The file
//! may be anything: sizes in it are never allocated, only compared.

use std::ops::Range;
use std::panic::catch_unwind;

use guard_core::container::{Contents, Flaw};
use mp4_atom::{Codec, Decode, Moov, Stbl, StszSamples};

/// The sample tables of 301 frames take kilobytes.
const MAX_MOOV: u64 = 16 << 20;

/// The top-level boxes that matter.
#[derive(Debug, Default)]
struct Boxes {
    ftyp: bool,
    moov: Vec<Range<usize>>,
    mdat: Vec<Range<u64>>,
}

/// What the MP4 file `bytes` holds.
///
/// # Errors
/// A [`Flaw`] when it is not an MP4 whose boxes all lie inside the file, with one `moov`.
pub fn contents(bytes: &[u8]) -> Result<Contents, Flaw> {
    let boxes = walk(bytes)?;
    if !boxes.ftyp {
        return Err(Flaw::NotMp4);
    }
    let [moov] = boxes.moov.as_slice() else {
        return Err(Flaw::NoMoov);
    };
    let body = bytes.get(moov.clone()).ok_or(Flaw::Truncated)?;
    // The parser is another's and its input hostile: should it panic, that is the file's flaw.
    let moov = catch_unwind(|| Moov::decode(&mut &body[..]))
        .map_err(|_| Flaw::BadMoov)?
        .map_err(|_| Flaw::BadMoov)?;
    describe(&moov, &boxes.mdat)
}

fn walk(bytes: &[u8]) -> Result<Boxes, Flaw> {
    let mut boxes = Boxes::default();
    let mut at = 0_usize;
    while at < bytes.len() {
        let (kind, header, size) = box_header(&bytes[at..]).ok_or(no_box(at))?;
        let end = usize::try_from(size)
            .ok()
            .and_then(|size| at.checked_add(size));
        let Some(end) = end.filter(|end| *end <= bytes.len()) else {
            return Err(no_box(at));
        };
        match &kind {
            b"ftyp" => boxes.ftyp = true,
            b"moov" if size > MAX_MOOV => return Err(Flaw::BadMoov),
            b"moov" => boxes.moov.push(at..end),
            b"mdat" => boxes.mdat.push((at + header) as u64..end as u64),
            // Fragments keep their samples elsewhere: not what a sealed artifact looks like.
            b"moof" => return Err(Flaw::BadMoov),
            _ => {}
        }
        at = end;
    }
    Ok(boxes)
}

/// A box that does not fit: at the beginning it means that this is no MP4.
const fn no_box(at: usize) -> Flaw {
    if at == 0 {
        Flaw::NotMp4
    } else {
        Flaw::Truncated
    }
}

/// Kind, header length and total length of the box at the start of `bytes`.
fn box_header(bytes: &[u8]) -> Option<([u8; 4], usize, u64)> {
    let size = u32::from_be_bytes(*bytes.first_chunk::<4>()?);
    let kind = *bytes.get(4..)?.first_chunk::<4>()?;
    let (header, size) = match size {
        0 => (8, bytes.len() as u64),
        1 => (16, u64::from_be_bytes(*bytes.get(8..)?.first_chunk::<8>()?)),
        size => (8, u64::from(size)),
    };
    (size >= header as u64).then_some((kind, header, size))
}

fn describe(moov: &Moov, mdat: &[Range<u64>]) -> Result<Contents, Flaw> {
    let is_video = |handler: &[u8; 4]| handler == b"vide";
    let (video, other): (Vec<_>, Vec<_>) = moov
        .trak
        .iter()
        .partition(|trak| is_video(trak.mdia.hdlr.handler.as_ref()));
    let [track] = video.as_slice() else {
        return Err(Flaw::Tracks);
    };
    let table = &track.mdia.minf.stbl;
    let avc1 = match table.stsd.codecs.as_slice() {
        [Codec::Avc1(avc1)] => Some(&avc1.visual),
        _ => None,
    };
    let timed = table.stts.entries.iter();
    Ok(Contents {
        video_tracks: video.len(),
        other_tracks: other.len(),
        avc1: avc1.is_some(),
        width: avc1.map_or(0, |visual| visual.width.into()),
        height: avc1.map_or(0, |visual| visual.height.into()),
        samples: sample_count(table),
        timed_samples: timed
            .clone()
            .map(|entry| u64::from(entry.sample_count))
            .sum(),
        duration: timed
            .map(|entry| u64::from(entry.sample_count) * u64::from(entry.sample_delta))
            .fold(0, u64::saturating_add),
        timescale: track.mdia.mdhd.timescale,
        samples_present: samples_present(table, mdat).is_some(),
    })
}

fn sample_count(table: &Stbl) -> u64 {
    match &table.stsz.samples {
        StszSamples::Identical { count, .. } => u64::from(*count),
        StszSamples::Different { sizes } => sizes.len() as u64,
    }
}

/// Whether every sample has bytes and every chunk lies inside one `mdat`.
///
/// A chunk holds a run of samples: `stsc` says how many from which chunk on, `stsz` how long each
/// is, `stco` or `co64` where the chunk begins (ISO/IEC 14496-12, 8.7).
fn samples_present(table: &Stbl, mdat: &[Range<u64>]) -> Option<()> {
    let offsets: Vec<u64> = match (&table.stco, &table.co64) {
        (Some(stco), None) => stco.entries.iter().map(|at| u64::from(*at)).collect(),
        (None, Some(co64)) => co64.entries.clone(),
        _ => return None,
    };
    let mut runs = table.stsc.entries.iter().peekable();
    let mut per_chunk = 0_u64;
    let mut done = 0_u64;
    for (index, start) in offsets.iter().enumerate() {
        while let Some(run) = runs.next_if(|run| u64::from(run.first_chunk) <= index as u64 + 1) {
            per_chunk = run.samples_per_chunk.into();
        }
        let end = start.checked_add(bytes_of(table, done, per_chunk)?)?;
        if !mdat
            .iter()
            .any(|media| media.start <= *start && end <= media.end)
        {
            return None;
        }
        done = done.checked_add(per_chunk)?;
    }
    (done == sample_count(table)).then_some(())
}

/// Bytes of `count` samples from number `first` on; none if one is empty or there are not so many.
fn bytes_of(table: &Stbl, first: u64, count: u64) -> Option<u64> {
    match &table.stsz.samples {
        StszSamples::Identical { size: 0, .. } => None,
        StszSamples::Identical { size, .. } => u64::from(*size).checked_mul(count),
        StszSamples::Different { sizes } => {
            let from = usize::try_from(first).ok()?;
            let to = usize::try_from(first.checked_add(count)?).ok()?;
            let run = sizes.get(from..to)?;
            (!run.contains(&0)).then(|| run.iter().map(|size| u64::from(*size)).sum())
        }
    }
}
