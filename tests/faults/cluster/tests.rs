use super::Cluster;

use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Error};
use tokio::time::Instant;

use crate::support::{Kv, Link, PATIENCE, until};

const KEY: &str = "/services/website/a";

impl Cluster {
    /// Writes, reads and deletes work again; tells how long that took together.
    #[track_caller]
    fn works(&self, after: &str) -> impl Future<Output = ()> {
        let start = Instant::now();
        let value = format!("after {after}");
        let works = until(
            PATIENCE,
            format!("etcd to work after {after}"),
            async move || {
                let put = self.put(KEY, value.as_bytes()).await;
                let there = self.list("/services/").await;
                let deleted = self.delete(KEY).await;
                let gone = self.list("/services/").await;
                let only = there
                    .as_deref()
                    .and_then(|kvs| <&[Kv; 1]>::try_from(kvs).ok());
                let right = only.is_some_and(|[kv]| kv.value == value) && gone == Some(Vec::new());
                let seen = || {
                    format!(
                        "{put}, {there:?}, {deleted}, {gone:?}; {:#?}",
                        self.processes()
                    )
                };
                (put && deleted && right).then_some(()).ok_or_else(seen)
            },
        );
        let after = after.to_owned();
        async move {
            works.await;
            println!("works after {after}: {:?}", start.elapsed());
        }
    }

    async fn ids(&self) -> Vec<u64> {
        until(PATIENCE, "all members to tell their ids", async || {
            let statuses = self.statuses().await;
            let ids: Vec<_> = statuses.iter().flatten().map(super::id).collect();
            (ids.len() == 3).then_some(ids)
        })
        .await
    }

    async fn leads(&self) -> usize {
        let leader = async || self.leader().await;
        until(PATIENCE, "a leader", leader).await
    }

    /// What etcd says to the agent who writes a record, by one member.
    async fn agent(&self, member: usize) -> Result<(), Error> {
        let password = std::fs::read_to_string(self.password_file()).unwrap();
        let options = ConnectOptions::new()
            .with_timeout(Duration::from_secs(3))
            .with_tls(self.pki().client_options())
            .with_user("agent", password);
        let endpoint = format!("https://{}", self.address(member));
        let mut client = Client::connect([endpoint], Some(options)).await?;
        client.put(KEY, "the agent's", None).await.map(drop)
    }
}

fn changed(before: &[u64], after: &[u64]) -> Vec<usize> {
    (0..3)
        .filter(|&member| before[member] != after[member])
        .collect()
}

fn timed(what: &str, start: &mut Instant) {
    println!("{what}: {:?}", start.elapsed());
    *start = Instant::now();
}

#[tokio::test]
async fn a_majority_answers_whatever_happens_to_one_member() {
    let mut time = Instant::now();
    let mut cluster = Cluster::start().await;
    timed("start", &mut time);
    cluster.works("the start").await;

    for follower_first in [true, false] {
        let leader = cluster.leads().await;
        let member = if follower_first {
            (leader + 1) % 3
        } else {
            leader
        };
        cluster.kill(member);
        cluster.works("a kill").await;
        cluster.spawn(member);
        cluster.healthy().await;
        timed("killed and back", &mut time);

        let leader = cluster.leads().await;
        let member = if follower_first {
            (leader + 1) % 3
        } else {
            leader
        };
        cluster.freeze(member);
        cluster.works("a freeze").await;
        cluster.thaw(member);
        cluster.healthy().await;
        timed("frozen and back", &mut time);

        let leader = cluster.leads().await;
        let member = if follower_first {
            (leader + 1) % 3
        } else {
            leader
        };
        cluster.isolate(member);
        cluster.works("a cut").await;
        assert_ne!(cluster.leads().await, member);
        cluster.rejoin();
        cluster.healthy().await;
        timed("cut off and back", &mut time);
    }
    let leader = cluster.leads().await;
    cluster.part(leader, (leader + 1) % 3);
    cluster.works("two that do not hear each other").await;
    cluster.rejoin();
    cluster.healthy().await;
    timed("parted and back", &mut time);

    let leader = cluster.leads().await;
    for link in [Link::Silent, Link::Down, Link::Up] {
        cluster.peer_link(leader).set(link);
        cluster.works("a change of the leader's link").await;
    }
    cluster.healthy().await;
    timed("links", &mut time);

    let leader = cluster.leads().await;
    cluster.move_leader(0).await;
    assert_ne!(cluster.leads().await, leader);
    cluster.works("another leader").await;
    timed("leader moved", &mut time);

    let before = cluster.ids().await;
    cluster.replace(1).await;
    timed("replaced", &mut time);
    let after = cluster.ids().await;
    assert_eq!(changed(&before, &after), [1]);
    cluster.works("a replacement").await;
    let leader = cluster.leads().await;
    cluster.kill(leader);
    cluster.replace(leader).await;
    assert_eq!(changed(&after, &cluster.ids().await), [leader]);
    timed("dead leader replaced", &mut time);
    cluster.works("the next replacement").await;
    let before = cluster.ids().await;
    cluster.kill(2);
    cluster.replace(0).await;
    cluster.healthy().await;
    assert_eq!(cluster.ids().await, before, "one of two stays");
    cluster.works("no replacement").await;
}

