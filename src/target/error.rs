//! Why an upstream differs from the records.

use std::time::Duration;

use super::name::UpstreamName;

/// Why an upstream could not be made equal to the records.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The connection was refused: the target does not run, so it serves no traffic.
    #[error("connection refused: nginx does not run, or its API listens elsewhere")]
    NotRunning,
    /// The target is unreachable.
    #[error("the API cannot be reached: {0}")]
    Unreachable(String),
    /// The connection broke before the answer was complete. The request may have taken effect.
    #[error("the connection to the API broke: {0}")]
    Broken(String),
    /// The request timed out. It may have taken effect.
    #[error("no whole answer from the API within {} (--request-timeout)", crate::util::duration::typed(*.0))]
    Silent(Duration),
    /// The answer is larger than any of this API.
    #[error("{request}: the answer is larger than {limit} bytes")]
    TooLarge {
        /// The request.
        request: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// Something answers, but not an upstream API.
    #[error(
        "{request}: {reason}; is this the location of the API (`api write=on;`, the Lua API, or `upstream_conf;`)?"
    )]
    NotTheApi {
        /// The request.
        request: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The API supports no version that this driver supports.
    #[error("the API offers versions {offered}; {known} are known here")]
    NoCommonVersion {
        /// What it offers.
        offered: String,
        /// What the driver knows.
        known: &'static str,
    },
    /// The target requires a login, or forbids access.
    #[error(
        "{request}: HTTP {status}: the API does not let us in; {}",
        match status {
            401 => "is this the right login for auth_basic or auth_jwt of its location?",
            _ => "see allow and deny of its location, and what our login may do",
        }
    )]
    Denied {
        /// The request.
        request: String,
        /// 401 or 403.
        status: u16,
    },
    /// The target requires a client certificate, or another one.
    #[error("{request}: {text}: is this the right client certificate for ssl_verify_client?")]
    Certificate {
        /// The request.
        request: String,
        /// The target's message, printable and short.
        text: String,
    },
    /// The API is read-only.
    #[error("the API is read-only: its location needs `api write=on;`")]
    ReadOnly,
    /// The upstream does not exist.
    #[error("nginx has no upstream \"{0}\" that its API can change")]
    NoUpstream(UpstreamName),
    /// The API has no stream upstreams.
    #[error(
        "nginx has no stream upstreams that its API can change: there is no `stream` block, or this API is for http only"
    )]
    NoStream,
    /// The upstream cannot be changed.
    #[error("upstream \"{0}\" is static: it needs a `zone`")]
    NoZone(UpstreamName),
    /// Another error status.
    #[error("{request}: HTTP {status} {text}")]
    Answer {
        /// The request.
        request: String,
        /// The HTTP status.
        status: u16,
        /// Code and text of the answer, printable and short.
        text: String,
    },
    /// New requests to a draining server cannot be stopped.
    #[error("a draining server still gets requests: nginx refuses drain and down: {0}")]
    Undrainable(String),
    /// A call to etcd, where the target reads its servers, failed.
    #[error("{0}")]
    Etcd(String),
    /// A change is missing when it is read back.
    #[error("the target accepts \"{0}\", but does not show it when asked again")]
    NotConverged(String),
    /// No nginx runs that would read its file.
    #[error("nginx does not run: {0}; the file is as it should be")]
    Stopped(String),
    /// The master process was killed, and its workers continue without it.
    #[error(
        "nginx's master process is gone, but its worker process {0} still answers, with the configuration that it had: end it with `kill -QUIT {0}`, and start nginx"
    )]
    Orphaned(u32),
    /// It cannot be found out whether an nginx runs that has the file.
    #[error(
        "no nginx can be seen that has the file: {0}; where nginx runs here, write its process id there, or restart it; where it runs in a container or another pid namespace, set `proof`"
    )]
    Unseen(String),
    /// The names of its servers do not resolve, and without them it would have no server.
    #[error("no server is left whose name resolves, so the former ones stay: {0}")]
    Unresolved(String),
    /// The file cannot be read or written, or is not ours to write.
    #[error("{file} {reason}")]
    File {
        /// The file.
        file: String,
        /// What failed.
        reason: String,
    },
    /// The template fails.
    #[error("the template fails: {0}")]
    Template(String),
    /// nginx refuses the file. The former one is restored.
    #[error("`{command}` refuses it: {reason}")]
    Refused {
        /// The command.
        command: String,
        /// Its output.
        reason: String,
    },
    /// nginx cannot be reloaded.
    #[error("`{command}` fails: {reason}")]
    Reload {
        /// The command.
        command: String,
        /// Its output.
        reason: String,
    },
    /// nginx was reloaded, but still uses the former file.
    #[error("nginx goes on with the configuration it had, {} after `{command}`: if it refused the new one, its error log says why",
        crate::util::duration::show(*.after))]
    NotTaken {
        /// The command.
        command: String,
        /// The timeout.
        after: Duration,
    },
}

impl Error {
    /// Whether the target certainly sends no requests, so that nobody has to wait for it. After any other error
    /// it may still send some.
    #[must_use]
    pub fn is_not_routing(&self) -> bool {
        matches!(self, Self::NotRunning | Self::Stopped(_))
    }

    /// Whether the target, or the etcd that it reads, did not answer: a retry may succeed. Otherwise it refused, and
    /// somebody has to change something.
    #[must_use]
    pub fn is_out_of_reach(&self) -> bool {
        match self {
            Self::NotRunning
            | Self::Unreachable(_)
            | Self::Broken(_)
            | Self::Silent(_)
            | Self::Etcd(_)
            | Self::Stopped(_)
            | Self::Orphaned(_)
            | Self::Unseen(_) => true,
            Self::TooLarge { .. }
            | Self::NotTheApi { .. }
            | Self::NoCommonVersion { .. }
            | Self::Denied { .. }
            | Self::Certificate { .. }
            | Self::ReadOnly
            | Self::NoUpstream(_)
            | Self::NoStream
            | Self::NoZone(_)
            | Self::Answer { .. }
            | Self::Undrainable(_)
            | Self::NotConverged(_)
            | Self::Unresolved(_)
            | Self::File { .. }
            | Self::Template(_)
            | Self::Refused { .. }
            | Self::Reload { .. }
            | Self::NotTaken { .. } => false,
        }
    }
}
