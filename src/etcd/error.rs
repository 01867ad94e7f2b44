//! What can go wrong between sidekick and etcd, and who is to blame.

use std::fmt;
use std::time::Duration;

use super::member::Member;
use super::range::Range;
use crate::util::explain::{Options, Peer, Received, explain};
use crate::util::sanitize::{printable, short};

/// What the client says of a renewal that etcd answered with no time left. With the same kind of error, but other words, it
/// tells that the stream of renewals was cut, which says nothing of the lease.
pub(super) const LEASE_NOT_FOUND: &str = "lease not found";

/// Why a watch ended of which etcd gave no reason.
pub(super) const STREAM_CLOSED: &str = "the stream was closed";

/// What can go wrong between sidekick and etcd.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// etcd, or the way to it, failed.
    #[error("etcd at {endpoint}: {text}")]
    Etcd {
        /// Where the call went.
        endpoint: String,
        /// What came back. Not called a source, as its words are part of this error's own.
        error: Box<etcd_client::Error>,
        /// The same in words, with what may help.
        text: String,
    },
    /// The files that lead to etcd cannot be used.
    #[error("etcd at {endpoint}: {why}")]
    Access {
        /// Which member was to be connected to.
        endpoint: String,
        /// Which file, and what is wrong with it.
        why: String,
    },
    /// etcd refuses it to this user.
    #[error("etcd at {endpoint}: {} lacks the right to {right} {what}; grant it with: {}", who(user.as_deref()), grant(*right, what))]
    Denied {
        /// Who says so.
        endpoint: String,
        /// To whom; unknown where a certificate tells the name.
        user: Option<String>,
        /// What was to be done.
        right: Right,
        /// To which keys.
        what: Keys,
    },
    /// No answer within the time that a call may take.
    #[error("etcd at {endpoint}: no answer within {}", crate::util::duration::show(*after))]
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

/// What may be done to keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Read and watch.
    Read,
    /// Write and delete.
    Write,
}

impl Right {
    /// As etcdctl calls what has to be granted. Who writes a key reads it first.
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

/// One key, or all that begin so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// The key, or its beginning; printable.
    pub text: String,
    /// Whether it is a beginning.
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
    /// What came back from this member, with what may help.
    pub(super) fn of(member: &Member, error: etcd_client::Error) -> Self {
        Self::Etcd {
            endpoint: member.endpoint.clone(),
            text: in_words(&error, member),
            error: Box::new(error),
        }
    }

    /// The same, where it is that a right is missing: with which it is.
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

    /// The same, of a key that is read in order to write it.
    pub(super) fn of_writing(mut self) -> Self {
        if let Self::Denied { right, .. } = &mut self {
            *right = Right::Write;
        }
        self
    }

    /// Whether etcd misses a right of the user.
    fn is_denied(&self) -> bool {
        match self {
            Self::Etcd { error, .. } => match &**error {
                // The code by the number that gRPC fixes.
                etcd_client::Error::GRpcStatus(status) => status.code() as i32 == 7,
                _ => false,
            },
            Self::WatchEnded { reason, .. } => reason.contains("permission denied"),
            _ => false,
        }
    }

    /// Whether etcd has no room left: it refuses what would write, and lets delete.
    pub(crate) fn is_out_of_space(&self) -> bool {
        self.says("database space exceeded")
    }

    /// Whether etcd refuses the token or the password that the connection was made with: a new one gets a new token, and reads the
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

    /// Whether another member may do better. An answer of etcd itself (denied, not found) is the
    /// same at every member; everything else is a matter of this connection.
    pub(crate) fn is_about_the_connection(&self) -> bool {
        match self {
            Self::Etcd { error, .. } => !is_verdict_on_the_request(error),
            Self::Silent { .. } | Self::Incomplete { .. } | Self::Access { .. } => true,
            Self::WatchEnded { .. } | Self::Denied { .. } => false,
        }
    }

    /// Whether etcd has understood the request and refuses it: nothing of it has been done.
    pub(crate) fn is_refusal(&self) -> bool {
        !self.is_about_the_connection() || self.wants_a_new_login()
    }

    /// The same, said at the end of several attempts that took so long in all.
    pub(super) fn after_all(mut self, time: Duration) -> Self {
        if let Self::Silent { after, .. } = &mut self {
            *after = time.max(*after);
        }
        self
    }

    /// Whether any other call to the same etcd would fail, too: it cannot be reached, or does not let this user in.
    pub(crate) fn concerns_every_range(&self) -> bool {
        self.is_about_the_connection() || self.wants_a_new_login() || self.is_closed_stream()
    }

    fn is_closed_stream(&self) -> bool {
        matches!(self, Self::WatchEnded { reason, .. } if reason == STREAM_CLOSED)
    }

    /// Whether etcd has not answered, so that nothing is known but that.
    pub(super) fn is_unanswered(&self) -> bool {
        match self {
            Self::Access { .. } => false,
            _ => self.is_about_the_connection() || self.is_closed_stream(),
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

    /// What kind of trouble it is: the same for as long as nothing else goes wrong, whichever member tells.
    pub(super) fn kind(&self) -> String {
        match self {
            _ if self.is_unanswered() => "unreachable".to_owned(),
            Self::Etcd { text, .. } => text.clone(),
            Self::Denied { right, what, .. } => format!("{right} {what}"),
            Self::Access { why, .. } => why.clone(),
            _ => "watch ended".to_owned(),
        }
    }

    /// Whether etcd has a lease of this id already.
    pub(super) fn is_lease_there(&self) -> bool {
        self.says("lease already exists")
    }

    /// Whether etcd has no history of that revision any more.
    pub(super) fn is_compacted(&self) -> bool {
        self.says("has been compacted")
    }

    /// Whether etcd, or the way to it, says that.
    fn says(&self, words: &str) -> bool {
        match self {
            Self::Etcd { error, .. } => error.to_string().contains(words),
            _ => false,
        }
    }

    /// Whether the answer was larger than this side accepts.
    pub(crate) fn is_too_large(&self) -> bool {
        self.says("message length too large")
    }
}

/// Says in words what etcd refuses, or what stands between it and us.
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
        // What gRPC's transport says when TLS 1.3 refuses a certificate after the handshake.
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
mod tests;
