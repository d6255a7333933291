//! The guard of one bucket, for Python.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use guard_core::container::Expected;
use guard_core::ids::{
    Digest, Fingerprint, InvalidId, JobId, Ordinal, PoolIncarnation, PutId, TenantId,
};
use guard_core::keys::Subject;
use guard_core::lifecycle::End;
use guard_store::{Endpoint, GuardError as Error, connect};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use tokio::runtime::{Builder, Runtime};

use crate::errors::raise;
use crate::stored::{Artifact, Checkpoint, Conditioning};
use crate::values::{Claim, Record};

/// A report that nobody fetches does not grow for ever.
const MAX_REJECTED: usize = 1_000;

/// Claims, seals and releases in one bucket. Safe to share between threads.
#[pyclass(module = "rust_guard", frozen)]
pub struct Guard {
    inner: guard_store::Guard,
    runtime: Runtime,
    pid: u32,
    /// Keys, and why what lies there was set aside.
    rejected: Mutex<Vec<(String, String)>>,
}

impl Guard {
    /// Runs `call` to its end without the GIL.
    fn run<T: Send>(
        &self,
        py: Python<'_>,
        call: impl Future<Output = Result<T, Error>> + Send,
    ) -> PyResult<T> {
        if std::process::id() != self.pid {
            // The runtime's threads stayed with the parent: a call would wait for ever.
            return Err(PyRuntimeError::new_err(
                "this Guard was made before a fork: make a new one",
            ));
        }
        py.detach(|| self.runtime.block_on(call))
            .map_err(|error| raise(py, error))
    }

    fn set_aside(&self, found: impl Iterator<Item = (String, impl ToString)>) {
        if let Ok(mut kept) = self.rejected.lock() {
            let room = MAX_REJECTED.saturating_sub(kept.len());
            kept.extend(found.take(room).map(|(key, why)| (key, why.to_string())));
        }
    }
}

