//! What a wrong command line meets: exit code 64 and every mistake named, before anything is touched.

use crate::support::{Command, Etcd, folder};

/// The file formats that have a manual page.
pub(crate) const FORMATS: [&str; 2] = ["push.toml", "records"];

/// Wrong usage or configuration.
const USAGE: Option<i32> = Some(64);

/// A right command line of `announce`; mistakes are added to it.
const ANNOUNCE: [&str; 3] = ["website/b1", "127.0.0.1:1", "--allow-loopback"];

/// A right command line of `push`.
const PUSH: [&str; 4] = ["--nginx", "http://127.0.0.1:1/api", "--upstream", "website"];

/// Settings of `announce` that are wrong by themselves, and what the message must name.
const WRONG_ANNOUNCE: [(&[&str], &str); 24] = [
    (&["--interval", "0s"], "--interval"),
    (&["--interval", "soon"], "--interval"),
    (&["--interval", "-1s"], "-1"),
    (&["--timeout", "0s"], "--timeout"),
    (&["--rise", "0"], "--rise"),
    (&["--fall", "0"], "--fall"),
    (&["--fall", "many"], "--fall"),
    (&["--grace", "x"], "--grace"),
    (&["--ttl", "0s"], "--ttl"),
    (&["--ttl", "100ms"], "--ttl"),
    (&["--expect-status", "99"], "--expect-status"),
    (&["--expect-status", "400-200"], "--expect-status"),
    (&["--expect-status", "ok"], "--expect-status"),
    (&["--probe", "ftp://127.0.0.1/"], "--probe"),
    (&["--probe", "http://"], "--probe"),
    (&["--probe", "tcp://127.0.0.1"], "--probe"),
    (&["--probe", ""], "--probe"),
    (&["--on-failure", "panic"], "--on-failure"),
    (&["--drain-timeout", "x"], "--drain-timeout"),
    (&["--linger", "x"], "--linger"),
    (&["--ready", "perhaps"], "--ready"),
    (&["--format", "xml"], "--format"),
    (&["--prefix", "services"], "--prefix"),
    (&["--endpoints", "http://"], "--endpoints"),
];

/// Settings of `push` that are wrong by themselves, and what the message must name.
const WRONG_PUSH: [(&[&str], &str); 12] = [
    (&["--resync", "0s"], "--resync"),
    (&["--resync", "x"], "--resync"),
    (&["--debounce", "x"], "--debounce"),
    (&["--upstream", "web site"], "--upstream"),
    (&["--upstream", "a="], "--upstream"),
    (&["--upstream", "website=other"], "--upstream"),
    (&["--id", "a/b"], "--id"),
    (&["--min-servers", "some"], "--min-servers"),
    (&["--max-removal", "101%"], "--max-removal"),
    (&["--hold", "x"], "--hold"),
    (&["--hold", "9000000000y"], "--hold"),
    (&["--prefix", ""], "--prefix"),
];

#[tokio::test]
async fn every_single_mistake_of_announce_ends_in_64_and_is_named() {
    for (wrong, named) in WRONG_ANNOUNCE {
        refuses("announce", &ANNOUNCE, wrong, &[named]).await;
    }
}

#[tokio::test]
async fn every_single_mistake_of_push_ends_in_64_and_is_named() {
    for (wrong, named) in WRONG_PUSH {
        refuses("push", &PUSH, wrong, &[named]).await;
    }
}

