use std::io::Write as _;

use super::*;
use crate::cli::line::Line;

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
