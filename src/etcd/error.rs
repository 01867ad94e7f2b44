//! Errors between sidekick and etcd, and their causes.

use std::fmt;
use std::time::Duration;

use super::member::Member;
use super::range::Range;
use crate::util::explain::{Options, Peer, Received, explain};
use crate::util::sanitize::{printable, short};

/// The client's message for a renewal that etcd answered with no time left. The same kind of error with another message
/// means that the stream of renewals broke, which says nothing about the lease.
pub(super) const LEASE_NOT_FOUND: &str = "lease not found";

/// The reason for a watch that ended without one from etcd.
pub(super) const STREAM_CLOSED: &str = "the stream was closed";

/// An error between sidekick and etcd.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// etcd, or the connection to it, failed.
    #[error("etcd at {endpoint}: {text}")]
    Etcd {
        /// The member.
        endpoint: String,
        /// The original error. Not a source, because its text is part of this error's own.
        error: Box<etcd_client::Error>,
        /// The error as text, with what may help.
        text: String,
    },
    /// The login or certificate files cannot be used.
    #[error("etcd at {endpoint}: {why}")]
    Access {
        /// The member to connect to.
        endpoint: String,
        /// The file, and what is wrong with it.
        why: String,
    },
    /// This user lacks a permission.
    #[error("etcd at {endpoint}: {} lacks the right to {right} {what}; grant it with: {}", who(user.as_deref()), grant(*right, what))]
    Denied {
        /// The member.
        endpoint: String,
        /// The user; unknown if a certificate names it.
        user: Option<String>,
        /// The missing permission.
        right: Right,
        /// Its keys.
        what: Keys,
    },
    /// A call timed out.
    #[error("etcd at {endpoint}: no answer within {}", crate::util::duration::show(*after))]
    Silent {
        /// The member.
        endpoint: String,
        /// The timeout.
        after: Duration,
    },
    /// etcd ended a watch.
    #[error("etcd at {endpoint} ended the watch: {reason}")]
    WatchEnded {
        /// The member.
        endpoint: String,
        /// Why.
        reason: String,
    },
    /// An answer is incomplete.
    #[error("etcd at {endpoint} sent an answer without {part}")]
    Incomplete {
        /// The member.
        endpoint: String,
        /// What is missing.
        part: &'static str,
    },
}

/// A permission on keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Read and watch.
    Read,
    /// Write and delete.
    Write,
}

impl Right {
    /// etcdctl's name for the permission to grant. A writer also reads the key first.
    #[must_use]
    pub const fn grant(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "readwrite",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

/// One key, or all keys with a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// The key or the prefix; printable.
    pub text: String,
    /// Whether it is a prefix.
    pub prefix: bool,
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        f.write_str(if self.prefix { "*" } else { "" })
    }
}

impl From<&Range> for Keys {
    fn from(range: &Range) -> Self {
        let (key, prefix) = match range {
            Range::Key(key) => (key, false),
            Range::Prefix(key) => (key, true),
        };
        let text = printable(key, 300);
        Self { text, prefix }
    }
}

fn who(user: Option<&str>) -> String {
    match user {
        Some(user) => format!("user {}", short(user)),
        None => "the user (named by the client's certificate, or nobody)".to_owned(),
    }
}

/// The command that grants it.
fn grant(right: Right, keys: &Keys) -> String {
    let right = right.grant();
    let prefix = if keys.prefix { " --prefix=true" } else { "" };
    format!(
        "etcdctl role grant-permission ROLE{prefix} {right} {}",
        keys.text
    )
}

impl Error {
    /// A member's error, with what may help.
    pub(super) fn of(member: &Member, error: etcd_client::Error) -> Self {
        Self::Etcd {
            endpoint: member.endpoint.clone(),
            text: in_words(&error, member),
            error: Box::new(error),
        }
    }

    /// The same error; if a permission is missing, with its name.
    pub(super) fn about(
        self,
        endpoint: &str,
        user: Option<&str>,
        right: Right,
        range: &Range,
    ) -> Self {
        if !self.is_denied() {
            return self;
        }
        Self::Denied {
            endpoint: endpoint.to_owned(),
            user: user.map(str::to_owned),
            right,
            what: range.into(),
        }
    }

    /// The same, for a key that is read in order to write it.
    pub(super) fn of_writing(mut self) -> Self {
        if let Self::Denied { right, .. } = &mut self {
            *right = Right::Write;
        }
        self
    }

    /// Whether the user lacks a permission.
    fn is_denied(&self) -> bool {
        match self {
            Self::Etcd { error, .. } => match &**error {
                // gRPC fixes the number of the code.
                etcd_client::Error::GRpcStatus(status) => status.code() as i32 == 7,
                _ => false,
            },
            Self::WatchEnded { reason, .. } => reason.contains("permission denied"),
            _ => false,
        }
    }

    /// Whether etcd has no space left: it then refuses writes, and allows deletions.
    pub(crate) fn is_out_of_space(&self) -> bool {
        self.says("database space exceeded")
    }

    /// Whether etcd refuses the connection's token or password: a new connection gets a new token, and reads the
    /// password again.
    pub(crate) fn wants_a_new_login(&self) -> bool {
        const REFUSALS: [&str; 5] = [
            "invalid auth token",
            "revision of auth store is old",
            "user name is empty",
            "authentication failed",
            "authentication is not enabled",
        ];
        let text = match self {
            Self::Etcd { error, .. } => match &**error {
                etcd_client::Error::GRpcStatus(status) if status.code() as i32 == 16 => {
                    return true;
                }
                error => error.to_string(),
            },
            Self::WatchEnded { reason, .. } => reason.clone(),
            _ => return false,
        };
        REFUSALS.iter().any(|refusal| text.contains(refusal))
    }

