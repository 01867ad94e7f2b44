//! Every command with exactly the rights in etcd that `sidekick roles` prints: they are enough, and none can be spared.

use std::collections::BTreeSet;

use super::config::Config;
use crate::support::{
    Backend, Command, Etcd, Harness, PATIENCE, Role, Sidekick, Signal, as_user, command, roles,
    until,
};

const ANNOUNCE: &str = "sidekick-announce";
const PUSH: &str = "sidekick-push";
const VIEW: &str = "sidekick-view";
const OPERATE: &str = "sidekick-operate";

/// Whose rights are looked at: all that there is, one service, or one instance.
const ALL: &[&str] = &[];
const SERVICE: &[&str] = &["website", "--id", "edge"];
const INSTANCE: &[&str] = &["website/b1", "--id", "edge"];

/// What a message says that names a missing right.
const LACKS: &str = "lacks the right";

/// Commands with the rights that are printed, and which commands those were.
struct Played {
    harness: Harness,
    commands: BTreeSet<String>,
}

impl Played {
    async fn with(scope: &[&str]) -> Self {
        let mut harness = Harness::start().await;
        harness.etcd.require_roles(scope).await;
        harness.etcd.add_user_with("nobody", &[]).await;
        let commands = BTreeSet::new();
        Self { harness, commands }
    }

    /// Runs it as this user, and wants it to end like this.
    async fn ends(&mut self, code: i32, user: &str, line: &str) -> String {
        let command = as_user(command(line).etcd(&self.harness.etcd), user);
        self.note(line);
        let ended = command.run().await;
        assert_eq!(ended.code, Some(code), "{user}: {line}: {}", ended.output);
        assert!(!ended.output.contains(LACKS), "{line}: {}", ended.output);
        ended.output
    }

    async fn run(&mut self, user: &str, line: &str) -> String {
        self.ends(0, user, line).await
    }

    fn note(&mut self, line: &str) {
        let name = line.split(' ').next().unwrap_or_default();
        self.commands.insert(name.to_owned());
    }

    fn announce(&mut self, backend: &Backend) -> Sidekick {
        self.note("announce");
        let announcer = self.harness.announce(backend);
        let announcer = announcer.args(["--ready", "routed", "--service-version", "v1"]);
        as_user(announcer, ANNOUNCE).start()
    }

    /// Nobody was refused anything, whether it was told or not.
    async fn assert_nothing_was_denied(&self, agents: &[&Sidekick]) {
        for agent in agents {
            let said = agent.process().output();
            assert!(!said.contains(LACKS), "{said}");
        }
        let denials = self.harness.etcd.denials().await;
        assert_eq!(denials, Vec::<String>::new());
    }
}

/// Sends SIGHUP and waits until that has been answered as systemd wants it.
async fn reload(agent: &Sidekick) {
    let ready = || {
        let all = agent.notifications();
        all.iter().filter(|line| *line == "READY=1").count()
    };
    let before = ready();
    agent.process().signal(Signal::HUP);
    until(PATIENCE, "READY=1 after a reload", async || {
        ready() > before
    })
    .await;
}

