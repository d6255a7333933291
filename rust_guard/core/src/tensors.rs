//! What a checkpoint's file must be: a safetensors file of the expected tensors, and nothing else.
//!
//! A safetensors file is a header length (8 bytes, little-endian), a JSON header that names each
//! tensor's type, shape and place, and the tensors' bytes. The format's own readers take NaN,
//! repeated names and hundreds of thousands of empty tensors; this check takes none of them.
//! Source: <https://github.com/huggingface/safetensors#format>.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

/// Larger checkpoints are refused: full-size latents with their prompts stay below 10 MB.
pub const MAX_BYTES: u64 = 64 << 20;
/// Five tensors and some metadata take a few hundred bytes.
const MAX_HEADER: u64 = 16 * 1024;
/// Latents have five dimensions.
const MAX_RANK: usize = 8;
const MAX_SIDE: u64 = 1 << 20;

/// The tensor that every checkpoint has, and no conditioning.
pub const LATENTS: &str = "latents";
/// The prompts' embeddings, so that the text encoder need not run again; the first is needed.
pub const EMBEDDINGS: [&str; 2] = ["prompt_embeds", "negative_prompt_embeds"];
/// Masks of the embeddings.
pub const MASKS: [&str; 2] = ["prompt_attention_mask", "negative_prompt_attention_mask"];

const METADATA: &str = "__metadata__";

/// What is wrong with a checkpoint's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum TensorFlaw {
    /// The file could not be read.
    #[error("the file cannot be read")]
    Unreadable,
    /// The file could not be written.
    #[error("the file cannot be written")]
    Unwritable,
    /// Larger than a checkpoint may be.
    #[error("the file is larger than a checkpoint may be")]
    TooLarge,
    /// Shorter than its header says.
    #[error("the file is cut short")]
    Truncated,
    /// The header is too long, or not what safetensors writes.
    #[error("the header is not one of a checkpoint")]
    Header,
    /// A tensor is missing, unknown or there twice.
    #[error("the file does not have the tensors of a checkpoint, once each")]
    Names,
    /// A tensor has a type that it may not have.
    #[error("a tensor has a type that it may not have")]
    Dtype,
    /// A tensor is empty or has too many dimensions.
    #[error("a tensor has a shape that it may not have")]
    Shape,
    /// The tensors do not cover the file one after another.
    #[error("the tensors do not cover the file one after another")]
    Layout,
    /// NaN or infinity.
    #[error("a tensor is not finite")]
    NotFinite,
}

impl TensorFlaw {
    /// Stable name, for logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Unwritable => "unwritable",
            Self::TooLarge => "too_large",
            Self::Truncated => "truncated",
            Self::Header => "header",
            Self::Names => "names",
            Self::Dtype => "dtype",
            Self::Shape => "shape",
            Self::Layout => "layout",
            Self::NotFinite => "not_finite",
        }
    }
}

/// What a file of tensors is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A checkpoint: latents, and the conditioning where it is not kept apart.
    Checkpoint,
    /// A job's conditioning: what the text encoder made of its prompts, without latents.
    Conditioning,
}

impl Kind {
    /// The tensor that must be there.
    const fn needs(self) -> &'static str {
        match self {
            Self::Checkpoint => LATENTS,
            Self::Conditioning => EMBEDDINGS[0],
        }
    }

    fn may_have(self, name: &str) -> bool {
        (self == Self::Checkpoint && name == LATENTS)
            || EMBEDDINGS.contains(&name)
            || MASKS.contains(&name)
    }
}

/// Checks the bytes of a checkpoint's file.
///
/// `latents` must be there; embeddings and masks may be. Latents and embeddings are F32, F16 or
/// BF16 and finite; masks may also be BOOL or an integer type.
///
/// # Errors
/// The first [`TensorFlaw`] found.
pub fn check(bytes: &[u8]) -> Result<(), TensorFlaw> {
    check_file(bytes, Kind::Checkpoint)
}

/// Checks the bytes of a conditioning's file: as [`check`], but `prompt_embeds` must be there and
/// `latents` may not.
///
/// # Errors
/// The first [`TensorFlaw`] found.
pub fn check_conditioning(bytes: &[u8]) -> Result<(), TensorFlaw> {
    check_file(bytes, Kind::Conditioning)
}

fn check_file(bytes: &[u8], kind: Kind) -> Result<(), TensorFlaw> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(TensorFlaw::TooLarge);
    }
    let (length, rest) = bytes
        .split_first_chunk::<8>()
        .ok_or(TensorFlaw::Truncated)?;
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER {
        return Err(TensorFlaw::Header);
    }
    let length = usize::try_from(length).map_err(|_| TensorFlaw::Header)?;
    let (header, data) = rest.split_at_checked(length).ok_or(TensorFlaw::Truncated)?;
    if header.first() != Some(&b'{') {
        return Err(TensorFlaw::Header);
    }
    let header: Header = serde_json::from_slice(header).map_err(|_| TensorFlaw::Header)?;
    check_tensors(header.0, data, kind)
}

