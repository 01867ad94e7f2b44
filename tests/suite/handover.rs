//! SIGHUP starts the program anew in the same process: every setting may change, the program itself too, and nobody who reads the
//! record sees a gap. What cannot go on is refused, and a crash is gone on from in the same way.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::{
    Backend, Command, Etcd, Harness, Kv, PATIENCE, Sidekick, Signal, folder, key, procfs, until,
};

/// A file of settings and a file of the program, both of which may change.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = folder();
        let place = Self { folder };
        place.install(&crate::support::program());
        place
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn settings(&self, text: &str) {
        fs::write(self.file("env"), text).expect("our own folder");
    }

    /// Puts another program in the place of the one that runs, as packages do.
    fn install(&self, from: &Path) {
        self.install_as("sidekick", from);
    }

    /// By a process of its own: a child that another test starts meanwhile would inherit the open file, and what is open for writing
    /// cannot be started.
    fn install_as(&self, name: &str, from: &Path) {
        let new = self.file("sidekick.new");
        let copied = std::process::Command::new("cp")
            .arg("-p")
            .arg(from)
            .arg(&new)
            .status();
        assert!(copied.expect("cp").success());
        fs::rename(&new, self.file(name)).expect("our own folder");
    }

    fn script(&self, text: &str, mode: u32) {
        let written = self.file("script");
        fs::write(&written, text).expect("our own folder");
        fs::set_permissions(&written, fs::Permissions::from_mode(mode)).expect("our own file");
        self.install_as("sidekick", &written);
    }

    /// `sidekick announce` of the program in this place, told everything by the file.
    fn announce(&self) -> Command {
        let env = self.file("env").display().to_string();
        Command::new("announce")
            .program(&self.file("sidekick"))
            .args(["--env-file", &env, "--allow-loopback"])
            .env("SIDEKICK_INTERVAL", "300ms")
            .env("SIDEKICK_TIMEOUT", "250ms")
            .env("SIDEKICK_RISE", "1")
            .env("SIDEKICK_FALL", "10")
            .notify()
    }
}

/// What announces a backend, line by line; more lines may follow.
fn settings(etcd: &Etcd, backend: &Backend) -> String {
    format!(
        "ETCDCTL_ENDPOINTS={}\nSIDEKICK_INSTANCE=website/{}\nSIDEKICK_ADDRESS={}\nSIDEKICK_PROBE=/health\n",
        etcd.endpoint(),
        backend.name(),
        backend.address()
    )
}

async fn announced() -> (Harness, Backend, Place, Sidekick) {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let place = Place::new();
    place.settings(&settings(&harness.etcd, &backend));
    let announcer = place.announce().start();
    announcer.ready().await;
    (harness, backend, place, announcer)
}

fn count(announcer: &Sidekick, line: &str) -> usize {
    let said = announcer.notifications();
    said.iter().filter(|said| *said == line).count()
}

/// Sends SIGHUP and waits for the answer to systemd.
async fn reload(announcer: &Sidekick) {
    let before = count(announcer, "READY=1");
    announcer.process().signal(Signal::HUP);
    until(PATIENCE, "READY=1 after a reload", async || {
        count(announcer, "READY=1") > before
    })
    .await;
}

/// Waits for a record under this key that is like this.
async fn record_at(etcd: &Etcd, key: &str, is: impl Fn(&Kv) -> bool) -> Kv {
    until(PATIENCE, format!("{key} to be as wanted"), async || {
        let record = etcd.get(key).await.ok_or("no record".to_owned())?;
        if is(&record) {
            Ok(record)
        } else {
            Err(format!("{record:?}"))
        }
    })
    .await
}

async fn gone(etcd: &Etcd, key: &str) {
    until(PATIENCE, format!("{key} to be gone"), async || {
        etcd.get(key).await.is_none()
    })
    .await;
}

/// No image after the first began with a new record.
#[track_caller]
fn is_continued(before: &Kv, after: &Kv) {
    for field in ["since", "host", "port"] {
        assert_eq!(after.json()[field], before.json()[field], "{field}");
    }
    assert_eq!(
        after.create_revision, before.create_revision,
        "there was a gap"
    );
}

