//! Reloads of nginx by somebody else: certbot, logrotate, people.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use sidekick::target::file::{FileUpstream, Settings};
use sidekick::target::{Error, Layer, Outcome};
use sidekick::upstream::state::Desired;

use super::conf_file::{LONG, desired, one_address, only, settle, who};
use super::conf_file_others::push_toml;
use crate::support::{
    Backend, Command, Etcd, FileNginx, PATIENCE, Signal, free_port, procfs, send, until,
};

/// An nginx with three backends, of which the check refuses the third.
struct Harness {
    nginx: FileNginx,
    backends: Vec<Backend>,
    settings: Settings,
}

impl Harness {
    async fn new(with_proof: bool) -> Self {
        let nginx = FileNginx::start(Layer::Http, &["website"]).await;
        let mut backends = Vec::new();
        for name in ["one", "two", "three"] {
            backends.push(Backend::start(name).await);
        }
        let mut settings = nginx.settings(Layer::Http);
        settings.min_reload_interval = Duration::ZERO;
        settings.timeout = LONG;
        let address = format!("127.0.0.1:{}", free_port());
        settings.proof = with_proof.then(|| address.parse().unwrap());
        let harness = Self {
            nginx,
            backends,
            settings,
        };
        harness.write_check();
        harness
    }

    /// Refuses the third one. While `block` stands beside, it says that it has begun and waits.
    fn write_check(&self) {
        let text = format!(
            "if grep -q {third} {file}; then\n touch {begun}\n while [ -e {block} ]; do sleep 0.02; done\n \
             echo not this one >&2; exit 1\nfi\nexec {check}\n",
            third = self.address(2),
            file = self.nginx.file().display(),
            begun = self.beside("begun").display(),
            block = self.beside("block").display(),
            check = self.nginx.command("-t"),
        );
        fs::write(self.beside("check.sh"), text).unwrap();
    }

    fn checked(&self) -> Settings {
        let mut settings = self.settings.clone();
        let check = format!("sh {}", self.beside("check.sh").display());
        settings.check = Some(check.parse().unwrap());
        settings
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.nginx.folder().join(name)
    }

    fn address(&self, index: usize) -> String {
        one_address(&self.backends[index])
    }

    /// The first `count` backends.
    fn desired(&self, count: usize) -> Desired {
        let addresses: Vec<_> = (0..count).map(|index| self.address(index)).collect();
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        desired(count.try_into().unwrap(), &addresses)
    }

    /// What certbot does.
    fn reload(&self) {
        send(self.nginx.process().pid(), Signal::HUP).unwrap();
    }

    /// nginx sends requests to the third backend.
    async fn third_served(&self) {
        until(PATIENCE, "the third backend to answer", async || {
            self.answers("three").await
        })
        .await;
    }

    async fn answers(&self, backend: &str) -> bool {
        for _ in 0..12 {
            if who(&self.nginx, "/").await.as_deref() == Ok(backend) {
                return true;
            }
        }
        false
    }

    /// Somebody reloads nginx while the third backend is being tried, which the check refuses.
    async fn reload_in_the_middle(&self, upstream: &mut FileUpstream) -> Result<Outcome, Error> {
        fs::write(self.beside("block"), "").unwrap();
        let _ = fs::remove_file(self.beside("begun"));
        let all = self.desired(3);
        let reload = async {
            until(PATIENCE, "the check to begin", async || {
                self.beside("begun").exists()
            })
            .await;
            self.reload();
            self.third_served().await;
            fs::remove_file(self.beside("block")).unwrap();
        };
        // What was refused is tried again after a while.
        let try_all = async {
            loop {
                let tried = settle(upstream, &all).await;
                if !self.beside("block").exists() {
                    return tried;
                }
            }
        };
        tokio::join!(reload, try_all).1
    }

