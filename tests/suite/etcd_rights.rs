//! Rights in etcd that are missing: each is named with the command that grants it.

use crate::support::{
    Backend, Command, Harness, PATIENCE, Proxy, Sidekick, as_user, command, push, roles, until,
};

async fn denied(harness: &Harness, user: &str, command: Command, grant: &str) {
    let ended = as_user(command.etcd(&harness.etcd), user).run().await;
    assert_eq!(ended.code, Some(69), "{user}: {}", ended.output);
    for expected in [&format!("user {user} lacks the right to"), grant] {
        assert!(
            ended.output.contains(expected),
            "{expected}: {}",
            ended.output
        );
    }
}

fn grant(rest: &str) -> String {
    format!("etcdctl role grant-permission ROLE {rest}")
}

#[tokio::test]
async fn a_missing_right_is_named_with_the_command_that_grants_it() {
    let mut harness = Harness::start().await;
    harness.etcd.require_users().await;
    harness.etcd.add_user_with("nobody", &[]).await;
    let reader = ["--prefix=true read /services/"];
    harness.etcd.add_user_with("reader", &reader).await;
    let all = [
        ("list website", "--prefix=true read /services/website/"),
        ("status", "--prefix=true read /sidekick/pushers/"),
        (
            "register website/b2 10.0.0.5:9",
            "readwrite /services/website/b2",
        ),
        ("deregister website/b2", "readwrite /services/website/b2"),
        (
            "push --retire --id edge",
            "readwrite /sidekick/pushers/edge",
        ),
    ];
    for (line, right) in all {
        denied(&harness, "nobody", command(line), &grant(right)).await;
    }
    let write = grant("readwrite /services/website/b2");
    denied(
        &harness,
        "reader",
        command("register website/b2 10.0.0.5:9"),
        &write,
    )
    .await;

    let backend = Backend::start("b1").await;
    let announcer = as_user(harness.announce(&backend), "reader").start();
    let line = announcer.process().line("lacks the right to write").await;
    assert!(
        line.contains(&grant("readwrite /services/website/b1")),
        "{line}"
    );
    let pusher = as_user(harness.push(), "nobody").start();
    let line = pusher
        .process()
        .line("lacks the right to read /services/")
        .await;
    assert!(
        line.contains(&grant("--prefix=true read /services/website/")),
        "{line}"
    );
    assert!(!pusher.process().output().contains("lost sight"), "{line}");
    // Its own key comes after what it reads.
    let reads = [
        "--prefix=true read /services/website/",
        "--prefix=true read /sidekick/",
    ];
    harness.etcd.add_user_with("lister", &reads).await;
    let pusher = as_user(harness.push(), "lister").start();
    let own = grant("readwrite /sidekick/pushers/edge");
    pusher.process().line(&own).await;
}

#[tokio::test]
async fn a_pusher_changes_nothing_before_it_may_write_both_of_its_own_keys() {
    let mut harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let address = backend.address().to_string();
    harness.etcd.put("/services/website/b1", address).await;
    harness.etcd.require_users().await;
    let reads = [
        "--prefix=true read /services/website/",
        "--prefix=true read /sidekick/",
    ];
    harness.etcd.add_user_with("lister", &reads).await;
    let pusher = as_user(harness.push().notify(), "lister").start();
    let says = async |key: &str| {
        let status = "STATUS=waiting for its own keys in etcd: ";
        let line = format!("etcdctl role grant-permission ROLE readwrite {key}");
        until(PATIENCE, "what is missing to be told", async || {
            let all = pusher.notifications();
            let told = all.last().filter(|it| it.starts_with(status));
            told.filter(|it| it.contains(&line)).map(drop).ok_or(all)
        })
        .await;
        assert_eq!(harness.nginx.addresses("website").await, [""; 0]);
    };
    pusher
        .process()
        .line("nothing is done before that right is granted")
        .await;
    says("/sidekick/pushers/edge").await;
    let etcd = &harness.etcd;
    etcd.grant("lister", "readwrite /sidekick/pushers/edge")
        .await;
    says("/sidekick/balancers/edge").await;
    etcd.grant("lister", "readwrite /sidekick/balancers/edge")
        .await;
    pusher.ready().await;
    harness.routed(&[&backend]).await;
}

#[tokio::test]
async fn a_pusher_that_may_not_read_the_records_says_so_in_its_status() {
    let mut harness = Harness::start().await;
    harness.etcd.require_users().await;
    let reads = ["--prefix=true read /sidekick/"];
    harness.etcd.add_user_with("blind", &reads).await;
    let pusher = as_user(harness.push().notify(), "blind").start();
    until(PATIENCE, "what is missing to be told", async || {
        let all = pusher.notifications();
        let told = all
            .last()
            .filter(|it| it.starts_with("STATUS=waiting for etcd to tell the records: "));
        let right = "read /services/website/";
        told.filter(|it| it.contains(right)).map(drop).ok_or(all)
    })
    .await;
}