#[tokio::test]
async fn another_ttl_is_another_lease_and_the_record_stays() {
    let (harness, backend, place, mut announcer) = announced().await;
    let before = harness.record(&backend).await.expect("it is announced");
    place.settings(&(settings(&harness.etcd, &backend) + "SIDEKICK_TTL=1m\n"));
    reload(&announcer).await;
    let key = key(&backend);
    let after = record_at(&harness.etcd, &key, |it| it.lease != before.lease).await;
    is_continued(&before, &after);
    let client = harness.etcd.client().await;
    until(PATIENCE, "the old lease to be revoked", async || {
        let left = client.lease_client().time_to_live(before.lease, None).await;
        left.is_ok_and(|it| it.ttl() < 0)
    })
    .await;
    assert_eq!(harness.record(&backend).await, Some(after));
    assert!(announcer.runs());
    assert_eq!(announcer.leave().await.code, Some(0));
    assert_eq!(harness.record(&backend).await, None);
}

#[tokio::test]
async fn another_etcd_is_announced_to_before_the_old_one_is_left() {
    let (harness, backend, place, mut announcer) = announced().await;
    let other = Etcd::start().await;
    place.settings(&settings(&other, &backend));
    reload(&announcer).await;
    let key = key(&backend);
    let there = record_at(&other, &key, |_| true).await;
    gone(&harness.etcd, &key).await;
    let history = harness.etcd.history(&key).await;
    let [Some(first), Some(last), None] = &history[..] else {
        panic!("it is withdrawn with a notice: {history:?}");
    };
    assert_eq!(last.json()["state"], "draining");
    assert_eq!(there.json()["since"], first.json()["since"]);
    assert_eq!(announcer.leave().await.code, Some(0));
    assert_eq!(other.get(&key).await, None);
}

#[tokio::test]
async fn an_etcd_that_does_not_answer_is_left_again_and_the_record_never_goes() {
    let (harness, backend, place, announcer) = announced().await;
    let before = harness.record(&backend).await;
    let mut other = Etcd::start().await;
    let elsewhere = settings(&other, &backend);
    other.kill();
    place.settings(&elsewhere);
    reload(&announcer).await;
    announcer
        .process()
        .line("trying again until it works")
        .await;
    assert_eq!(harness.record(&backend).await, before);
    place.settings(&settings(&harness.etcd, &backend));
    reload(&announcer).await;
    announcer.process().line("started anew").await;
    assert_eq!(harness.record(&backend).await, before);
}

#[tokio::test]
async fn another_user_takes_the_record_over() {
    let mut harness = Harness::start().await;
    harness.etcd.require_users().await;
    let rights = [
        "--prefix=true readwrite /services/",
        "--prefix=true read /sidekick/",
    ];
    for user in ["one", "two"] {
        harness.etcd.add_user_with(user, &rights).await;
    }
    let backend = Backend::start("b1").await;
    let place = Place::new();
    let text = |user: &str| {
        let password = crate::support::PASSWORD;
        settings(&harness.etcd, &backend) + &format!("ETCDCTL_USER={user}:{password}\n")
    };
    place.settings(&text("one"));
    let announcer = place.announce().start();
    announcer.ready().await;
    let key = key(&backend);
    let before = record_at(&harness.etcd, &key, |_| true).await;
    place.settings(&text("two"));
    reload(&announcer).await;
    let after = record_at(&harness.etcd, &key, |it| it.lease != before.lease).await;
    is_continued(&before, &after);
    announcer.process().line("has a new lease").await;
    let said = announcer.process().output();
    assert!(!said.contains(crate::support::PASSWORD), "{said}");
}

#[tokio::test]
async fn another_name_is_announced_before_the_old_one_goes_and_needs_no_drain() {
    let (harness, backend, place, mut announcer) = announced().await;
    let before = harness.record(&backend).await.expect("it is announced");
    let _pusher = harness.pushing().await;
    harness.applied().await;
    let text = settings(&harness.etcd, &backend) + "SIDEKICK_DRAIN_TIMEOUT=1h\n";
    place.settings(&text.replace("website/b1", "website/other"));
    reload(&announcer).await;
    let other = record_at(&harness.etcd, "/services/website/other", |_| true).await;
    gone(&harness.etcd, &key(&backend)).await;
    let history = harness.etcd.history(&key(&backend)).await;
    let [_, Some(notice), None] = &history[..] else {
        panic!("{history:?}");
    };
    assert!(notice.mod_revision > other.mod_revision, "there was a gap");
    assert_eq!(other.json()["since"], before.json()["since"]);
    harness.routed(&[&backend]).await;
    let ended = announcer.leave().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert_eq!(harness.etcd.list("/services/").await.len(), 0);
}