fn check_tensors(
    mut tensors: Vec<(String, Entry)>,
    data: &[u8],
    kind: Kind,
) -> Result<(), TensorFlaw> {
    check_names(&tensors, kind)?;
    tensors.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut at = 0;
    for (name, entry) in &tensors {
        let dtype = Dtype::of(&entry.dtype).ok_or(TensorFlaw::Dtype)?;
        let is_mask = MASKS.contains(&name.as_str());
        if !is_mask && !dtype.is_float() {
            return Err(TensorFlaw::Dtype);
        }
        let size = entry.size(dtype)?;
        let (begin, end) = entry.data_offsets;
        if begin != at || begin.checked_add(size) != Some(end) {
            return Err(TensorFlaw::Layout);
        }
        let tensor = part(data, begin, end).ok_or(TensorFlaw::Truncated)?;
        if !dtype.is_finite(tensor) {
            return Err(TensorFlaw::NotFinite);
        }
        at = end;
    }
    if at == data.len() as u64 {
        Ok(())
    } else {
        Err(TensorFlaw::Layout)
    }
}

fn part(data: &[u8], begin: u64, end: u64) -> Option<&[u8]> {
    data.get(usize::try_from(begin).ok()?..usize::try_from(end).ok()?)
}

fn check_names(tensors: &[(String, Entry)], kind: Kind) -> Result<(), TensorFlaw> {
    let mut names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let twice = names.windows(2).any(|pair| pair[0] == pair[1]);
    let known = names.iter().all(|name| kind.may_have(name));
    if twice || !known || !names.contains(&kind.needs()) {
        return Err(TensorFlaw::Names);
    }
    Ok(())
}

/// The header's entries in their order, repeated ones included.
struct Header(Vec<(String, Entry)>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl Entry {
    /// Bytes of the tensor.
    fn size(&self, dtype: Dtype) -> Result<u64, TensorFlaw> {
        let sides = 1..=MAX_SIDE;
        if !(1..=MAX_RANK).contains(&self.shape.len())
            || !self.shape.iter().all(|side| sides.contains(side))
        {
            return Err(TensorFlaw::Shape);
        }
        self.shape
            .iter()
            .try_fold(dtype.bytes(), |size, side| size.checked_mul(*side))
            .filter(|size| *size <= MAX_BYTES)
            .ok_or(TensorFlaw::Shape)
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a safetensors header")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut tensors = Vec::new();
                let mut metadata = false;
                while let Some(name) = map.next_key::<String>()? {
                    if name != METADATA {
                        tensors.push((name, map.next_value()?));
                    } else if metadata {
                        return Err(A::Error::duplicate_field(METADATA));
                    } else {
                        // Only strings may be there; nothing in them is used.
                        map.next_value::<BTreeMap<String, String>>()?;
                        metadata = true;
                    }
                }
                Ok(Header(tensors))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// The types a checkpoint's tensor may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dtype {
    F32,
    F16,
    Bf16,
    Bool,
    U8,
    I32,
    I64,
}

impl Dtype {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "F32" => Self::F32,
            "F16" => Self::F16,
            "BF16" => Self::Bf16,
            "BOOL" => Self::Bool,
            "U8" => Self::U8,
            "I32" => Self::I32,
            "I64" => Self::I64,
            _ => return None,
        })
    }

    const fn bytes(self) -> u64 {
        match self {
            Self::Bool | Self::U8 => 1,
            Self::F16 | Self::Bf16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::I64 => 8,
        }
    }

    const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::Bf16)
    }

    /// A float whose exponent is all ones is NaN or infinite (IEEE 754); a BOOL is 0 or 1.
    fn is_finite(self, data: &[u8]) -> bool {
        const F32: u32 = 0x7f80_0000;
        const BF16: u16 = 0x7f80;
        const F16: u16 = 0x7c00;
        match self {
            Self::F32 => data
                .as_chunks::<4>()
                .0
                .iter()
                .all(|bits| u32::from_le_bytes(*bits) & F32 != F32),
            Self::Bf16 => halves_below(data, BF16),
            Self::F16 => halves_below(data, F16),
            Self::Bool => data.iter().all(|byte| *byte <= 1),
            Self::U8 | Self::I32 | Self::I64 => true,
        }
    }
}

fn halves_below(data: &[u8], exponent: u16) -> bool {
    data.as_chunks::<2>()
        .0
        .iter()
        .all(|bits| u16::from_le_bytes(*bits) & exponent != exponent)
}
