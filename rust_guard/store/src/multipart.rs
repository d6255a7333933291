//! Large objects in parts, so that a slow or broken connection costs a part and not the whole.
//!
//! Only ever to a key that one start alone may write. The upload is completed with
//! `If-None-Match: *`, which AWS S3 and others honour; for stores that ignore it there, the key is
//! looked at first, and the start's number keeps others away.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::header::{HeaderValue, IF_NONE_MATCH};
use http::{Method, Uri};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, ClientOptions, Error, MultipartId, ObjectStoreExt as _,
    PutMultipartOptions, PutPayload,
};

use crate::bucket::{Bucket, Created, Try, failed, repeat};
use crate::deadline::Deadline;
use crate::error::GuardError;

/// Parts in flight at once.
const AT_ONCE: usize = 4;
/// What tidying up after a failed upload may take.
const ABORT: Duration = Duration::from_secs(5);

/// How a bucket takes large objects.
#[derive(Clone)]
pub struct Parts {
    /// The same bucket, seen through its multipart interface.
    pub store: Arc<dyn MultipartStore>,
    /// Objects of more bytes than this go in parts.
    pub above: u64,
    /// Bytes of a part, the last excepted; S3 wants at least 5 MiB.
    pub size: usize,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("above", &self.above)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// What is uploaded, and under which upload.
struct Upload<'a> {
    parts: &'a Parts,
    key: &'a str,
    path: Path,
    id: MultipartId,
}

impl Bucket {
    /// Puts `bytes` under `key` in parts unless something is there.
    ///
    /// # Errors
    /// [`GuardError::StoreUnavailable`] after the deadline; unfinished parts are then given up.
    pub(crate) async fn create_in_parts(
        &self,
        parts: &Parts,
        key: &str,
        bytes: &Bytes,
        content_type: &'static str,
        deadline: &Deadline,
    ) -> Result<Created, GuardError> {
        let path = Path::from(key);
        let there = repeat("head", key, deadline, || async {
            match self.store.head(&path).await {
                Ok(_) => Try::Done(true),
                Err(Error::NotFound { .. }) => Try::Done(false),
                Err(error) => failed(&error),
            }
        });
        if there.await? {
            return Ok(Created::Exists);
        }
        let id = repeat("begin upload", key, deadline, || async {
            let mut attributes = Attributes::new();
            attributes.insert(Attribute::ContentType, content_type.into());
            let options = PutMultipartOptions {
                attributes,
                ..PutMultipartOptions::default()
            };
            match parts.store.create_multipart_opts(&path, options).await {
                Ok(id) => Try::Done(id),
                Err(error) => failed(&error),
            }
        });
        let id = id.await?;
        let upload = Upload {
            parts,
            key,
            path,
            id,
        };
        let outcome = upload.carry_out(bytes, deadline).await;
        if !matches!(outcome, Ok(Created::New)) {
            upload.abort().await;
        }
        outcome
    }
}

impl Upload<'_> {
    async fn carry_out(&self, bytes: &Bytes, deadline: &Deadline) -> Result<Created, GuardError> {
        let starts = (0..bytes.len()).step_by(self.parts.size).enumerate();
        let ids: Vec<PartId> = stream::iter(starts)
            .map(|(number, at)| {
                let end = bytes.len().min(at + self.parts.size);
                self.put(number, bytes.slice(at..end), deadline)
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        self.complete(&ids, deadline).await
    }

    async fn put(
        &self,
        number: usize,
        bytes: Bytes,
        deadline: &Deadline,
    ) -> Result<PartId, GuardError> {
        repeat("put part of", self.key, deadline, || async {
            let payload = PutPayload::from_bytes(bytes.clone());
            let sent = self
                .parts
                .store
                .put_part(&self.path, &self.id, number, payload);
            match sent.await {
                Ok(id) => Try::Done(id),
                Err(error) => failed(&error),
            }
        })
        .await
    }

    /// Something may be there although this upload was not refused for it: a completion whose
    /// answer was lost is gone when it is repeated (404), and its own object refuses it (412).
    async fn complete(&self, ids: &[PartId], deadline: &Deadline) -> Result<Created, GuardError> {
        repeat("complete", self.key, deadline, || async {
            let done = self
                .parts
                .store
                .complete_multipart(&self.path, &self.id, ids.to_vec());
            match done.await {
                Ok(_) => Try::Done(Created::New),
                Err(
                    Error::AlreadyExists { .. }
                    | Error::Precondition { .. }
                    | Error::NotFound { .. },
                ) => Try::Done(Created::Exists),
                Err(error) => failed(&error),
            }
        })
        .await
    }

    /// Best effort: what stays is for the bucket's own rule about unfinished uploads.
    async fn abort(&self) {
        let abort = self.parts.store.abort_multipart(&self.path, &self.id);
        let _ = tokio::time::timeout(ABORT, abort).await;
    }
}

/// Adds `If-None-Match: *` to the request that completes an upload, which the client leaves out.
/// The signature need not cover it: only the headers that it names are part of it.
#[derive(Debug, Default)]
pub struct Conditional(ReqwestConnector);

impl HttpConnector for Conditional {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Completing(self.0.connect(options)?)))
    }
}

#[derive(Debug)]
struct Completing(HttpClient);

#[async_trait]
impl HttpService for Completing {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if *request.method() == Method::POST && completes(request.uri()) {
            let any = HeaderValue::from_static("*");
            request.headers_mut().insert(IF_NONE_MATCH, any);
        }
        self.0.execute(request).await
    }
}

fn completes(uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    query.split('&').any(|pair| pair.starts_with("uploadId="))
}

#[cfg(test)]
mod tests {
    use super::completes;

    #[test]
    fn only_a_completion_is_made_conditional() {
        let completion = |text: &str| completes(&text.parse().unwrap());
        assert!(completion("http://s3/b/k?uploadId=1"));
        assert!(completion("http://s3/b/k?x=1&uploadId=1"));
        for other in [
            "http://s3/b/k?uploads=",
            "http://s3/b?delete",
            "http://s3/b/uploadId=1",
        ] {
            assert!(!completion(other), "{other}");
        }
    }
}
