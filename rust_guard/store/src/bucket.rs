//! The few verbs the guard needs of a store, each under a deadline and repeated with jitter.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
};
use sha2::{Digest as _, Sha256};

use crate::deadline::Deadline;
use crate::error::GuardError;
use crate::multipart::Parts;

/// What a stored message of the store is cut to.
const MAX_CAUSE: usize = 160;

/// Outcome of a conditional put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The object was not there before and is ours.
    New,
    /// An object was there, or a put was in flight; it may still be our own, whose answer was lost.
    Exists,
}

/// Outcome of a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// No such object.
    Missing,
    /// Longer than the reader allows.
    TooLong,
    /// The whole object.
    Body(Bytes),
}

/// A bucket, seen through an `object_store` implementation.
#[derive(Debug, Clone)]
pub struct Bucket {
    pub(crate) store: Arc<dyn ObjectStore>,
    parts: Option<Parts>,
}

/// What one try came to.
pub(crate) enum Try<T> {
    Done(T),
    Again(String),
    Hopeless(String),
}

impl Bucket {
    /// Wraps a store. It must not retry by itself: a repeated put would hide who won.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, parts: None }
    }

    /// The same bucket, which takes large objects in parts.
    #[must_use]
    pub fn in_parts(self, parts: Parts) -> Self {
        Self {
            parts: Some(parts),
            ..self
        }
    }

    /// Puts a file under `key` unless something is there, in parts if it is large.
    ///
    /// # Errors
    /// [`GuardError::StoreUnavailable`] after the deadline.
    pub async fn create_file(
        &self,
        key: &str,
        bytes: &Bytes,
        content_type: &'static str,
        deadline: &Deadline,
    ) -> Result<Created, GuardError> {
        match &self.parts {
            Some(parts) if bytes.len() as u64 > parts.above => {
                self.create_in_parts(parts, key, bytes, content_type, deadline)
                    .await
            }
            _ => {
                let payload = PutPayload::from_bytes(bytes.clone());
                self.create(key, payload, content_type, deadline).await
            }
        }
    }

    /// Puts `payload` under `key` unless something is there.
    ///
    /// # Errors
    /// [`GuardError::StoreUnavailable`] after the deadline.
    pub async fn create(
        &self,
        key: &str,
        payload: PutPayload,
        content_type: &'static str,
        deadline: &Deadline,
    ) -> Result<Created, GuardError> {
        let path = Path::from(key);
        repeat("put", key, deadline, || async {
            let mut attributes = Attributes::new();
            attributes.insert(Attribute::ContentType, content_type.into());
            let options = PutOptions {
                mode: PutMode::Create,
                attributes,
                ..PutOptions::default()
            };
            match self.store.put_opts(&path, payload.clone(), options).await {
                Ok(_) => Try::Done(Created::New),
                Err(Error::AlreadyExists { .. }) => Try::Done(Created::Exists),
                Err(error) => failed(&error),
            }
        })
        .await
    }

    /// Puts `body` under `key` unless something is there; then gives back what is.
    ///
    /// A refusal with nothing behind it was a put in flight (409) or a deletion: it is tried again.
    ///
    /// # Errors
    /// [`GuardError::StoreUnavailable`] after the deadline.
    pub async fn create_or_read(
        &self,
        key: &str,
        body: &[u8],
        limit: usize,
        deadline: &Deadline,
    ) -> Result<Option<Found>, GuardError> {
        let payload = PutPayload::from(body.to_vec());
        for tries in 0.. {
            match self
                .create(key, payload.clone(), "application/json", deadline)
                .await?
            {
                Created::New => return Ok(None),
                Created::Exists => match self.read(key, limit, deadline).await? {
                    Found::Missing => {}
                    found => return Ok(Some(found)),
                },
            }
            if !deadline.pause(tries).await {
                break;
            }
        }
        Err(unavailable("put", key, "conflicting puts in flight"))
    }

    /// Reads an object of at most `limit` bytes.
    ///
    /// # Errors
    /// [`GuardError::StoreUnavailable`] after the deadline.
    pub async fn read(
        &self,
        key: &str,
        limit: usize,
        deadline: &Deadline,
    ) -> Result<Found, GuardError> {
        let path = Path::from(key);
        repeat("get", key, deadline, || async {
            let found = match self.store.get(&path).await {
                Err(Error::NotFound { .. }) => return Try::Done(Found::Missing),
                Err(error) => return failed(&error),
                Ok(found) => found,
            };
            if found.meta.size > limit as u64 {
                return Try::Done(Found::TooLong);
            }
            match found.bytes().await {
                Ok(body) => Try::Done(Found::Body(body)),
                Err(error) => failed(&error),
            }
        })
        .await
    }

    /// SHA-256 (hex) of an object of `size` bytes; none if there is none of that size.
    ///
    /// # Errors
    /// [`GuardError::StoreUnavailable`] after the deadline.
    pub async fn sha256(
        &self,
        key: &str,
        size: u64,
        deadline: &Deadline,
    ) -> Result<Option<String>, GuardError> {
        let path = Path::from(key);
        repeat("get", key, deadline, || async {
            let found = match self.store.get(&path).await {
                Err(Error::NotFound { .. }) => return Try::Done(None),
                Err(error) => return failed(&error),
                Ok(found) if found.meta.size != size => return Try::Done(None),
                Ok(found) => found,
            };
            let mut hash = Sha256::new();
            let mut stream = found.into_stream();
            while let Some(chunk) = stream.next().await {
                match chunk {
                    Ok(chunk) => hash.update(&chunk),
                    Err(error) => return failed(&error),
                }
            }
            Try::Done(Some(hex(&hash.finalize())))
        })
        .await
    }

    /// Deletes objects, a thousand at a time; one that is not there is deleted already.
    ///
    /// # Errors
    /// [`GuardError::StoreUnavailable`] after the deadline.
    pub async fn delete_all(&self, keys: &[String], deadline: &Deadline) -> Result<(), GuardError> {
        let Some(first) = keys.first() else {
            return Ok(());
        };
        let paths: Vec<Path> = keys.iter().map(|key| Path::from(key.as_str())).collect();
        repeat("delete", first, deadline, || async {
            let locations = stream::iter(paths.clone().into_iter().map(Ok)).boxed();
            let mut outcomes = self.store.delete_stream(locations);
            while let Some(outcome) = outcomes.next().await {
                match outcome {
                    Ok(_) | Err(Error::NotFound { .. }) => {}
                    Err(error) => return failed(&error),
                }
            }
            Try::Done(())
        })
        .await
    }

    /// Deletes an object; one that is not there is deleted already.
    ///
    /// # Errors
    /// [`GuardError::StoreUnavailable`] after the deadline.
    pub async fn delete(&self, key: &str, deadline: &Deadline) -> Result<(), GuardError> {
        let path = Path::from(key);
        repeat("delete", key, deadline, || async {
            match self.store.delete(&path).await {
                Ok(()) | Err(Error::NotFound { .. }) => Try::Done(()),
                Err(error) => failed(&error),
            }
        })
        .await
    }
}