    /// The third one is gone, and nginx is not reloaded again and again.
    async fn is_put_right(&self, upstream: &mut FileUpstream, wanted: &Desired, reloads: usize) {
        settle(upstream, wanted).await.unwrap();
        assert!(!self.answers("three").await, "{}", self.nginx.text());
        assert!(!self.nginx.text().contains(&self.address(2)));
        for _ in 0..3 {
            settle(upstream, wanted).await.unwrap();
        }
        assert_eq!(self.nginx.reloads(), reloads);
    }
}

async fn refused_in_the_middle(with_proof: bool) {
    let harness = Harness::new(with_proof).await;
    let mut upstream = only(harness.checked());
    let two = harness.desired(2);
    settle(&mut upstream, &two).await.unwrap();
    let outcome = harness.reload_in_the_middle(&mut upstream).await.unwrap();
    assert_eq!(outcome.refused.len(), 1, "{:?}", outcome.refused);
    harness.is_put_right(&mut upstream, &two, 3).await;
}

#[tokio::test]
async fn a_reload_by_somebody_else_while_a_refused_server_is_tried_does_not_last() {
    refused_in_the_middle(false).await;
}

#[tokio::test]
async fn a_reload_by_somebody_else_while_a_refused_server_is_tried_does_not_last_with_a_proof() {
    refused_in_the_middle(true).await;
}

/// The record that nginx refuses stays, and is tried again.
async fn refused_again_in_the_middle(with_proof: bool) {
    let harness = Harness::new(with_proof).await;
    let mut upstream = only(harness.checked());
    let all = harness.desired(3);
    let outcome = settle(&mut upstream, &all).await.unwrap();
    assert_eq!(outcome.refused.len(), 1, "{:?}", outcome.refused);
    harness.reload_in_the_middle(&mut upstream).await.unwrap();
    harness.is_put_right(&mut upstream, &all, 3).await;
}

#[tokio::test]
async fn a_reload_by_somebody_else_while_a_refused_server_is_tried_again_does_not_last() {
    refused_again_in_the_middle(false).await;
}

#[tokio::test]
async fn a_reload_by_somebody_else_while_a_refused_server_is_tried_again_does_not_last_with_a_proof()
 {
    refused_again_in_the_middle(true).await;
}

/// Somebody edits the file and reloads nginx, and perhaps puts the file back before anybody looks.
async fn edited(with_proof: bool, put_back: bool) {
    let harness = Harness::new(with_proof).await;
    let mut upstream = only(harness.settings.clone());
    let two = harness.desired(2);
    settle(&mut upstream, &two).await.unwrap();
    let before = harness.nginx.text();
    let edited = before.replace(&harness.address(1), &harness.address(2));
    fs::write(harness.nginx.file(), edited).unwrap();
    harness.reload();
    harness.third_served().await;
    if put_back {
        fs::write(harness.nginx.file(), before).unwrap();
    }
    harness.is_put_right(&mut upstream, &two, 3).await;
}

#[tokio::test]
async fn an_edit_that_somebody_loads_and_puts_back_unseen_does_not_last() {
    edited(false, true).await;
}

#[tokio::test]
async fn an_edit_that_somebody_loads_and_puts_back_unseen_does_not_last_with_a_proof() {
    edited(true, true).await;
}

#[tokio::test]
async fn an_edit_that_somebody_loads_is_put_back_and_unloaded() {
    edited(false, false).await;
}

/// The edit answers with the token of the original.
#[tokio::test]
async fn an_edit_that_somebody_loads_is_put_back_and_unloaded_with_a_proof() {
    edited(true, false).await;
}

#[tokio::test]
async fn an_edit_that_somebody_loads_before_the_pusher_starts_is_unloaded() {
    for with_proof in [false, true] {
        let harness = Harness::new(with_proof).await;
        let two = harness.desired(2);
        settle(&mut only(harness.settings.clone()), &two)
            .await
            .unwrap();
        let edited = (harness.nginx.text()).replace(&harness.address(1), &harness.address(2));
        fs::write(harness.nginx.file(), edited).unwrap();
        harness.reload();
        harness.third_served().await;
        let mut upstream = only(harness.settings.clone());
        harness.is_put_right(&mut upstream, &two, 3).await;
    }
}

