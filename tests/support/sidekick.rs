//! sidekick under test, as a process.

use std::path::PathBuf;
use std::process;
use std::time::Duration;

use super::notify::NotifySocket;
use super::{Ended, Etcd, PATIENCE, Process, Signal, until};

/// Environment variables with these beginnings would change what the program does.
const FOREIGN: [&str; 4] = ["ETCDCTL_", "SIDEKICK_", "NOTIFY_SOCKET", "WATCHDOG_"];

/// A command line of sidekick in the making.
#[derive(Debug)]
pub(crate) struct Command {
    name: String,
    command: process::Command,
    notify: Option<NotifySocket>,
}

/// A running sidekick.
#[derive(Debug)]
pub(crate) struct Sidekick {
    process: Process,
    notify: Option<NotifySocket>,
}

/// The program under test: `SIDEKICK_TEST_BINARY` names another than what cargo built for the tests.
pub(crate) fn program() -> PathBuf {
    let other = std::env::var_os("SIDEKICK_TEST_BINARY");
    other.map_or_else(|| env!("CARGO_BIN_EXE_sidekick").into(), PathBuf::from)
}

impl Command {
    /// `sidekick SUBCOMMAND`, with nothing in its environment that would change what it does.
    pub(crate) fn new(subcommand: &str) -> Self {
        let mut command = process::Command::new(program());
        command.arg(subcommand);
        for (name, _) in std::env::vars_os() {
            let foreign = name
                .to_str()
                .is_some_and(|name| FOREIGN.iter().any(|prefix| name.starts_with(prefix)));
            if foreign {
                command.env_remove(name);
            }
        }
        Self {
            name: format!("sidekick {subcommand}"),
            command,
            notify: None,
        }
    }

    /// Started by another program, which starts what it is given.
    pub(crate) fn started_by<S: Into<String>>(
        mut self,
        starter: impl IntoIterator<Item = S>,
    ) -> Self {
        let words: Vec<String> = starter.into_iter().map(Into::into).collect();
        let mut command = process::Command::new(&words[0]);
        command
            .args(&words[1..])
            .arg(self.command.get_program())
            .args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.command = command;
        self
    }

    /// Another file of the program.
    pub(crate) fn program(mut self, program: &std::path::Path) -> Self {
        let mut command = process::Command::new(program);
        command.args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.command = command;
        self
    }

    /// Talks to this etcd.
    pub(crate) fn etcd(self, etcd: &Etcd) -> Self {
        self.endpoints(&etcd.endpoint())
    }

    /// Talks to these endpoints.
    pub(crate) fn endpoints(self, endpoints: &str) -> Self {
        self.args(["--endpoints", endpoints])
    }

    /// More arguments.
    pub(crate) fn args<I: AsRef<str>>(mut self, args: impl IntoIterator<Item = I>) -> Self {
        for arg in args {
            self.command.arg(arg.as_ref());
        }
        self
    }

    /// One environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Under a service manager that waits for READY=1.
    pub(crate) fn notify(mut self) -> Self {
        let notify = NotifySocket::open();
        self.command.env("NOTIFY_SOCKET", notify.path());
        self.notify = Some(notify);
        self
    }

    /// What stands before the output when a test fails.
    pub(crate) fn named(mut self, name: &str) -> Self {
        self.name = format!("{} {name}", self.name);
        self
    }

    /// Starts it.
    #[track_caller]
    pub(crate) fn start(mut self) -> Sidekick {
        Sidekick {
            process: Process::start(self.name, &mut self.command),
            notify: self.notify,
        }
    }

    /// Starts it and waits for its end.
    #[track_caller]
    pub(crate) fn run(self) -> impl Future<Output = Ended> {
        let mut sidekick = self.start();
        // The wait names the caller's line, which it takes now.
        async move { sidekick.end(PATIENCE).await }
    }
}

impl Sidekick {
    /// The process: its id, its lines, signals to it.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Waits for READY=1.
    ///
    /// # Panics
    /// When it was not started with `notify`.
    #[track_caller]
    pub(crate) fn ready(&self) -> impl Future<Output = String> {
        self.notified("READY=1")
    }

    /// Waits for a message to the service manager that begins like this, and gives it back.
    ///
    /// # Panics
    /// When it was not started with `notify`.
    #[track_caller]
    pub(crate) fn notified(&self, beginning: &str) -> impl Future<Output = String> {
        let socket = self.notify.as_ref().expect("it was started with notify()");
        until(
            PATIENCE,
            format!("the message {beginning}"),
            async move || {
                let messages = socket.messages();
                let found = messages.iter().find(|line| line.starts_with(beginning));
                found.cloned().ok_or(messages)
            },
        )
    }

    /// Every message to the service manager so far.
    pub(crate) fn notifications(&self) -> Vec<String> {
        self.notify
            .as_ref()
            .map(NotifySocket::messages)
            .unwrap_or_default()
    }

    /// Asks it to leave, as systemd does.
    #[track_caller]
    pub(crate) fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// `kill -9`
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// True while it has not ended.
    pub(crate) fn runs(&mut self) -> bool {
        self.process.exited().is_none()
    }

    /// Its exit code, once it has ended by itself.
    pub(crate) fn code(&mut self) -> Option<i32> {
        self.process.exited()?.code()
    }

    /// Asks it to leave and waits for that.
    #[track_caller]
    pub(crate) fn leave(&mut self) -> impl Future<Output = Ended> {
        self.terminate();
        self.end(PATIENCE)
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(&mut self, limit: Duration) -> impl Future<Output = Ended> {
        self.process.end(limit)
    }
}