#[tokio::test]
async fn another_service_is_announced_before_the_old_one_is_drained() {
    let (harness, backend, place, mut announcer) = announced().await;
    // Without it the old one would be the last server, and stay.
    let second = Backend::start("b2").await;
    let _second = harness.announced(&second).await;
    let _pusher = harness.pushing().await;
    harness.routed(&[&backend, &second]).await;
    harness.applied().await;
    let text = settings(&harness.etcd, &backend) + "SIDEKICK_DRAIN_TIMEOUT=1m\n";
    place.settings(&text.replace("website/b1", "shop/b1"));
    reload(&announcer).await;
    announcer.process().line("is drained everywhere").await;
    gone(&harness.etcd, &key(&backend)).await;
    harness.routed(&[&second]).await;
    let there = harness.etcd.get("/services/shop/b1").await;
    let history = harness.etcd.history(&key(&backend)).await;
    let [_, Some(notice), None] = &history[..] else {
        panic!("{history:?}");
    };
    assert!(there.is_some_and(|it| it.mod_revision < notice.mod_revision));
    assert!(announcer.runs());
}

#[tokio::test]
async fn another_address_is_announced_when_the_old_one_is_drained() {
    let (harness, backend, place, mut announcer) = announced().await;
    let other = Backend::start("b1").await;
    // Without it the old one would be the last server, and stay.
    let second = Backend::start("b2").await;
    let _second = harness.announced(&second).await;
    let _pusher = harness.pushing().await;
    harness.routed(&[&backend, &second]).await;
    harness.applied().await;
    place.settings(&(settings(&harness.etcd, &other) + "SIDEKICK_DRAIN_TIMEOUT=1m\n"));
    reload(&announcer).await;
    harness.routed(&[&other, &second]).await;
    announcer.process().line("is drained everywhere").await;
    let history = harness.etcd.history(&key(&backend)).await;
    let states = history
        .iter()
        .map(|it| it.as_ref().map(|it| it.json()["state"].to_string()));
    let states: Vec<_> = states.collect();
    assert_eq!(states.len(), 4, "up, draining, gone, up: {states:?}");
    assert_eq!(states[1].as_deref(), Some("\"draining\""));
    assert!(announcer.runs());
}

#[tokio::test]
async fn an_upgraded_program_takes_over_and_is_the_same_process() {
    let (harness, backend, place, announcer) = announced().await;
    let before = harness.record(&backend).await;
    let (pid, old) = (announcer.process().pid(), image(&announcer));
    place.install(&crate::support::program());
    assert!(
        old != file_id(&place.file("sidekick")),
        "it is another file"
    );
    reload(&announcer).await;
    announcer.process().line("started anew").await;
    assert_eq!(image(&announcer), file_id(&place.file("sidekick")));
    assert_eq!(announcer.process().pid(), pid);
    assert_eq!(
        harness.record(&backend).await,
        before,
        "nothing was written"
    );
    // Standard input is not the file in memory any more, and nothing else of it is open.
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    for file in open.flatten() {
        let target = fs::read_link(file.path()).unwrap_or_default();
        assert!(!target.to_string_lossy().contains("handover"), "{target:?}");
    }
}

/// Which file a process runs.
fn image(announcer: &Sidekick) -> (u64, u64) {
    file_id(Path::new(&format!(
        "/proc/{}/exe",
        announcer.process().pid()
    )))
}

fn file_id(path: &Path) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    let file = fs::metadata(path).expect("it is there");
    (file.dev(), file.ino())
}

