//! Releases: makes pushers let go of the protected servers of an upstream.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::etcd::client::Cluster;
use crate::etcd::lease::{Confirmed, LeaseStatus, Wanted};
use crate::etcd::oneshot::list;
use crate::etcd::pushers::Pushers;
use crate::etcd::range::Range;
use crate::etcd::{self, lease, pushers};
use crate::model::{MetaPrefix, Nonce, PusherId, PusherStatus, Release};
use crate::target::UpstreamName;
use crate::util::clock;

/// How long a release stays for pushers that cannot reach etcd at the moment.
const STANDS: Duration = Duration::from_secs(60);

/// What to release, and how long to wait for the pushers.
#[derive(Debug)]
pub struct Order {
    /// The upstream, by its name in the targets.
    pub upstream: UpstreamName,
    /// The prefix of sidekick's own keys.
    pub meta: MetaPrefix,
    /// The deadline for the whole.
    pub deadline: Instant,
}

/// The result.
#[derive(Debug)]
pub enum Outcome {
    /// No pusher is alive; these are silent.
    NoPusher(BTreeSet<PusherId>),
    /// Every live pusher was asked.
    Asked {
        /// The answer of each.
        answers: Vec<(PusherId, Answer)>,
        /// The silent pushers.
        silent: BTreeSet<PusherId>,
    },
}

/// A pusher's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It has let go of this many servers.
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
    /// etcd did not answer in time.
    #[error("etcd does not answer")]
    Silent,
    /// etcd did not confirm the release, for this reason if one is known.
    #[error("etcd did not confirm the release of {upstream} in time{}", .why.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    Unconfirmed {
        /// Of which upstream.
        upstream: UpstreamName,
        /// Why not.
        why: Option<Arc<str>>,
    },
    /// etcd refuses the release.
    #[error("{upstream} is not released: {why}")]
    Refused {
        /// Which upstream.
        upstream: UpstreamName,
        /// Why not.
        why: Arc<str>,
    },
}

impl Order {
    /// Writes the release, and waits until every live pusher has answered; calls `waiting` with those that have not.
    ///
    /// # Errors
    /// When etcd does not accept it.
    pub async fn give(
        &self,
        cluster: &Cluster,
        mut waiting: impl FnMut(&[String]),
    ) -> Result<Outcome, Error> {
        // First find out why etcd does not answer: the steps after this retry for ever.
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
            let upstream = self.upstream.clone();
            return Err(match &*keeper.status().borrow() {
                LeaseStatus::Pending { error: Some(it) } if it.denied => Error::Refused {
                    upstream,
                    why: it.text.clone(),
                },
                lease => Error::Unconfirmed {
                    upstream,
                    why: lease.error(),
                },
            });
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
        // The answers show who has not answered in time.
        let _ = timeout_at(self.deadline, watch.until_so(all)).await;
        // The key stays until its lease ends, for pushers that come back to etcd in the meantime.
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

    /// A pusher's answer to this release.
    fn answer(&self, status_record: &PusherStatus, nonce: &Nonce) -> Answer {
        let release = status_record.releases.get(self.upstream.as_str());
        match release.filter(|release| release.nonce == *nonce) {
            None => Answer::None,
            Some(release) => release.servers.map_or(Answer::NoUpstream, Answer::Released),
        }
    }
}