/// Command lines of what is done by hand that are wrong, and what the message must name.
const WRONG_BY_HAND: [(&[&str], &[&str]); 18] = [
    (&["register"], &["SERVICE/INSTANCE", "HOST:PORT"]),
    (
        &["register", "website", "10.0.0.5"],
        &["SERVICE/INSTANCE", "HOST:PORT"],
    ),
    (&["register", "a/b", "127.0.0.1:80"], &["--allow-loopback"]),
    (
        &["register", "a/b", "10.0.0.5:80", "--ttl", "1s"],
        &["--ttl"],
    ),
    (
        &["register", "a/b", "10.0.0.5:80", "--weight", "x"],
        &["--weight"],
    ),
    (
        &[
            "register",
            "a/b",
            "10.0.0.5:80",
            "--format",
            "plain",
            "--tag",
            "x",
        ],
        &["--tag", "plain"],
    ),
    (
        &["register", "a/b", "10.0.0.5:80", "--command-timeout", "x"],
        &["--command-timeout"],
    ),
    (&["deregister"], &["SERVICE/INSTANCE"]),
    (
        &["deregister", "a/b", "--drain-timeout", "x", "--linger", "y"],
        &["--drain-timeout", "--linger"],
    ),
    (&["list", "a/b"], &["SERVICE"]),
    (
        &["list", "--output", "yaml"],
        &["--output", "table, json or plain"],
    ),
    (&["watch", "a b", "--output", ""], &["SERVICE", "--output"]),
    (&["wait"], &["SERVICE[/INSTANCE]", "--for"]),
    (
        &["wait", "a", "--for", "dinner"],
        &["--for", "announced, routed or gone"],
    ),
    (
        &["wait", "a", "--for", "gone", "--count", "2"],
        &["--count"],
    ),
    (
        &["wait", "a/b", "--for", "routed", "--count", "2"],
        &["--count"],
    ),
    (
        &["wait", "a/", "--for", "routed", "--timeout", "x"],
        &["SERVICE[/INSTANCE]", "--timeout"],
    ),
    (
        &["status", "--prefix", "x", "--output", "x"],
        &["--prefix", "--output"],
    ),
];

#[tokio::test]
async fn every_mistake_of_what_is_done_by_hand_ends_in_64_and_is_named() {
    for (arguments, named) in WRONG_BY_HAND {
        refuses(arguments[0], &arguments[1..], &[], named).await;
    }
}

#[tokio::test]
async fn every_command_explains_itself_with_an_example() {
    for command in commands().await {
        let ended = Command::new(&command).args(["--help"]).run().await;
        assert_eq!(ended.code, Some(0), "{}", ended.output);
        let example = format!("sidekick {command}");
        let shown = ended.output.lines().filter(|line| line.contains(&example));
        // Once in the usage, once in an example.
        assert!(shown.count() >= 2, "{}", ended.output);
    }
}

#[tokio::test]
async fn identities_and_addresses_that_cannot_be_are_refused() {
    let wrong = [
        ["website", "127.0.0.1:80"],
        ["website/", "127.0.0.1:80"],
        ["/b1", "127.0.0.1:80"],
        ["web/site/b1", "127.0.0.1:80"],
        ["web site/b1", "127.0.0.1:80"],
        ["website/b1\n", "127.0.0.1:80"],
        ["../b1", "127.0.0.1:80"],
        ["website/b1", "127.0.0.1"],
        ["website/b1", "127.0.0.1:"],
        ["website/b1", "127.0.0.1:0"],
        ["website/b1", "127.0.0.1:65536"],
        ["website/b1", "127.0.0.1:80/"],
        ["website/b1", "http://127.0.0.1:80"],
        ["website/b1", "2001:db8::1:80"],
        ["website/b1", "[2001:db8::1]"],
        ["website/b1", "10.0.0.256:80"],
        ["website/b1", "back end:80"],
        ["website/b1", ""],
        ["", "127.0.0.1:80"],
    ];
    for arguments in wrong {
        refuses("announce", &arguments, &["--allow-loopback"], &[]).await;
    }
}

#[tokio::test]
async fn addresses_that_no_client_can_reach_are_refused_unless_loopback_is_allowed() {
    let unreachable = [
        "127.0.0.1:80",
        "127.9.9.9:80",
        "[::1]:80",
        "0.0.0.0:80",
        "[::]:80",
        "169.254.1.1:80",
        "[fe80::1]:80",
        "localhost:80",
        "[::ffff:127.0.0.1]:80",
    ];
    for address in unreachable {
        refuses(
            "announce",
            &["website/b1", address],
            &[],
            &["--allow-loopback"],
        )
        .await;
    }
}