#[tokio::test]
async fn a_broken_program_is_refused_in_words_and_the_old_one_goes_on() {
    let (harness, backend, place, mut announcer) = announced().await;
    let before = harness.record(&backend).await;
    let older = "#!/bin/sh\necho \"error: unexpected argument '$1' found\" >&2\nexit 64\n";
    for (text, mode, reason) in [
        ("#!/bin/sh\nexit 0\n", 0o644, "Permission denied"),
        (
            "#!/bin/sh\necho broken >&2; exit 1\n",
            0o755,
            "exit status: 1: broken",
        ),
        ("\u{7f}ELF garbage", 0o755, "sidekick"),
        ("", 0o755, "sidekick"),
        (
            "#!/bin/sh\nexit 0\n",
            0o755,
            "is not a sidekick that can continue",
        ),
        (older, 0o755, "unexpected argument '--handover-trial'"),
        ("#!/bin/sh\nexec yes\n", 0o755, "within 15 s"),
    ] {
        place.script(text, mode);
        let refusals = || {
            let lines = announcer.process().lines().into_iter();
            lines
                .filter(|line| line.contains("nothing changed"))
                .collect::<Vec<_>>()
        };
        let known = refusals().len();
        reload(&announcer).await;
        let refused = until(PATIENCE, "the refusal", async || {
            refusals().get(known).cloned()
        })
        .await;
        assert!(refused.contains(reason), "{text:?}: {refused}");
    }
    fs::remove_file(place.file("sidekick")).expect("our own file");
    reload(&announcer).await;
    announcer.process().line("No such file").await;
    assert_eq!(harness.record(&backend).await, before);
    place.install(&crate::support::program());
    reload(&announcer).await;
    announcer.process().line("started anew").await;
    assert_eq!(announcer.leave().await.code, Some(0));
}

/// Whether systemd was told this as the newest status.
fn status_says(announcer: &Sidekick, part: &str) -> bool {
    let said = announcer.notifications();
    let newest = said.iter().rev().find(|said| said.starts_with("STATUS="));
    newest.is_some_and(|status| status.contains(part))
}

#[tokio::test]
async fn a_program_that_cannot_be_started_after_its_trial_is_refused_and_nothing_is_left_behind() {
    let (harness, backend, place, announcer) = announced().await;
    let before = harness.record(&backend).await;
    let trial = "#!/bin/sh\nchmod a-x \"$0\"\necho sidekick goes on from here\n";
    place.script(trial, 0o755);
    reload(&announcer).await;
    announcer.process().line("cannot be started any more").await;
    until(PATIENCE, "the status to tell it", async || {
        status_says(&announcer, "reload refused")
    })
    .await;
    assert_eq!(harness.record(&backend).await, before);
    let stdin = format!("/proc/{}/fd/0", announcer.process().pid());
    let stdin = fs::read_link(stdin).expect("it runs");
    assert_eq!(stdin, Path::new("/dev/null"));
    place.install(&crate::support::program());
    reload(&announcer).await;
    until(PATIENCE, "the refusal to be over", async || {
        !status_says(&announcer, "reload refused")
    })
    .await;
}

#[tokio::test]
async fn a_trial_that_is_given_up_is_ended_with_all_that_it_has_started() {
    let (_harness, _backend, place, mut announcer) = announced().await;
    let mark = place.file("mark");
    let trial = format!(
        "#!/bin/sh\nsleep 3600 &\necho $! >{0}.new; mv {0}.new {0}\nwait\n",
        mark.display()
    );
    place.script(&trial, 0o755);
    announcer.process().signal(Signal::HUP);
    let child = until(
        PATIENCE,
        "the trial to have started something",
        async || fs::read_to_string(&mark).ok(),
    )
    .await;
    assert_eq!(announcer.leave().await.code, Some(0));
    let child = PathBuf::from(format!("/proc/{}/stat", child.trim()));
    until(PATIENCE, "its child to be gone", async || {
        // Whoever reaps it may take his time.
        fs::read_to_string(&child).map_or(true, |stat| stat.contains(") Z "))
    })
    .await;
}

#[tokio::test]
async fn a_closed_terminal_ends_an_announcer_in_order() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let place = Place::new();
    place.settings(&settings(&harness.etcd, &backend));
    let line = format!(
        "exec {} announce --allow-loopback --interval 300ms --rise 1 --env-file {}",
        place.file("sidekick").display(),
        place.file("env").display()
    );
    let terminal = crate::support::Process::start(
        "script",
        std::process::Command::new("script").args(["-q", "-c", &line, "/dev/null"]),
    );
    record_at(&harness.etcd, &key(&backend), |_| true).await;
    terminal.signal(Signal::KILL);
    gone(&harness.etcd, &key(&backend)).await;
    let history = harness.etcd.history(&key(&backend)).await;
    let [Some(_), Some(notice), None] = &history[..] else {
        panic!("announced, told and deleted once: {history:?}");
    };
    assert_eq!(notice.json()["state"], "draining");
}

