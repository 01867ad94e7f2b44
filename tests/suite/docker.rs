//! The life of containers, followed through real daemons. The times are printed: `cargo test -- docker --nocapture`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sidekick::docker::Container;
use sidekick::docker::daemon::{Address, Daemon};
use sidekick::docker::follow::{Follower, PERIOD, Settings, State, Why, follow};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::support::docker::{self, Kind};
use crate::support::{PATIENCE, Signal, procfs, until};

/// Says in a shell's words that it stops when it was asked to and there is a file `/go`.
const SLOW_TO_STOP: &str = "trap 'until [ -e /go ]; do sleep 0.1; done; exit 0' TERM; \
                            httpd -f -p 80 & while true; do wait; done";

/// Longer than any test: what is noticed with this period, an event has told.
const NEVER: Duration = Duration::from_secs(3600);

/// Watches a container and takes the time.
struct Watch {
    _follower: Follower,
    states: watch::Receiver<State>,
    kind: Kind,
}

impl Watch {
    fn of(daemon: &docker::Daemon, kind: Kind, container: &str) -> Self {
        Self::at(daemon.socket(), kind, container, PERIOD)
    }

    fn at(socket: std::path::PathBuf, kind: Kind, container: &str, period: Duration) -> Self {
        let follower = follow(Settings {
            daemon: Daemon::at(Address::Unix(socket)),
            container: container.parse().unwrap(),
            period,
        });
        Self {
            states: follower.states(),
            _follower: follower,
            kind,
        }
    }

    /// Waits for a state that is as expected, and prints how long that took since `from`.
    async fn until<T>(
        &mut self,
        what: &str,
        from: Instant,
        expected: impl Fn(&State) -> Option<T>,
    ) -> T {
        let found = timeout(PATIENCE, async {
            loop {
                if let Some(found) = expected(&self.states.borrow_and_update()) {
                    return found;
                }
                self.states.changed().await.expect("it follows");
            }
        });
        let found = found.await;
        let state = self.states.borrow().to_string();
        let found = found.unwrap_or_else(|_| panic!("waited in vain for: {what}; it {state}"));
        let after = from.elapsed().as_secs_f64() * 1000.0;
        eprintln!("{:?}: {what:<40} {after:8.1} ms", self.kind);
        found
    }

    async fn runs(&mut self, what: &str, from: Instant) -> Arc<Container> {
        self.until(what, from, |state| match state {
            State::Running(container) => Some(container.clone()),
            _ => None,
        })
        .await
    }

    async fn gone(&mut self, what: &str, from: Instant) -> Why {
        self.until(what, from, |state| match state {
            State::Gone(why) => Some(*why),
            _ => None,
        })
        .await
    }

    async fn named(&mut self, what: &str, name: &str, from: Instant) {
        let named = |state: &State| match state {
            State::Running(container) if container.name == name => Some(()),
            _ => None,
        };
        self.until(what, from, named).await;
    }

    async fn stopping(&mut self, what: &str, from: Instant) {
        let stopping = |state: &State| matches!(state, State::Stopping(_)).then_some(());
        self.until(what, from, stopping).await;
    }

    async fn unknown(&mut self, what: &str, from: Instant) {
        let unknown = |state: &State| matches!(state, State::Unknown { error: Some(_), .. });
        self.until(what, from, |state| unknown(state).then_some(()))
            .await;
    }
}

