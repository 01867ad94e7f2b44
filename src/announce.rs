//! The announcer: one agent beside one backend.
//!
//! Verdicts of the probe go through the gate into a phase; the phase decides the record; the lease task writes it and
//! reports back. On the way out the order is: set *draining*, wait until every pusher has let go, then delete.
//!
//! On SIGHUP, and after an upgrade, the program's own file is tried and replaces this image ([`reload`]); it continues
//! from the state in a memfd ([`handover`]). After a crash it continues from the record itself (`agent::adopt`).

mod agent;
pub mod container;
pub mod gate;
pub mod handover;
pub mod phase;
pub mod reload;
mod settings;

use crate::etcd::client::Cluster;
use crate::systemd::notify;
use crate::util::log_limit::limited;
use crate::util::shutdown::Stop;
use agent::Agent;
use handover::Handover;
use reload::Reload;

pub use settings::{Outcome, Ready, Settings};

/// Announces until it is asked to stop, deposed, or hands over. Never gives up on etcd. Continues from `handover`.
pub async fn run(
    settings: Settings,
    cluster: Cluster,
    stop: Stop,
    reload: &mut Reload,
    handover: Handover,
) -> Outcome {
    notify::reloaded();
    let former = Agent::resume(&handover);
    serve(settings, cluster, stop, reload, former).await
}

async fn serve(
    settings: Settings,
    cluster: Cluster,
    stop: Stop,
    reload: &mut Reload,
    former: Option<Box<Agent>>,
) -> Outcome {
    limited!(
        info,
        "announcing",
        settings.id.to_string(),
        "announcing {} at {} as {}",
        settings.id,
        settings.record.address(),
        settings.prefix.key(&settings.id),
    );
    let bounds = settings.bounds();
    limited!(info, "bounds", &bounds, "{bounds}");
    let agent = match former {
        Some(former) => Box::pin(former.go_on(settings, cluster, &stop)).await,
        None => Agent::new(settings, cluster),
    };
    Box::pin(agent.run(stop, reload)).await
}