/// Everything that sidekick does with etcd, in a day of one backend.
async fn a_day(scope: &[&str]) -> BTreeSet<String> {
    let mut day = Played::with(scope).await;
    let backend = Backend::start("b1").await;
    let address = backend.address();
    day.note("push");
    // One backend that may be held.
    let pusher = day.harness.push().args(["--min-servers", "0"]);
    let mut pusher = as_user(pusher, PUSH).start();
    let mut first = day.announce(&backend);
    first.ready().await;
    day.harness.routed(&[&backend]).await;
    // The newest announcer has the record; the other one ends.
    let mut announcer = day.announce(&backend);
    announcer.ready().await;
    assert_eq!(first.end(PATIENCE).await.code, Some(75));
    reload(&announcer).await;
    // After a crash the next one goes on from the record that it finds.
    announcer.kill();
    let mut announcer = day.announce(&backend);
    announcer.ready().await;
    let watch = command("watch website -o plain").etcd(&day.harness.etcd);
    let watch = as_user(watch, VIEW).start();
    day.note("watch");
    watch.process().line("website/b1").await;
    for user in [VIEW, OPERATE] {
        for line in [
            "list website",
            "wait website --for announced",
            "wait website --for routed",
            "wait website/b9 --for gone",
        ] {
            day.run(user, line).await;
        }
    }
    for line in [
        "hold website/b1 --for 1m --reason test",
        "hold website/b1 --release",
        "hold website --for 1m --reason test",
        "hold website --release",
        "split website v1=100",
        "split website --clear",
        "release website",
    ] {
        day.run(OPERATE, line).await;
    }
    if scope.is_empty() {
        // What is shown of all services, and what is at a host, is of all services.
        for line in ["list", "status", "status -o json"] {
            day.run(VIEW, line).await;
        }
        for line in [
            "hold --host 127.0.0.1 --for 1m --reason test",
            "hold --host 127.0.0.1 --release",
        ] {
            day.run(OPERATE, line).await;
        }
    }
    assert_eq!(announcer.leave().await.code, Some(0));
    day.harness.routed(&[]).await;
    let register = format!("register website/b1 {address} --allow-loopback");
    for more in ["", " --ttl 60s", " --format plain"] {
        day.run(ANNOUNCE, &format!("{register}{more}")).await;
    }
    day.run(ANNOUNCE, "deregister website/b1").await;
    day.run(ANNOUNCE, &register).await;
    day.harness.routed(&[&backend]).await;
    assert_eq!(pusher.leave().await.code, Some(0));
    let once = format!(
        "push --nginx {} --upstream website --id edge",
        day.harness.nginx.api_url()
    );
    day.run(PUSH, &format!("{once} --once")).await;
    day.run(PUSH, &format!("{once} --dry-run")).await;
    let retired = day.run(PUSH, "push --retire --id edge").await;
    assert!(retired.contains("edge is retired"), "{retired}");
    // It shows what announce would do, and asks etcd for nothing.
    day.ends(
        1,
        "nobody",
        "check website/b1 10.0.0.5:9 --probe tcp://127.0.0.1:1",
    )
    .await;
    day.assert_nothing_was_denied(&[&first, &announcer, &pusher, &watch])
        .await;
    day.commands
}

/// The commands that the program has, but for those that know no etcd.
async fn commands() -> BTreeSet<String> {
    let help = Command::new("help").run().await.output;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.trim().is_empty());
    let listed = listed.filter(|line| !line.starts_with("   "));
    let names = listed.filter_map(|line| line.split_whitespace().next());
    let without_etcd = ["completions", "help", "man", "roles", "unit"];
    let names = names.filter(|name| !without_etcd.contains(name));
    names.map(str::to_owned).collect()
}

#[tokio::test]
async fn every_command_works_with_exactly_the_rights_that_roles_prints() {
    assert_eq!(Box::pin(a_day(ALL)).await, commands().await);
}

#[tokio::test]
async fn every_command_for_one_service_works_with_exactly_the_rights_of_that_service() {
    let mut all = commands().await;
    all.remove("status");
    assert_eq!(Box::pin(a_day(SERVICE)).await, all);
}

#[tokio::test]
async fn every_command_for_one_instance_works_with_exactly_the_rights_of_that_instance() {
    let mut all = commands().await;
    all.remove("status");
    assert_eq!(Box::pin(a_day(INSTANCE)).await, all);
}

