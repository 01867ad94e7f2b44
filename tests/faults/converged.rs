//! Whether everything is as it must be when nothing is broken (I3).

use std::time::Duration;

use super::places::{BALANCERS, INSTANCES, PUSHERS, agent_name, instance_name};
use super::world::World;

/// A load balancer that asked all within this time has all of them.
const LATELY: Duration = Duration::from_secs(1);

impl World {
    /// What is not right yet; empty when all is.
    pub(crate) async fn differences(&self) -> Vec<String> {
        let mut differences = Vec::new();
        let all: Vec<usize> = (0..INSTANCES).collect();
        for balancer in 0..BALANCERS {
            let asked = self.monitor.answering(balancer, LATELY);
            if asked != all {
                differences.push(format!("balancer {balancer} asks only {asked:?}"));
            }
            let strangers = self.monitor.strangers(balancer, LATELY);
            if !strangers.is_empty() {
                differences.push(format!("balancer {balancer} asks {strangers:?}"));
            }
        }
        if !differences.is_empty() {
            // Asking etcd costs more: not before the rest is right.
            return differences;
        }
        differences.extend(self.etcd_differs().await);
        differences
    }

    async fn etcd_differs(&self) -> Vec<String> {
        let Some(records) = self.cluster.list("/services/website/").await else {
            return vec!["etcd does not answer".to_owned()];
        };
        let mut differences = Vec::new();
        for instance in 0..INSTANCES {
            let key = format!("/services/website/{}", instance_name(instance));
            let record = records.iter().find(|record| record.key == key);
            let address = self.addresses[instance];
            let is_right = record.is_some_and(|record| {
                let value = record.value.as_str();
                let port = format!("\"port\":{}", address.port());
                let is_up = !value.contains("\"state\"") || value.contains("\"state\":\"up\"");
                record.lease != 0 && is_up && value.contains(&port)
            });
            if !is_right {
                differences.push(format!("{} has {record:?}", agent_name(instance)));
            }
        }
        if records.len() != INSTANCES {
            differences.push(format!("{} records", records.len()));
        }
        differences.extend(self.pushers_differ().await);
        differences
    }

    async fn pushers_differ(&self) -> Vec<String> {
        let Some(pushers) = self.cluster.list("/sidekick/pushers/").await else {
            return vec!["etcd does not answer".to_owned()];
        };
        let mut differences = Vec::new();
        for pusher in 0..PUSHERS {
            let key = format!("/sidekick/pushers/edge-{pusher}");
            let Some(record) = pushers.iter().find(|record| record.key == key) else {
                differences.push(format!("edge-{pusher} has no status record"));
                continue;
            };
            let status = record.json();
            let targets = status["targets"].as_object();
            let targets = targets.into_iter().flatten();
            for (name, target) in targets.filter(|(_, target)| target["ok"] != true) {
                differences.push(format!(
                    "edge-{pusher} says of {name}: {}",
                    target["errors"]
                ));
            }
        }
        differences
    }
}