#[tokio::test]
async fn keys_in_the_old_v2_store_are_told_to_who_finds_no_records() {
    let etcd = crate::support::Etcd::start_with_v2().await;
    let list = || command("list").etcd(&etcd);
    let ended = list().run().await;
    assert!(!ended.output.contains("v2"), "{}", ended.output);
    let key = "/v2/keys/services/website/b1";
    let body = "value=127.0.0.1:80";
    let wrote = crate::support::request(etcd.address(), "PUT", &format!("{key}?{body}"), "").await;
    assert_eq!(wrote.unwrap().status, 201);
    let ended = list().run().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!(ended.output.contains("v2 store"), "{}", ended.output);
    let wait = command("wait website --for announced --timeout 1s").etcd(&etcd);
    let ended = wait.run().await;
    assert!(ended.output.contains("v2 store"), "{}", ended.output);
}

#[tokio::test]
async fn a_record_that_its_announcer_may_not_take_away_any_more_ends_with_its_lease() {
    let mut harness = Harness::start().await;
    let mut backend = Backend::start("b1").await;
    harness.etcd.require_users().await;
    let rights = roles(&["website"]).await;
    let (role, rights) = rights
        .iter()
        .find(|(role, _)| role.contains("announce"))
        .expect("a role for announcers");
    let rights: Vec<_> = rights.iter().map(String::as_str).collect();
    harness.etcd.add_user_with(role, &rights).await;
    // The right to its own key alone, which can be taken back by itself.
    let own = "--prefix=true readwrite /services/website/";
    assert!(rights.contains(&own), "{rights:?}");
    let announcer = as_user(harness.announce(&backend), role);
    // Longer than the longest pause between two attempts: a lease that each of them renews would never end.
    let mut announcer = announcer.args(["--fall", "2", "--ttl", "10s"]).start();
    announcer.ready().await;
    harness
        .etcd
        .revoke_right_to_all(role, "/services/website/")
        .await;
    backend.kill();
    let line = announcer.process().line("lacks the right to").await;
    assert!(line.contains("/services/website/"), "{line}");
    until(PATIENCE, "its lease to end", async || {
        harness.record(&backend).await.is_none()
    })
    .await;
    assert!(announcer.runs(), "it goes on trying");
}

/// How many lines of a process's log have this in them.
fn count(pusher: &Sidekick, part: &str) -> usize {
    pusher.process().output().matches(part).count()
}

/// A pusher with the rights that it needs, over a link.
async fn pusher_over_a_link(harness: &mut Harness) -> (Proxy, Sidekick) {
    harness.etcd.require_users().await;
    let rights = [
        "--prefix=true read /services/website/",
        "--prefix=true readwrite /sidekick/",
    ];
    harness.etcd.add_user_with("pusher", &rights).await;
    let link = Proxy::to(harness.etcd.address()).await;
    let pusher = push(&link.endpoint(), &harness.nginx);
    let pusher = as_user(pusher, "pusher").args(["--ttl", "3s"]).start();
    harness.status_record().await;
    (link, pusher)
}

#[tokio::test]
async fn a_right_that_is_missing_after_an_outage_is_named_once_with_the_command_that_grants_it() {
    let mut harness = Harness::start().await;
    let (link, pusher) = pusher_over_a_link(&mut harness).await;
    let etcd = &harness.etcd;
    etcd.revoke_right_to_all("pusher", "/services/website/")
        .await;
    link.cut().await;
    let lacks = "lacks the right to read /services/website/";
    let line = pusher.process().line(lacks).await;
    let right = "--prefix=true read /services/website/";
    assert!(line.contains(&grant(right)), "{line}");
    assert!(!line.contains("until it answers"), "{line}");
    link.cut().await;
    etcd.grant("pusher", right).await;
    let new = r#"{"host":"10.0.0.5","port":80}"#;
    etcd.put("/services/website/new", new).await;
    until(PATIENCE, "the pusher to follow again", async || {
        let servers = harness.nginx.addresses("website").await;
        servers == ["10.0.0.5:80"]
    })
    .await;
    let output = pusher.process().output();
    assert_eq!(count(&pusher, lacks), 1, "{output}");
    assert!(count(&pusher, "lost sight") <= 2, "{output}");
}

#[tokio::test]
async fn an_etcd_that_knows_no_users_any_more_is_not_called_silent() {
    let mut harness = Harness::start().await;
    let (link, pusher) = pusher_over_a_link(&mut harness).await;
    let mut client = harness.etcd.client().await;
    client.auth_disable().await.expect("etcd forgets its users");
    link.cut().await;
    let gone = "refused to renew the lease for as long as it lasts";
    pusher.process().line(gone).await;
    let output = pusher.process().output();
    for silent in ["no answer within", "not heard"] {
        assert!(!output.contains(silent), "{output}");
    }
    let why = "cannot follow etcd; trying again until that works";
    assert_eq!(count(&pusher, why), 1, "{output}");
    assert!(output.contains("leave --user away"), "{output}");
}

#[tokio::test]
async fn who_has_lost_its_lease_and_may_not_write_again_leaves_at_once() {
    let mut harness = Harness::start().await;
    harness.etcd.require_users().await;
    let rights = [
        "--prefix=true readwrite /services/",
        "--prefix=true read /sidekick/",
    ];
    harness.etcd.add_user_with("agent", &rights).await;
    let backend = Backend::start("b1").await;
    let mut announcer = as_user(harness.announce(&backend), "agent").start();
    announcer.ready().await;
    let record = harness.record(&backend).await.unwrap();
    harness
        .etcd
        .revoke_right_to_all("agent", "/services/")
        .await;
    harness.etcd.revoke(record.lease).await;
    announcer.process().line("counts as gone").await;
    let ended = announcer.leave().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
}
