//! Three members of one etcd with TLS and users, and what can happen to them.
//!
//! No call of the tests takes longer than [`calls`] says; what it could not confirm is `false` or `None`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_client::{Client, CompactionOptions, Error, GetOptions, MemberAddOptions, StatusResponse};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::support::{Kv, PATIENCE, Pki, Proxy, Signal, free_port, until};
use calls::{Calls, WRITE_LIMIT, Write, within};
use gate::{Cuts, Gate};
use member::{Member, Plan};
pub(crate) use reader::Reader;

mod access;
mod calls;
mod gate;
mod member;
mod reader;
#[cfg(test)]
mod tests;

/// How many members there are.
pub(crate) const MEMBERS: usize = 3;

/// So many must answer.
const MAJORITY: usize = 2;

/// How long members that were all restarted are waited for, while other faults may hold.
const RESTART_LIMIT: Duration = Duration::from_secs(10);

/// How often other ports are tried when somebody takes ours first.
const ATTEMPTS: usize = 5;

/// Three members of one etcd. Clients show a certificate, and a password but for the tests' own.
#[derive(Debug)]
pub(crate) struct Cluster {
    members: Vec<Member>,
    plan: Plan,
    calls: Arc<Calls>,
    cuts: watch::Sender<Cuts>,
    /// The agent's.
    password: Mutex<String>,
    /// Whether a change of users, rights or alarms was not confirmed.
    unsettled: AtomicBool,
    saved: bool,
    pki: Arc<Pki>,
    folder: TempDir,
}

impl Cluster {
    /// Starts an empty one with the user `agent`.
    pub(crate) async fn start() -> Self {
        let pki = Arc::new(Pki::new());
        for _ in 0..ATTEMPTS {
            let mut cluster = Self::plan(&pki).await;
            if cluster.first_start().await {
                cluster.healthy().await;
                cluster.set_up().await;
                return cluster;
            }
        }
        panic!("etcd did not start in {ATTEMPTS} attempts on different ports");
    }

    async fn plan(pki: &Arc<Pki>) -> Self {
        let folder = folder();
        let cuts = watch::Sender::new(Cuts::new());
        let local = || SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut members = Vec::new();
        for number in 0..MEMBERS {
            let (client, peer) = (local(), local());
            let link = Proxy::to(peer).await;
            let gate = Gate::to(link.address(), &cuts).await;
            let name = format!("m{number}");
            let place = folder.path().join(&name);
            members.push(Member::new(name, [client, peer], (link, gate), place));
        }
        let url = |member: &Member| format!("{}={}", member.name, member.peer_url());
        let urls: Vec<_> = members.iter().map(url).collect();
        let plan = Plan {
            members: urls.join(","),
            token: "0".to_owned(),
        };
        let calls = Calls::to(members.iter().map(|member| member.client), pki).await;
        let calls = Arc::new(calls);
        let cluster = Self {
            members,
            plan,
            calls,
            cuts,
            password: Mutex::new(password(0)),
            unsettled: AtomicBool::new(false),
            saved: false,
            pki: Arc::clone(pki),
            folder,
        };
        access::write_password(&cluster.password_file(), &password(0));
        cluster
    }

    /// `false` when one of them ended: somebody else has one of its ports, most likely.
    async fn first_start(&mut self) -> bool {
        self.spawn_all();
        let Self { members, calls, .. } = self;
        until(PATIENCE, "etcd to answer", async || {
            let ended = members.iter_mut().any(|member| !member.runs());
            let all = calls.answering().await.iter().all(|answers| *answers);
            (ended || all).then_some(all)
        })
        .await
    }

    /// Of servers, `client` for sidekick, and the authority.
    pub(crate) fn pki(&self) -> &Arc<Pki> {
        &self.pki
    }

    /// Where clients connect to a member, with TLS.
    pub(crate) fn address(&self, member: usize) -> SocketAddr {
        self.members[member].client
    }

    /// With the password of the user `agent`.
    pub(crate) fn password_file(&self) -> PathBuf {
        self.folder.path().join("password")
    }

