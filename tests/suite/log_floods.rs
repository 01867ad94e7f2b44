//! Foreign hands that write again and again: a few lines of each kind, and a count.

use serde_json::{Value, json};

use crate::support::docker::Kind;
use crate::support::{
    Backend, Command, Harness, PATIENCE, PairedHarness, Process, Proxy, Signal, announce, key,
    procfs, push, until,
};

/// The most lines of one kind that are logged in a minute, whatever they are about.
const PER_KIND: usize = 20;
/// The most of them that are about one key.
const PER_KEY: usize = 3;

fn lines(process: &Process, part: &str) -> usize {
    let lines = process.lines();
    lines.iter().filter(|line| line.contains(part)).count()
}

#[track_caller]
fn at_most(most: usize, process: &Process, part: &str) {
    let found = lines(process, part);
    assert!((1..=most).contains(&found), "{found} lines with '{part}'");
}

fn record(backend: &Backend, state: &str) -> String {
    let address = backend.address();
    json!({"host": address.ip(), "port": address.port(), "state": state}).to_string()
}

/// Waits until the pusher has applied the splits and holds of this revision.
async fn followed(harness: &Harness, revision: i64) {
    until(PATIENCE, "the split to be applied", async || {
        let status_record = harness.status_record().await.json();
        let applied = status_record["services"]["website"]["overrides"].as_i64();
        if applied >= Some(revision) {
            Ok(())
        } else {
            Err(status_record)
        }
    })
    .await;
}

#[tokio::test]
async fn splits_that_match_nobody_and_the_end_of_each_give_a_few_lines() {
    let harness = Harness::start().await;
    let backend = Backend::start("a").await;
    harness
        .etcd
        .put(&key(&backend), record(&backend, "up"))
        .await;
    let pusher = harness.pushing().await;
    harness.routed(&[&backend]).await;
    for number in 0..30 {
        let version = format!("v{number}");
        let split = json!({"weights": {version: 1}}).to_string();
        let revision = harness.etcd.put("/sidekick/splits/website", split).await;
        followed(&harness, revision).await;
    }
    at_most(PER_KEY, pusher.process(), "the split matches no instance");
}

#[tokio::test]
async fn the_last_record_that_flips_gives_a_few_lines() {
    let harness = Harness::start().await;
    let backend = Backend::start("a").await;
    harness
        .etcd
        .put(&key(&backend), record(&backend, "up"))
        .await;
    let pusher = harness.pushing().await;
    harness.routed(&[&backend]).await;
    for state in ["draining", "up"].into_iter().cycle().take(30) {
        let value = record(&backend, state);
        harness.etcd.put(&key(&backend), value).await;
        harness.applied().await;
    }
    at_most(PER_KEY, pusher.process(), "the last servers are protected");
    at_most(
        PER_KEY,
        pusher.process(),
        "the last servers are no longer protected",
    );
}

#[tokio::test]
async fn records_that_vanish_and_come_back_give_a_few_lines() {
    let harness = Harness::start().await;
    let backends = tokio::join!(
        Backend::start("a"),
        Backend::start("b"),
        Backend::start("c")
    );
    let (a, b, c) = &backends;
    let all = async || {
        for backend in [a, b, c] {
            let value = record(backend, "up");
            harness.etcd.put(&key(backend), value).await;
        }
    };
    all().await;
    let pusher = harness.pushing().await;
    harness.routed(&[a, b, c]).await;
    for _ in 0..15 {
        harness.etcd.delete_all("/services/website/").await;
        until(PATIENCE, "the servers to be protected", async || {
            let status_record = harness.status_record().await.json();
            let told = status_record["targets"].to_string();
            told.contains("vanished").then_some(()).ok_or(status_record)
        })
        .await;
        all().await;
        until(PATIENCE, "nothing to be protected", async || {
            let status_record = harness.status_record().await.json();
            let told = status_record["targets"].to_string();
            (!told.contains("vanished"))
                .then_some(())
                .ok_or(status_record)
        })
        .await;
    }
    at_most(PER_KEY, pusher.process(), "too many records vanished");
    at_most(2 * PER_KEY, pusher.process(), "no longer protected: ");
    let all = pusher.process().lines().len();
    assert!(all < 40, "{all} lines of all kinds");
}

