//! A child process: what it says, how it is signalled, and that it is gone at the end.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::{PATIENCE, procfs, until};

/// How much of what a process said is printed when the test fails.
const LINES_SHOWN: usize = 120;

/// A child process, killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    /// One for each output.
    readers: [JoinHandle<()>; 2],
}

/// How a process ended and all it had said.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
}

impl Process {
    /// Starts `command`, with both its outputs read into `lines`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub(crate) fn start(name: impl Into<String>, command: &mut Command) -> Self {
        let name = name.into();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name} by {command:?}: {error}"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        let readers = [collect(stdout, &lines), collect(stderr, &lines)];
        Self {
            name,
            child,
            lines,
            readers,
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has said so far on both outputs, in the order of arrival.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no reader panics").clone()
    }

    /// All it said, as one text.
    pub(crate) fn output(&self) -> String {
        self.lines().join("\n")
    }

    /// Waits until a line contains `part`, and gives that line back.
    #[track_caller]
    pub(crate) fn line(&self, part: &str) -> impl Future<Output = String> {
        let find = async move || self.lines().into_iter().find(|line| line.contains(part));
        until(PATIENCE, format!("{} to say '{part}'", self.name), find)
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the process is gone.
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        send(self.pid(), signal)
            .unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.name));
        if signal == Signal::STOP {
            self.stopped();
        }
    }

    /// Waits until it stands still: each of its threads takes the signal when it runs next.
    fn stopped(&self) {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let pid = Pid::from_child(&self.child);
        waitid(WaitId::Pid(pid), options).expect("it is our own child");
    }

    /// How it ended, when it has.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our own child")
    }

    /// Waits until it has ended and said all it had to say.
    ///
    /// # Panics
    /// When it still runs after `limit`.
    #[track_caller]
    pub(crate) fn end(&mut self, limit: Duration) -> impl Future<Output = Ended> {
        until(limit, format!("{} to end", self.name), async move || {
            let silent = self.readers.iter().all(JoinHandle::is_finished);
            let status = self.exited().filter(|_| silent)?;
            Some(Ended {
                code: status.code(),
                output: self.output(),
            })
        })
    }

    /// Ends it by SIGKILL, also when it is stopped, and waits for that.
    pub(crate) fn kill(&mut self) -> ExitStatus {
        // Fails only when it is gone already.
        let _ = self.child.kill();
        self.child.wait().expect("it is our own child")
    }

    /// True when this process, or a child of it, listens on the port, and not somebody who took it first.
    pub(crate) fn owns_port(&self, port: u16) -> bool {
        let children = procfs::children(self.pid());
        procfs::listens(self.pid(), port)
            || children.iter().any(|child| procfs::listens(*child, port))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The workers of an nginx outlive it when it is killed. One that has ended already has given its id back.
        let children = match self.exited() {
            None => procfs::children(self.pid()),
            Some(_) => Vec::new(),
        };
        let status = self.kill();
        for child in children {
            // It may have left together with its parent.
            let _ = send(child, Signal::KILL);
        }
        if thread::panicking() {
            let lines = self.lines();
            let from = lines.len().saturating_sub(LINES_SHOWN);
            eprintln!("---- {} ({status}) said:", self.name);
            for line in &lines[from..] {
                eprintln!("{line}");
            }
        }
    }
}

/// Sends a signal to any process.
pub(crate) fn send(pid: u32, signal: Signal) -> rustix::io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    kill_process(pid.ok_or(rustix::io::Errno::SRCH)?, signal)
}

/// Reads lines until the other end closes.
fn collect(from: impl Read + Send + 'static, into: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let into = Arc::clone(into);
    thread::spawn(move || {
        let mut reader = BufReader::new(from);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            into.lock().expect("no other reader panics").push(text);
            line.clear();
        }
    })
}
