use tokio::time::advance;

use super::*;
use crate::util::logged::Logged;

#[tokio::test(start_paused = true)]
async fn a_daemon_that_stays_away_is_told_whatever_came_before_it() {
    let logged = Logged::start();
    let life = Life::new(Instant::now());
    let mut task = Task {
        settings: Settings {
            daemon: Daemon::local(),
            container: "web".parse().unwrap(),
            period: PERIOD,
        },
        states: watch::channel(life.state().clone()).0,
        life,
        newest_event: None,
        troubles: Troubles::default(),
        process: None,
        stopping: None,
    };
    let error = Error::Silent {
        daemon: task.settings.daemon.clone(),
    };
    for _ in 0..4 {
        task.failed(&error);
        task.answered(None);
    }
    assert_eq!(logged.count("answers again"), 3, "{:#?}", logged.lines());
    for _ in 0..100 {
        task.failed(&error);
        advance(Duration::from_secs(1)).await;
    }
    assert_eq!(logged.count("cannot ask"), 4, "{:#?}", logged.lines());
    assert!(logged.last().contains("cannot ask"), "{}", logged.last());
}
