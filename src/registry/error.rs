//! What can go wrong between sidekick and etcd, and who is to blame.

use std::time::Duration;

/// What the client says of a renewal that etcd answered with no time left. With the same kind of error, but other words, it
/// tells that the stream of renewals was cut, which says nothing of the lease.
pub(super) const LEASE_NOT_FOUND: &str = "lease not found";

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
    #[error("etcd at {endpoint}: no answer within {}", crate::span::show(*after))]
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

    /// Whether whoever asks the same etcd for something else fares no better: it cannot be reached, or the user or the password
    /// is wrong.
    pub(crate) fn concerns_every_range(&self) -> bool {
        match self {
            Self::Etcd { error, .. } => match &**error {
                // The codes by the numbers that gRPC fixes: invalid argument, as etcd calls a wrong password, unauthenticated.
                etcd_client::Error::GRpcStatus(status)
                    if matches!(status.code() as i32, 3 | 16) =>
                {
                    true
                }
                _ => self.is_about_the_connection(),
            },
            Self::Silent { .. } | Self::WatchEnded { .. } | Self::Incomplete { .. } => {
                self.is_about_the_connection()
            }
        }
    }

    /// Whether etcd says that the lease does not exist (any more).
    pub(crate) fn is_lease_not_found(&self) -> bool {
        match self {
            Self::Etcd { error, .. } => match &**error {
                etcd_client::Error::LeaseKeepAliveError(reason) => reason == LEASE_NOT_FOUND,
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

/// What may help, where etcd's own words do not say it. Who shows no certificate to a server that wants one learns no more
/// than that the connection ended: TLS 1.3 refuses it only after the handshake, and its word for that (a fatal alert) may
/// come too late.
fn hint(error: &etcd_client::Error, anonymous: bool) -> &'static str {
    let text = explain(error).to_ascii_lowercase();
    if text == "user name is empty" {
        return " (it wants a user: give --user)";
    }
    let ended = ["closed", "broken pipe", "reset", "fatal alert", "eof"];
    if anonymous && ended.iter().any(|word| text.contains(word)) {
        " (it may want to see a certificate: give --cert and --key)"
    } else {
        ""
    }
}

/// Whether etcd itself judged the request, so that every member would say the same.
fn is_verdict_on_the_request(error: &etcd_client::Error) -> bool {
    match error {
        // The codes by the numbers that gRPC fixes, as the type is not exported: invalid argument, not found,
        // already exists, permission denied, failed precondition, out of range, unauthenticated.
        etcd_client::Error::GRpcStatus(status) => {
            matches!(status.code() as i32, 3 | 5 | 6 | 7 | 9 | 11 | 16)
        }
        etcd_client::Error::LeaseKeepAliveError(reason) => reason == LEASE_NOT_FOUND,
        etcd_client::Error::InvalidArgs(_) | etcd_client::Error::InvalidUri(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renewal_failed(reason: &str) -> Error {
        Error::Etcd {
            endpoint: "http://10.0.0.1:2379".to_owned(),
            error: Box::new(etcd_client::Error::LeaseKeepAliveError(reason.to_owned())),
            anonymous: false,
        }
    }

    #[test]
    fn a_cut_stream_of_renewals_says_nothing_of_the_lease() {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        drop(receiver);
        let cut = sender.try_send(()).unwrap_err().to_string();
        let cut = renewal_failed(&cut);
        assert!(!cut.is_lease_not_found() && cut.is_about_the_connection());
        let gone = renewal_failed(LEASE_NOT_FOUND);
        assert!(gone.is_lease_not_found() && !gone.is_about_the_connection());
    }
}