/// What one container goes through, on either daemon.
async fn life(kind: Kind) {
    let Some(daemon) = docker::Daemon::start(kind).await else {
        return;
    };
    let id = daemon.container("web1").await;
    let mut watch = Watch::of(&daemon, kind, "web1");
    let first = watch.runs("first look", Instant::now()).await;
    assert_eq!(*first.id, *id);
    assert_eq!(first.name, "web1");

    let from = Instant::now();
    let paused = |state: &State| matches!(state, State::Paused(_)).then_some(());
    tokio::join!(
        daemon.act("web1", "pause"),
        watch.until("pause", from, paused)
    );
    let from = Instant::now();
    tokio::join!(daemon.act("web1", "unpause"), watch.runs("unpause", from));

    let from = Instant::now();
    tokio::join!(
        daemon.act("web1", "rename?name=web2"),
        watch.named("rename", "web2", from)
    );
    let from = Instant::now();
    tokio::join!(
        daemon.act("web2", "rename?name=web1"),
        watch.named("rename back", "web1", from)
    );

    let from = Instant::now();
    let ((), why) = tokio::join!(daemon.crash("web1"), watch.gone("crash", from));
    assert!(matches!(why, Why::Ended | Why::Exited { .. }), "{why:?}");
    let exact = |state: &State| (*state == State::Gone(Why::Exited { code: 137 })).then_some(());
    watch.until("crash: exit code", from, exact).await;

    daemon.act("web1", "start").await;
    let second = watch.runs("start, after the answer", Instant::now()).await;
    assert_ne!(first.started_at, second.started_at);
    if kind != Kind::Podman {
        // Podman keeps the port that it chose first.
        assert_ne!(first.published, second.published);
    }

    daemon.act("web1", "restart?t=0").await;
    let again = |state: &State| match state {
        State::Running(container) if container.started_at != second.started_at => Some(()),
        _ => None,
    };
    watch
        .until("restart, after the answer", Instant::now(), again)
        .await;

    let removed = |state: &State| (*state == State::Gone(Why::Removed)).then_some(());
    daemon.remove("web1").await;
    watch
        .until("remove, after the answer", Instant::now(), removed)
        .await;

    let id = daemon.container("web1").await;
    let new = watch
        .runs("recreate, after the answer", Instant::now())
        .await;
    assert_eq!(*new.id, *id);
    let from = Instant::now();
    tokio::join!(
        daemon.crash("web1"),
        watch.gone("crash of the new one", from)
    );
}

#[tokio::test]
async fn docker_tells_the_life_of_a_container() {
    life(Kind::Docker).await;
}

#[tokio::test]
async fn podman_tells_the_life_of_a_container() {
    life(Kind::Podman).await;
}

async fn stopping(kind: Kind) {
    let Some(daemon) = docker::Daemon::start(kind).await else {
        return;
    };
    daemon
        .container_of("slow", &["sh", "-c", SLOW_TO_STOP], json!({}))
        .await;
    let mut watch = Watch::at(daemon.socket(), kind, "slow", NEVER);
    watch.runs("first look", Instant::now()).await;
    let root = format!("/proc/{}/root", daemon.pid("slow").await);
    let from = Instant::now();
    let stop = daemon.act("slow", "stop?t=3600");
    let seen = async {
        watch.stopping("stop: stopping", from).await;
        // It does not stop before it was seen stopping.
        std::fs::write(format!("{root}/go"), "").unwrap();
        watch.gone("stop: gone", from).await
    };
    let ((), why) = tokio::join!(stop, seen);
    assert!(
        matches!(why, Why::Ended | Why::Exited { code: 0 }),
        "{why:?}"
    );
}

#[tokio::test]
async fn a_container_that_is_asked_to_stop_is_stopping_before_it_is_gone() {
    stopping(Kind::Docker).await;
}

#[tokio::test]
async fn a_container_of_podman_that_is_asked_to_stop_is_stopping_before_it_is_gone() {
    stopping(Kind::Podman).await;
}

#[tokio::test]
async fn signals_that_do_not_end_a_container_change_nothing() {
    let kind = Kind::Docker;
    let Some(daemon) = docker::Daemon::start(kind).await else {
        return;
    };
    let command = "trap : HUP USR1; httpd -f -p 80 & while true; do wait; done";
    daemon
        .container_of("web1", &["sh", "-c", command], json!({}))
        .await;
    let mut watch = Watch::of(&daemon, kind, "web1");
    watch.runs("first look", Instant::now()).await;
    daemon.act("web1", "kill?signal=HUP").await;
    daemon.act("web1", "kill?signal=USR1").await;
    // Its event comes behind those of the signals.
    daemon.act("web1", "rename?name=web2").await;
    let next = timeout(PATIENCE, watch.states.changed()).await;
    next.expect("the rename").unwrap();
    let state = watch.states.borrow().clone();
    assert!(
        matches!(&state, State::Running(container) if container.name == "web2"),
        "{state:?}"
    );
}