/// Runs `once` until it is done, hopeless, or out of time.
pub(crate) async fn repeat<T, F: Future<Output = Try<T>>>(
    verb: &str,
    key: &str,
    deadline: &Deadline,
    once: impl Fn() -> F,
) -> Result<T, GuardError> {
    let mut last = String::from("no time left");
    for tries in 0.. {
        match tokio::time::timeout(deadline.request(), once()).await {
            Ok(Try::Done(value)) => return Ok(value),
            Ok(Try::Hopeless(cause)) => return Err(unavailable(verb, key, &cause)),
            Ok(Try::Again(cause)) => last = cause,
            Err(_) => "no answer in time".clone_into(&mut last),
        }
        if !deadline.pause(tries).await {
            break;
        }
    }
    Err(unavailable(verb, key, &last))
}

/// An error of the store that is not an outcome: worth another try, or not.
pub(crate) fn failed<T>(error: &Error) -> Try<T> {
    let cause = cause_of(error);
    match error {
        Error::PermissionDenied { .. }
        | Error::Unauthenticated { .. }
        | Error::NotImplemented { .. }
        | Error::NotSupported { .. }
        | Error::InvalidPath { .. }
        // A put answers 404 when there is no bucket.
        | Error::NotFound { .. } => Try::Hopeless(cause),
        _ => Try::Again(cause),
    }
}

/// The innermost cause: of an answer its status and S3 error code, not the body around it.
pub(crate) fn cause_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    let text = inner.to_string();
    let line = text.split(['<', '\n']).next().unwrap_or_default();
    let cut: String = line
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_CAUSE)
        .collect();
    let cut = cut.trim_end_matches([':', ' ']);
    match s3_code(&text) {
        Some(code) => format!("{cut} ({code})"),
        None => cut.to_owned(),
    }
}

/// What stands between `<Code>` and `</Code>`, if it is a name.
fn s3_code(body: &str) -> Option<&str> {
    let code = body.split_once("<Code>")?.1.split_once("</Code>")?.0;
    (code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric())).then_some(code)
}

fn unavailable(verb: &str, key: &str, cause: &str) -> GuardError {
    GuardError::StoreUnavailable {
        doing: format!("{verb} {key}"),
        cause: cause.to_owned(),
    }
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing into a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
