//! What runs for longer than its login lasts: announcer, pusher, watch and wait. By simple tokens, by JWT, and by certificates,
//! which never end.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{
    Backend, Command, Etcd, Harness, Nginx, PATIENCE, Pki, Sidekick, as_user, command, until,
};

/// How long a token lasts, in seconds.
const TOKEN: u64 = 5;

/// The roles that the tests have users of.
const SCOPE: &[&str] = &["website", "--id", "edge"];

/// How a user shows who it is.
enum Login {
    Password,
    Certificate(Arc<Pki>),
}

impl Login {
    fn of(&self, command: Command, user: &str) -> Command {
        match self {
            Self::Password => as_user(command, user),
            Self::Certificate(pki) => command.args(pki.flags_of(user)),
        }
    }
}

/// Keeps all of them at work while tokens end, then announces another backend, takes one out for a while, ends a lease, and leaves.
async fn lives(mut etcd: Etcd, login: Login) {
    etcd.require_roles(SCOPE).await;
    let harness = Harness {
        etcd,
        nginx: Nginx::start().await,
    };
    let (a, b) = (Backend::start("b1").await, Backend::start("b2").await);
    let c = Backend::start("b3").await;
    let announce = |backend: &Backend| {
        // A renewal every two seconds: several with each token.
        let announcer = harness.announce(backend).args(["--ttl", "6s"]);
        login.of(announcer, "sidekick-announce").start()
    };
    let pusher = harness.push().args(["--ttl", "6s"]);
    let pusher = login.of(pusher, "sidekick-push").start();
    let mut first = announce(&a);
    let second = announce(&b);
    harness.routed(&[&a, &b]).await;
    let view = |line: &str| {
        let command = command(line).etcd(&harness.etcd);
        login.of(command, "sidekick-view").start()
    };
    let watch = view("watch website -o plain");
    watch.process().line("listed website/b1").await;
    let mut wait = view("wait website --for routed --count 3 --timeout 10m");
    wait.process().line("waiting: 2 of 3").await;
    let before = (harness.record(&a).await, harness.record(&b).await);
    let nonce = harness.status_record().await.json()["nonce"].clone();
    // Several tokens' time is the thing under test.
    tokio::time::sleep(Duration::from_secs(4 * TOKEN)).await;
    let after = (harness.record(&a).await, harness.record(&b).await);
    assert_eq!(after, before, "a record was gone for a while");
    assert_eq!(harness.status_record().await.json()["nonce"], nonce);

    // Both have outlived their first token, and see what comes now.
    let mut third = announce(&c);
    let waited = wait.end(PATIENCE).await;
    assert_eq!(waited.code, Some(0), "{}", waited.output);
    watch.process().line("added website/b3").await;
    let left = third.leave().await;
    assert_eq!(left.code, Some(0), "{}", left.output);
    watch.process().line("removed website/b3").await;
    harness.routed(&[&a, &b]).await;

    let operate = async |line: &str| {
        let command = command(line).etcd(&harness.etcd);
        let ended = login.of(command, "sidekick-operate").run().await;
        assert_eq!(ended.code, Some(0), "{line}: {}", ended.output);
    };
    operate("hold website/b1 --for 1m --reason test").await;
    harness.routed(&[&b]).await;
    operate("hold website/b1 --release").await;
    harness.routed(&[&a, &b]).await;

    let record = harness.record(&b).await.expect("it is announced");
    harness.etcd.revoke(record.lease).await;
    until(PATIENCE, "the record to be back", async || {
        harness.record(&b).await
    })
    .await;
    let left = first.leave().await;
    assert_eq!(left.code, Some(0), "{}", left.output);
    assert!(
        left.output.contains("is drained everywhere"),
        "{}",
        left.output
    );
    harness.routed(&[&b]).await;
    assert_quiet(&[&first, &second, &third, &pusher, &watch, &wait]);
    assert_eq!(harness.etcd.denials().await, Vec::<String>::new());
}

/// A token that ends is no news.
#[track_caller]
fn assert_quiet(agents: &[&Sidekick]) {
    for agent in agents {
        let output = agent.process().output();
        for unwanted in [
            "lacks the right",
            "auth token",
            "lost sight",
            "cannot follow",
        ] {
            assert!(!output.contains(unwanted), "{unwanted}: {output}");
        }
    }
}

#[tokio::test]
async fn simple_tokens_that_end_cost_nothing_and_are_not_told() {
    Box::pin(lives(Etcd::start_with_tokens(TOKEN).await, Login::Password)).await;
}

#[tokio::test]
async fn jwt_that_end_cost_nothing_and_are_not_told() {
    let pki = Pki::new();
    Box::pin(lives(
        Etcd::start_with_jwt(&pki, TOKEN).await,
        Login::Password,
    ))
    .await;
}

#[tokio::test]
async fn users_that_are_named_by_certificates_need_no_password() {
    let pki = Arc::new(Pki::new());
    for role in ["announce", "push", "view", "operate"] {
        pki.issue(&format!("sidekick-{role}"), "IP:127.0.0.1", "491231");
    }
    let etcd = Etcd::start_with_tls(&pki).await;
    Box::pin(lives(etcd, Login::Certificate(pki))).await;
}