#[tokio::test]
async fn all_mistakes_are_told_at_once() {
    let wrong = [
        "--interval",
        "0s",
        "--timeout",
        "0s",
        "--rise",
        "0",
        "--ttl",
        "0s",
    ];
    let named = [
        "--interval",
        "--timeout",
        "--rise",
        "--ttl",
        "website/",
        "127.0.0.1:99999",
        "--probe",
    ];
    let more = ["--probe", "gopher://x"];
    let all: Vec<_> = wrong.into_iter().chain(more).collect();
    refuses("announce", &["website/", "127.0.0.1:99999"], &all, &named).await;

    let wrong = [
        "--nginx",
        "ftp://x",
        "--upstream",
        "a b",
        "--resync",
        "0s",
        "--id",
        "a/b",
    ];
    refuses(
        "push",
        &[],
        &wrong,
        &["--nginx", "--upstream", "--resync", "--id"],
    )
    .await;
}

#[tokio::test]
async fn settings_that_contradict_each_other_are_refused() {
    // Keepalives come every third of it, and etcd itself takes no less than 2 s.
    refuses("announce", &ANNOUNCE, &["--ttl", "1s"], &["--ttl"]).await;
    // One attempt would run into the next.
    let slow = ["--interval", "1s", "--timeout", "2s"];
    refuses("announce", &ANNOUNCE, &slow, &["--interval", "--timeout"]).await;
    // A record would look like one of sidekick's own keys.
    let inside = ["--prefix", "/sidekick/services"];
    refuses(
        "announce",
        &ANNOUNCE,
        &inside,
        &["--prefix", "--meta-prefix"],
    )
    .await;
    // A record of this format cannot say that it is down.
    let mark = ["--format", "plain", "--on-failure", "mark", "--probe", "/"];
    refuses("announce", &ANNOUNCE, &mark, &["--format", "--on-failure"]).await;
    refuses(
        "push",
        &PUSH,
        &["--once", "--dry-run"],
        &["--once", "--dry-run"],
    )
    .await;
}

#[tokio::test]
async fn what_is_missing_is_named() {
    refuses("announce", &[], &[], &["SERVICE/INSTANCE", "HOST:PORT"]).await;
    refuses("announce", &["website/b1"], &[], &["HOST:PORT"]).await;
    refuses("push", &[], &[], &["--nginx", "--upstream"]).await;
    refuses("push", &PUSH[..2], &[], &["--upstream"]).await;
    refuses("push", &PUSH[2..], &[], &["--nginx"]).await;
}

#[tokio::test]
async fn unknown_flags_and_commands_are_refused_with_a_suggestion() {
    refuses(
        "announce",
        &ANNOUNCE,
        &["--intervall", "1s"],
        &["--intervall", "--interval"],
    )
    .await;
    refuses(
        "push",
        &PUSH,
        &["--upstraem", "x"],
        &["--upstraem", "--upstream"],
    )
    .await;
    refuses("announse", &[], &[], &["announce"]).await;
    refuses("announce", &ANNOUNCE, &["surplus"], &["surplus"]).await;
}

#[tokio::test]
async fn a_wrong_environment_variable_is_named() {
    let ended = Command::new("announce")
        .args(ANNOUNCE)
        .env("SIDEKICK_INTERVAL", "never")
        .run()
        .await;
    assert_eq!(ended.code, USAGE, "{}", ended.output);
    assert!(ended.output.contains("never"), "{}", ended.output);
}

#[tokio::test]
async fn an_empty_variable_counts_as_none_and_a_switch_knows_1_and_0() {
    let check = || {
        let check = Command::new("check").args(&ANNOUNCE[..2]);
        [
            "ETCDCTL_USER",
            "ETCDCTL_CACERT",
            "SIDEKICK_PREFIX",
            "SIDEKICK_VERBOSE",
        ]
        .into_iter()
        .fold(check, |check, name| check.env(name, ""))
    };
    let ended = check().env("SIDEKICK_ALLOW_LOOPBACK", "1").run().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    let ended = check().env("SIDEKICK_ALLOW_LOOPBACK", "0").run().await;
    assert_eq!(ended.code, USAGE, "{}", ended.output);
    assert!(
        ended.output.contains("loopback address"),
        "{}",
        ended.output
    );
}