/// What each role is for, and which of its rights a command cannot do without, by the key that they are about.
const NEEDS: [(&str, &str, &[&str]); 17] = [
    (ANNOUNCE, "register website/b2 10.0.0.5:9", &["/services/"]),
    (
        ANNOUNCE,
        "deregister website/b1 --drain-timeout 1s",
        &["/services/", "/sidekick/pushers/", "/sidekick/balancers/"],
    ),
    (
        ANNOUNCE,
        "announce website/b3 10.0.0.5:9 --ready routed",
        &["/services/", "/sidekick/pushers/", "/sidekick/balancers/"],
    ),
    // First: a killed pusher counts as running for a while. What it reads it may read by another right too.
    (
        PUSH,
        "push --retire --id edge",
        &["/sidekick/balancers/edge"],
    ),
    (
        PUSH,
        "push --nginx http://127.0.0.1:1/api --upstream website --id edge",
        &[
            "/services/",
            "/sidekick/",
            "/sidekick/pushers/edge",
            "/sidekick/balancers/edge",
        ],
    ),
    (VIEW, "list website", READS),
    (VIEW, "watch website", READS),
    (VIEW, "status", READS),
    (VIEW, "wait website --for announced --timeout 1s", READS),
    (VIEW, "wait website --for routed --timeout 1s", READS),
    (VIEW, "wait website --for gone --timeout 1s", READS),
    (
        OPERATE,
        "hold website/b1 --for 1m --reason x",
        &["/sidekick/holds/"],
    ),
    (
        OPERATE,
        "hold website --for 1m --reason x",
        &["/sidekick/service-holds/"],
    ),
    (
        OPERATE,
        "hold --host 10.0.0.5 --for 1m --reason x",
        &["/sidekick/host-holds/"],
    ),
    (
        OPERATE,
        "split website v1=100",
        &["/services/", "/sidekick/", "/sidekick/splits/"],
    ),
    (OPERATE, "split website --clear", &["/sidekick/splits/"]),
    (OPERATE, "release website", &["/sidekick/releases/"]),
];

const READS: &[&str] = &["/services/", "/sidekick/"];

/// The key, or the beginning of keys, that a right is about.
fn key_of(right: &str) -> &str {
    right.split(' ').next_back().unwrap_or_default()
}

/// What may be granted in place of a right and is less: nothing, or half of it where the other half is not granted anyhow.
fn less(right: &str, others: &[&str]) -> Vec<Vec<String>> {
    let mut less = vec![Vec::new()];
    if right.contains("readwrite ") {
        less.push(vec![right.replace("readwrite ", "read ")]);
        let reads = |other: &&str| {
            let beginning = other.strip_prefix("--prefix=true read ");
            beginning.is_some_and(|beginning| key_of(right).starts_with(beginning))
        };
        if !others.iter().any(reads) {
            less.push(vec![right.replace("readwrite ", "write ")]);
        }
    }
    less
}

#[test]
fn half_a_right_is_less_where_the_other_half_is_not_granted_anyhow() {
    assert_eq!(less("read /a", &[]), [vec![]; 1] as [Vec<String>; 1]);
    let halves = less("readwrite /a", &["--prefix=true read /b"]);
    assert_eq!(
        halves,
        [
            vec![],
            vec!["read /a".to_owned()],
            vec!["write /a".to_owned()]
        ]
    );
    let halves = less("readwrite /a/x", &["--prefix=true read /a/"]);
    assert_eq!(halves, [vec![], vec!["read /a/x".to_owned()]]);
}

fn rights_of<'a>(roles: &'a [Role], name: &str) -> Vec<&'a str> {
    let found = roles.iter().find(|(known, _)| known == name);
    let (_, rights) = found.unwrap_or_else(|| panic!("no role {name}"));
    rights.iter().map(String::as_str).collect()
}

#[tokio::test]
async fn no_right_is_printed_that_no_command_needs() {
    for (role, rights) in roles(&["--id", "edge"]).await {
        for right in rights {
            let needs = |(of, _, needs): &(&str, &str, &[&str])| {
                *of == role && needs.contains(&key_of(&right))
            };
            // A role of people has the rights of one who only looks.
            let looks = role == OPERATE && READS.contains(&key_of(&right));
            assert!(looks || NEEDS.iter().any(needs), "{role}: {right}");
        }
    }
}

