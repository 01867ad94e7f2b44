use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::*;

/// An upstream that does what its script says, and tells when it was asked for which revision.
struct Scripted {
    leaving: Vec<Serving>,
    script: VecDeque<Result<Progress, Error>>,
    asked: mpsc::UnboundedSender<(Duration, i64)>,
    start: Instant,
}

#[async_trait::async_trait]
impl Upstream for Scripted {
    async fn converge(&mut self, desired: &Desired) -> Result<Outcome, Error> {
        self.asked
            .send((self.start.elapsed(), desired.revision))
            .unwrap();
        // As long as an upstream works, others run.
        tokio::task::yield_now().await;
        let progress = self.script.pop_front().unwrap_or(Ok(Progress::Converged))?;
        Ok(Outcome::new(progress))
    }

    async fn compare(&mut self, _: &Desired) -> Result<crate::upstream::plan::Plan, Error> {
        Ok(crate::upstream::plan::Plan {
            leaving: self.leaving.clone(),
            ..crate::upstream::plan::Plan::default()
        })
    }
}

struct Stage {
    publish: watch::Sender<Published>,
    asked: mpsc::UnboundedReceiver<(Duration, i64)>,
    found: mpsc::UnboundedReceiver<Found>,
    reports: mpsc::UnboundedReceiver<Report>,
    restarts: watch::Sender<u64>,
    defer: watch::Sender<bool>,
    permits: Arc<Semaphore>,
    start: Instant,
}

impl Stage {
    fn new(script: impl IntoIterator<Item = Result<Progress, Error>>) -> Self {
        Self::with_found(false, script)
    }

    /// With a server that is found there, or without.
    fn with_found(found: bool, script: impl IntoIterator<Item = Result<Progress, Error>>) -> Self {
        let is_found = found;
        let (tell_found, found) = mpsc::unbounded_channel();
        let (publish, desired) = watch::channel(None);
        let (restarts, restarted) = watch::channel(0);
        let (defer, deferring) = watch::channel(false);
        let (tell_asked, asked) = mpsc::unbounded_channel();
        let (tell_report, reports) = mpsc::unbounded_channel();
        let (permits, start) = (Arc::new(Semaphore::new(1)), Instant::now());
        let leaving = Serving {
            endpoint: "10.0.0.1:80".parse().unwrap(),
            weight: std::num::NonZeroU16::MIN,
            backup: false,
        };
        let upstream = Scripted {
            leaving: is_found.then_some(leaving).into_iter().collect(),
            script: script.into_iter().collect(),
            asked: tell_asked,
            start,
        };
        let links = Links {
            number: 7,
            target: "edge".into(),
            upstream: "website".into(),
            desired,
            restarts: restarted,
            deferring,
            reports: tell_report,
            finds: tell_found,
            permits: permits.clone(),
            pacing: watch::Sender::new(Pacing::default()).subscribe(),
        };
        tokio::spawn(run(Box::new(upstream), links));
        Self {
            publish,
            asked,
            found,
            reports,
            restarts,
            defer,
            permits,
            start,
        }
    }

    fn publish(&self, revision: i64) {
        let desired = Desired::at(revision, &BTreeMap::new());
        self.publish.send_replace(Some(Arc::new(desired)));
    }

    /// When the upstream was asked next, and for which revision.
    async fn asked(&mut self) -> (u64, i64) {
        let (at, revision) = self.asked.recv().await.unwrap();
        (at.as_millis().try_into().unwrap(), revision)
    }

    async fn status(&mut self) -> UpstreamStatus {
        let (number, status) = self.reports.recv().await.unwrap();
        assert_eq!(number, 7);
        // What is made of the servers has tests of its own.
        UpstreamStatus {
            seen: None,
            ..status
        }
    }

