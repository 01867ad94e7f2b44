//! A connection to one member.

use super::{CALL_TIMEOUT, MAX_MESSAGE};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use etcd_client::{Client, KvClient, LeaseClient, MaintenanceClient, WatchClient};
use tokio::time::timeout;

use crate::etcd::Error;
use crate::etcd::error::Right;
use crate::etcd::member::Member;
use crate::etcd::range::Range;

/// A connection to one member.
#[derive(Clone)]
pub struct Connection {
    pub(super) client: Arc<Client>,
    pub(super) member: Arc<Member>,
    /// Tells connections apart, so that a late error of one does not end a newer one.
    pub(super) generation: u64,
    /// Timeout of one call.
    pub(super) limit: Duration,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("endpoint", &self.member.endpoint)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// For reading and writing keys.
    #[must_use]
    pub fn kv(&self) -> KvClient {
        let kv = self.client.kv_client();
        kv.max_decoding_message_size(MAX_MESSAGE)
    }

    /// For watching keys.
    #[must_use]
    pub fn watches(&self) -> WatchClient {
        let watches = self.client.watch_client();
        watches.max_decoding_message_size(MAX_MESSAGE)
    }

    /// For granting, renewing and revoking leases.
    #[must_use]
    pub fn leases(&self) -> LeaseClient {
        self.client.lease_client()
    }

    /// For the status of etcd.
    #[must_use]
    pub fn maintenance(&self) -> MaintenanceClient {
        self.client.maintenance_client()
    }

    /// Its endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.member.endpoint
    }

    /// The user, if any.
    pub(in crate::etcd) fn user(&self) -> Option<&str> {
        self.member.user.as_deref()
    }

    /// Whether both are the same connection.
    pub(in crate::etcd) fn is(&self, other: &Self) -> bool {
        self.generation == other.generation
    }

    /// The same connection, with this timeout for calls, and [`CALL_TIMEOUT`] at most.
    pub(in crate::etcd) fn within(&self, limit: Duration) -> Self {
        Self {
            limit: limit.min(CALL_TIMEOUT),
            ..self.clone()
        }
    }

    /// Makes one call with a timeout, [`CALL_TIMEOUT`] by default.
    ///
    /// # Errors
    /// [`Error::Etcd`] with etcd's answer, or [`Error::Silent`] after the timeout.
    pub fn call<'a, T: 'a>(
        &'a self,
        call: impl Future<Output = Result<T, etcd_client::Error>> + Send + 'a,
    ) -> impl Future<Output = Result<T, Error>> + Send + 'a {
        // gRPC calls are futures of many kilobytes; boxed here once, they do not enlarge every task.
        let call = Box::pin(call);
        async move {
            match timeout(self.limit, call).await {
                Ok(Ok(answer)) => {
                    self.member.heard.store(true, Ordering::Relaxed);
                    Ok(answer)
                }
                Ok(Err(source)) => Err(self.error(source)),
                Err(_) => Err(Error::Silent {
                    endpoint: self.member.endpoint.clone(),
                    after: self.limit,
                }),
            }
        }
    }

    /// An error of this member.
    pub(crate) fn error(&self, source: etcd_client::Error) -> Error {
        Error::of(&self.member, source)
    }

    /// The same error; if a permission is missing, with its name.
    pub(crate) fn about(&self, error: Error, right: Right, range: &Range) -> Error {
        error.about(self.endpoint(), self.user(), right, range)
    }

    /// The error that this member's answer lacks a part.
    pub(crate) fn incomplete(&self, part: &'static str) -> Error {
        Error::Incomplete {
            endpoint: self.member.endpoint.clone(),
            part,
        }
    }
}
