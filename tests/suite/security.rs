//! An etcd that wants certificates or passwords.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{
    Backend, Command, Etcd, Harness, Nginx, PASSWORD, PATIENCE, Pki, TOKEN_TTL, announce, folder,
    key, push, until,
};

#[tokio::test]
async fn certificates_are_shown_and_checked_in_both_directions() {
    let pki = Arc::new(Pki::new());
    let (etcd, nginx) = tokio::join!(Etcd::start_with_tls(&pki), Nginx::start());
    let backend = Backend::start("b1").await;
    let _pusher = push(&etcd.endpoint(), &nginx).args(pki.flags()).start();
    let announcer = announce(&etcd.endpoint(), &backend)
        .args(pki.flags())
        .start();
    announcer.ready().await;
    assert!(etcd.get(&key(&backend)).await.is_some());
    nginx
        .routed("website", vec![backend.address().to_string()])
        .await;
}

#[tokio::test]
async fn a_wrong_or_missing_certificate_is_told_and_retried() {
    let (pki, foreign) = (Arc::new(Pki::new()), Pki::new());
    let etcd = Etcd::start_with_tls(&pki).await;
    let backend = Backend::start("b1").await;
    let only_ca = pki.flags().into_iter().take(2).collect();
    // Who shows none learns no more than that the connection was closed: TLS 1.3 refuses it after the handshake.
    for (flags, why) in [
        (only_ca, "give --cert and --key"),
        (foreign.flags().to_vec(), "certificate"),
    ] {
        let mut announcer = announce(&etcd.endpoint(), &backend).args(flags).start();
        // Not the first that is said: on a busy machine an attempt may end otherwise.
        let line = announcer.process().line(why).await;
        assert!(line.contains(&etcd.address().to_string()), "{line}");
        assert!(announcer.runs());
        assert_eq!(etcd.get(&key(&backend)).await, None);
    }
}

#[tokio::test]
async fn files_that_hold_no_certificate_are_wrong_usage() {
    let folder = folder();
    let nothing = folder.path().join("nothing").display().to_string();
    let words = folder.path().join("words").display().to_string();
    fs::write(&words, "hello").unwrap();
    for (flag, file) in [
        ("--cacert", &nothing),
        ("--cacert", &words),
        ("--password-file", &nothing),
    ] {
        let ended = Command::new("announce")
            .args(["website/b1", "127.0.0.1:1", "--allow-loopback"])
            .args([
                "--endpoints",
                "https://127.0.0.1:1",
                "--user",
                "root",
                flag,
                file,
            ])
            .run()
            .await;
        assert_eq!(ended.code, Some(64), "{flag} {file}: {}", ended.output);
        assert!(
            ended.output.contains(flag),
            "{flag} {file}: {}",
            ended.output
        );
        assert!(
            ended.output.contains(file),
            "{flag} {file}: {}",
            ended.output
        );
    }
}

#[tokio::test]
async fn expired_tokens_cost_neither_a_record_nor_a_change() {
    let mut harness = Harness::start().await;
    let (a, b) = (Backend::start("b1").await, Backend::start("b2").await);
    harness.etcd.require_users().await;
    let password = Password::new();
    let _pusher = harness.push().args(password.flags()).start();
    let first = harness.announce(&a).args(password.flags()).start();
    first.ready().await;
    harness.routed(&[&a]).await;
    let before = harness.record(&a).await;

    // Several tokens' time is the thing under test.
    tokio::time::sleep(Duration::from_secs(4 * TOKEN_TTL)).await;
    assert_eq!(harness.record(&a).await, before, "it was gone for a while");
    let mut second = harness.announce(&b).args(password.flags()).start();
    second.ready().await;
    harness.routed(&[&a, &b]).await;
    assert_eq!(second.leave().await.code, Some(0));
    harness.routed(&[&a]).await;
}

#[tokio::test]
async fn a_wrong_password_is_told_and_never_printed() {
    let mut harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    harness.etcd.require_users().await;
    let mut announcer = harness
        .announce(&backend)
        .env("ETCDCTL_USER", "root:wrong-horse")
        .start();
    let line = announcer.process().line(&harness.etcd.endpoint()).await;
    assert!(
        line.contains("password") || line.contains("authentication"),
        "{line}"
    );
    assert!(announcer.runs());

    let ended = harness
        .push()
        .args(["--once", "--user", "root:wrong-horse"])
        .run()
        .await;
    assert_eq!(ended.code, Some(69), "{}", ended.output);
    for said in [announcer.process().output(), ended.output] {
        assert!(!said.contains("wrong-horse"), "{said}");
    }
}

#[tokio::test]
async fn users_that_are_required_from_now_on_stop_nobody_who_has_a_password() {
    let mut harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    harness.etcd.require_users().await;
    let password = Password::new();
    let announcer = harness.announce(&backend).args(password.flags()).start();
    announcer.ready().await;
    let lease = harness
        .record(&backend)
        .await
        .expect("it is announced")
        .lease;
    harness.etcd.revoke(lease).await;
    until(PATIENCE, "the record to be back", async || {
        harness.record(&backend).await
    })
    .await;
}

#[tokio::test]
async fn a_password_may_come_as_a_systemd_credential() {
    let mut etcd = Etcd::start().await;
    etcd.require_users().await;
    let folder = folder();
    let list = || {
        Command::new("list")
            .etcd(&etcd)
            .args(["--user", "root"])
            .env(
                "CREDENTIALS_DIRECTORY",
                &folder.path().display().to_string(),
            )
    };
    let ended = list().run().await;
    assert_eq!(ended.code, Some(64), "{}", ended.output);
    assert!(
        ended.output.contains("credential etcd-password"),
        "{}",
        ended.output
    );
    fs::write(folder.path().join("etcd-password"), format!("{PASSWORD}\n")).unwrap();
    let ended = list().run().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    // What is given on purpose counts.
    let ended = list().args(["--password", "wrong-horse"]).run().await;
    assert_eq!(ended.code, Some(69), "{}", ended.output);
}

#[tokio::test]
async fn certificates_may_come_as_systemd_credentials_and_bother_no_etcd_without() {
    let pki = Arc::new(Pki::new());
    let (secure, open) = tokio::join!(Etcd::start_with_tls(&pki), Etcd::start());
    let folder = folder();
    let (cert, key) = pki.pair("client");
    for (file, name) in [
        (pki.ca(), "etcd-cacert"),
        (cert, "etcd-cert"),
        (key, "etcd-key"),
    ] {
        fs::copy(file, folder.path().join(name)).unwrap();
    }
    let endpoints = [
        secure.endpoint(),
        secure.address().to_string(),
        format!("http://{}", open.address()),
    ];
    for endpoint in endpoints {
        let list = Command::new("list").endpoints(&endpoint);
        let folder = folder.path().display().to_string();
        let ended = list.env("CREDENTIALS_DIRECTORY", &folder).run().await;
        assert_eq!(ended.code, Some(0), "{endpoint}: {}", ended.output);
    }
}

/// A file with the password, as systemd's credentials give it.
struct Password {
    folder: tempfile::TempDir,
}

impl Password {
    fn new() -> Self {
        let folder = folder();
        fs::write(folder.path().join("password"), format!("{PASSWORD}\n")).unwrap();
        Self { folder }
    }

    fn flags(&self) -> [String; 4] {
        let file = self.folder.path().join("password");
        [
            "--user",
            "root",
            "--password-file",
            &file.display().to_string(),
        ]
        .map(str::to_owned)
    }
}
