//! Commands of the user: split into words as by a shell, run without one, and killed with all their children.

use std::fmt;
use std::process::Stdio;
use std::str::FromStr;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use crate::util::sanitize::printable;
use crate::util::secret;

/// How much of the end of its output is kept for the reason, in bytes.
const MAX_SAID: usize = 400;
/// The most lines of it.
const MAX_LINES: usize = 3;

/// A command and its arguments, which may hold a secret: `Debug` shows the program alone.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandLine {
    program: String,
    arguments: Vec<String>,
    /// The command as given.
    text: String,
}

impl FromStr for CommandLine {
    type Err = String;

    /// Splits a command line into words as a shell does, quotes included; no shell runs it.
    fn from_str(text: &str) -> Result<Self, String> {
        let words = shlex::split(text).ok_or("a quote is not closed")?;
        let mut words = words.into_iter();
        let program = words.next().ok_or("the command is missing")?;
        Ok(Self {
            program,
            arguments: words.collect(),
            text: text.to_owned(),
        })
    }
}

impl fmt::Debug for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program())
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Kills the command and everything that it started when dropped.
pub(crate) struct Group(Option<Pid>);

impl Group {
    /// The group that this child leads.
    pub(crate) fn of(child: &Child) -> Self {
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        Self(pid.and_then(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Fails only when the group is empty.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl CommandLine {
    /// A command of sidekick's own.
    #[must_use]
    pub fn new(program: &str, arguments: &[&str]) -> Self {
        Self {
            program: program.to_owned(),
            arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
            text: format!("{program} {}", arguments.join(" ")),
        }
    }

    /// Runs the command once, to exit code 0; `Err` says why it failed. Dropping the future kills whatever
    /// still runs.
    pub(crate) async fn run(&self) -> Result<(), String> {
        let spawned = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let mut child = spawned.map_err(|error| format!("{}: {error}", self.program))?;
        let _group = Group::of(&child);
        let mut said = Tail::default();
        let status = wait(&mut child, &mut said).await;
        let status = status.map_err(|error| error.to_string())?;
        if status.success() {
            return Ok(());
        }
        Err(said.reason(&status))
    }

    /// The part that may be shown when the arguments may contain a secret.
    #[must_use]
    pub fn program(&self) -> String {
        secret::command(&self.text)
    }

    /// Whether the program has this name, in whatever folder.
    pub(crate) fn is_program(&self, name: &str) -> bool {
        std::path::Path::new(&self.program).ends_with(name)
    }

    /// Program and arguments.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let program = std::iter::once(&self.program);
        program.chain(&self.arguments).cloned().collect()
    }
}

/// Waits for the command itself: a child that it leaves running may keep the output open for ever.
async fn wait(child: &mut Child, said: &mut Tail) -> std::io::Result<std::process::ExitStatus> {
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let reading = async {
        let mut buffers = ([0; 1024], [0; 1024]);
        while out.is_some() || err.is_some() {
            tokio::select! {
                count = read(&mut out, &mut buffers.0) => said.take(&buffers.0[..count]),
                count = read(&mut err, &mut buffers.1) => said.take(&buffers.1[..count]),
            }
        }
        std::future::pending().await
    };
    tokio::select! {
        // Read what is already in the pipes before checking for the end.
        biased;
        never = reading => never,
        status = child.wait() => status,
    }
}

/// Reads once; a pipe that ends or fails is dropped. Without a pipe it waits for ever.
async fn read(pipe: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> usize {
    let Some(reader) = pipe else {
        return std::future::pending().await;
    };
    let count = reader.read(buffer).await.unwrap_or(0);
    if count == 0 {
        *pipe = None;
    }
    count
}

/// The end of a command's output.
#[derive(Debug, Default)]
pub(crate) struct Tail(Vec<u8>);

impl Tail {
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        let surplus = self.0.len().saturating_sub(MAX_SAID);
        self.0.drain(..surplus);
    }

    /// How the command ended, with the end of its output.
    pub(crate) fn reason(&self, ended: &impl fmt::Display) -> String {
        match self.text() {
            text if text.is_empty() => ended.to_string(),
            text => format!("{ended}: {text}"),
        }
    }

    /// The last lines, joined into one.
    pub(crate) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut lines: Vec<_> = lines.collect();
        let last = lines.split_off(lines.len().saturating_sub(MAX_LINES));
        printable(last.join("; "), 2 * MAX_SAID)
    }
}

#[cfg(test)]
mod tests;
