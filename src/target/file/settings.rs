//! Which file of which nginx, and the commands for it.

use std::path::PathBuf;
use std::time::Duration;

use super::proof::Proof;
use crate::target::{Error, Layer, OpenError};
use crate::util::command::CommandLine;
use crate::util::sanitize::short;

/// The default of [`Settings::min_reload_interval`].
pub const MIN_RELOAD_INTERVAL: Duration = Duration::from_secs(1);
/// The default of [`Settings::timeout`].
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// The default of [`Settings::pid`].
pub const PID: &str = "/run/nginx.pid";

/// Which file of which nginx, and the commands for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file. Nothing else may write it. nginx has to `include` it, in `http {}` or in `stream {}`.
    pub file: PathBuf,
    /// Which of the two.
    pub layer: Layer,
    /// The template that renders an upstream's block; the built-in one when `None`.
    pub template: Option<PathBuf>,
    /// Exits 0 when nginx accepts its configuration. Without it only the reload shows that.
    pub check: Option<CommandLine>,
    /// Tells nginx to read its configuration again.
    pub reload: CommandLine,
    /// The shortest time between two reloads.
    pub min_reload_interval: Duration,
    /// How long a command may take, and how long nginx may take to run the file after a reload.
    pub timeout: Duration,
    /// Where nginx writes its process id. Its workers show whether it runs the file, and whether requests still run with the
    /// former one.
    pub pid: Option<PathBuf>,
    /// Where to ask nginx whether it runs the file. Surer than its workers, and the only way when they cannot be seen, as in a
    /// container.
    pub proof: Option<Proof>,
    /// Whether to take over a file of somebody else that holds `upstream` blocks only. Else it is left alone.
    pub adopt: bool,
}

impl Settings {
    /// The defaults, for this file.
    #[must_use]
    pub fn new(file: impl Into<PathBuf>, layer: Layer) -> Self {
        Self {
            file: file.into(),
            layer,
            template: None,
            check: Some(CommandLine::new("nginx", &["-t"])),
            reload: CommandLine::new("nginx", &["-s", "reload"]),
            min_reload_interval: MIN_RELOAD_INTERVAL,
            timeout: TIMEOUT,
            pid: Some(PID.into()),
            proof: None,
            adopt: false,
        }
    }

    pub(super) fn validate(&self) -> Result<(), OpenError> {
        let file = self.shown();
        Err(OpenError(if !self.file.is_absolute() {
            format!("the file \"{file}\" is not an absolute path")
        } else if self.file.file_name().is_none() {
            format!("the file \"{file}\" has no name")
        } else if self.pid.is_none() && self.proof.is_none() {
            "neither a pid file nor a proof address is set: nothing would show that the running nginx has the file".to_owned()
        } else if self.timeout.is_zero() {
            "the time a command may take is 0".to_owned()
        } else {
            return Ok(());
        }))
    }

    /// The file, printable.
    pub(super) fn shown(&self) -> String {
        short(self.file.as_os_str().as_encoded_bytes())
    }

    /// An error about the file itself.
    pub(super) fn file_error(&self, reason: impl Into<String>) -> Error {
        let (file, reason) = (self.shown(), reason.into());
        Error::File { file, reason }
    }
}