/// A record, a split and load balancers, so that each command has something to do; and users from now on.
async fn busy() -> Harness {
    let mut harness = Harness::start().await;
    harness.etcd.put("/sidekick/splits/website", "{}").await;
    let balancer = r#"{"prefix":"/services","services":["website"],"targets":["t"],"nonce":"n","since":"2026-01-02T03:04:05Z"}"#;
    let other = "/sidekick/balancers/other";
    harness.etcd.put_for(other, balancer, 600).await;
    // Without a lease it hinders no pusher of the id.
    harness.etcd.put("/sidekick/balancers/edge", balancer).await;
    harness.etcd.require_users().await;
    harness
}

/// Runs the command as a new user with these rights, until it names a missing one on `key`.
async fn misses(harness: &Harness, user: &str, line: &str, rights: &[&str], key: &str) {
    let etcd = &harness.etcd;
    etcd.add_user_with(user, rights).await;
    // The one before may have taken it away.
    let record = r#"{"host":"10.0.0.5","port":9,"version":"v1"}"#;
    etcd.put("/services/website/b1", record).await;
    let process = as_user(command(line).etcd(etcd), user).named(user).start();
    let process = process.process();
    until(PATIENCE, format!("{line} to miss {key}"), async || {
        let said = process.output();
        let lacks = format!("user {user} {LACKS} to");
        let grants = |line: &str| {
            let grant = line.split("etcdctl role grant-permission").nth(1);
            line.contains(&lacks) && grant.is_some_and(|grant| grant.contains(key))
        };
        if said.lines().any(grants) {
            Ok(())
        } else {
            Err(said)
        }
    })
    .await;
    // etcd does answer.
    let said = process.output();
    for wrong in ["etcd did not answer", "etcd does not answer", "in time"] {
        assert!(!said.contains(wrong), "{line}: {said}");
    }
}

#[tokio::test]
async fn with_one_right_less_each_command_says_which_it_is() {
    let harness = busy().await;
    let roles = roles(&["--id", "edge"]).await;
    let mut number = 0;
    for (role, line, needs) in NEEDS {
        let rights = rights_of(&roles, role);
        for key in needs {
            let (gone, left): (Vec<_>, Vec<_>) =
                rights.iter().partition(|right| key_of(right) == *key);
            assert_eq!(gone.len(), 1, "{role} has no right on {key}");
            for instead in less(gone[0], &left) {
                number += 1;
                let user = format!("less-{number}");
                let instead = instead.iter().map(String::as_str);
                let rights: Vec<_> = left.iter().copied().chain(instead).collect();
                misses(&harness, &user, line, &rights, key).await;
            }
        }
    }
}

/// What lies below `/sidekick/`, and a command that needs to read it. The right to read all of it is one, so that nobody has to
/// grant another when a folder is added; a release has no more in it than when it was given.
const FOLDERS: [(&str, Option<&str>); 7] = [
    ("pushers", Some("status")),
    ("balancers", Some("status")),
    ("splits", Some("list website")),
    ("holds", Some("list website")),
    ("service-holds", Some("list website")),
    ("host-holds", Some("list website")),
    ("releases", None),
];

