//! Who reads while the cluster is borrowed by somebody who breaks it: whichever member answers.

use std::sync::Arc;

use etcd_client::{Error, GetOptions, ResponseHeader};
use futures_util::future::select_ok;
use tokio::time::timeout;

use super::MEMBERS;
use super::calls::{Calls, READ_LIMIT};
use crate::support::Kv;

#[derive(Debug, Clone)]
pub(crate) struct Reader(Arc<Calls>);

/// What there was at one moment.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) keys: Vec<Kv>,
    /// Grows with each new leader.
    pub(crate) term: u64,
}

impl Reader {
    pub(super) fn new(calls: Arc<Calls>) -> Self {
        Self(calls)
    }

    /// All keys below a prefix; `None` when nobody answers within a second.
    pub(crate) async fn list(&self, prefix: &str) -> Option<Listed> {
        let options = GetOptions::new().with_prefix();
        let (_, answer) = self.0.first(prefix, &options).await.ok()?;
        Some(Listed {
            keys: answer.kvs().iter().map(Kv::from).collect(),
            term: answer.header().map_or(0, ResponseHeader::raft_term),
        })
    }

    /// Whole seconds that are left of a lease, below 0 where it is over and not yet revoked; `None` where it is unknown, or nobody
    /// answers within a second.
    pub(crate) async fn lease_left(&self, lease: i64) -> Option<i64> {
        let calls = (0..MEMBERS).map(|member| {
            let mut client = self.0.to_member(member);
            Box::pin(async move {
                let answer = client.lease_time_to_live(lease, None).await?;
                Ok::<_, Error>((answer.granted_ttl() > 0).then_some(answer.ttl()))
            })
        });
        let answer = timeout(READ_LIMIT, select_ok(calls)).await.ok()?;
        answer.ok()?.0
    }
}