#[tokio::test]
async fn a_server_that_comes_and_goes_gives_a_few_lines() {
    let harness = Harness::start().await;
    let (a, b) = tokio::join!(Backend::start("a"), Backend::start("b"));
    harness.etcd.put(&key(&a), record(&a, "up")).await;
    let pusher = harness.pushing().await;
    harness.routed(&[&a]).await;
    for _ in 0..15 {
        harness.etcd.put(&key(&b), record(&b, "up")).await;
        harness.routed(&[&a, &b]).await;
        harness.etcd.put(&key(&b), record(&b, "draining")).await;
        harness.etcd.delete(&key(&b)).await;
        harness.routed(&[&a]).await;
    }
    at_most(PER_KEY, pusher.process(), &format!("add {}", b.address()));
    let remove = format!("remove {}", b.address());
    // In order, and where no record names it any more.
    at_most(2 * PER_KEY, pusher.process(), &remove);
}

#[tokio::test]
async fn a_refused_record_that_is_renamed_gives_a_few_lines() {
    let harness = Harness::start().await;
    let backend = Backend::start("a").await;
    harness
        .etcd
        .put(&key(&backend), record(&backend, "up"))
        .await;
    let pusher = harness.pushing().await;
    harness.routed(&[&backend]).await;
    for number in 0..40 {
        let value = json!({"host": format!("n{number}.example"), "port": 80}).to_string();
        harness.etcd.put("/services/website/z", value).await;
        harness.applied().await;
    }
    at_most(PER_KEY, pusher.process(), "refused; everything else");
    at_most(
        PER_KEY,
        pusher.process(),
        "was refused, and is no longer wanted",
    );
}

#[tokio::test]
async fn records_that_are_refused_one_after_the_other_give_a_few_lines_of_each_kind() {
    let harness = Harness::start().await;
    let backend = Backend::start("a").await;
    harness
        .etcd
        .put(&key(&backend), record(&backend, "up"))
        .await;
    let pusher = harness.pushing().await;
    harness.routed(&[&backend]).await;
    for number in 0..30 {
        let value = json!({"host": format!("n{number}.example"), "port": 80}).to_string();
        let key = format!("/services/website/z{number}");
        harness.etcd.put(&key, value).await;
        harness.applied().await;
    }
    harness.etcd.delete_all("/services/website/z").await;
    harness.applied().await;
    at_most(PER_KEY, pusher.process(), "refused; everything else");
    at_most(3 * PER_KEY, pusher.process(), "refused");
}

#[tokio::test]
async fn a_release_that_is_written_again_and_again_gives_a_few_lines() {
    let harness = Harness::start().await;
    let backend = Backend::start("a").await;
    harness
        .etcd
        .put(&key(&backend), record(&backend, "up"))
        .await;
    let pusher = harness.pushing().await;
    harness.routed(&[&backend]).await;
    for number in 0..20 {
        let nonce = format!("n{number}");
        let value = json!({"nonce": nonce, "since": "2026-01-02T03:04:05Z"}).to_string();
        harness.etcd.put("/sidekick/releases/website", value).await;
        until(PATIENCE, "the release to be obeyed", async || {
            let status_record = harness.status_record().await.json();
            let told = &status_record["releases"]["website"]["nonce"];
            (*told == nonce).then_some(()).ok_or(status_record)
        })
        .await;
    }
    at_most(PER_KEY, pusher.process(), "released: it follows");
}

#[tokio::test]
async fn keys_of_pushers_without_a_lease_give_a_few_lines() {
    let harness = Harness::start().await;
    for number in 0..100 {
        let pusher = format!("/sidekick/pushers/p{number}");
        harness.etcd.put(&pusher, "{}").await;
    }
    let wait = ["website/a", "--for", "gone", "--timeout", "1s"];
    let ended = Command::new("wait").etcd(&harness.etcd).args(wait).run();
    let output = ended.await.output;
    let told = output.matches("it has no lease").count();
    assert!((1..=PER_KIND).contains(&told), "{told} lines");
}

#[tokio::test]
async fn a_record_that_somebody_overwrites_again_and_again_gives_a_few_lines() {
    let harness = Harness::start().await;
    let backend = Backend::start("a").await;
    let announcer = harness.announced(&backend).await;
    let own = harness.record(&backend).await.unwrap().value;
    for number in 0..20 {
        let foreign = format!("10.0.0.1:{}", number + 1);
        harness.etcd.put(&key(&backend), foreign).await;
        until(PATIENCE, "the record to be back", async || {
            let found = harness.record(&backend).await;
            (found.as_ref().map(|found| &found.value) == Some(&own))
                .then_some(())
                .ok_or(found)
        })
        .await;
    }
    // The first of them is no news of a foreign hand.
    at_most(PER_KEY + 1, announcer.process(), "is announced");
}