#[tokio::test]
async fn running_out_of_memory_is_told_as_such() {
    if !procfs::limits_memory() {
        eprintln!("not tested: no container runs out of memory here");
        return;
    }
    let kind = Kind::Docker;
    let Some(daemon) = docker::Daemon::start(kind).await else {
        return;
    };
    let greedy =
        "trap 'x=aaaaaaaa; while true; do x=$x$x; done' USR1; while true; do sleep 0.1; done";
    let limits = json!({"Memory": 8 << 20});
    daemon
        .container_of("greedy", &["sh", "-c", greedy], limits)
        .await;
    let mut watch = Watch::of(&daemon, kind, "greedy");
    watch.runs("first look", Instant::now()).await;
    let from = Instant::now();
    daemon.act("greedy", "kill?signal=USR1").await;
    let ended = |state: &State| match state {
        State::Gone(why @ (Why::OutOfMemory | Why::Exited { .. })) => Some(*why),
        _ => None,
    };
    watch.until("out of memory", from, ended).await;
    let said = until(PATIENCE, "the same reason as the daemon's", async || {
        let said = daemon.inspect("greedy").await["State"]["OOMKilled"] == true;
        let why = if said {
            Why::OutOfMemory
        } else {
            Why::Exited { code: 137 }
        };
        let state = watch.states.borrow().clone();
        if state == State::Gone(why) {
            Ok(said)
        } else {
            Err((said, state))
        }
    })
    .await;
    if !said {
        // The kernel's word may reach the daemon too late, on a busy machine.
        eprintln!("the daemon did not hear that memory ran out: tested by a captured answer only");
    }
}

#[tokio::test]
async fn a_crashing_container_that_is_restarted_is_followed_to_each_new_run() {
    let kind = Kind::Docker;
    let Some(daemon) = docker::Daemon::start(kind).await else {
        return;
    };
    // Without a port, as the daemon does not try another one when it restarts a container by itself.
    let policy = json!({"RestartPolicy": {"Name": "always"}, "PortBindings": {}});
    daemon
        .container_of("web1", &["httpd", "-f", "-p", "80"], policy)
        .await;
    let mut watch = Watch::of(&daemon, kind, "web1");
    let mut before = watch.runs("first look", Instant::now()).await;
    for _ in 0..3 {
        let from = Instant::now();
        tokio::join!(daemon.crash("web1"), watch.gone("crash", from));
        let now = watch.runs("crash: runs again", from).await;
        assert_eq!(now.id, before.id);
        assert_ne!(now.started_at, before.started_at);
        before = now;
    }
}

#[tokio::test]
async fn a_daemon_that_is_restarted_takes_its_containers_along() {
    let kind = Kind::Docker;
    let Some(mut daemon) = docker::Daemon::start(kind).await else {
        return;
    };
    daemon.container("web1").await;
    let mut watch = Watch::of(&daemon, kind, "web1");
    watch.runs("first look", Instant::now()).await;
    let from = Instant::now();
    let seen = async {
        watch
            .until("daemon stops", from, |state| {
                matches!(state, State::Stopping(_) | State::Gone(_)).then_some(())
            })
            .await;
    };
    tokio::join!(daemon.stop(), seen);
    daemon.run().await;
    watch
        .gone("daemon started: still gone", Instant::now())
        .await;
    let from = Instant::now();
    daemon.act("web1", "start").await;
    watch.runs("start", from).await;
}