    /// Whether another member may succeed. etcd's own errors (denied, not found) are the
    /// same at every member; other errors are about this connection.
    pub(crate) fn is_about_the_connection(&self) -> bool {
        match self {
            Self::Etcd { error, .. } => !is_verdict_on_the_request(error),
            Self::Silent { .. } | Self::Incomplete { .. } | Self::Access { .. } => true,
            Self::WatchEnded { .. } | Self::Denied { .. } => false,
        }
    }

    /// Whether etcd has understood the request and refused it, so that it had no effect.
    pub(crate) fn is_refusal(&self) -> bool {
        !self.is_about_the_connection() || self.wants_a_new_login()
    }

    /// The same error, after several attempts that took this long in all.
    pub(super) fn after_all(mut self, time: Duration) -> Self {
        if let Self::Silent { after, .. } = &mut self {
            *after = time.max(*after);
        }
        self
    }

    /// Whether any other call to the same etcd would fail, too: it cannot be reached, or refuses this user.
    pub(crate) fn concerns_every_range(&self) -> bool {
        self.is_about_the_connection() || self.wants_a_new_login() || self.is_closed_stream()
    }

    fn is_closed_stream(&self) -> bool {
        matches!(self, Self::WatchEnded { reason, .. } if reason == STREAM_CLOSED)
    }

    /// Whether etcd has not answered.
    pub(crate) fn is_unanswered(&self) -> bool {
        match self {
            Self::Access { .. } => false,
            _ => self.is_about_the_connection() || self.is_closed_stream(),
        }
    }

    /// Whether etcd reports that the lease does not exist any more.
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

    /// The kind of error: the same while nothing else goes wrong, whichever member reports it.
    pub(super) fn kind(&self) -> String {
        match self {
            _ if self.is_unanswered() => "unreachable".to_owned(),
            Self::Etcd { text, .. } => text.clone(),
            Self::Denied { right, what, .. } => format!("{right} {what}"),
            Self::Access { why, .. } => why.clone(),
            _ => "watch ended".to_owned(),
        }
    }

    /// Whether etcd already has a lease with this id.
    pub(super) fn is_lease_there(&self) -> bool {
        self.says("lease already exists")
    }

    /// Whether etcd has compacted that revision.
    pub(super) fn is_compacted(&self) -> bool {
        self.says("has been compacted")
    }

    /// Whether the error contains these words.
    fn says(&self, words: &str) -> bool {
        match self {
            Self::Etcd { error, .. } => error.to_string().contains(words),
            _ => false,
        }
    }

    /// Whether the answer was larger than the client accepts.
    pub(crate) fn is_too_large(&self) -> bool {
        self.says("message length too large")
    }
}

/// Describes etcd's error, or what is wrong with the connection to it.
fn in_words(error: &etcd_client::Error, member: &Member) -> String {
    let message = match error {
        etcd_client::Error::GRpcStatus(status) if std::error::Error::source(status).is_none() => {
            match status.message() {
                "" => status.code().to_string(),
                message => message.trim_start_matches("etcdserver: ").to_owned(),
            }
        }
        etcd_client::Error::GRpcStatus(_)
        | etcd_client::Error::TransportError(_)
        | etcd_client::Error::IoError(_) => return connection_in_words(error, member),
        error => error.to_string(),
    };
    match (&*message, &member.user) {
        ("user name is empty", None) => format!("{message} (it wants a user: give --user)"),
        ("authentication is not enabled", Some(_)) => {
            format!("{message} (this etcd knows no users: leave --user away, or switch it on)")
        }
        _ if message.contains("database space exceeded") => {
            format!("{message} (make room: etcdctl compact, defrag, then alarm disarm)")
        }
        _ => message,
    }
}

fn connection_in_words(error: &etcd_client::Error, member: &Member) -> String {
    let tls = member.tls.as_ref();
    let outdated = tls.and_then(|tls| tls.outdated(jiff::Timestamp::now()));
    let shows_none = tls.is_some_and(|tls| tls.identity.is_none());
    let place = member.endpoint.split_once("://");
    let peer = Peer {
        place: place.map_or(&*member.endpoint, |(_, place)| place),
        tls: tls.is_some(),
        received: match member.has_answered() {
            true => Received::Earlier,
            false => Received::Nothing,
        },
        options: Options {
            authority: Some("--cacert"),
            name: None,
            certificate: shows_none.then_some("--cert and --key"),
        },
    };
    let mut words = explain(error, peer);
    if words == "connection closed" {
        // The error of gRPC's transport when TLS 1.3 refuses a certificate after the handshake.
        words = format!("{} closed the connection without an answer", peer.place);
        if shows_none {
            words += " (it may require a client certificate: give --cert and --key)";
        }
    }
    let mut ends = ["closed the connection", "reset the connection"].into_iter();
    let silent = tls.is_some() && !member.has_answered() && ends.any(|end| words.contains(end));
    match outdated {
        Some(outdated) => format!("{words} ({outdated})"),
        None if silent && shows_none => format!("{words} (or it speaks no TLS: try http://)"),
        None if silent => format!(
            "{words} (it may not accept the certificate of --cert, or it speaks no TLS: try http://)"
        ),
        None => words,
    }
}

/// Whether it is etcd's own error, which every member would return.
fn is_verdict_on_the_request(error: &etcd_client::Error) -> bool {
    match error {
        // gRPC fixes the numbers, and the type is not exported: invalid argument, not found,
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
mod tests;
