//! How each fault begins and ends.

use std::time::Duration;

use super::door::Way;
use super::fault::Fault;
use super::places::{FILE, INSTANCES, PLUS, PROCESSES, instance_name};
use super::plus::Mood;
use super::strangers::{FOREIGN, OVERWRITTEN};
use super::world::World;
use crate::support::{Link, Signal, procfs, send};

/// Within which a backend that was started accepts connections.
const STARTS: Duration = Duration::from_secs(20);

impl World {
    /// Begins a fault; `false` where another one did not let it.
    pub(crate) async fn strike(&mut self, fault: &Fault) -> bool {
        match *fault {
            Fault::MemberReplaced(member) => return self.cluster.replace(member).await,
            Fault::LeaderMoves(next) => return self.cluster.move_leader(next).await,
            Fault::Compacted => return self.cluster.compact().await,
            Fault::OutOfSpace => return self.cluster.fill().await,
            Fault::AuthChanges => return self.cluster.bump_auth().await,
            Fault::RightsTaken => return self.cluster.take_rights().await,
            Fault::StrangerDeletes(instance) => return self.cluster.delete(&key(instance)).await,
            Fault::StrangerOverwrites(instance) => {
                return self.overwrite(instance).await;
            }
            Fault::MemberKilled(member) => self.cluster.kill(member),
            Fault::MemberFrozen(member) => self.cluster.freeze(member),
            Fault::MemberRestarts(member) => {
                self.cluster.kill(member);
                self.cluster.spawn(member);
            }
            Fault::PeerLink(member, link) => self.cluster.peer_link(member).set(link),
            Fault::MemberIsolated(member) => self.cluster.isolate(member),
            Fault::MembersParted(one) => self.cluster.part(one, (one + 1) % 3),
            Fault::MajorityKilled(survivor) => {
                for member in others(survivor) {
                    self.cluster.kill(member);
                }
            }
            Fault::MajorityFrozen(survivor) => {
                for member in others(survivor) {
                    self.cluster.freeze(member);
                }
            }
            Fault::AllMembersFrozen => {
                for member in 0..3 {
                    self.cluster.freeze(member);
                }
            }
            Fault::Wiped => self.cluster.wipe().await,
            Fault::Saved => self.cluster.save().await,
            Fault::Restored => self.cluster.restore().await,
            Fault::PasswordChanges => {
                self.passwords += 1;
                return self.cluster.change_password(self.passwords).await;
            }
            Fault::CertificatesRenewed => self.cluster.renew_certificates().await,
            Fault::EtcdLink(agent, Some(member), link) => {
                self.agents[agent].links[member].set(link)
            }
            Fault::EtcdLink(agent, None, link) => self.agents[agent].set_links(link),
            Fault::ApiLink(pusher, target, link) => self.api_link(pusher, target, link),
            Fault::BackendLink(instance, link) => {
                // A slow one may yet be fast enough.
                if !matches!(link, Link::Slow(_)) {
                    self.monitor.dies(instance);
                }
                self.links[instance].set(link);
            }
            Fault::PathLink(instance, way) => self.doors[instance].set(way),
            Fault::ProbeLink(instance, link) => self.links[instance].set(link),
            Fault::DockerLink(instance, link) => self.docker_links[instance - PROCESSES].set(link),
            Fault::AgentKilled(agent) => self.agents[agent].kill(),
            Fault::HostDies(instance) => {
                self.agents[instance].kill();
                self.kill_backend(instance).await;
            }
            Fault::HostFreezes(instance) => {
                self.agents[instance].signal(Signal::STOP);
                self.freeze_backend(instance).await;
            }
            Fault::PusherRestarts(pusher) => self.restart_pusher(INSTANCES + pusher).await,
            Fault::AgentRestarts(agent) => {
                self.agents[agent].kill();
                self.agents[agent].start();
            }
            Fault::AgentFrozen(agent) => self.agents[agent].signal(Signal::STOP),
            Fault::AgentReloads(agent) => self.agents[agent].signal(Signal::HUP),
            Fault::ClockJumps(_) if !self.clocks_jump => return false,
            Fault::ClockJumps(agent) => self.agents[agent].shift_clock("+1h"),
            Fault::StrangersRecords => self.write_foreign().await,
            Fault::Deployed(instance, stays) => self.deploy(instance, stays).await,
            Fault::DiskFull => self.disk.fill(),
            _ => self.strike_balancer_or_backend(fault).await,
        }
        true
    }

