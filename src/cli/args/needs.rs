//! Options that have an effect only together with others: without those they are refused, not ignored.
//!
//! Only the command line is checked. Variables and env files may serve several commands and units, which do not all use
//! every variable.

use clap::ArgMatches;

use super::given::Given;
use crate::cli::args::mistakes::Mistakes;

/// Options of some commands, and when they have an effect.
struct Rule {
    commands: &'static [&'static str],
    /// Names of the arguments.
    options: &'static [&'static str],
    means_something: fn(&CommandLine<'_>) -> bool,
    /// What they need, or why they have no effect.
    why: &'static str,
}

/// Commands with the options of `announce`.
const ANNOUNCE: &[&str] = &["announce", "check", "unit"];

const RULES: [Rule; 17] = [
    Rule {
        commands: ANNOUNCE,
        options: &[
            "docker_host",
            "network",
            "host",
            "host_name",
            "labels_only",
            "start_timeout",
            "on_gone",
        ],
        means_something: |said| said.has("container"),
        why: "goes with --container NAME; without a container, give SERVICE/INSTANCE and HOST:PORT",
    },
    Rule {
        commands: ANNOUNCE,
        options: &["container_port"],
        means_something: |said| said.has("container") || said.has("quadlet"),
        why: "goes with --container NAME, or with unit --quadlet",
    },
    Rule {
        commands: ANNOUNCE,
        options: &["network", "host"],
        means_something: |said| !(said.has("container") && said.is_said("address")),
        why: "HOST:PORT is given, and nothing is left to be found; give one of them",
    },
    Rule {
        commands: ANNOUNCE,
        options: &["host_name"],
        means_something: |said| !(said.has("container") && said.is_said("id")),
        why: "SERVICE/INSTANCE is given, so the host's name is not used; give one of them",
    },
    Rule {
        commands: ANNOUNCE,
        options: &["start_timeout"],
        means_something: |said| !said.is("on_gone", "wait"),
        why: "--on-gone wait waits for the container for ever; give one of them",
    },
    Rule {
        commands: ANNOUNCE,
        options: &["interval", "timeout", "rise", "fall", "grace", "on_failure"],
        means_something: |said| said.has("container") || said.has("probe"),
        why: "nothing is probed; give --probe, too",
    },
    Rule {
        commands: ANNOUNCE,
        options: &[
            "expect_status",
            "expect_body",
            "expect_header",
            "probe_method",
            "probe_header",
        ],
        means_something: |said| said.probes(&["/", "http://", "https://"]),
        why: "nothing is probed by HTTP; give --probe with a path, http:// or https://, too",
    },
    Rule {
        commands: ANNOUNCE,
        options: &["probe_cacert", "probe_tls_name", "probe_insecure"],
        means_something: |said| said.probes(&["https://"]),
        why: "nothing is probed by https://; give such a --probe, too",
    },
    Rule {
        commands: &["unit"],
        options: &["image", "publish"],
        means_something: |said| said.has("quadlet"),
        why: "goes with --quadlet",
    },
    Rule {
        commands: &["wait"],
        options: &["live_only"],
        means_something: |said| !said.is("goal", "announced"),
        why: "--for announced asks no load balancer; it goes with routed and gone",
    },
    Rule {
        commands: &["wait"],
        options: &["count"],
        means_something: |said| !said.is("goal", "gone"),
        why: "gone means that none is left; --count goes with announced and routed",
    },
    Rule {
        commands: &["hold"],
        options: &["length", "reason"],
        means_something: |said| !said.has("release"),
        why: "--release ends a hold and needs nothing else",
    },
    Rule {
        commands: &["push"],
        options: &[
            "nginx",
            "upstream",
            "config",
            "adopt",
            "output",
            "debounce",
            "resync",
            "request_timeout",
            "drain_timeout",
            "ttl",
            "forget_after",
            "min_servers",
            "max_removal",
            "hold",
        ],
        means_something: |said| !said.has("retire"),
        why: "--retire asks etcd only: beside what leads there, it needs nothing but --id",
    },
    Rule {
        commands: &["push"],
        options: &["adopt"],
        means_something: |said| said.has("config") || said.has("retire"),
        why: "--nginx has an API and no file; it goes with --config FILE and a target with `file`",
    },
    Rule {
        commands: &["push"],
        options: &["output"],
        means_something: |said| said.has("once") || said.has("dry_run") || said.has("retire"),
        why: "goes with --once and --dry-run",
    },
    Rule {
        commands: &["push"],
        options: &["debounce", "resync", "ttl", "forget_after"],
        means_something: |said| !(said.has("once") || said.has("dry_run")),
        why: "means something for a pusher that stays, and --once and --dry-run end",
    },
    Rule {
        commands: &["roles"],
        options: &["id"],
        means_something: |said| {
            !said.has("role") || said.is("role", "push") || said.is("role", "sidekick-push")
        },
        why: "it narrows the role push",
    },
];

/// Adds a mistake for every option on the command line that has no effect.
pub(crate) fn check(given: &Given, mistakes: &mut Mistakes) {
    let Some((command, matches)) = given.subcommand() else {
        return;
    };
    let said = CommandLine { given, matches };
    for rule in RULES.iter().filter(|rule| rule.commands.contains(&command)) {
        let said_here = rule.options.iter().filter(|id| said.is_said(id));
        let options: Vec<_> = said_here.map(|id| option(id)).collect();
        if !options.is_empty() && !(rule.means_something)(&said) {
            mistakes.add(format!("{}: {}", options.join(", "), rule.why));
        }
    }
}

/// How an argument is spelled.
fn option(id: &str) -> String {
    match id {
        "length" => "--for".to_owned(),
        id => format!("--{}", id.replace('_', "-")),
    }
}

/// The arguments of a command.
struct CommandLine<'a> {
    given: &'a Given,
    matches: &'a ArgMatches,
}

impl CommandLine<'_> {
    /// Whether the command line itself gives it.
    fn is_said(&self, id: &str) -> bool {
        self.given.is_said(id)
    }

    /// Whether it is given in any way; for a switch: whether it is on. For arguments without a default.
    fn has(&self, id: &str) -> bool {
        match self.matches.try_get_one::<bool>(id) {
            Ok(on) => on.copied().unwrap_or(false),
            // It is not a switch.
            Err(_) => self.values(id).next().is_some(),
        }
    }

    /// Whether it has this value.
    fn is(&self, id: &str, value: &str) -> bool {
        self.values(id).any(|it| it == value)
    }

    fn values(&self, id: &str) -> impl Iterator<Item = &str> {
        let raw = self.matches.try_get_raw(id).ok().flatten();
        raw.into_iter().flatten().filter_map(|value| value.to_str())
    }

    /// Whether there may be a probe that begins like this: a given one, or one from the container's labels.
    fn probes(&self, beginnings: &[&str]) -> bool {
        let mut probes = self.values("probe");
        if !self.is_said("probe") {
            return self.has("container") || self.has("probe");
        }
        probes.any(|probe| beginnings.iter().any(|it| probe.starts_with(it)))
    }
}

#[cfg(test)]
mod tests;
