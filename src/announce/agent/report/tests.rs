use std::time::Duration;

use tokio::time::{advance, sleep};

use super::*;
use crate::announce::Ready;
use crate::announce::settings::Settings;
use crate::etcd::client::{self, Cluster};
use crate::model::{Format, Record};
use crate::probe::{Failure, Pace};
use crate::util::logged::Logged;

fn agent(on_failure: OnFailure) -> Agent {
    let settings = Settings {
        id: "website/n1".parse().unwrap(),
        record: Record::new("10.0.0.1:80".parse().unwrap()),
        format: Format::Json,
        runs_since: None,
        prefix: Default::default(),
        meta: Default::default(),
        probes: vec![],
        pace: Pace {
            interval: Duration::from_millis(150),
            timeout: Duration::from_millis(100),
            grace: Duration::ZERO,
        },
        rise: 1,
        fall: 1,
        on_failure,
        ttl: Duration::from_secs(15),
        ready: Ready::Announced,
        drain_timeout: Duration::from_secs(10),
        linger: Duration::ZERO,
    };
    let etcd = client::Settings {
        endpoints: vec!["http://127.0.0.1:1".to_owned()],
        user: None,
        tls: None,
    };
    Agent::new(settings, Cluster::new(etcd))
}

fn failed() -> Verdict {
    Err(Failure {
        probe: "http://10.0.0.1:80/health".into(),
        reason: "HTTP 500, expected 200-399".into(),
    })
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_changes_with_each_probe_gives_few_lines_and_the_last_state() {
    let (mut agent, logged) = (agent(OnFailure::Withdraw), Logged::start());
    for _ in 0..150 {
        agent.judge(Ok(()));
        advance(Duration::from_millis(150)).await;
        agent.judge(failed());
        advance(Duration::from_millis(150)).await;
    }
    let failed = "failed 1 time in a row: http://10.0.0.1:80/health: HTTP 500";
    assert_eq!(logged.count(failed), 3, "{:#?}", logged.lines());
    assert_eq!(logged.count("passes its probes"), 3);
    sleep(Duration::from_secs(60)).await;
    let lines = logged.lines();
    let last = lines.iter().rfind(|line| line.contains(failed)).unwrap();
    assert_eq!(logged.count(failed), 4);
    assert!(last.contains(" (since "), "{last}");
    assert!(
        last.contains("(146 lines like this were left out)"),
        "{last}"
    );
    assert_eq!(
        logged.count("147 lines of the kind \"passes\""),
        1,
        "{lines:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_marked_down_is_not_called_announced() {
    for (on_failure, told) in [
        (OnFailure::Mark, "marked down at revision 8"),
        (OnFailure::Withdraw, "withdrawing the record of revision 8"),
    ] {
        let mut agent = agent(on_failure);
        let (_sender, lease) = tokio::sync::watch::channel(LeaseStatus::Held {
            revision: 8,
            value: b"v"[..].into(),
        });
        agent.lease = lease;
        agent.judge(Ok(()));
        assert!(agent.status().contains("announced at revision 8"));
        agent.judge(failed());
        let status = agent.status();
        assert!(status.contains(told), "{status}");
    }
}