#[tokio::test]
async fn a_trial_that_is_frozen_holds_nothing_up() {
    let (harness, backend, place, mut announcer) = announced().await;
    place.script("#!/bin/sh\nkill -STOP $$\n", 0o755);
    announcer.process().signal(Signal::HUP);
    let pid = announcer.process().pid();
    until(PATIENCE, "the trial to be frozen", async || {
        let stat = |child: &u32| fs::read_to_string(format!("/proc/{child}/stat"));
        let mut children = procfs::children(pid).into_iter();
        children.any(|child| stat(&child).is_ok_and(|it| it.contains(") T ")))
    })
    .await;
    // Probes and leaving go on.
    backend.set_health(503).await;
    gone(&harness.etcd, &key(&backend)).await;
    backend.set_health(200).await;
    record_at(&harness.etcd, &key(&backend), |_| true).await;
    let ended = announcer.leave().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert_eq!(procfs::children(pid), Vec::<u32>::new());
}

#[tokio::test]
async fn fifty_hangups_in_a_row_change_nothing_and_lose_no_request_to_stop() {
    let (harness, backend, _place, mut announcer) = announced().await;
    let before = harness.record(&backend).await.expect("it is announced");
    for _ in 0..50 {
        announcer.process().signal(Signal::HUP);
        // Some fall into a trial, and some into the start of an image.
        tokio::time::sleep(std::time::Duration::from_millis(7)).await;
    }
    announcer.process().line("started anew").await;
    let after = harness.record(&backend).await;
    assert_eq!(after, Some(before));
    // In the middle of whatever it does now.
    announcer.process().signal(Signal::HUP);
    let ended = announcer.leave().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    let history = harness.etcd.history(&key(&backend)).await;
    let [Some(_), Some(notice), None] = &history[..] else {
        panic!("announced, told and deleted once: {history:?}");
    };
    assert_eq!(notice.json()["state"], "draining");
}

#[tokio::test]
async fn a_request_to_stop_at_any_moment_of_a_handover_is_followed_in_order() {
    for wait in [0, 10, 20, 30, 40, 60, 80, 120] {
        let (harness, backend, _place, mut announcer) = announced().await;
        announcer.process().signal(Signal::HUP);
        // This moment is what is tested.
        tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
        let ended = announcer.leave().await;
        assert_eq!(ended.code, Some(0), "after {wait} ms: {}", ended.output);
        let history = harness.etcd.history(&key(&backend)).await;
        let [Some(_), Some(notice), None] = &history[..] else {
            panic!("after {wait} ms: {history:?}\n{}", ended.output);
        };
        assert_eq!(notice.json()["state"], "draining");
    }
}

#[tokio::test]
async fn a_hangup_in_the_first_moments_of_a_start_ends_nothing() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let announcer = harness.announce(&backend).start();
    let status = format!("/proc/{}/status", announcer.process().pid());
    // As soon as it is itself, and no copy of the test.
    until(PATIENCE, "the program to be started", async || {
        fs::read_to_string(&status)
            .is_ok_and(|it| it.starts_with("Name:\tsidekick\n") && blocks_hangups(&it))
    })
    .await;
    announcer.process().signal(Signal::HUP);
    announcer.ready().await;
}

/// Whether SIGHUP is blocked or has a handler.
fn blocks_hangups(status: &str) -> bool {
    let set = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.is_some_and(|set| u64::from_str_radix(set.trim(), 16).is_ok_and(|set| set & 1 == 1))
    };
    set("SigBlk:") || set("SigCgt:")
}

