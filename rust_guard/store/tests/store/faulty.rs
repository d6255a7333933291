//! An in-memory store with one fault.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// How the store misbehaves on puts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Not at all.
    None,
    /// The first puts are done, and their answers lost.
    LoseAnswers(usize),
    /// The first puts are refused with 409, though nothing is there.
    ConflictInFlight(usize),
    /// The first puts fail with an error of the server.
    Fail(usize),
    /// No put is ever answered.
    Hang,
    /// `If-None-Match` is ignored.
    IgnoreCondition,
}

#[derive(Debug)]
pub struct Faulty {
    inner: InMemory,
    fault: Fault,
    puts: AtomicUsize,
}

impl Faulty {
    pub fn with(fault: Fault) -> Arc<Self> {
        Arc::new(Self {
            inner: InMemory::new(),
            fault,
            puts: AtomicUsize::new(0),
        })
    }

    pub fn sound() -> Arc<Self> {
        Self::with(Fault::None)
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.fault)
    }
}

fn server_error() -> Error {
    Error::Generic {
        store: "faulty",
        source: "503".into(),
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        mut opts: PutOptions,
    ) -> Result<PutResult> {
        let number = self.puts.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            Fault::LoseAnswers(count) if number < count => {
                self.inner.put_opts(at, payload, opts).await?;
                return Err(server_error());
            }
            Fault::ConflictInFlight(count) if number < count => {
                return Err(Error::AlreadyExists {
                    path: at.to_string(),
                    source: "409".into(),
                });
            }
            Fault::Fail(count) if number < count => return Err(server_error()),
            Fault::Hang => std::future::pending().await,
            Fault::IgnoreCondition => opts.mode = PutMode::Overwrite,
            _ => {}
        }
        self.inner.put_opts(at, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(at, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
