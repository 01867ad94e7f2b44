//! Options that mean something only beside others: where those are missing, they are refused and not dropped.
//!
//! Only what the command line says is judged. A variable, or a line of an env file, may be there for many commands and units,
//! and is no mistake where it means nothing.

use clap::ArgMatches;

use super::Mistakes;
use super::line::Given;

/// Options of some commands, and when they mean something.
struct Rule {
    commands: &'static [&'static str],
    /// By the names of their arguments.
    options: &'static [&'static str],
    means_something: fn(&Said<'_>) -> bool,
    /// What they need, or why they mean nothing.
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
        why: "goes with --container NAME; without a container everything is said by SERVICE/INSTANCE and HOST:PORT",
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
        why: "SERVICE/INSTANCE is given, and the host's name stands in no other; give one of them",
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

/// Notes every option that was said and means nothing.
pub(super) fn check(given: &Given, mistakes: &mut Mistakes) {
    let Some((command, matches)) = given.subcommand() else {
        return;
    };
    let said = Said { given, matches };
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

/// What a command was told.
struct Said<'a> {
    given: &'a Given,
    matches: &'a ArgMatches,
}

impl Said<'_> {
    /// Whether the command line itself says it.
    fn is_said(&self, id: &str) -> bool {
        self.given.is_said(id)
    }

    /// Whether it is given, by whatever way; a switch: whether it is on. For what has no default.
    fn has(&self, id: &str) -> bool {
        match self.matches.try_get_one::<bool>(id) {
            Ok(on) => on.copied().unwrap_or(false),
            // It is no switch.
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

    /// Whether there may be a probe that begins so: one that is given, or what a container asks for itself.
    fn probes(&self, beginnings: &[&str]) -> bool {
        let mut probes = self.values("probe");
        if !self.is_said("probe") {
            return self.has("container") || self.has("probe");
        }
        probes.any(|probe| beginnings.iter().any(|it| probe.starts_with(it)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::line::Line;
    use super::*;

    fn refused(line: &str) -> String {
        let words = line.split_whitespace();
        let line = Line::of(std::iter::once("sidekick").chain(words));
        let parsed = line.parse().unwrap_or_else(|error| panic!("{error}"));
        let mut mistakes = Mistakes::default();
        check(&parsed.given, &mut mistakes);
        match mistakes.none_or(Some(())) {
            Ok(()) => String::new(),
            Err(invalid) => invalid.to_string(),
        }
    }

    #[test]
    fn what_would_have_no_effect_is_refused_with_what_it_needs() {
        for (line, part) in [
            (
                "announce a/b h:1 --host 10.0.0.5",
                "--host: goes with --container",
            ),
            (
                "check a/b h:1 --host-name h1",
                "--host-name: goes with --container",
            ),
            (
                "unit a/b h:1 --network n",
                "--network: goes with --container",
            ),
            (
                "announce a/b h:1 --labels-only",
                "--labels-only: goes with --container",
            ),
            (
                "announce a/b h:1 --on-gone wait",
                "--on-gone: goes with --container",
            ),
            (
                "announce a/b h:1 --start-timeout 1s",
                "--start-timeout: goes with --container",
            ),
            (
                "announce a/b h:1 --docker-host unix:///x",
                "--docker-host: goes with --container",
            ),
            (
                "announce a/b h:1 --container-port 80",
                "--container-port: goes with --container",
            ),
            (
                "announce a/b h:1 --host x --network y",
                "--network, --host: goes with",
            ),
            (
                "announce --container c a/b h:1 --host x",
                "--host: HOST:PORT is given",
            ),
            (
                "announce --container c a/b --host-name x",
                "--host-name: SERVICE/INSTANCE is given",
            ),
            (
                "announce --container c --on-gone wait --start-timeout 1s",
                "--start-timeout: --on-gone wait",
            ),
            (
                "announce a/b h:1 --interval 1s --rise 2",
                "--interval, --rise: nothing is probed; give --probe",
            ),
            (
                "announce a/b h:1 --on-failure mark",
                "--on-failure: nothing is probed",
            ),
            (
                "announce a/b h:1 --probe tcp://h:1 --expect-body x",
                "--expect-body: nothing is probed by HTTP",
            ),
            (
                "check a/b h:1 --probe-method HEAD",
                "--probe-method: nothing is probed by HTTP",
            ),
            (
                "announce a/b h:1 --probe /h --probe-insecure",
                "--probe-insecure: nothing is probed by https://",
            ),
            ("unit a/b h:1 --image i", "--image: goes with --quadlet"),
            (
                "wait a --for announced --live-only",
                "--live-only: --for announced asks no load balancer",
            ),
            ("wait a --for gone --count 2", "--count: gone means"),
            (
                "hold a --release --for 1m --reason x",
                "--for, --reason: --release",
            ),
            (
                "push --retire --nginx http://h/api --upstream u",
                "--nginx, --upstream: --retire asks etcd only",
            ),
            (
                "push --retire --config f",
                "--config: --retire asks etcd only",
            ),
            (
                "push --nginx http://h/api --upstream u --adopt",
                "--adopt: --nginx has an API and no file",
            ),
            (
                "push --nginx http://h/api --upstream u --output json",
                "--output: goes with --once and --dry-run",
            ),
            (
                "push --once --nginx http://h/api --upstream u --resync 1s",
                "--resync: means something for a pusher that stays",
            ),
            (
                "roles a --role view --id edge",
                "--id: it narrows the role push",
            ),
        ] {
            let refused = refused(line);
            assert!(refused.contains(part), "{line}: {refused}");
        }
    }

    #[test]
    fn what_means_something_is_taken() {
        for line in [
            "announce --container c --host 10.0.0.5 --host-name h --start-timeout 1s --docker-host unix:///x",
            "announce --container c a/b --host 10.0.0.5 --on-gone wait",
            "announce --container c --interval 1s --expect-body x --probe-insecure --on-failure mark",
            "announce a/b h:1 --probe /h --interval 1s --expect-body x",
            "announce a/b h:1 --probe tcp://h:1 --probe https://h/ --probe-insecure --expect-status 200",
            "unit a/b h:1 --quadlet --image i --container-port 80",
            "wait a --for gone --live-only",
            "wait a --for announced --count 2",
            "hold a --for 1m --reason x",
            "push --retire --id edge --endpoints h:1",
            "push --config f --adopt",
            "push --once --nginx http://h/api --upstream u --output json --hold 1m",
            "roles a --id edge",
            "roles a --role push --id edge",
        ] {
            assert_eq!(refused(line), "", "{line}");
        }
    }

    #[test]
    fn a_setting_for_many_is_no_mistake_where_it_means_nothing() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(
            b"SIDEKICK_HOST=10.0.0.5\nSIDEKICK_INTERVAL=1s\nSIDEKICK_PROBE_INSECURE=1\nSIDEKICK_COUNT=3\nSIDEKICK_LIVE_ONLY=1\n",
        )
        .unwrap();
        let path = file.path().display().to_string();
        for line in [
            "announce a/b h:1",
            "wait a --for gone",
            "wait a --for announced",
        ] {
            assert_eq!(refused(&format!("{line} --env-file {path}")), "", "{line}");
        }
        // What the file says is there for what the line says.
        file.write_all(b"SIDEKICK_CONTAINER=c\nSIDEKICK_PROBE=/h\n")
            .unwrap();
        let line = format!("announce --host-name h --expect-body x --env-file {path}");
        assert_eq!(refused(&line), "");
    }
}