    async fn strike_balancer_or_backend(&mut self, fault: &Fault) {
        match *fault {
            Fault::BalancerKilled(FILE) => self.file.kill(),
            Fault::BalancerKilled(lua) => self.lua[lua].kill(),
            Fault::BalancerFrozen(target) => self.signal_balancer(target, Signal::STOP),
            Fault::BalancerReloads(target) => {
                let _ = send(self.balancer_pid(target), Signal::HUP);
            }
            Fault::WorkersKilled(target) => {
                for worker in procfs::children(self.balancer_pid(target)) {
                    let _ = send(worker, Signal::KILL);
                }
            }
            Fault::PlusAnswers(mood) => self.plus.set(mood),
            Fault::PlusRestarts => self.plus.restart(),
            Fault::BackendKilled(instance) | Fault::ContainerCrashes(instance) => {
                self.kill_backend(instance).await;
            }
            Fault::BackendFrozen(instance) | Fault::ContainerPauses(instance) => {
                self.freeze_backend(instance).await;
            }
            Fault::BackendSick(instance) => {
                self.monitor.dies(instance);
                self.processes[instance].set_health(500).await;
            }
            Fault::ContainerStops(instance) => {
                self.monitor.dies(instance);
                self.act(instance, "stop?t=1").await;
            }
            Fault::ContainerRestarts(instance) => {
                self.monitor.dies(instance);
                self.act(instance, "restart?t=0").await;
                self.revived(instance).await;
            }
            Fault::DaemonKilled => self.daemon.kill().await,
            Fault::DaemonStops => self.daemon.stop().await,
            Fault::DaemonFrozen => self.daemon.process().signal(Signal::STOP),
            _ => {}
        }
    }

    /// Lets a member go on without waiting for anything.
    pub(crate) fn begin_to_mend(&mut self, fault: &Fault) {
        match *fault {
            Fault::MemberKilled(member) => self.cluster.spawn(member),
            Fault::MemberFrozen(member) => self.cluster.thaw(member),
            Fault::PeerLink(member, _) => self.cluster.peer_link(member).set(Link::Up),
            Fault::MemberIsolated(_) | Fault::MembersParted(_) => self.cluster.rejoin(),
            _ => {}
        }
    }

    /// Ends a fault: what was broken works again when this returns.
    pub(crate) async fn mend(&mut self, fault: &Fault) {
        match *fault {
            Fault::MemberKilled(member) => {
                self.cluster.spawn(member);
                self.cluster.healthy().await;
            }
            Fault::MemberFrozen(member) => {
                self.cluster.thaw(member);
                self.cluster.healthy().await;
            }
            Fault::PeerLink(member, _) => {
                self.cluster.peer_link(member).set(Link::Up);
                self.cluster.healthy().await;
            }
            Fault::MemberIsolated(_) | Fault::MembersParted(_) => {
                self.cluster.rejoin();
                self.cluster.healthy().await;
            }
            Fault::MajorityKilled(survivor) => {
                for member in others(survivor) {
                    self.cluster.spawn(member);
                }
                self.cluster.healthy().await;
            }
            Fault::MajorityFrozen(_) | Fault::AllMembersFrozen => {
                for member in 0..3 {
                    self.cluster.thaw(member);
                }
                self.cluster.healthy().await;
            }
            Fault::MemberRestarts(_)
            | Fault::MemberReplaced(_)
            | Fault::LeaderMoves(_)
            | Fault::Wiped
            | Fault::Saved
            | Fault::Restored => self.cluster.healthy().await,
            // What is not confirmed is set back before all is judged.
            Fault::OutOfSpace => drop(self.cluster.make_room().await),
            Fault::RightsTaken => drop(self.cluster.give_rights().await),
            Fault::EtcdLink(agent, ..) => self.agents[agent].set_links(Link::Up),
            Fault::ApiLink(pusher, target, _) => self.api_link(pusher, target, Link::Up),
            Fault::BackendLink(instance, _) | Fault::ProbeLink(instance, _) => {
                self.links[instance].set(Link::Up);
                self.monitor.lives(instance);
            }
            Fault::PathLink(instance, _) => self.doors[instance].set(Way::Open),
            Fault::DockerLink(instance, _) => {
                self.docker_links[instance - PROCESSES].set(Link::Up);
            }
            Fault::AgentKilled(agent) => self.agents[agent].start(),
            Fault::HostDies(instance) => {
                self.revive_backend(instance).await;
                self.agents[instance].start();
            }
            Fault::HostFreezes(instance) => {
                self.thaw_backend(instance).await;
                self.agents[instance].signal(Signal::CONT);
            }
            Fault::AgentFrozen(agent) => self.agents[agent].signal(Signal::CONT),
            Fault::ClockJumps(agent) => self.agents[agent].shift_clock("+0"),
            Fault::StrangersRecords => {
                for (key, _) in FOREIGN {
                    self.cluster.delete(key).await;
                }
            }
            // What was not confirmed may be done until now.
            Fault::StrangerOverwrites(instance) => self.monitor.overwritten(instance),
            Fault::DiskFull => self.disk.make_room(),
            _ => self.mend_balancer_or_backend(fault).await,
        }
    }