#[tokio::test]
async fn files_that_are_mixed_up_are_named() {
    let folder = folder();
    let file = |name: &str, label: &str| {
        let path = folder.path().join(name);
        let text = format!("-----BEGIN {label}-----\nAA==\n-----END {label}-----\n");
        std::fs::write(&path, text).expect("our own folder");
        path.display().to_string()
    };
    let cert = file("cert.pem", "CERTIFICATE");
    let key = file("key.pem", "EC PRIVATE KEY");
    let ended = Command::new("list")
        .args(["--endpoints", "https://127.0.0.1:1", "--cacert", &key])
        .args(["--cert", &key, "--key", &cert])
        .run()
        .await;
    assert_eq!(ended.code, USAGE, "{}", ended.output);
    for said in [
        "--cacert: ",
        "--cert: ",
        "key.pem: holds no CERTIFICATE",
        "--key: ",
        "cert.pem: holds no PRIVATE KEY",
    ] {
        assert!(ended.output.contains(said), "{}", ended.output);
    }
}

#[tokio::test]
async fn a_refused_command_line_touches_nothing() {
    let etcd = Etcd::start().await;
    let before = etcd.proposals_committed().await;
    let ended = Command::new("announce")
        .etcd(&etcd)
        .args(ANNOUNCE)
        .args(["--rise", "0"])
        .run()
        .await;
    assert_eq!(ended.code, USAGE, "{}", ended.output);
    assert_eq!(etcd.proposals_committed().await, before);
}

#[tokio::test]
async fn help_is_no_mistake() {
    for subcommand in ["announce", "push"] {
        let ended = Command::new(subcommand).args(["--help"]).run().await;
        assert_eq!(ended.code, Some(0), "{}", ended.output);
        assert!(ended.output.contains("--endpoints"), "{}", ended.output);
    }
    for flag in ["--help", "--version"] {
        assert_eq!(Command::new(flag).run().await.code, Some(0));
    }
}

