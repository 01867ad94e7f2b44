//! What happens to a load balancer's pusher in its life, told as a time line: it is renamed, it starts while somebody is held, it
//! takes one version and then another.

use crate::config::{Config, reload};
use crate::support::{Backend, Command, PATIENCE, Scene, Sidekick, Signal, until};

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
    let scene = Scene::start().await;
    let (a, b) = tokio::join!(Backend::start("a"), Backend::start("b"));
    let mut former = scene.push().notify().start();
    former.ready().await;
    let patient = |backend: &Backend| {
        let announcer = scene.announce(backend);
        announcer.args(["--drain-timeout", NEVER]).start()
    };
    let (leaving, staying) = (patient(&a), patient(&b));
    tokio::join!(leaving.ready(), staying.ready());
    scene.routed(&[&a, &b]).await;
    assert_eq!(former.leave().await.code, Some(0));
    let renamed = scene.push().args(["--id", "edge-2"]).notify().start();
    renamed.ready().await;
    until(PATIENCE, "the load balancers' keys", async || {
        let known = scene.etcd.list("/sidekick/balancers/").await.len();
        if known == 2 { Ok(()) } else { Err(known) }
    })
    .await;
    // The key of the former name names the same nginx, which the renamed pusher answers for.
    leaves(leaving, "is drained everywhere").await;
    scene.routed(&[&b]).await;
}

#[tokio::test]
async fn a_pusher_that_starts_while_an_instance_is_held_does_not_route_it() {
    let scene = Scene::start().await;
    let (a, b) = tokio::join!(Backend::start("a"), Backend::start("b"));
    let _running = scene.announced(&a).await;
    let hold = ["website/b", "--for", "10m", "--reason", "disk full"];
    let _waiting = scene.announced(&b).await;
    let held = Command::new("hold").etcd(&scene.etcd).args(hold);
    let held = held.run().await;
    assert!(
        held.output.contains("is held for 10 min"),
        "{}",
        held.output
    );

    let mut pusher = scene.pushing().await;
    scene.applied().await;
    assert_eq!(
        scene.nginx.addresses("website").await,
        [a.address().to_string()]
    );
    // Its successor finds it taken out, and leaves it so.
    assert_eq!(pusher.leave().await.code, Some(0));
    let _successor = scene.pushing().await;
    scene.applied().await;
    scene.routed(&[&a]).await;

    let over = Command::new("hold").etcd(&scene.etcd);
    let over = over.args(["website/b", "--release"]).run().await;
    assert_eq!(over.code, Some(0), "{}", over.output);
    scene.routed(&[&a, &b]).await;
}

#[tokio::test]
async fn the_new_colour_is_ready_while_the_filter_takes_the_old_one_and_takes_over_at_the_switch() {
    let scene = Scene::start().await;
    let (blue, green) = tokio::join!(Backend::start("blue"), Backend::start("green"));
    let config = Config::new();
    let takes = |version: &str| {
        let api = scene.nginx.api_url();
        config.write(&format!(
            "id = \"edge\"\n[[nginx]]\nname = \"edge\"\napi = \"{api}\"\n\
             [[upstream]]\nname = \"website\"\nversions = [\"{version}\"]\n"
        ));
    };
    takes("v1");
    let pusher = config.push(&scene.etcd).start();
    pusher.ready().await;
    let announce = |backend: &Backend, version: &str| {
        let announcer = scene.announce(backend).args(["--ready", "routed"]);
        let announcer = announcer.args(["--drain-timeout", NEVER]);
        announcer.env("SIDEKICK_SERVICE_VERSION", version).start()
    };
    let old = announce(&blue, "v1");
    old.ready().await;
    scene.routed(&[&blue]).await;
    let new = announce(&green, "v2");
    new.ready().await;
    scene.routed(&[&blue]).await;

    takes("v2");
    reload(&pusher).await;
    scene.routed(&[&green]).await;
    leaves(old, "is drained everywhere").await;
    assert_eq!(scene.nginx.who().await, Ok("green".to_owned()));
}
