//! An in-memory store with one fault.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result,
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
    /// The first put of a video is refused with 409, and done: the first look does not show it.
    AppearLate,
    /// The first puts fail with an error of the server.
    Fail(usize),
    /// The first deletions fail with an error of the server.
    FailDeletes(usize),
    /// The first parts of uploads fail with an error of the server.
    FailParts(usize),
    /// The first completion is done, and its answer lost.
    LoseCompletion,
    /// No upload can be completed.
    FailCompletions,
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
    deletes: AtomicUsize,
    parts: AtomicUsize,
    completions: AtomicUsize,
    unfinished: AtomicUsize,
    reads: Mutex<Vec<String>>,
}

impl Faulty {
    pub fn with(fault: Fault) -> Arc<Self> {
        Arc::new(Self {
            inner: InMemory::new(),
            fault,
            puts: AtomicUsize::new(0),
            deletes: AtomicUsize::new(0),
            parts: AtomicUsize::new(0),
            completions: AtomicUsize::new(0),
            unfinished: AtomicUsize::new(0),
            reads: Mutex::default(),
        })
    }

    pub fn sound() -> Arc<Self> {
        Self::with(Fault::None)
    }

    /// Parts of uploads that were sent.
    pub fn parts(&self) -> usize {
        self.parts.load(Ordering::SeqCst)
    }

    /// Uploads that were begun, and neither completed nor given up.
    pub fn unfinished(&self) -> usize {
        self.unfinished.load(Ordering::SeqCst)
    }

    /// How often an object was read.
    pub fn reads_of(&self, key: &str) -> usize {
        let reads = self.reads.lock().unwrap();
        reads.iter().filter(|read| *read == key).count()
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.fault)
    }
}

fn is_video(at: &Path) -> bool {
    at.as_ref().ends_with(".mp4")
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
            Fault::AppearLate if is_video(at) => {
                self.inner.put_opts(at, payload, opts).await?;
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
        self.reads.lock().unwrap().push(at.to_string());
        if self.fault == Fault::AppearLate && is_video(at) && self.reads_of(at.as_ref()) == 1 {
            return Err(Error::NotFound {
                path: at.to_string(),
                source: "404".into(),
            });
        }
        self.inner.get_opts(at, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        if let Fault::FailDeletes(count) = self.fault
            && self.deletes.fetch_add(1, Ordering::SeqCst) < count
        {
            return stream::once(async { Err(server_error()) }).boxed();
        }
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

#[async_trait]
impl MultipartStore for Faulty {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        self.create_multipart_opts(path, PutMultipartOptions::default())
            .await
    }

    async fn create_multipart_opts(
        &self,
        path: &Path,
        opts: PutMultipartOptions,
    ) -> Result<MultipartId> {
        self.unfinished.fetch_add(1, Ordering::SeqCst);
        self.inner.create_multipart_opts(path, opts).await
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        part_idx: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        let number = self.parts.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            Fault::FailParts(count) if number < count => Err(server_error()),
            _ => self.inner.put_part(path, id, part_idx, data).await,
        }
    }

    /// Conditional, as a store that honours `If-None-Match` there.
    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        let number = self.completions.fetch_add(1, Ordering::SeqCst);
        if self.fault == Fault::FailCompletions {
            return Err(server_error());
        }
        if self
            .inner
            .get_opts(path, GetOptions::default())
            .await
            .is_ok()
        {
            return Err(Error::Precondition {
                path: path.to_string(),
                source: "412".into(),
            });
        }
        let done = self.inner.complete_multipart(path, id, parts).await?;
        self.unfinished.fetch_sub(1, Ordering::SeqCst);
        if self.fault == Fault::LoseCompletion && number == 0 {
            return Err(server_error());
        }
        Ok(done)
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        self.inner.abort_multipart(path, id).await?;
        self.unfinished.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }
}