#[tokio::test]
async fn commands_that_probe_are_ended_before_and_no_child_inherits_blocked_signals() {
    let (harness, backend, place, announcer) = announced().await;
    let marks = place.file("marks");
    // It would run for an hour, and says how it was started.
    let probe = format!(
        "SIDEKICK_PROBE=exec:sh -c '{{ grep SigBlk /proc/self/status; env | grep -c ^SIDEKICK_RESUMES; }} | paste -s >> {}; sleep 3600'\nSIDEKICK_INTERVAL=1h\nSIDEKICK_TIMEOUT=1h\n",
        marks.display()
    );
    let text = settings(&harness.etcd, &backend).replace("SIDEKICK_PROBE=/health\n", &probe);
    place.settings(&text);
    reload(&announcer).await;
    let pid = announcer.process().pid();
    let started = async |times: usize| {
        until(PATIENCE, format!("{times} commands"), async || {
            let lines = fs::read_to_string(&marks).unwrap_or_default();
            let begun = lines.lines().count();
            let children = procfs::children(pid);
            if begun == times && children.len() == 1 {
                Ok(lines)
            } else {
                Err((begun, children))
            }
        })
        .await
    };
    started(1).await;
    let first = procfs::children(pid);
    reload(&announcer).await;
    let lines = started(2).await;
    assert_ne!(procfs::children(pid), first);
    let none = |line: &str| {
        line.trim_start_matches("SigBlk:")
            .split_whitespace()
            .all(|it| it.bytes().all(|it| it == b'0'))
    };
    assert!(lines.lines().all(none), "{lines}");
}

#[tokio::test]
async fn after_a_crash_the_record_is_gone_on_from_before_the_first_verdict() {
    let (harness, backend, place, mut announcer) = announced().await;
    let before = harness.record(&backend).await.expect("it is announced");
    announcer.kill();
    place.settings(&(settings(&harness.etcd, &backend) + "SIDEKICK_GRACE=1h\n"));
    let mut again = place.announce().start();
    again.ready().await;
    let after = harness.record(&backend).await.expect("it is announced");
    let (was, is) = (before.json(), after.json());
    assert_eq!(is["port"], was["port"]);
    let created = (before.create_revision, after.create_revision);
    assert_eq!(created.0, created.1, "there was a gap");
    // Another process: where etcd loses its memory, this tells which of the two is newer.
    assert!(is["since"].as_str() > was["since"].as_str(), "{is}");
    assert_ne!(
        after.lease, before.lease,
        "that of a process that may live after all"
    );
    assert_ne!(after.json()["nonce"], before.json()["nonce"]);
    assert_eq!(again.leave().await.code, Some(0));
}

#[tokio::test]
async fn after_a_crash_of_both_one_failed_probe_takes_the_record_away() {
    let (harness, backend, place, mut announcer) = announced().await;
    announcer.kill();
    backend.set_health(503).await;
    place.settings(&(settings(&harness.etcd, &backend) + "SIDEKICK_FALL=1000\nSIDEKICK_TTL=10m\n"));
    let announcer = place.announce().start();
    announcer
        .process()
        .line("continuing the record of the previous announcer")
        .await;
    gone(&harness.etcd, &key(&backend)).await;
}

/// An announcer whose record would outlive it for long.
async fn announced_for_long() -> (Harness, Backend, Place, Sidekick) {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let place = Place::new();
    place.settings(&(settings(&harness.etcd, &backend) + "SIDEKICK_TTL=10m\n"));
    let announcer = place.announce().start();
    announcer.ready().await;
    (harness, backend, place, announcer)
}

#[tokio::test]
async fn after_a_crash_of_both_a_backend_that_refuses_at_once_is_withdrawn_with_notice() {
    let (harness, mut backend, place, mut announcer) = announced_for_long().await;
    announcer.kill();
    backend.kill();
    let mut announcer = place.announce().start();
    gone(&harness.etcd, &key(&backend)).await;
    let history = harness.etcd.history(&key(&backend)).await;
    let notice = history.iter().flatten().last().expect("it was announced");
    assert_eq!(notice.json()["state"], "down");
    let ended = announcer.leave().await;
    assert!(
        ended.output.contains("failed its first probe"),
        "{}",
        ended.output
    );
    assert!(!ended.output.contains("in a row"), "{}", ended.output);
}

#[tokio::test]
async fn a_request_to_stop_soon_after_a_crash_drains_what_the_crash_has_left() {
    for wait in [0, 5, 10, 20, 40] {
        let (harness, backend, place, mut announcer) = announced_for_long().await;
        announcer.kill();
        let mut announcer = place.announce().start();
        announcer.process().line("announcing").await;
        // This moment is what is tested.
        tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
        let ended = announcer.leave().await;
        assert_eq!(ended.code, Some(0), "after {wait} ms: {}", ended.output);
        let history = harness.etcd.history(&key(&backend)).await;
        let [.., Some(notice), None] = &history[..] else {
            panic!("after {wait} ms: {history:?}\n{}", ended.output);
        };
        assert_eq!(notice.json()["state"], "draining");
        assert!(ended.output.contains("is draining"), "{}", ended.output);
    }
}