#[tokio::test]
async fn who_looks_needs_to_read_all_of_sidekicks_keys_but_releases() {
    let harness = busy().await;
    let rights_without = |without: &str| {
        let folders = FOLDERS.iter().filter(|(folder, _)| *folder != without);
        let reads = folders.map(|(folder, _)| format!("--prefix=true read /sidekick/{folder}/"));
        let records = ["--prefix=true read /services/".to_owned()];
        records.into_iter().chain(reads).collect::<Vec<_>>()
    };
    for (folder, line) in FOLDERS {
        let rights = rights_without(folder);
        let rights: Vec<_> = rights.iter().map(String::as_str).collect();
        let user = format!("without-{folder}");
        if let Some(line) = line {
            let key = format!("/sidekick/{folder}/");
            misses(&harness, &user, line, &rights, &key).await;
            continue;
        }
        harness.etcd.add_user_with(&user, &rights).await;
        for line in [
            "list website",
            "status",
            "wait website/b9 --for gone --timeout 1s",
        ] {
            let ended = as_user(command(line).etcd(&harness.etcd), &user)
                .run()
                .await;
            assert!(!ended.output.contains(LACKS), "{line}: {}", ended.output);
        }
    }
}

#[tokio::test]
async fn the_roles_of_one_service_show_no_other_and_change_no_other() {
    let mut harness = Harness::start().await;
    harness.etcd.require_roles(SERVICE).await;
    let reads = "--prefix=true read /services/";
    for (user, line, grant) in [
        (VIEW, "list", reads),
        (VIEW, "status", reads),
        (VIEW, "list other", "--prefix=true read /services/other/"),
        (
            OPERATE,
            "split other v1=1",
            "--prefix=true read /services/other/",
        ),
        (OPERATE, "hold --host 10.0.0.5 --for 1m --reason x", reads),
        (
            ANNOUNCE,
            "register other/b1 10.0.0.5:9",
            "readwrite /services/other/b1",
        ),
        (
            ANNOUNCE,
            "deregister other/b1",
            "readwrite /services/other/b1",
        ),
    ] {
        let ended = as_user(command(line).etcd(&harness.etcd), user).run().await;
        assert_eq!(ended.code, Some(69), "{user}: {line}: {}", ended.output);
        for expected in [&format!("user {user} {LACKS} to"), grant] {
            assert!(ended.output.contains(expected), "{line}: {}", ended.output);
        }
    }
}

/// A pusher of a vulcand that has these rights.
async fn pusher_of_vulcand(etcd: &Etcd, config: &Config, user: &str, rights: &[&str]) -> Sidekick {
    etcd.add_user_with(user, rights).await;
    config.write("[[vulcand]]\nname = \"vulcan\"\n[[upstream]]\nname = \"website\"\n");
    as_user(config.push(etcd), user).start()
}

#[tokio::test]
async fn a_pusher_of_vulcand_works_with_exactly_the_rights_that_roles_prints() {
    let vulcand = &["--vulcand", "/vulcand"][..];
    for scope in [vulcand, &[SERVICE, vulcand].concat()] {
        let (mut etcd, config) = (Etcd::start().await, Config::new());
        etcd.put("/services/website/b1", "10.0.0.5:80").await;
        etcd.require_users().await;
        let roles = roles(scope).await;
        let rights = rights_of(&roles, PUSH);
        let pusher = pusher_of_vulcand(&etcd, &config, PUSH, &rights).await;
        let server = "/vulcand/backends/website/servers/b1";
        let is_there = async || {
            let there = until(PATIENCE, "the server to be there", async || {
                etcd.get(server).await
            });
            there.await;
        };
        is_there().await;
        // What a stranger does there is seen.
        etcd.delete(server).await;
        is_there().await;
        let said = pusher.process().output();
        assert!(!said.contains(LACKS), "{said}");
        assert_eq!(etcd.denials().await, Vec::<String>::new());
        drop(pusher);
        for (number, gone) in rights.iter().enumerate() {
            if !gone.contains("vulcand") {
                continue;
            }
            etcd.delete(server).await;
            let left: Vec<_> = rights.iter().copied().filter(|it| it != gone).collect();
            let user = format!("less-{number}");
            let pusher = pusher_of_vulcand(&etcd, &config, &user, &left).await;
            let line = pusher.process().line(&format!("user {user} {LACKS}")).await;
            assert!(line.contains(key_of(gone)), "{gone}: {line}");
        }
    }
}
