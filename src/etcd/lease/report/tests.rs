use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, advance};

use super::*;
use crate::etcd::client::{Cluster, Settings};
use crate::etcd::lease::handed::Lease;
use crate::etcd::lease::status::Wanted;
use crate::etcd::lease::task::Seen;
use crate::etcd::ownership::{Claim, Past};
use crate::util::logged::Logged;
use crate::util::troubles::Troubles;

fn task() -> Task {
    let value: Arc<[u8]> = (*b"value").into();
    let settings = Settings {
        endpoints: vec!["http://127.0.0.1:1".to_owned()],
        user: None,
        tls: None,
    };
    Task {
        cluster: Cluster::new(settings),
        key: b"/services/a/b".to_vec(),
        ttl: Duration::from_secs(10),
        wants: watch::channel(Wanted::Present(value)).1,
        statuses: watch::channel(LeaseStatus::Pending { error: None }).0,
        beats: watch::channel(()).0,
        granted: watch::channel(Duration::from_secs(10)).0,
        claim: Claim::new("us".parse().unwrap(), Past::default(), Timestamp::now()),
        lease: None,
        may_stand: false,
        unheard: None,
        seen: Seen::Unknown,
        deleted: None,
        may_go: false,
        no_space: false,
        worked: false,
        troubles: Troubles::default(),
        gone: None,
        refusal: None,
        is_resumed: false,
    }
}

fn cut() -> Error {
    Error::Silent {
        endpoint: "10.0.0.1:2379".to_owned(),
        after: Duration::from_secs(1),
    }
}

/// Fails once a second for so long.
async fn fails(task: &mut Task, seconds: u64) {
    for _ in 0..seconds {
        task.note_failure(&cut());
        advance(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_lasts_is_told_whatever_came_before_it() {
    let (mut task, logged) = (task(), Logged::start());
    for _ in 0..4 {
        fails(&mut task, 1).await;
        task.note_success();
    }
    assert_eq!(logged.count("cannot keep"), 3, "{:#?}", logged.lines());
    assert_eq!(logged.count("kept in etcd again"), 3);
    fails(&mut task, 50).await;
    assert_eq!(logged.lines().len(), 6, "{:#?}", logged.lines());
    fails(&mut task, 50).await;
    assert_eq!(logged.lines().len(), 7, "{:#?}", logged.lines());
    let last = logged.last();
    assert!(last.contains("cannot keep /services/a/b"), "{last}");
    assert!(last.contains("(1 line like this was left out)"), "{last}");
    task.note_success();
    assert!(logged.last().contains("kept in etcd again"));
}

#[tokio::test(start_paused = true)]
async fn that_a_record_counts_as_gone_is_told_if_it_lasts_whatever_came_before_it() {
    let (mut task, logged) = (task(), Logged::start());
    let lose = async |task: &mut Task, seconds| {
        task.lease = Some(Lease {
            id: 7,
            ttl: Duration::from_secs(10),
            until: Instant::now(),
        });
        task.lost("etcd no longer knows the lease");
        fails(task, seconds).await;
    };
    for _ in 0..4 {
        lose(&mut task, 1).await;
        task.note_success();
    }
    assert_eq!(logged.count("counts as gone"), 3, "{:#?}", logged.lines());
    lose(&mut task, 100).await;
    assert_eq!(logged.count("counts as gone"), 4, "{:#?}", logged.lines());
}
