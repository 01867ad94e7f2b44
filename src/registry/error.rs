//! What can go wrong between sidekick and etcd, and who is to blame.

use std::time::Duration;

/// What can go wrong between sidekick and etcd.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// etcd, or the way to it, failed.
    #[error("etcd at {endpoint}: {}{}", explain(error), hint(error, *anonymous))]
    Etcd {
        /// Where the call went.
        endpoint: String,
        /// What came back. Not called a source, as its words are part of this error's own.
        error: Box<etcd_client::Error>,
        /// Whether TLS was spoken and no certificate shown.
        anonymous: bool,
    },
    /// No answer within the time that a call may take.
    #[error("etcd at {endpoint}: no answer within {}", humantime::format_duration(*after))]
    Silent {
        /// Where the call went.
        endpoint: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// etcd ended a watch.
    #[error("etcd at {endpoint} ended the watch: {reason}")]
    WatchEnded {
        /// Who ended it.
        endpoint: String,
        /// Why, in words.
        reason: String,
    },
    /// An answer without a part that every answer has.
    #[error("etcd at {endpoint} sent an answer without {part}")]
    Incomplete {
        /// Who sent it.
        endpoint: String,
        /// What it lacks.
        part: &'static str,
    },
}

impl Error {
    /// Whether another member may do better. An answer of etcd itself (denied, not found) is the
    /// same at every member; everything else is a matter of this connection.
    pub(crate) fn is_about_the_connection(&self) -> bool {
        match self {
            Self::Etcd { error, .. } => !is_verdict_on_the_request(error),
            Self::Silent { .. } | Self::Incomplete { .. } => true,
            Self::WatchEnded { .. } => false,
        }
    }

    /// Whether etcd says that the lease does not exist (any more).
    pub(crate) fn is_lease_not_found(&self) -> bool {
        match self {
            Self::Etcd { error, .. } => match &**error {
                etcd_client::Error::LeaseKeepAliveError(text) => is_lease_gone(text),
                etcd_client::Error::GRpcStatus(status) => {
                    status.message().contains("requested lease not found")
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether the answer was larger than this side accepts.
    pub(crate) fn is_too_large(&self) -> bool {
        match self {
            Self::Etcd { error, .. } => error.to_string().contains("message length too large"),
            _ => false,
        }
    }

    /// Whether the auth token has run out.
    pub(crate) fn is_stale_token(&self) -> bool {
        match self {
            Self::Etcd { error, .. } => error.to_string().contains("invalid auth token"),
            Self::WatchEnded { reason, .. } => reason.contains("invalid auth token"),
            _ => false,
        }
    }
}

/// Says in words what stands between us and etcd. Behind the status of a failed connection hides a chain of
/// causes, of which the last one says what happened ("connection refused").
fn explain(error: &etcd_client::Error) -> String {
    let etcd_client::Error::GRpcStatus(status) = error else {
        return error.to_string();
    };
    let causes = std::iter::successors(std::error::Error::source(status), |cause| cause.source());
    match (causes.last(), status.message()) {
        (Some(cause), _) => cause.to_string(),
        (None, "") => format!("{:?}", status.code()),
        (None, message) => message.trim_start_matches("etcdserver: ").to_owned(),
    }
}

/// Who shows no certificate to a server that wants one learns no more than that the connection ended: TLS 1.3
/// refuses it only after the handshake, and its word for that (a fatal alert) may come too late.
fn hint(error: &etcd_client::Error, anonymous: bool) -> &'static str {
    let text = explain(error).to_ascii_lowercase();
    let ended = ["closed", "broken pipe", "reset", "fatal alert", "eof"];
    if anonymous && ended.iter().any(|word| text.contains(word)) {
        " (it may want to see a certificate: give --cert and --key)"
    } else {
        ""
    }
}

/// Whether a renewal failed because of the lease. The same error stands for a connection that is gone ("channel closed").
fn is_lease_gone(text: &str) -> bool {
    text.contains("not found")
}

/// Whether etcd itself judged the request, so that every member would say the same.
fn is_verdict_on_the_request(error: &etcd_client::Error) -> bool {
    match error {
        // The codes by the numbers that gRPC fixes, as the type is not exported: invalid argument, not found,
        // already exists, permission denied, failed precondition, out of range, unauthenticated.
        etcd_client::Error::GRpcStatus(status) => {
            matches!(status.code() as i32, 3 | 5 | 6 | 7 | 9 | 11 | 16)
        }
        etcd_client::Error::LeaseKeepAliveError(text) => is_lease_gone(text),
        etcd_client::Error::InvalidArgs(_) | etcd_client::Error::InvalidUri(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_that_cannot_be_sent_says_nothing_about_the_lease() {
        let error = |text: &str| Error::Etcd {
            endpoint: "http://127.0.0.1:2379".to_owned(),
            error: Box::new(etcd_client::Error::LeaseKeepAliveError(text.to_owned())),
            anonymous: false,
        };
        let gone = error("lease not found");
        assert!(gone.is_lease_not_found() && !gone.is_about_the_connection());
        let closed = error("channel closed");
        assert!(!closed.is_lease_not_found() && closed.is_about_the_connection());
    }
}