#[test]
fn output_that_does_not_get_through_is_a_failure_that_names_it() {
    for arguments in [&["announce", "--help"][..], &["roles"], &["man"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let ended = std::process::Command::new(env!("CARGO_BIN_EXE_sidekick"))
            .args(arguments)
            .stdout(full.expect("every Linux has it"))
            .output()
            .expect("it runs");
        assert_eq!(ended.status.code(), Some(69));
        let said = String::from_utf8_lossy(&ended.stderr);
        let why = "standard output cannot be written: No space left on device";
        assert!(said.contains(why), "{arguments:?}: {said}");
    }
}

/// The commands that the program says it has.
pub(crate) async fn commands() -> Vec<String> {
    let help = Command::new("--help").run().await.output;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    // Further lines of a description are indented more.
    let names = listed.filter(|line| !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    let names: Vec<_> = names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect();
    assert!(names.len() >= 14, "{help}");
    names
}

/// The command line is refused, in a message that names all of these, without a word about panics.
async fn refuses(subcommand: &str, right: &[&str], wrong: &[&str], named: &[&str]) {
    let ended = Command::new(subcommand).args(right).args(wrong).run().await;
    let said = &ended.output;
    assert_eq!(
        ended.code, USAGE,
        "{subcommand} {right:?} {wrong:?} said: {said}"
    );
    for name in named {
        assert!(
            said.contains(name),
            "{right:?} {wrong:?}: no '{name}' in: {said}"
        );
    }
    assert!(!said.contains("panicked"), "{said}");
}

/// A secret that no message may repeat, nor a part of it.
const SECRET: &str = "Hun9ter";

/// Arguments that are wrong, each with a secret in it.
const SECRETIVE: [&[&str]; 31] = [
    &["list", "--endpoints", "http://h/?token=Hun9ter"],
    &["list", "--endpoints", "http://u:Hun9ter@h"],
    &["list", "--endpoints", "u:Hun9ter@h:2379"],
    &["list", "--endpoints", "http://u:Hun9ter,x@h"],
    &["list", "--endpoints", "ftp://Hun9ter@h"],
    &["list", "--user", ":Hun9ter"],
    &["list", "--user", "u:Hun9ter", "--password", "Hun9ter"],
    &["list", "--password", "Hun9ter"],
    &["list", "website", "--user", "u:my", "Hun9ter"],
    &["list", "website", "--password", "my", "Hun9ter"],
    &["list", "--user", "u:my", "x/Hun9ter"],
    &[
        "announce",
        "a/b",
        "10.0.0.5:80",
        "--probe",
        "http://u:Hun9ter@h:bad/",
    ],
    &[
        "announce",
        "a/b",
        "10.0.0.5:80",
        "--probe",
        "ftp://u:Hun9ter@h",
    ],
    &[
        "announce",
        "a/b",
        "10.0.0.5:80",
        "--probe",
        "grpc://u:Hun9ter@h:1",
    ],
    &[
        "announce",
        "a/b",
        "10.0.0.5:80",
        "--probe",
        "tcp://u:Hun9ter@h:1",
    ],
    &[
        "announce",
        "a/b",
        "10.0.0.5:80",
        "--probe",
        "h?token=Hun9ter",
    ],
    &[
        "announce",
        "a/b",
        "10.0.0.5:80",
        "--probe",
        "exec:curl 'Hun9ter",
    ],
    &[
        "announce",
        "a/b",
        "10.0.0.5:80",
        "--probe",
        "exec:curl",
        "-u",
        "Hun9ter",
    ],
    &[
        "announce",
        "a/b",
        "10.0.0.5:80",
        "--probe",
        "exec:curl",
        "u:Hun9ter",
    ],
    &[
        "announce",
        "a/b",
        "10.0.0.5:80",
        "--probe",
        "/",
        "--probe-header",
        "Authorization Hun9ter",
    ],
    &[
        "announce",
        "a/b",
        "10.0.0.5:80",
        "--probe",
        "/",
        "--probe-header",
        "Authorization:",
        "Hun9ter",
    ],
    &[
        "announce",
        "a/b",
        "10.0.0.5:80",
        "--probe",
        "/",
        "--probe-header",
        "Authorization:",
        "Bearer",
        "Hun9ter",
    ],
    &[
        "announce",
        "--container",
        "c",
        "--probe",
        "/",
        "--probe-header",
        "Authorization:",
        "Hun9ter",
    ],
    &[
        "announce",
        "--container",
        "c",
        "--probe",
        "/",
        "--probe-header",
        "Authorization:Basic",
        "a/Hun9ter",
    ],
    &[
        "announce",
        "--container",
        "c",
        "--probe-header",
        "Authorization:Basic",
        "Hun9ter",
    ],
    &[
        "announce",
        "--container",
        "c",
        "--docker-host",
        "tcp://u:Hun9ter@h:1:2",
    ],
    &[
        "push",
        "--upstream",
        "web",
        "--nginx",
        "https://u:Hun9ter@h:bad",
    ],
    &[
        "push",
        "--upstream",
        "web",
        "--nginx",
        "https://u:Hun9ter,x@h:bad",
    ],
    &[
        "push",
        "--upstream",
        "web",
        "--nginx",
        "https://h/api?token=Hun9ter",
    ],
    &[
        "push",
        "--nginx",
        "http://h/api",
        "--upstream",
        "web=http://u:Hun9ter@h",
    ],
    &[
        "push",
        "--nginx",
        "http://h/api",
        "--upstream",
        "http://u:Hun9ter@h",
    ],
];

#[tokio::test]
async fn no_message_about_a_wrong_command_line_repeats_a_secret() {
    for line in SECRETIVE {
        let ended = Command::new(line[0]).args(&line[1..]).run().await;
        assert_eq!(ended.code, USAGE, "{line:?}: {}", ended.output);
        assert!(!ended.output.contains(SECRET), "{line:?}: {}", ended.output);
    }
    let folder = folder();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("our own folder");
        path.display().to_string()
    };
    for text in [
        "ETCDCTL_PASSWORD Hun9ter",
        "ETCDCTL_PASSWORD='Hun9ter",
        "Hun9ter",
        "Hun9ter=x y\nHun9 ter=x",
        "ETCDCTL_ENDPOINTS=http://u:Hun9ter@h",
        "ETCDCTL_VERBOSE=1\nSIDEKICK_VERBOSE=Hun9ter",
    ] {
        let env = file("env", text);
        let ended = Command::new("list").args(["--env-file", &env]).run().await;
        let ended_well = ended.code == Some(69);
        assert!(
            ended.code == USAGE || ended_well,
            "{text}: {}",
            ended.output
        );
        let name_alone = ended.output.contains("Hun9ter") && text.starts_with("Hun9ter=");
        assert!(
            name_alone || !ended.output.contains(SECRET),
            "{text}: {}",
            ended.output
        );
    }
    let config = file(
        "push.toml",
        "[[nginx]]\napi = \"https://u:Hun9ter@h:bad\"\n[[upstream]]\nname = \"http://u:Hun9ter@h\"\n",
    );
    let check = Command::new("push").args(["--check-config", "--config", &config]);
    let ended = check.run().await;
    assert_eq!(ended.code, USAGE, "{}", ended.output);
    assert!(!ended.output.contains(SECRET), "{}", ended.output);
}

#[tokio::test]
async fn a_value_that_the_shell_took_apart_is_refused_with_the_way_to_write_it() {
    for line in [
        &[
            "announce",
            "a/b",
            "10.0.0.5:80",
            "--probe",
            "/",
            "--probe-header",
            "Authorization:",
            "x",
        ][..],
        &[
            "announce",
            "--container",
            "c",
            "--probe",
            "/",
            "--probe-header",
            "Authorization:",
            "x/y",
        ][..],
        &[
            "announce",
            "--container",
            "c",
            "--probe",
            "/",
            "--probe-header",
            "authorization: Bearer",
            "x/y",
        ][..],
    ] {
        let ended = Command::new(line[0]).args(&line[1..]).run().await;
        assert_eq!(ended.code, USAGE, "{line:?}: {}", ended.output);
        assert!(
            ended.output.contains("put quotes around"),
            "{line:?}: {}",
            ended.output
        );
    }
}

#[tokio::test]
async fn an_option_without_effect_is_refused_and_the_same_in_the_environment_is_not() {
    refuses(
        "announce",
        &ANNOUNCE,
        &["--host", "10.0.0.5"],
        &["--host: goes with --container"],
    )
    .await;
    refuses(
        "wait",
        &["a"],
        &["--for", "announced", "--live-only"],
        &["--live-only"],
    )
    .await;
    refuses(
        "push",
        &PUSH,
        &["--retire", "--id", "edge"],
        &["--nginx, --upstream: --retire"],
    )
    .await;
    let folder = folder();
    let config = folder.path().join("push.toml");
    let text = "[[nginx]]\nname = \"edge\"\napi = \"http://127.0.0.1:1/api\"\n[[upstream]]\nname = \"website\"\n";
    std::fs::write(&config, text).expect("our own folder");
    let config = config.display().to_string();
    let check = ["--check-config", "--config", &config];
    refuses(
        "push",
        &check,
        &["--adopt"],
        &["--adopt: ", "no target with `file`"],
    )
    .await;
    let push = Command::new("push").args(check).env("SIDEKICK_ADOPT", "1");
    let ended = push.run().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    let check = Command::new("check")
        .args(ANNOUNCE)
        .env("SIDEKICK_HOST", "10.0.0.5");
    let ended = check.env("SIDEKICK_PROBE_METHOD", "HEAD").run().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
}