#[pymethods]
impl Guard {
    #[new]
    #[pyo3(signature = (endpoint, bucket, access_key, secret_key, region="us-east-1", timeout_s=30.0, multipart_above=33_554_432))]
    #[allow(
        clippy::too_many_arguments,
        reason = "each names a part of the endpoint"
    )]
    fn new(
        py: Python<'_>,
        endpoint: String,
        bucket: String,
        access_key: String,
        secret_key: String,
        region: &str,
        timeout_s: f64,
        multipart_above: u64,
    ) -> PyResult<Self> {
        let timeout = Duration::try_from_secs_f64(timeout_s)
            .ok()
            .filter(|timeout| !timeout.is_zero() && *timeout <= Duration::from_secs(3600))
            .ok_or_else(|| PyValueError::new_err("timeout_s must be above 0 and at most 3600"))?;
        let endpoint = Endpoint {
            url: endpoint,
            bucket,
            access_key,
            secret_key,
            region: region.to_owned(),
            multipart_above,
        };
        let bucket = connect(&endpoint, timeout).map_err(|error| raise(py, error))?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("rust-guard")
            .enable_all()
            .build()?;
        Ok(Self {
            inner: guard_store::Guard::new(bucket, timeout),
            runtime,
            pid: std::process::id(),
            rejected: Mutex::new(Vec::new()),
        })
    }

    /// Refuses a store that ignores `If-None-Match`.
    fn probe(&self, py: Python<'_>) -> PyResult<()> {
        self.run(py, self.inner.probe())
    }

    /// Claims an attempt for the record that ordered it, and takes a start number.
    #[pyo3(signature = (pool_incarnation, tenant_id, job_id, attempt, record, spec_digest, put_id=None))]
    #[allow(clippy::too_many_arguments, reason = "each names a part of the claim")]
    fn claim(
        &self,
        py: Python<'_>,
        pool_incarnation: &str,
        tenant_id: &str,
        job_id: &str,
        attempt: i64,
        record: &Bound<'_, Record>,
        spec_digest: &str,
        put_id: Option<&str>,
    ) -> PyResult<Claim> {
        let checked = || -> Result<_, Error> {
            let subject = Subject {
                pool_incarnation: PoolIncarnation::new(pool_incarnation)?,
                tenant_id: TenantId::new(tenant_id)?,
                job_id: JobId::new(job_id)?,
                attempt: Ordinal::new("attempt", attempt)?,
            };
            let put_id = put_id.map(PutId::new).transpose()?;
            let digest = Digest::new(spec_digest).map_err(|error| InvalidId {
                field: "spec_digest",
                ..error
            })?;
            Ok((subject, record.get().checked()?, digest, put_id))
        };
        let (subject, record, digest, put_id) = checked().map_err(|error| raise(py, error))?;
        self.run(py, self.inner.claim(subject, record, digest, put_id))
            .map(Claim)
    }

    /// The sealed artifact of this job and spec, if there is one; its bytes are hashed again.
    fn sealed(&self, py: Python<'_>, claim: &Bound<'_, Claim>) -> PyResult<Option<Artifact>> {
        let (artifact, rejected) = self.run(py, self.inner.sealed(&claim.get().0))?;
        self.set_aside(rejected.into_iter().map(|seal| (seal.key, seal.why)));
        Ok(artifact.map(Artifact::from))
    }

    /// Seals and checkpoints set aside since the last call, each as (key, reason).
    fn take_rejected(&self) -> Vec<(String, String)> {
        self.rejected
            .lock()
            .map(|mut kept| std::mem::take(&mut *kept))
            .unwrap_or_default()
    }

    /// Checks the MP4 at `path`, uploads it under this start's key, and seals it.
    #[pyo3(signature = (claim, path, frames, fps, width, height, manifest=None))]
    #[allow(
        clippy::too_many_arguments,
        reason = "each names what the video must be"
    )]
    fn seal(
        &self,
        py: Python<'_>,
        claim: &Bound<'_, Claim>,
        path: PathBuf,
        frames: u32,
        fps: u32,
        width: u32,
        height: u32,
        manifest: Option<&str>,
    ) -> PyResult<Artifact> {
        let expected = Expected {
            frames,
            fps,
            width,
            height,
        };
        let claim = &claim.get().0;
        self.run(py, self.inner.seal(claim, &path, expected, manifest))
            .map(Artifact::from)
    }

    /// The manifest of a sealed artifact, if it has one; its bytes are hashed again.
    fn manifest(&self, py: Python<'_>, artifact: &Bound<'_, Artifact>) -> PyResult<Option<String>> {
        self.run(py, self.inner.manifest(&artifact.get().stored()))
    }

    /// Checks the safetensors file at `path` and stores what this start's checkpoints share.
    fn conditioning(
        &self,
        py: Python<'_>,
        claim: &Bound<'_, Claim>,
        path: PathBuf,
    ) -> PyResult<Conditioning> {
        self.run(py, self.inner.conditioning(&claim.get().0, &path))
            .map(Conditioning)
    }

    /// Checks the safetensors file at `path` and stores it as the checkpoint after `step` steps.
    #[pyo3(signature = (claim, path, step, total, fingerprint, conditioning=None))]
    #[allow(clippy::too_many_arguments, reason = "each says what the file is")]
    fn checkpoint(
        &self,
        py: Python<'_>,
        claim: &Bound<'_, Claim>,
        path: PathBuf,
        step: i64,
        total: i64,
        fingerprint: &str,
        conditioning: Option<&Bound<'_, Conditioning>>,
    ) -> PyResult<Checkpoint> {
        let fingerprint = Fingerprint::new(fingerprint).map_err(|error| raise(py, error))?;
        let (claim, apart) = (&claim.get().0, conditioning.map(|apart| &apart.get().0));
        self.run(
            py,
            self.inner
                .checkpoint(claim, &path, (step, total), fingerprint, apart),
        )
        .map(Checkpoint::from)
    }

    /// The best checkpoint to go on from, written to `path`; none if there is none.
    #[pyo3(signature = (claim, path, fingerprint=None, conditioning=None, identity=""))]
    fn latest_checkpoint(
        &self,
        py: Python<'_>,
        claim: &Bound<'_, Claim>,
        path: PathBuf,
        fingerprint: Option<&str>,
        conditioning: Option<PathBuf>,
        identity: &str,
    ) -> PyResult<Option<Checkpoint>> {
        let preferred = fingerprint
            .map(Fingerprint::new)
            .transpose()
            .map_err(|error| raise(py, error))?;
        let claim = &claim.get().0;
        let (found, rejected) = self.run(
            py,
            self.inner.latest_checkpoint(
                claim,
                &path,
                conditioning.as_deref(),
                preferred.as_ref(),
                identity,
            ),
        )?;
        self.set_aside(rejected.into_iter().map(|found| (found.key, found.why)));
        Ok(found.map(Checkpoint::from))
    }

    /// Says that the start will announce this artifact, or without one that it was cancelled.
    #[pyo3(signature = (claim, artifact=None))]
    fn announce(
        &self,
        py: Python<'_>,
        claim: &Bound<'_, Claim>,
        artifact: Option<&Bound<'_, Artifact>>,
    ) -> PyResult<()> {
        let end = match artifact {
            Some(artifact) => Digest::new(&artifact.get().stored().sha256)
                .map(End::Completed)
                .map_err(|error| raise(py, error))?,
            None => End::Cancelled,
        };
        self.inner
            .announce(&claim.get().0, end)
            .map_err(|error| raise(py, error))
    }

    /// Says that the start gives its job back to whoever ordered it.
    fn give_back(&self, py: Python<'_>, claim: &Bound<'_, Claim>) -> PyResult<()> {
        self.inner
            .announce(&claim.get().0, End::GivenBack)
            .map_err(|error| raise(py, error))
    }

    /// Deletes the job's start markers and checkpoints, once its terminal event is committed.
    fn release(&self, py: Python<'_>, claim: &Bound<'_, Claim>) -> PyResult<()> {
        self.run(py, self.inner.release(&claim.get().0))
    }

    /// Deletes what an ended job has left behind, except the video `keep`; how many objects went.
    #[pyo3(signature = (tenant_id, job_id, keep=None))]
    fn collect(
        &self,
        py: Python<'_>,
        tenant_id: &str,
        job_id: &str,
        keep: Option<&str>,
    ) -> PyResult<usize> {
        let checked = || Ok((TenantId::new(tenant_id)?, JobId::new(job_id)?));
        let (tenant_id, job_id) = checked().map_err(|error: InvalidId| raise(py, error))?;
        self.run(py, self.inner.collect(tenant_id, job_id, keep))
    }
}
