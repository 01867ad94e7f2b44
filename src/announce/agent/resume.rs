//! Hands the agent's state to the next image of the program, and restores it there.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use tracing::warn;

use super::{Agent, Former};
use crate::announce::handover::{Announced, Handover};
use crate::announce::settings::{Ready, Settings};
use crate::etcd::client::Cluster;
use crate::etcd::lease::Handed;
use crate::model::{Format, InstanceId, Prefix, decode};
use crate::probe::Pace;

impl Agent {
    /// What the next image needs, except the state of the lease task.
    pub(in crate::announce) fn handover(&self) -> Handover {
        let settings = &self.settings;
        let announced = Announced {
            etcd: self.cluster.settings().clone(),
            id: settings.id.to_string(),
            prefix: settings.prefix.to_string(),
            meta: settings.meta.to_string(),
            record: String::from_utf8_lossy(&settings.record.encode(Format::Json)).into_owned(),
            format: settings.format.to_string(),
            ttl: settings.ttl,
            on_failure: settings.on_failure,
            drain_timeout: settings.drain_timeout,
            linger: settings.linger,
            gate: self.gate.clone(),
            phase: self.phase,
            reason: self.reason.clone(),
            told: self.readiness.is_told(),
            although: self.readiness.although(),
            key: Handed::default(),
        };
        let mut handover = Handover::default();
        handover.announced = Some(announced);
        handover
    }

    /// Stops, and leaves the record unchanged.
    pub(in crate::announce) async fn hand_over(mut self) -> Handover {
        if let Some(Former::Stands(former)) = self.former.take() {
            // This agent's own record was never confirmed.
            return Box::pin(former.hand_over()).await;
        }
        if let Some(probe_task) = self.probe_task.take() {
            probe_task.end().await;
        }
        let mut handover = self.handover();
        let key = self.keeper.hand_over().await;
        if let Some(announced) = &mut handover.announced {
            announced.key = key;
        }
        handover
    }

    /// The former image's agent, which keeps its record and has no probes yet.
    pub(in crate::announce) fn resume(handover: &Handover) -> Option<Box<Self>> {
        let resumed = Self::announcing(handover.announced.as_ref()?);
        let told = |why| warn!("the handover of the previous program cannot be read: {why}");
        resumed.map_err(told).map(Box::new).ok()
    }

    fn announcing(was: &Announced) -> Result<Self, String> {
        let id: InstanceId = read(&was.id)?;
        let prefix: Prefix = read(&was.prefix)?;
        let record = decode(&prefix, prefix.key(&id).as_bytes(), was.record.as_bytes());
        let (_, record) = record.map_err(|error| error.to_string())?;
        let nonce = record.nonce.clone().ok_or("its record has no nonce")?;
        let settings = Settings {
            id,
            record,
            format: read(&was.format)?,
            runs_since: None,
            prefix,
            meta: read(&was.meta)?,
            probes: Vec::new(),
            pace: Pace {
                interval: Duration::MAX,
                timeout: Duration::MAX,
                grace: Duration::ZERO,
            },
            rise: 1,
            fall: 1,
            on_failure: was.on_failure,
            ttl: was.ttl,
            ready: Ready::default(),
            drain_timeout: was.drain_timeout,
            linger: was.linger,
        };
        let cluster = Cluster::new(was.etcd.clone());
        let mut agent = Self::keeping(settings, cluster, nonce, was.key.clone());
        agent.gate = was.gate.clone();
        agent.phase = was.phase;
        agent.reason.clone_from(&was.reason);
        if was.told {
            agent.readiness.was_told(was.although.clone());
        }
        Ok(agent)
    }
}

fn read<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}
