//! What happens to a load balancer's pusher in its life, told as a time line: it is renamed, it starts while somebody is held, it
//! takes one version and then another.

use crate::config::{Config, reload};
use crate::support::{Backend, Command, Harness, PATIENCE, Sidekick, Signal, until};

/// Who ends in time has not waited for this.
const NEVER: &str = "10m";

async fn leaves(mut announcer: Sidekick, says: &str) {
    announcer.process().signal(Signal::TERM);
    let ended = announcer.end(PATIENCE).await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!(ended.output.contains(says), "{}", ended.output);
}

#[tokio::test]
async fn who_leaves_does_not_wait_for_the_former_name_of_a_pusher() {
    let harness = Harness::start().await;
    let (a, b) = tokio::join!(Backend::start("a"), Backend::start("b"));
    let mut former = harness.push().notify().start();
    former.ready().await;
    let patient = |backend: &Backend| {
        let announcer = harness.announce(backend);
        announcer.args(["--drain-timeout", NEVER]).start()
    };
    let (leaving, staying) = (patient(&a), patient(&b));
    tokio::join!(leaving.ready(), staying.ready());
    harness.routed(&[&a, &b]).await;
    assert_eq!(former.leave().await.code, Some(0));
    let renamed = harness.push().args(["--id", "edge-2"]).notify().start();
    renamed.ready().await;
    until(PATIENCE, "the load balancers' keys", async || {
        let known = harness.etcd.list("/sidekick/balancers/").await.len();
        if known == 2 { Ok(()) } else { Err(known) }
    })
    .await;
    // The key of the former name names the same nginx, which the renamed pusher answers for.
    leaves(leaving, "is drained everywhere").await;
    harness.routed(&[&b]).await;
}

#[tokio::test]
async fn a_pusher_that_starts_while_an_instance_is_held_does_not_route_it() {
    let harness = Harness::start().await;
    let (a, b) = tokio::join!(Backend::start("a"), Backend::start("b"));
    let _running = harness.announced(&a).await;
    let hold = ["website/b", "--for", "10m", "--reason", "disk full"];
    let _waiting = harness.announced(&b).await;
    let held = Command::new("hold").etcd(&harness.etcd).args(hold);
    let held = held.run().await;
    assert!(
        held.output.contains("is held for 10 min"),
        "{}",
        held.output
    );

    let mut pusher = harness.pushing().await;
    harness.applied().await;
    assert_eq!(
        harness.nginx.addresses("website").await,
        [a.address().to_string()]
    );
    // Its successor finds it taken out, and leaves it so.
    assert_eq!(pusher.leave().await.code, Some(0));
    let _successor = harness.pushing().await;
    harness.applied().await;
    harness.routed(&[&a]).await;

    let over = Command::new("hold").etcd(&harness.etcd);
    let over = over.args(["website/b", "--release"]).run().await;
    assert_eq!(over.code, Some(0), "{}", over.output);
    harness.routed(&[&a, &b]).await;
}

#[tokio::test]
async fn the_new_colour_is_ready_while_the_filter_takes_the_old_one_and_takes_over_at_the_switch() {
    let harness = Harness::start().await;
    let (blue, green) = tokio::join!(Backend::start("blue"), Backend::start("green"));
    let config = Config::new();
    let takes = |version: &str| {
        let api = harness.nginx.api_url();
        config.write(&format!(
            "id = \"edge\"\n[[nginx]]\nname = \"edge\"\napi = \"{api}\"\n\
             [[upstream]]\nname = \"website\"\nversions = [\"{version}\"]\n"
        ));
    };
    takes("v1");
    let pusher = config.push(&harness.etcd).start();
    pusher.ready().await;
    let announce = |backend: &Backend, version: &str| {
        let announcer = harness.announce(backend).args(["--ready", "routed"]);
        let announcer = announcer.args(["--drain-timeout", NEVER]);
        announcer.env("SIDEKICK_SERVICE_VERSION", version).start()
    };
    let old = announce(&blue, "v1");
    old.ready().await;
    harness.routed(&[&blue]).await;
    let new = announce(&green, "v2");
    new.ready().await;
    harness.routed(&[&blue]).await;

    takes("v2");
    reload(&pusher).await;
    harness.routed(&[&green]).await;
    leaves(old, "is drained everywhere").await;
    assert_eq!(harness.nginx.who().await, Ok("green".to_owned()));
}
