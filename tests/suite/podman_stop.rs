//! `podman stop` of a container that takes traffic.

use serde_json::json;

use crate::support::docker::Kind;
use crate::support::paired_harness::{NAME, PairedHarness};
use crate::support::{Load, PATIENCE, archive_of, backend_program, until};

const IMAGE: &str = "shop/backend:1";

/// How often the container is stopped under load.
const STOPS: usize = 5;

#[tokio::test]
async fn podman_stop_under_load_loses_no_request() {
    let Some(paired) = PairedHarness::start(Kind::Podman).await else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let daemon = &paired.daemon;
    let archive = archive_of(&backend_program(), "backend", folder.path());
    daemon.import(IMAGE, &archive).await;
    // As the first process it does not heed SIGTERM: it serves until Podman kills it.
    let command = ["/backend", "--listen", "0.0.0.0:80", "--name", NAME];
    let settings = json!({"Image": IMAGE, "Labels": {"SERVICE_NAME": "website"}});
    daemon.container_with(NAME, &command, settings).await;
    paired.told(daemon.serves(NAME).await, "its creation").await;

    let load = Load::start(paired.harness.nginx.traffic(), 4);
    for number in 1..=STOPS {
        let after = format!("stop {number}");
        let mine = || load.report().answers.get(NAME).copied().unwrap_or_default();
        let before = mine();
        until(PATIENCE, "it to be asked", async || mine() > before + 20).await;
        daemon.podman_says(&["stop", "--time", "4", NAME]).await;
        paired.told(None, &after).await;
        daemon.act(NAME, "start").await;
        paired.told(daemon.serves(NAME).await, &after).await;
    }
    let report = load.stop().await;
    report.tell(&format!("(c) {STOPS} times podman stop"));
    assert_eq!(report.failed(), 0, "{report:?}");
}