    /// What all others dial at this member. It still reaches them by what it dials itself, see [`isolate`](Self::isolate).
    pub(crate) fn peer_link(&self, member: usize) -> &Proxy {
        &self.members[member].link
    }

    /// Nothing passes any more between a member and the others, as by a firewall that drops; clients reach it.
    pub(crate) fn isolate(&self, member: usize) {
        for other in (0..MEMBERS).filter(|other| *other != member) {
            self.part(member, other);
        }
    }

    /// Nothing passes any more between two members, while both hear the third.
    pub(crate) fn part(&self, one: usize, other: usize) {
        let [one, other] = [one, other].map(|member| self.members[member].gate.address());
        let both = [(one, other), (other, one)];
        self.cuts.send_modify(|cuts| cuts.extend(both));
    }

    /// Takes back all of [`isolate`](Self::isolate) and [`part`](Self::part).
    pub(crate) fn rejoin(&self) {
        self.cuts.send_replace(Cuts::new());
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, member: usize) {
        self.members[member].kill();
    }

    /// SIGSTOP.
    pub(crate) fn freeze(&self, member: usize) {
        self.members[member].signal(Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self, member: usize) {
        self.members[member].signal(Signal::CONT);
    }

    /// Starts a member that was killed, and does not wait for it.
    pub(crate) fn spawn(&mut self, member: usize) {
        self.members[member].spawn(&self.plan, &self.pki);
    }

    fn spawn_all(&mut self) {
        for member in 0..MEMBERS {
            self.spawn(member);
        }
    }

    fn kill_all(&mut self) {
        for member in &mut self.members {
            member.kill();
        }
    }

    /// Waits until all members answer and agree on a leader. Starts those that have ended and brings back those that were
    /// not wholly replaced; frozen and cut off ones are the caller's. What was not confirmed of users, rights and alarms
    /// is then set back.
    ///
    /// # Panics
    /// After a minute.
    pub(crate) async fn healthy(&mut self) {
        let up = async || self.come_up(MEMBERS).await;
        until(PATIENCE, "etcd to be healthy", up).await;
        if self.unsettled.load(Ordering::Relaxed) {
            self.set_up().await;
        }
    }

    /// The same for a while and with `enough` members, as far as other faults let it.
    async fn come_up_soon(&mut self, enough: usize) {
        within(RESTART_LIMIT, async || self.come_up(enough).await).await;
    }

    /// One look, and one step, at how many members answer and agree on a leader.
    async fn come_up(&mut self, enough: usize) -> Result<(), String> {
        self.spawn_all();
        let complete = self.complete().await;
        let statuses = self.statuses().await;
        let leaders: Vec<_> = statuses
            .iter()
            .map(|status| status.as_ref().map_or(0, StatusResponse::leader))
            .collect();
        let answering = self.calls.answering().await;
        let follow = |leader: u64| {
            let members = leaders.iter().zip(&answering);
            members.filter(move |(of, answers)| **answers && **of == leader && leader != 0)
        };
        let most = leaders.iter().map(|leader| follow(*leader).count()).max();
        if most >= Some(enough) && (enough < MEMBERS || complete.is_ok()) {
            return Ok(());
        }
        let said = self.processes();
        Err(format!(
            "leaders {leaders:?}, answers {answering:?}, {complete:?}; {said:#?}"
        ))
    }

    /// Adds each member that the cluster does not have, with no data, and promotes the learners.
    async fn complete(&mut self) -> Result<(), String> {
        let lists = self
            .calls
            .each(async |mut client| client.member_list().await);
        // A member that was removed, or is yet to hear of a change, may tell an old list; the leader's is new.
        let leader = self.leader().await.ok_or("no leader")?;
        let lists = lists.await;
        let list = lists[leader].as_ref().ok_or("no list of members")?;
        let mut whole = Ok(());
        for (number, member) in self.members.iter_mut().enumerate() {
            let url = member.peer_url();
            let mut known = list.members().iter();
            let known = known.find(|known| known.peer_urls().contains(&url));
            let mut client = self.calls.to_member(leader);
            let done = match known {
                Some(known) if known.is_learner() => {
                    client.member_promote(known.id()).await.map(drop)
                }
                Some(_) => continue,
                None => {
                    member.kill();
                    member.forget();
                    member.joins = true;
                    let learner = Some(MemberAddOptions::new().with_is_learner());
                    client.member_add([url], learner).await.map(drop)
                }
            };
            whole = Err(format!("m{number} is not yet a member: {done:?}"));
        }
        whole
    }

    async fn statuses(&self) -> Vec<Option<StatusResponse>> {
        let status = async |mut client: Client| client.status().await;
        self.calls.each(status).await
    }

    /// The member that says that it leads, and the newest if several do.
    pub(crate) async fn leader(&self) -> Option<usize> {
        let statuses = self.statuses().await;
        let leads = |status: &StatusResponse| status.leader() != 0 && status.leader() == id(status);
        let claims = statuses.iter().enumerate().filter_map(|(number, status)| {
            let status = status.as_ref().filter(|status| leads(status))?;
            Some((status.raft_term(), number))
        });
        claims.max().map(|(_, number)| number)
    }

    /// To another member that answers, `next` of them; `false` when there is none, or when it was not confirmed.
    pub(crate) async fn move_leader(&self, next: usize) -> bool {
        let Some(leader) = self.leader().await else {
            return false;
        };
        let answering = self.calls.answering().await;
        let statuses = self.statuses().await;
        let others: Vec<_> = (0..MEMBERS)
            .filter(|other| *other != leader && answering[*other])
            .filter_map(|other| statuses[other].as_ref().map(id))
            .collect();
        if others.is_empty() {
            return false;
        }
        let next = others[next % others.len()];
        let mut client = self.calls.to_member(leader);
        // Another election may have been faster.
        let moved = timeout(WRITE_LIMIT, client.move_leader(next)).await;
        matches!(moved, Ok(Ok(_)))
    }

    /// A member is removed, its data are lost, and it comes back as a new one, at the latest when the cluster is
    /// healthy. `false` and nothing where not both others answer within 5 s, or the removal is not confirmed.
    pub(crate) async fn replace(&mut self, member: usize) -> bool {
        if !self.calls.others_answer(member).await {
            return false;
        }
        self.kill(member);
        let url = self.members[member].peer_url();
        let remove = async |client| remove(client, &url).await;
        // If that is not confirmed, the member comes back as it was.
        let removed = self.calls.admin(&["member not found"], remove).await;
        if removed {
            self.members[member].forget();
        }
        self.come_up_soon(MEMBERS).await;
        removed
    }

    /// All members lose their data at once: a new cluster, where revisions and users begin anew.
    pub(crate) async fn wipe(&mut self) {
        self.kill_all();
        for member in &mut self.members {
            member.forget();
            member.joins = false;
        }
        self.plan.token = format!("{:x}", fastrand::u64(..));
        self.start_again().await;
    }

    /// All members are killed, their data copied, and started again.
    pub(crate) async fn save(&mut self) {
        self.kill_all();
        for member in &mut self.members {
            member.save();
        }
        self.saved = true;
        self.come_up_soon(MAJORITY).await;
    }

    /// All members are as they were saved last: revisions go back. Nothing happens when nothing was saved.
    pub(crate) async fn restore(&mut self) {
        if !self.saved {
            return;
        }
        self.kill_all();
        for member in &mut self.members {
            member.restore();
        }
        self.start_again().await;
    }

    async fn start_again(&mut self) {
        self.come_up_soon(MAJORITY).await;
        self.set_up().await;
    }

    /// Users with all their rights, no alarm, and the password that is in the file.
    async fn set_up(&self) {
        let password = self.password.lock().expect("nobody panics with it").clone();
        let done = access::set_up(&self.calls, &password).await;
        self.unsettled.store(!done, Ordering::Relaxed);
    }

    /// Notes what [`healthy`](Self::healthy) is to set back; whether it was confirmed.
    fn settled(&self, done: bool) -> bool {
        self.unsettled.fetch_or(!done, Ordering::Relaxed);
        done
    }

    /// All history is thrown away; whether that was confirmed.
    pub(crate) async fn compact(&self) -> bool {
        let settled = ["has been compacted"];
        self.calls.admin(&settled, compact).await
    }

    /// etcd says that its disks are full, and takes deletions alone.
    pub(crate) async fn fill(&self) -> bool {
        self.settled(access::fill(&self.calls).await)
    }

    /// Takes that back.
    pub(crate) async fn make_room(&self) -> bool {
        self.settled(access::make_room(&self.calls).await)
    }

    /// The revision of users and rights changes, as an unrelated user comes and goes: tokens may be refused.
    pub(crate) async fn bump_auth(&self) -> bool {
        self.settled(access::bump(&self.calls).await)
    }

    /// The agent's, first in etcd, then in its file.
    pub(crate) async fn change_password(&self, n: u32) -> bool {
        let next = password(n);
        let done = access::set_password(&self.calls, &next).await;
        if done {
            access::write_password(&self.password_file(), &next);
            *self.password.lock().expect("nobody panics with it") = next;
        }
        self.settled(done)
    }

    /// The agent may not even read records.
    pub(crate) async fn take_rights(&self) -> bool {
        self.settled(access::take_rights(&self.calls).await)
    }

    /// Takes that back.
    pub(crate) async fn give_rights(&self) -> bool {
        self.settled(access::give_rights(&self.calls).await)
    }

    /// Certificates and keys of the servers and of the agent anew, in the same files.
    pub(crate) async fn renew_certificates(&self) {
        access::renew_certificates(&self.pki);
    }

    /// All keys that begin like this, as of now; `None` when no member answers within a second.
    pub(crate) async fn list(&self, prefix: &str) -> Option<Vec<Kv>> {
        let options = GetOptions::new().with_prefix();
        let answer = self.calls.read(prefix, options).await?;
        Some(answer.kvs().iter().map(Kv::from).collect())
    }

    /// Who reads while the cluster itself is borrowed by somebody who breaks it.
    pub(crate) fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.calls))
    }

    /// Writes a key without a lease. `false` when that was not confirmed within 3 s: then it may still be done, until
    /// the next put or delete is confirmed.
    pub(crate) async fn put(&self, key: &str, value: &[u8]) -> bool {
        self.calls.write(Write::Put(key, value)).await
    }

    /// Deletes a key without notice; the same holds.
    pub(crate) async fn delete(&self, key: &str) -> bool {
        self.calls.write(Write::Delete(key)).await
    }

    /// What each member said last, for a report.
    pub(crate) fn processes(&self) -> Vec<String> {
        self.members.iter().map(Member::report).collect()
    }
}

fn id(status: &StatusResponse) -> u64 {
    status
        .header()
        .map_or(0, etcd_client::ResponseHeader::member_id)
}

fn password(n: u32) -> String {
    format!("agent-{n}")
}

async fn remove(mut client: Client, url: &String) -> Result<(), Error> {
    let list = client.member_list().await?;
    let mut known = list.members().iter();
    match known.find(|known| known.peer_urls().contains(url)) {
        Some(known) => client.member_remove(known.id()).await.map(drop),
        None => Ok(()),
    }
}

async fn compact(mut client: Client) -> Result<(), Error> {
    let answer = client.get("none", None).await?;
    let revision = answer
        .header()
        .map_or(1, etcd_client::ResponseHeader::revision);
    let physical = Some(CompactionOptions::new().with_physical());
    client.compact(revision, physical).await.map(drop)
}

/// In memory where that can be: a slow disk is not what is tested.
fn folder() -> TempDir {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let memory = mounts.lines().any(|line| line.contains(" /dev/shm tmpfs "));
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("sidekick-test-");
    let in_memory = memory
        .then(|| builder.tempdir_in("/dev/shm").ok())
        .flatten();
    in_memory.unwrap_or_else(crate::support::folder)
}
