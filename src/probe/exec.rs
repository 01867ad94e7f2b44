//! Probes that are commands: exit code 0 passes.

use std::fmt;
use std::str::FromStr;

use crate::util::command::CommandLine;

/// A command and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecProbe(CommandLine);

impl FromStr for ExecProbe {
    type Err = String;

    /// Reads a command line as a shell splits it into words, quotes included; no shell runs it.
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

impl fmt::Display for ExecProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exec:{}", self.0.program())
    }
}

impl ExecProbe {
    /// Runs the command once; `Err` says why it does not pass. Whatever still runs when the future is dropped is
    /// killed.
    pub(super) async fn attempt(&self) -> Result<(), String> {
        self.0.run().await
    }
}
