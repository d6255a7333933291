//! From an address and keys to a bucket.

use std::sync::Arc;
use std::time::Duration;

use guard_core::ids::InvalidId;
use object_store::aws::AmazonS3Builder;
use object_store::{ClientOptions, RetryConfig};
use url::Url;

use crate::bucket::Bucket;
use crate::error::GuardError;
use crate::multipart::{Conditional, Parts};

/// Bytes of a part of a large object.
pub const PART: u64 = 8 << 20;

const LONGEST_CONNECT: Duration = Duration::from_secs(5);

/// Where a bucket is, and who asks. Its `Debug` form shows no key.
pub struct Endpoint {
    /// URL of the S3 endpoint, http or https.
    pub url: String,
    /// Bucket name.
    pub bucket: String,
    /// Access key id.
    pub access_key: String,
    /// Secret key.
    pub secret_key: String,
    /// Region used in signatures.
    pub region: String,
    /// Objects of more bytes than this are uploaded in parts; from [`PART`].
    pub multipart_above: u64,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("url", &self.url)
            .field("bucket", &self.bucket)
            .finish()
    }
}

impl Endpoint {
    /// Refuses what the client would only choke on later, in the middle of a request.
    fn check(&self) -> Result<(), InvalidId> {
        let url = Url::parse(&self.url).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.query().is_none()
                && url.fragment().is_none()
        });
        if url.is_none() {
            return Err(InvalidId {
                field: "endpoint",
                rule: "an http or https URL",
            });
        }
        if self.multipart_above < PART {
            return Err(InvalidId {
                field: "multipart_above",
                rule: "at least 8 MiB",
            });
        }
        let in_bucket = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b);
        if !(3..=63).contains(&self.bucket.len()) || !self.bucket.bytes().all(in_bucket) {
            return Err(InvalidId {
                field: "bucket",
                rule: "3 to 63 of a-z 0-9 . -",
            });
        }
        for (field, text) in [("access_key", &self.access_key), ("region", &self.region)] {
            if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(InvalidId {
                    field,
                    rule: "printable ASCII without spaces",
                });
            }
        }
        Ok(())
    }
}

/// A client for the bucket; opens no connection yet.
///
/// # Errors
/// [`GuardError::InvalidId`] naming the part of the endpoint that cannot be used.
pub fn connect(endpoint: &Endpoint, timeout: Duration) -> Result<Bucket, GuardError> {
    endpoint.check()?;
    // Fails only where the process has a provider already, which then serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options = ClientOptions::new()
        .with_allow_http(true)
        // Deadlines are set around each request, by what it carries.
        .with_timeout_disabled()
        .with_connect_timeout(LONGEST_CONNECT.min(timeout / 3));
    // Retries are made here, where a put that is repeated can be told from one that lost.
    let once = RetryConfig {
        max_retries: 0,
        retry_timeout: timeout,
        ..RetryConfig::default()
    };
    AmazonS3Builder::new()
        .with_endpoint(endpoint.url.trim_end_matches('/'))
        .with_bucket_name(&endpoint.bucket)
        .with_access_key_id(&endpoint.access_key)
        .with_secret_access_key(&endpoint.secret_key)
        .with_region(&endpoint.region)
        .with_client_options(options)
        .with_http_connector(Conditional::default())
        .with_retry(once)
        .build()
        .map(|store| {
            let store = Arc::new(store);
            let parts = Parts {
                store: store.clone(),
                above: endpoint.multipart_above,
                size: PART as usize,
            };
            Bucket::new(store).in_parts(parts)
        })
        .map_err(|error| GuardError::StoreUnavailable {
            doing: "connect".to_owned(),
            cause: crate::bucket::cause_of(&error),
        })
}
