//! Who leaves in good order, and comes back.

use std::time::Duration;

use tokio::time::Instant;

use super::conduct::left_badly;
use super::judge::Statement;
use super::places::{Part, agent_name, instance_name};
use super::watcher::tail;
use super::world::World;

/// Within which an announcer that was started says READY, if nothing else is in its way.
const READY: Duration = Duration::from_secs(5);

impl World {
    /// It leaves in good order, and comes back.
    pub(super) async fn restart_pusher(&mut self, agent: usize) {
        let ended = self.agents[agent].leave().await;
        let ended = ended.map(|ended| (ended.code, tail(&ended.output)));
        let wrong = left_badly(ended.as_ref().map(|(code, said)| (*code, said.as_str())));
        let wrong = wrong.map(|wrong| format!("I4: {} {wrong}", agent_name(agent)));
        self.monitor.violated(wrong.into_iter().collect());
        self.monitor.hold("I4 leaving", 1);
        self.agents[agent].start();
    }

    /// As a deployment does it: the announcer leaves, its backend is replaced, and both come back.
    pub(super) async fn deploy(&mut self, instance: usize, stays: Duration) {
        let is_calm = self.monitor.is_calm_but_for(Part::Backend(instance));
        let agent = [Part::Agent(instance)];
        self.monitor.trouble(&agent);
        self.leave_in_good_order(instance, is_calm, stays).await;
        self.monitor.dies(instance);
        match self.processes.get_mut(instance) {
            Some(process) => {
                process.stop().await;
                process.resume().await;
            }
            None => self.act(instance, "restart?t=0").await,
        }
        self.revived(instance).await;
        self.monitor.announced_again(instance);
        self.agents[instance].start();
        self.wait_for_ready(instance).await;
        self.monitor.relief(&agent);
    }

    /// Nobody asks the backend once its announcer says so, and while nothing is broken it does.
    async fn leave_in_good_order(&mut self, instance: usize, is_calm: bool, stays: Duration) {
        let name = instance_name(instance);
        let Some(ended) = self.agents[instance].leave().await else {
            let said = format!("I4: the announcer of {name} does not leave");
            self.monitor.violated(vec![said]);
            return;
        };
        // The container of one that stays may have been drained before.
        let leaving = ended.output.rsplit("SIGTERM: stopping").next();
        let is_drained = leaving.is_some_and(|said| said.contains("is drained everywhere"));
        if ended.code != Some(0) || (is_calm && !is_drained) {
            let (code, said) = (ended.code, tail(&ended.output));
            self.monitor.violated(vec![format!(
                "I6: the announcer of {name} left with {code:?}, and not in good order: {said}"
            )]);
        }
        if !is_drained {
            return;
        }
        self.monitor.note(format!("{name} says that it is drained"));
        self.monitor.said(Statement::Drained, instance);
        tokio::time::sleep(stays).await; // a backend that is there shows who still asks it
    }

    async fn wait_for_ready(&self, instance: usize) {
        let agent = &self.agents[instance];
        let deadline = Instant::now() + READY;
        while !agent.is_ready() {
            if Instant::now() > deadline {
                let (name, status) = (agent_name(instance), agent.status());
                self.monitor.note(format!("{name} is not ready: {status}"));
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await; // between two looks
        }
        let (name, status) = (agent_name(instance), agent.status());
        self.monitor.note(format!("{name} is ready: {status}"));
    }
}