/// All of a pusher's lists in its key are bounded.
#[tokio::test]
async fn foreign_releases_do_not_make_a_status_record_grow() {
    let harness = Harness::start().await;
    let backend = Backend::start("a").await;
    harness
        .etcd
        .put(&key(&backend), record(&backend, "up"))
        .await;
    let _pusher = harness.pushing().await;
    harness.routed(&[&backend]).await;
    let value = json!({"nonce": "n", "since": "2026-01-02T03:04:05Z"}).to_string();
    for number in 0..300 {
        let release = format!("/sidekick/releases/a{number}");
        harness.etcd.put(&release, value.as_str()).await;
    }
    let told: Value = until(PATIENCE, "the releases to be counted", async || {
        let status_record = harness.status_record().await.json();
        match status_record["releases_more"].as_u64() {
            Some(44) => Ok(status_record),
            _ => Err(status_record),
        }
    })
    .await;
    assert_eq!(told["releases"].as_object().map(|all| all.len()), Some(256));
    let release = Command::new("release")
        .etcd(&harness.etcd)
        .args(["website"]);
    let ended = release.run().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    // One that is not told of has no such upstream.
    let release = ["a299", "--timeout", "5s"];
    let ended = Command::new("release").etcd(&harness.etcd).args(release);
    let ended = ended.run().await;
    assert!(
        ended.output.contains("0 of 1 pushers have"),
        "{}",
        ended.output
    );
}

#[tokio::test]
async fn a_container_that_ends_again_and_again_gives_a_few_lines() {
    let Some(paired) = PairedHarness::start(Kind::Docker).await else {
        return;
    };
    paired.create().await;
    paired.right("start").await;
    for _ in 0..15 {
        paired.flap(1).await;
        paired.right("a crash").await;
    }
    // Of each run the announcer would tell ten lines.
    let lines = paired.announcer.process().lines();
    assert!(lines.len() <= 60, "{} lines: {lines:#?}", lines.len());
}

#[tokio::test]
async fn an_etcd_that_comes_and_goes_gives_a_few_lines() {
    let harness = Harness::start().await;
    let backend = Backend::start("a").await;
    let link = Proxy::to(harness.etcd.address()).await;
    let announcer = announce(&link.endpoint(), &backend).start();
    announcer.ready().await;
    let pusher = push(&link.endpoint(), &harness.nginx).start();
    harness.routed(&[&backend]).await;
    for number in 0..20 {
        link.cut().await;
        // Both have noticed when they have connected anew.
        let port = link.address().port();
        for agent in [&announcer, &pusher] {
            let pid = agent.process().pid();
            until(PATIENCE, "another connection", async || {
                procfs::connected(pid, port)
            })
            .await;
        }
        let key = format!("/services/website/n{number}");
        harness.etcd.put(&key, record(&backend, "down")).await;
        harness.applied().await;
    }
    for agent in [&announcer, &pusher] {
        let lines = agent.process().lines();
        assert!(lines.len() <= 60, "{} lines: {lines:#?}", lines.len());
    }
}

/// The backend fails and works again so often that lines about it are left out, and works in the end.
async fn flap(harness: &Harness, backend: &Backend) {
    for _ in 0..5 {
        for (health, is_announced) in [(500, false), (200, true)] {
            backend.set_health(health).await;
            until(PATIENCE, "the record to follow", async || {
                let found = harness.record(backend).await.is_some();
                (found == is_announced).then_some(()).ok_or(found)
            })
            .await;
        }
    }
}

#[tokio::test]
async fn what_was_left_out_is_told_before_a_reload_and_before_the_end() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let announcer = harness
        .announce(&backend)
        .args(["--rise", "1", "--fall", "1"]);
    let mut announcer = announcer.start();
    announcer.ready().await;
    flap(&harness, &backend).await;
    let left_out = r#"of the kind "failed" about probes of website/b1"#;
    assert_eq!(lines(announcer.process(), left_out), 0);
    announcer.process().signal(Signal::HUP);
    let starts = "announcing website/b1";
    until(PATIENCE, "the next image", async || {
        let found = lines(announcer.process(), starts);
        if found == 2 { Ok(()) } else { Err(found) }
    })
    .await;
    let output = announcer.process().output();
    let (before, _) = output.rsplit_once(starts).expect("it was found");
    assert!(before.contains(left_out), "{output}");
    let last = "website/b1 passes its probes (since ";
    assert!(before.contains(last), "{output}");
    flap(&harness, &backend).await;
    let ended = announcer.leave().await;
    let (_, after) = ended.output.rsplit_once(starts).expect("it was found");
    assert!(after.contains(left_out), "{}", ended.output);
}