    async fn mend_balancer_or_backend(&mut self, fault: &Fault) {
        match *fault {
            Fault::BalancerKilled(FILE) => self.file.run().await,
            Fault::BalancerKilled(lua) => self.lua[lua].resume().await,
            Fault::BalancerFrozen(target) => self.signal_balancer(target, Signal::CONT),
            Fault::PlusAnswers(_) => self.plus.set(Mood::Well),
            Fault::BackendKilled(instance)
            | Fault::ContainerCrashes(instance)
            | Fault::ContainerStops(instance) => self.revive_backend(instance).await,
            Fault::BackendFrozen(instance) | Fault::ContainerPauses(instance) => {
                self.thaw_backend(instance).await;
            }
            Fault::BackendSick(instance) => {
                self.processes[instance].set_health(200).await;
                self.monitor.lives(instance);
            }
            Fault::DaemonKilled | Fault::DaemonStops => self.daemon.run().await,
            Fault::DaemonFrozen => self.daemon.process().signal(Signal::CONT),
            _ => {}
        }
    }

    /// Without a word to anybody.
    async fn kill_backend(&mut self, instance: usize) {
        self.monitor.dies(instance);
        match self.processes.get_mut(instance) {
            Some(process) => process.kill(),
            None => self.daemon.crash(&instance_name(instance)).await,
        }
    }

    async fn revive_backend(&mut self, instance: usize) {
        match self.processes.get_mut(instance) {
            Some(process) => process.resume().await,
            None => self.act(instance, "start").await,
        }
        self.revived(instance).await;
    }

    async fn freeze_backend(&self, instance: usize) {
        self.monitor.dies(instance);
        match self.processes.get(instance) {
            Some(process) => process.process().signal(Signal::STOP),
            None => self.act(instance, "pause").await,
        }
    }

    async fn thaw_backend(&self, instance: usize) {
        match self.processes.get(instance) {
            Some(process) => process.process().signal(Signal::CONT),
            None => self.act(instance, "unpause").await,
        }
        self.revived(instance).await;
    }

    fn api_link(&self, pusher: usize, target: usize, link: Link) {
        if let Some(proxy) = self.api_links.get(&(INSTANCES + pusher, target)) {
            proxy.set(link);
        }
    }

    fn balancer_pid(&self, target: usize) -> u32 {
        debug_assert_ne!(target, PLUS, "the stand-in is no process");
        if target == FILE {
            self.file.process().pid()
        } else {
            self.lua[target].process().pid()
        }
    }

    fn signal_balancer(&self, target: usize, signal: Signal) {
        let master = self.balancer_pid(target);
        for pid in procfs::children(master).into_iter().chain([master]) {
            let _ = send(pid, signal);
        }
    }

    pub(super) async fn act(&self, instance: usize, action: &str) {
        self.daemon.act(&instance_name(instance), action).await;
    }

    pub(super) async fn revived(&self, instance: usize) {
        if !self.accepts(instance, STARTS).await {
            let name = instance_name(instance);
            self.monitor.note(format!("{name} does not come back"));
        }
        self.monitor.lives(instance);
    }

    async fn write_foreign(&self) {
        for (key, value) in FOREIGN {
            self.cluster.put(key, value).await;
        }
    }

    /// Somebody writes another address into the record of an announcer.
    async fn overwrite(&self, instance: usize) -> bool {
        self.monitor.overwritten(instance);
        let done = self.cluster.put(&key(instance), OVERWRITTEN).await;
        self.monitor.overwritten(instance);
        done
    }
}

fn key(instance: usize) -> String {
    format!("/services/website/{}", instance_name(instance))
}

fn others(member: usize) -> impl Iterator<Item = usize> {
    (0..3).filter(move |other| *other != member)
}