#[tokio::test]
async fn a_request_to_stop_before_the_new_record_stands_drains_the_old_one() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let place = Place::new();
    let settings = settings(&harness.etcd, &backend) + "SIDEKICK_DRAIN_TIMEOUT=2s\n";
    place.settings(&settings);
    let pusher = harness.pushing().await;
    let mut announcer = place.announce().start();
    announcer.ready().await;
    harness.routed(&[&backend]).await;
    // It never says that it has let go.
    pusher.process().signal(Signal::STOP);
    place.settings(&(settings + "SIDEKICK_TTL=20s\n"));
    harness.etcd.freeze();
    reload(&announcer).await;
    announcer.terminate();
    announcer.process().line("SIGTERM").await;
    harness.etcd.thaw();
    let ended = announcer.end(PATIENCE).await;
    assert!(
        ended.output.contains("is not drained after 2 s"),
        "{}",
        ended.output
    );
    pusher.process().signal(Signal::CONT);
}

#[tokio::test]
async fn settings_that_are_wrong_for_a_moment_after_the_trial_end_nothing() {
    let (harness, backend, place, announcer) = announced().await;
    let before = harness.record(&backend).await.expect("it is announced");
    let right = settings(&harness.etcd, &backend) + "SIDEKICK_WEIGHT=7\n";
    place.settings(&right);
    place.install_as("real", &crate::support::program());
    let (real, env, mark) = (place.file("real"), place.file("env"), place.file("mark"));
    let (real, env, mark) = (real.display(), env.display(), mark.display());
    // The file is half written between the trial and the start.
    let script = format!(
        "#!/bin/sh\ncase $1 in --handover-trial) exec {real} \"$@\";; esac\nif [ ! -e {mark} ]; then\n  touch {mark}\n  \
        cp {env} {env}.right; echo SIDEKICK_WEIGHT=x >>{env}\n  (sleep 0.5; cp {env}.right {env}) &\nfi\nexec {real} \"$@\"\n"
    );
    place.script(&script, 0o755);
    announcer.process().signal(Signal::HUP);
    let heavier = |record: &Kv| record.json()["weight"] == 7;
    let after = record_at(&harness.etcd, &key(&backend), heavier).await;
    is_continued(&before, &after);
    assert!(announcer.process().output().contains("--weight \"x\""));
    assert_eq!(after.lease, before.lease);
}

#[tokio::test]
async fn a_mark_is_taken_away_when_a_reload_says_that_failures_withdraw() {
    let (harness, backend, place, announcer) = announced().await;
    let marking = settings(&harness.etcd, &backend) + "SIDEKICK_FALL=1\nSIDEKICK_ON_FAILURE=mark\n";
    place.settings(&marking);
    reload(&announcer).await;
    backend.set_health(503).await;
    let down = |record: &Kv| record.json()["state"] == "down";
    record_at(&harness.etcd, &key(&backend), down).await;
    place.settings(&marking.replace("mark", "withdraw"));
    reload(&announcer).await;
    gone(&harness.etcd, &key(&backend)).await;
}

#[tokio::test]
async fn a_record_of_another_backend_or_by_hand_is_not_gone_on_from() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    backend.set_health(503).await;
    let at = backend.address();
    let by_hand = format!(r#"{{"host":"{}","port":{}}}"#, at.ip(), at.port());
    let elsewhere = r#"{"host":"127.0.0.1","port":1,"nonce":"n1","since":"2026-01-02T03:04:05Z"}"#;
    for value in [by_hand.as_str(), elsewhere] {
        harness.etcd.put_for(&key(&backend), value, 600).await;
        let mut announcer = harness.announce(&backend).start();
        announcer.process().line("503").await;
        let record = harness.record(&backend).await.expect("nobody took it away");
        assert_eq!(record.value, value);
        assert_eq!(announcer.leave().await.code, Some(0));
    }
}