#[tokio::test]
async fn a_daemon_with_live_restore_is_missed_but_not_its_containers() {
    let kind = Kind::LiveRestore;
    let Some(mut daemon) = docker::Daemon::start(kind).await else {
        return;
    };
    daemon.container("web1").await;
    let mut watch = Watch::at(daemon.socket(), kind, "web1", NEVER);
    let before = watch.runs("first look", Instant::now()).await;
    let from = Instant::now();
    daemon.stop().await;
    watch.unknown("daemon stopped", from).await;
    let from = Instant::now();
    daemon.run().await;
    let after = watch.runs("daemon started", from).await;
    assert!(before.same_run(&after));

    let from = Instant::now();
    daemon.kill().await;
    watch.unknown("daemon killed", from).await;
    let from = Instant::now();
    daemon.run().await;
    let after = watch.runs("daemon started after a crash", from).await;
    assert!(before.same_run(&after));
    // Events are heard again: a look belongs to the beginning, and there is no other for an hour.
    let paused = |state: &State| matches!(state, State::Paused(_)).then_some(());
    for _ in 0..3 {
        let from = Instant::now();
        daemon.act("web1", "pause").await;
        watch.until("pause", from, paused).await;
        let from = Instant::now();
        daemon.act("web1", "unpause").await;
        watch.runs("unpause", from).await;
    }
}

#[tokio::test]
async fn a_daemon_that_appears_late_is_waited_for() {
    let kind = Kind::Docker;
    let Some(mut daemon) = docker::Daemon::planned(kind) else {
        return;
    };
    let mut watch = Watch::of(&daemon, kind, "web1");
    watch.unknown("no socket", Instant::now()).await;
    daemon.run().await;
    daemon.furnish().await;
    watch.gone("no container yet", Instant::now()).await;
    let from = Instant::now();
    daemon.container("web1").await;
    watch.runs("created and started", from).await;
}

#[tokio::test]
async fn a_frozen_daemon_makes_the_state_unknown_and_is_heard_again() {
    let kind = Kind::Docker;
    let Some(daemon) = docker::Daemon::start(kind).await else {
        return;
    };
    daemon.container("web1").await;
    let period = Duration::from_millis(500);
    let mut watch = Watch::at(daemon.socket(), kind, "web1", period);
    watch.runs("first look", Instant::now()).await;
    let from = Instant::now();
    daemon.process().signal(Signal::STOP);
    watch.unknown("daemon frozen", from).await;
    let from = Instant::now();
    daemon.process().signal(Signal::CONT);
    watch.runs("daemon thawed", from).await;
}

/// What becomes of a request for events.
#[derive(Clone, Copy)]
enum Events {
    /// It is answered and then nothing is ever told.
    Silent,
    /// It is answered by an error and ended, each time.
    Garbage,
    /// It is refused, each time.
    Refused,
}

/// A daemon's socket behind which requests for events go wrong.
async fn without_events(daemon: &docker::Daemon, events: Events) -> std::path::PathBuf {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let path = daemon.socket().with_file_name("proxy.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let target = daemon.socket();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let target = target.clone();
            tokio::spawn(async move {
                let mut head = vec![0; 4096];
                let length = client.read(&mut head).await.unwrap_or(0);
                let head = &head[..length];
                if !head.windows(8).any(|part| part == b"/events?") {
                    let mut server = UnixStream::connect(target).await.unwrap();
                    server.write_all(head).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    return;
                }
                let answer = match events {
                    Events::Silent => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                    Events::Garbage => "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{]\n",
                    Events::Refused => "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
                };
                let _ = client.write_all(answer.as_bytes()).await;
                if let Events::Silent = events {
                    // For as long as the client likes.
                    let _ = client.read(&mut [0]).await;
                }
            });
        }
    });
    path
}

#[tokio::test]
async fn missed_events_are_made_good_by_looking() {
    let kind = Kind::Docker;
    let Some(daemon) = docker::Daemon::start(kind).await else {
        return;
    };
    for (events, what) in [
        (Events::Silent, "kill, silent events"),
        (Events::Garbage, "kill, garbled events"),
        (Events::Refused, "kill, refused events"),
    ] {
        daemon.container("web1").await;
        let socket = without_events(&daemon, events).await;
        let period = Duration::from_millis(500);
        let mut watch = Watch::at(socket.clone(), kind, "web1", period);
        watch.runs("first look", Instant::now()).await;
        let from = Instant::now();
        daemon.act("web1", "kill?signal=KILL").await;
        watch.gone(what, from).await;
        daemon.remove("web1").await;
        std::fs::remove_file(socket).unwrap();
    }
}