    async fn pass(&self, millis: u64) {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}

fn confirmed(confirmed: i64) -> UpstreamStatus {
    UpstreamStatus {
        confirmed,
        has: Some(0),
        ..UpstreamStatus::default()
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_before_anything_is_desired() {
    let mut stage = Stage::new([]);
    stage.pass(100_000).await;
    assert!(stage.asked.try_recv().is_err());
    assert!(stage.reports.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_change_is_followed_after_the_debounce_time_and_confirmed() {
    let mut stage = Stage::new([]);
    stage.publish(3);
    assert_eq!(stage.asked().await, (5, 3));
    assert_eq!(stage.status().await, confirmed(3));
}

#[tokio::test(start_paused = true)]
async fn changes_that_follow_closely_are_one() {
    let mut stage = Stage::new([]);
    for revision in 1..=3 {
        stage.publish(revision);
        stage.pass(3).await;
    }
    assert_eq!(stage.asked().await, (11, 3));
}

#[tokio::test(start_paused = true)]
async fn changes_without_end_hold_back_the_first_by_50_ms_at_most() {
    let mut stage = Stage::new([]);
    for revision in 1..=30 {
        stage.publish(revision);
        stage.pass(4).await;
    }
    let (at, revision) = stage.asked().await;
    assert!((50..=51).contains(&at) && revision >= 12, "{at} {revision}");
}

#[tokio::test(start_paused = true)]
async fn without_a_change_the_target_is_read_at_every_resync_and_nothing_is_reported() {
    let mut stage = Stage::new([]);
    stage.publish(1);
    assert_eq!(stage.asked().await, (5, 1));
    assert_eq!(stage.asked().await, (30_005, 1));
    assert_eq!(stage.asked().await, (60_005, 1));
    assert_eq!(stage.status().await, confirmed(1));
    assert!(stage.reports.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn who_defers_to_others_repairs_only_what_a_restart_has_taken() {
    let mut stage = Stage::new([]);
    stage.publish(1);
    stage.asked().await;
    stage.defer.send_replace(true);
    stage.pass(100_000).await;
    assert!(stage.asked.try_recv().is_err());
    stage.restarts.send_replace(1);
    assert_eq!(stage.asked().await, (100_005, 1));
    stage.pass(100_000).await;
    assert!(stage.asked.try_recv().is_err());
    stage.defer.send_replace(false);
    assert_eq!(stage.asked().await, (200_005, 1));
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_the_target_is_answered_at_once() {
    let mut stage = Stage::new([Ok(Progress::Converged), Err(Error::NotRunning)]);
    stage.publish(1);
    stage.asked().await;
    stage.pass(10_000).await;
    stage.restarts.send_replace(1);
    assert_eq!(stage.asked().await, (10_005, 1));
    stage.pass(50).await;
    stage.restarts.send_replace(2);
    assert_eq!(
        stage.asked().await,
        (10_055, 1),
        "even when it failed a moment ago"
    );
}

#[tokio::test(start_paused = true)]
async fn unfinished_work_goes_on_at_once_with_whatever_is_newest() {
    let mut stage = Stage::new([Ok(Progress::Unfinished), Ok(Progress::Unfinished)]);
    stage.publish(1);
    assert_eq!(stage.asked().await, (5, 1));
    stage.publish(2);
    assert_eq!(stage.asked().await, (5, 2));
    assert_eq!(stage.asked().await, (5, 2));
    assert_eq!(stage.status().await, confirmed(2));
}

#[tokio::test(start_paused = true)]
async fn a_drain_is_polled_until_it_ends_and_confirmed_only_then() {
    let draining = || {
        Ok(Progress::Draining {
            active: 1,
            confirmed: 0,
        })
    };
    let mut stage = Stage::new([draining(), draining(), draining()]);
    stage.publish(4);
    let times = [
        stage.asked().await.0,
        stage.asked().await.0,
        stage.asked().await.0,
    ];
    assert_eq!(times, [5, 15, 30]);
    assert_eq!(stage.status().await, confirmed(0));
    assert!(stage.reports.try_recv().is_err());
    stage.asked().await;
    assert_eq!(stage.status().await, confirmed(4));
}

#[tokio::test(start_paused = true)]
async fn what_came_before_a_drain_is_confirmed_while_it_lasts() {
    let mut stage = Stage::new([Ok(Progress::Draining {
        active: 1,
        confirmed: 3,
    })]);
    stage.publish(4);
    assert_eq!(stage.status().await, confirmed(3));
    assert_eq!(stage.status().await, confirmed(4));
}

#[tokio::test(start_paused = true)]
async fn a_change_does_not_wait_for_a_drain() {
    let mut stage = Stage::new((0..100).map(|_| {
        Ok(Progress::Draining {
            active: 1,
            confirmed: 0,
        })
    }));
    stage.publish(4);
    stage.pass(1_000).await;
    while stage.asked.try_recv().is_ok() {}
    stage.publish(5);
    let published = stage.start.elapsed().as_millis();
    while stage.asked().await.1 != 5 {}
    assert!(stage.start.elapsed().as_millis() <= published + 6);
}

#[tokio::test(start_paused = true)]
async fn a_failing_target_is_left_in_peace_between_the_retries() {
    let failed = || Err(Error::ReadOnly);
    let mut stage = Stage::new([failed(), failed(), failed()]);
    stage.publish(1);
    assert_eq!(stage.asked().await, (5, 1));
    let status = stage.status().await;
    assert_eq!((status.confirmed, status.routing), (0, true));
    assert_eq!(status.errors.len(), 1);
    for revision in 2..10 {
        stage.publish(revision);
        stage.pass(10).await;
    }
    let (at, revision) = stage.asked().await;
    assert!(at >= 105 && revision > 2, "{at} {revision}");
    stage.asked().await;
    assert!(
        stage.reports.try_recv().is_err(),
        "the same trouble is reported once"
    );
    stage.asked().await;
    assert_eq!(stage.status().await, confirmed(9));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_refuses_connections_for_three_seconds_is_not_routing() {
    let refusing = std::iter::repeat_n(Err(Error::NotRunning), 40);
    let mut stage = Stage::new([Ok(Progress::Converged)].into_iter().chain(refusing));
    stage.publish(3);
    assert_eq!(stage.status().await, confirmed(3));
    let status = stage.status().await;
    let began = Instant::now();
    assert_eq!((status.confirmed, status.routing), (0, true));
    let status = stage.status().await;
    assert_eq!((status.confirmed, status.routing), (0, false));
    assert_eq!(began.elapsed(), REFUSING, "not before, and not much later");
    assert_eq!(stage.status().await, confirmed(3));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_restarts_is_routing_all_the_time_and_confirms_nothing_meanwhile() {
    let mut stage = Stage::new([
        Ok(Progress::Converged),
        Err(Error::NotRunning),
        Err(Error::NotRunning),
    ]);
    stage.publish(3);
    assert_eq!(stage.status().await, confirmed(3));
    let status = stage.status().await;
    assert_eq!((status.confirmed, status.routing), (0, true));
    assert_eq!(stage.status().await, confirmed(3));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_answer_holds_back_what_was_not_confirmed_before_it() {
    let mut stage = Stage::new([Ok(Progress::Converged), Err(Error::ReadOnly)]);
    stage.publish(3);
    assert_eq!(stage.status().await, confirmed(3));
    stage.publish(4);
    let status = stage.status().await;
    assert_eq!((status.confirmed, status.routing), (3, true));
}

#[tokio::test(start_paused = true)]
async fn after_a_restore_of_etcd_the_lower_revision_counts() {
    let mut stage = Stage::new([
        Ok(Progress::Converged),
        Ok(Progress::Draining {
            active: 1,
            confirmed: 0,
        }),
    ]);
    stage.publish(900);
    assert_eq!(stage.status().await, confirmed(900));
    stage.publish(3);
    assert_eq!(stage.status().await, confirmed(0));
    assert_eq!(stage.status().await, confirmed(3));
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_the_target_is_waited_for() {
    let mut stage = Stage::new([]);
    let permits = stage.permits.clone();
    let permit = permits.acquire().await.unwrap();
    stage.publish(1);
    stage.pass(500).await;
    assert!(stage.asked.try_recv().is_err());
    drop(permit);
    assert_eq!(stage.asked().await, (500, 1));
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_nobody_publishes_any_more() {
    for script in [vec![], vec![Err(Error::ReadOnly)]] {
        let mut stage = Stage::new(script);
        stage.publish(1);
        stage.asked().await;
        drop(stage.publish);
        assert!(stage.reports.recv().await.is_some());
        assert_eq!(stage.reports.recv().await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn what_takes_traffic_at_first_is_told_and_taken_into_account_before_anything_is_done() {
    let mut stage = Stage::with_found(true, []);
    stage.publish(4);
    let found = stage.found.recv().await.unwrap();
    assert_eq!((found.number, found.servers.len()), (7, 1));
    stage.publish(5);
    stage.pass(1_000).await;
    assert!(stage.asked.is_empty(), "it waits to be heard");
    drop(found.heard);
    assert_eq!(stage.asked().await, (1_005, 5));
    stage.publish(6);
    assert_eq!(stage.asked().await.1, 6);
    assert!(stage.found.is_empty(), "only the first time");
}
