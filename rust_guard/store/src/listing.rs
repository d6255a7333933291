//! What lies below a prefix of the bucket.

use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::ObjectStore as _;
use object_store::path::Path;

use crate::bucket::{Bucket, Try, failed, repeat};
use crate::deadline::Deadline;
use crate::error::GuardError;

/// A listing longer than this is not the guard's own doing.
const MAX_LISTED: usize = 20_000;

impl Bucket {
    /// Keys below `prefix` (a whole path segment), in no particular order.
    ///
    /// # Errors
    /// [`GuardError::StoreUnavailable`] after the deadline, or when there are absurdly many.
    pub async fn list(&self, prefix: &str, deadline: &Deadline) -> Result<Vec<String>, GuardError> {
        let path = Path::from(prefix);
        repeat("list", prefix, deadline, || async {
            let mut keys = Vec::new();
            let mut stream = self.store.list(Some(&path));
            while let Some(entry) = stream.next().await {
                match entry {
                    Ok(meta) if keys.len() < MAX_LISTED => keys.push(meta.location.to_string()),
                    Ok(_) => return Try::Hopeless(format!("more than {MAX_LISTED} keys")),
                    Err(error) => return failed(&error),
                }
            }
            Try::Done(keys)
        })
        .await
    }

    /// Up to `limit` keys below `prefix` (a whole path segment) that come after `after`, in order.
    ///
    /// # Errors
    /// [`GuardError::StoreUnavailable`] after the deadline.
    pub async fn page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        deadline: &Deadline,
    ) -> Result<Vec<String>, GuardError> {
        let path = Path::from(prefix);
        let after = after.map(Path::from);
        repeat("list", prefix, deadline, || async {
            let stream = match &after {
                None => self.store.list(Some(&path)),
                Some(after) => self.store.list_with_offset(Some(&path), after),
            };
            match stream.take(limit).try_collect::<Vec<_>>().await {
                Ok(found) => {
                    Try::Done(found.iter().map(|meta| meta.location.to_string()).collect())
                }
                Err(error) => failed(&error),
            }
        })
        .await
    }

    /// Folders right below `prefix`.
    ///
    /// # Errors
    /// [`GuardError::StoreUnavailable`] after the deadline.
    pub async fn folders(
        &self,
        prefix: &str,
        deadline: &Deadline,
    ) -> Result<Vec<String>, GuardError> {
        let path = Path::from(prefix);
        repeat("list", prefix, deadline, || async {
            match self.store.list_with_delimiter(Some(&path)).await {
                Ok(found) => Try::Done(
                    found
                        .common_prefixes
                        .iter()
                        .map(ToString::to_string)
                        .collect(),
                ),
                Err(error) => failed(&error),
            }
        })
        .await
    }
}
