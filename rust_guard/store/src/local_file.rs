//! Files beside the render: read whole and bounded, written whole or not at all.

use std::fs::File;
use std::io::{Error, ErrorKind, Read as _, Result, Write as _};
use std::path::{Path, PathBuf};

/// The bytes of the file at `path`; none if it is longer than `limit`.
pub fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    // One byte more tells a file that is too long from one that just fits.
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

/// Replaces the file at `path` by `bytes`: a reader, also after a crash, sees all of them or the
/// file that was there before.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = part_of(path)?;
    let written = write_through(&part, bytes).and_then(|()| std::fs::rename(&part, path));
    if written.is_err() {
        // Nothing more can be done if this fails too; the name is nobody else's.
        let _ = std::fs::remove_file(&part);
    }
    written?;
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn write_through(part: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::create_new(part)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A fresh name in the same folder, so that the rename stays inside one file system.
fn part_of(path: &Path) -> Result<PathBuf> {
    let mut name = path
        .file_name()
        .ok_or_else(|| Error::from(ErrorKind::InvalidFilename))?
        .to_owned();
    name.push(format!(".{}.part", uuid::Uuid::new_v4()));
    Ok(path.with_file_name(name))
}