#[tokio::test]
async fn without_a_majority_nothing_is_confirmed_and_nothing_hangs() {
    let mut cluster = Cluster::start().await;
    cluster.kill(0);
    cluster.freeze(1);
    let start = Instant::now();
    assert_eq!(cluster.list("/services/").await, None);
    assert!(start.elapsed() < Duration::from_secs(2));
    assert!(!cluster.put(KEY, b"lost").await);
    cluster.bump_auth().await;
    cluster.change_password(7).await;
    assert!(start.elapsed() < Duration::from_secs(20));
    cluster.thaw(1);
    cluster.healthy().await;
    cluster.works("no majority").await;
    assert!(cluster.agent(0).await.is_ok());
}

#[tokio::test]
async fn users_and_data_change_as_told() {
    let mut time = Instant::now();
    let mut cluster = Cluster::start().await;
    assert!(cluster.agent(0).await.is_ok());
    cluster.bump_auth().await;
    cluster.change_password(1).await;
    assert!(cluster.agent(1).await.is_ok());
    cluster.renew_certificates().await;
    assert!(cluster.agent(2).await.is_ok());
    cluster.take_rights().await;
    let error = cluster
        .agent(2)
        .await
        .expect_err("it has no right")
        .to_string();
    assert!(error.contains("permission denied"), "{error}");
    cluster.works("no rights").await;
    cluster.give_rights().await;
    assert!(cluster.agent(2).await.is_ok());
    timed("users", &mut time);

    cluster.compact().await;
    cluster.works("a compaction").await;
    assert!(cluster.put(KEY, b"one").await);
    cluster.fill().await;
    assert!(!cluster.put(KEY, b"two").await);
    assert!(cluster.delete(KEY).await);
    cluster.make_room().await;
    cluster.works("an alarm").await;
    timed("space", &mut time);

    cluster.restore().await;
    assert!(cluster.put(KEY, b"saved").await);
    let revision = cluster.list(KEY).await.unwrap()[0].mod_revision;
    cluster.save().await;
    timed("saved", &mut time);
    cluster.replace(0).await;
    cluster.change_password(2).await;
    assert!(cluster.put(KEY, b"lost").await);
    cluster.restore().await;
    timed("restored", &mut time);
    let kv = &cluster.list(KEY).await.unwrap()[0];
    assert_eq!((&*kv.value, kv.mod_revision), ("saved", revision));
    assert!(cluster.agent(0).await.is_ok());
    cluster.works("a restore").await;

    assert!(cluster.put(KEY, b"lost").await);
    cluster.wipe().await;
    timed("wiped", &mut time);
    assert_eq!(cluster.list("/services/").await, Some(Vec::new()));
    assert!(cluster.agent(0).await.is_ok());
    cluster.works("a wipe").await;
    cluster.restore().await;
    cluster.works("a restore of the cluster before").await;

    cluster.isolate(2);
    cluster.wipe().await;
    cluster.works("a wipe while one member is cut off").await;
    cluster.freeze(0);
    cluster.save().await;
    cluster.works("a copy while one member is cut off").await;
    cluster.replace(2).await;
    cluster.works("a member that could not be replaced").await;
    cluster.rejoin();
    cluster.healthy().await;
    timed("two faults at once", &mut time);
}
