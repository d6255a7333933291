//! What lies in the bucket, as Python sees it.

use guard_core::container::Expected;
use pyo3::prelude::*;

/// A sealed video.
#[pyclass(module = "rust_guard", frozen, get_all, eq)]
#[derive(Debug, Clone, PartialEq)]
pub struct Artifact {
    /// Key in the bucket.
    key: String,
    /// SHA-256 of its bytes, hex.
    sha256: String,
    /// Bytes.
    size: u64,
    /// Frames in the video track.
    frames: u32,
    /// Frames a second.
    fps: u32,
    /// Pixels.
    width: u32,
    /// Pixels.
    height: u32,
    /// Seconds: frames over frames a second.
    duration_s: f64,
    /// Key of the manifest beside it, if there is one.
    manifest_key: Option<String>,
    /// SHA-256 of the manifest's bytes, hex.
    manifest_sha256: Option<String>,
}

impl From<guard_store::Artifact> for Artifact {
    fn from(artifact: guard_store::Artifact) -> Self {
        let Expected {
            frames,
            fps,
            width,
            height,
        } = artifact.video;
        let (manifest_key, manifest_sha256) = artifact.manifest.unzip();
        Self {
            key: artifact.key,
            sha256: artifact.sha256,
            size: artifact.size,
            frames,
            fps,
            width,
            height,
            duration_s: f64::from(frames) / f64::from(fps),
            manifest_key,
            manifest_sha256,
        }
    }
}

impl Artifact {
    /// As the shell knows it.
    pub fn stored(&self) -> guard_store::Artifact {
        guard_store::Artifact {
            key: self.key.clone(),
            sha256: self.sha256.clone(),
            size: self.size,
            video: Expected {
                frames: self.frames,
                fps: self.fps,
                width: self.width,
                height: self.height,
            },
            manifest: self.manifest_key.clone().zip(self.manifest_sha256.clone()),
        }
    }
}

#[pymethods]
impl Artifact {
    fn __repr__(&self) -> String {
        format!(
            "Artifact({:?}, sha256={:?}, size={})",
            self.key, self.sha256, self.size
        )
    }
}

/// A stored checkpoint.
#[pyclass(module = "rust_guard", frozen, get_all, eq)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Key in the bucket.
    key: String,
    /// Denoising steps finished.
    step: u32,
    /// Steps of the whole job.
    total: u32,
    /// Attempt that made it.
    attempt: u32,
    /// Start of that attempt which made it.
    start: u32,
    /// Model, hardware and software that computed it.
    fingerprint: String,
    /// SHA-256 of its bytes, hex.
    sha256: String,
    /// Bytes.
    size: u64,
    /// SHA-256 of the conditioning stored apart from it, hex, if there is one.
    conditioning_sha256: Option<String>,
}

impl From<guard_store::StoredCheckpoint> for Checkpoint {
    fn from(stored: guard_store::StoredCheckpoint) -> Self {
        let checkpoint = stored.checkpoint;
        Self {
            key: stored.key,
            step: checkpoint.place.step.get(),
            total: checkpoint.total.get(),
            attempt: checkpoint.place.attempt.get(),
            start: checkpoint.place.start.get(),
            fingerprint: checkpoint.fingerprint.as_str().to_owned(),
            sha256: checkpoint.sha256.as_str().to_owned(),
            size: checkpoint.size,
            conditioning_sha256: checkpoint
                .conditioning
                .map(|apart| apart.sha256.as_str().to_owned()),
        }
    }
}

#[pymethods]
impl Checkpoint {
    fn __repr__(&self) -> String {
        format!(
            "Checkpoint({:?}, step={}, total={}, fingerprint={:?})",
            self.key, self.step, self.total, self.fingerprint
        )
    }
}

/// What the checkpoints of one start share, as it is stored.
#[pyclass(module = "rust_guard", frozen, eq)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conditioning(pub guard_store::StoredConditioning);

#[pymethods]
impl Conditioning {
    /// Key in the bucket.
    #[getter]
    fn key(&self) -> &str {
        &self.0.key
    }

    /// SHA-256 of its bytes, hex.
    #[getter]
    fn sha256(&self) -> &str {
        self.0.conditioning.sha256.as_str()
    }

    /// Bytes.
    #[getter]
    const fn size(&self) -> u64 {
        self.0.conditioning.size
    }

    fn __repr__(&self) -> String {
        format!("Conditioning({:?}, size={})", self.key(), self.size())
    }
}
