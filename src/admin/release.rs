//! Releases: the pushers let go of the servers of an upstream that they protect.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::etcd::client::Cluster;
use crate::etcd::lease::{Confirmed, Wanted};
use crate::etcd::oneshot::list;
use crate::etcd::pushers::Pushers;
use crate::etcd::range::Range;
use crate::etcd::{self, lease, pushers};
use crate::model::{MetaPrefix, Nonce, PusherId, PusherStatus, Release};
use crate::target::UpstreamName;
use crate::util::clock;

/// How long a release stays for pushers that cannot reach etcd at the moment.
const STANDS: Duration = Duration::from_secs(60);

/// What is to be released, and how long the pushers are waited for.
#[derive(Debug)]
pub struct Order {
    /// The upstream, as its targets call it.
    pub upstream: UpstreamName,
    /// Where sidekick's own keys lie.
    pub meta: MetaPrefix,
    /// The deadline for the whole.
    pub deadline: Instant,
}

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// Nobody could be asked; these pushers are silent.
    NoPusher(BTreeSet<PusherId>),
    /// The live pushers were asked.
    Asked {
        /// What each of them answered.
        answers: Vec<(PusherId, Answer)>,
        /// Who is silent.
        silent: BTreeSet<PusherId>,
    },
}

/// What a pusher answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It has let go of so many servers.
    Released(u64),
    /// It has no such upstream.
    NoUpstream,
    /// Nothing yet.
    None,
}

/// Why nothing was released.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// etcd refuses, or cannot be reached.
    #[error(transparent)]
    Etcd(#[from] etcd::Error),
    /// It says nothing in time.
    #[error("etcd does not answer")]
    Silent,
    /// It has not said that the release stands.
    #[error("etcd did not confirm the release of {0} in time")]
    Unconfirmed(UpstreamName),
}

impl Order {
    /// Gives the order, and waits until every live pusher has answered; `waiting` is told for whom.
    ///
    /// # Errors
    /// When etcd does not take it.
    pub async fn give(
        &self,
        cluster: &Cluster,
        mut waiting: impl FnMut(&[String]),
    ) -> Result<Outcome, Error> {
        // First of all, for the reason why etcd cannot be asked: what follows tries for ever.
        let range = Range::Prefix(self.meta.pushers_range().into_bytes());
        let patience = self.deadline.saturating_duration_since(Instant::now());
        list(cluster, patience, &range).await?;
        let mut watch = pushers::Watch::new(cluster.clone(), self.meta.clone());
        let listed = timeout_at(self.deadline, watch.until_so(|_| true)).await;
        listed.map_err(|_| Error::Silent)?;
        if watch.known().status_records().count() == 0 {
            return Ok(Outcome::NoPusher(watch.known().silent()));
        }
        let nonce = Nonce::fresh();
        let key = self.meta.release_key(self.upstream.as_str());
        let keeper = lease::keep(cluster.clone(), key, nonce.clone(), STANDS);
        let since = clock::milliseconds();
        let value = Release {
            nonce: nonce.clone(),
            since,
        }
        .encode();
        keeper.set(Wanted::Present(value.clone().into()));
        let confirmed = timeout_at(self.deadline, keeper.confirmed(&value)).await;
        if !matches!(confirmed, Ok(Confirmed::At(_))) {
            return Err(Error::Unconfirmed(self.upstream.clone()));
        }
        let all = |pushers: &Pushers| {
            let answers = self.answers(pushers, &nonce).into_iter();
            let missing = answers.filter(|(_, answer)| *answer == Answer::None);
            let missing: Vec<_> = missing.map(|(id, _)| id.to_string()).collect();
            if !missing.is_empty() {
                waiting(&missing);
            }
            missing.is_empty()
        };
        // Who has not answered in time is told by the answers.
        let _ = timeout_at(self.deadline, watch.until_so(all)).await;
        // The key stays until its lease ends, for pushers that come back to etcd meanwhile.
        drop(keeper);
        Ok(Outcome::Asked {
            answers: self.answers(watch.known(), &nonce),
            silent: watch.known().silent(),
        })
    }

    fn answers(&self, pushers: &Pushers, nonce: &Nonce) -> Vec<(PusherId, Answer)> {
        let answers = pushers.status_records();
        let answers = answers.map(|(id, status)| (id.clone(), self.answer(status, nonce)));
        answers.collect()
    }

    /// What a pusher did about it.
    fn answer(&self, status_record: &PusherStatus, nonce: &Nonce) -> Answer {
        let release = status_record.releases.get(self.upstream.as_str());
        match release.filter(|release| release.nonce == *nonce) {
            None => Answer::None,
            Some(release) => release.servers.map_or(Answer::NoUpstream, Answer::Released),
        }
    }
}