/// Waits until nginx has other workers than these.
async fn replaced(nginx: &FileNginx, before: &[u32]) {
    until(PATIENCE, "other workers", async || {
        let now = procfs::children(nginx.process().pid());
        now.len() == before.len() && now.iter().all(|worker| !before.contains(worker))
    })
    .await;
}

#[tokio::test]
async fn a_reload_by_somebody_else_with_nothing_wrong_costs_one_more_and_none_with_a_proof() {
    for (with_proof, more) in [(false, 1), (true, 0)] {
        let harness = Harness::new(with_proof).await;
        let mut upstream = only(harness.settings.clone());
        let two = harness.desired(2);
        settle(&mut upstream, &two).await.unwrap();
        let workers = procfs::children(harness.nginx.process().pid());
        harness.reload();
        replaced(&harness.nginx, &workers).await;
        for _ in 0..3 {
            settle(&mut upstream, &two).await.unwrap();
        }
        assert_eq!(harness.nginx.reloads(), 2 + more, "{with_proof}");
    }
}

#[tokio::test]
async fn a_reload_by_somebody_else_long_after_the_last_change_costs_nothing() {
    let mut harness = Harness::new(false).await;
    harness.settings.timeout = Duration::from_secs(1);
    let mut upstream = only(harness.settings.clone());
    let two = harness.desired(2);
    settle(&mut upstream, &two).await.unwrap();
    let changed = fs::metadata(harness.nginx.file()).unwrap();
    until(PATIENCE, "more than the timeout to pass", async || {
        changed.modified().unwrap().elapsed().unwrap() > Duration::from_millis(1_200)
    })
    .await;
    let workers = procfs::children(harness.nginx.process().pid());
    harness.reload();
    replaced(&harness.nginx, &workers).await;
    settle(&mut upstream, &two).await.unwrap();
    assert_eq!(harness.nginx.reloads(), 2);
}

#[tokio::test]
async fn a_worker_that_crashed_costs_at_most_one_reload() {
    let harness = Harness::new(false).await;
    let mut upstream = only(harness.settings.clone());
    let two = harness.desired(2);
    settle(&mut upstream, &two).await.unwrap();
    let workers = procfs::children(harness.nginx.process().pid());
    send(workers[0], Signal::KILL).unwrap();
    until(PATIENCE, "a worker in its place", async || {
        let now = procfs::children(harness.nginx.process().pid());
        now.len() == workers.len() && !now.contains(&workers[0])
    })
    .await;
    for _ in 0..3 {
        settle(&mut upstream, &two).await.unwrap();
    }
    assert!(harness.nginx.reloads() <= 2, "{}", harness.nginx.reloads());
}

#[tokio::test]
async fn who_puts_an_edit_back_says_that_somebody_changed_the_file() {
    let nginx = FileNginx::start(Layer::Http, &["website"]).await;
    let (etcd, one) = tokio::join!(Etcd::start(), Backend::start("one"));
    let (host, port) = (one.address().ip(), one.address().port());
    let record = format!(r#"{{"host":"{host}","port":{port}}}"#);
    etcd.put("/services/website/one", record).await;
    let push = Command::new("push").etcd(&etcd);
    let config = push_toml(&nginx, "");
    let mut push = push.args(["--config", &config, "--id", "edge"]).start();
    until(PATIENCE, "the backend to answer", async || {
        who(&nginx, "/").await.as_deref() == Ok("one")
    })
    .await;
    let said = format!("somebody changed {}", nginx.file().display());
    let before = nginx.text();
    let output = push.process().output();
    assert!(!output.contains("somebody changed"), "{output}");
    fs::write(nginx.file(), before.replace("weight=1", "weight=2")).unwrap();
    push.process().line(&said).await;
    assert_eq!(nginx.text(), before);
    push.leave().await;
}
