//! What is said of TLS and of connections that fail: by real servers, in words, without a secret.

use crate::support::{self, Command, Ended, Nginx, Pki, free_port};

/// An nginx whose server on the first port says yes by TLS with the certificate of that name, and on the second without.
async fn server(pki: &Pki, name: &str) -> (Nginx, u16, u16) {
    let (tls, plain) = (free_port(), free_port());
    let (cert, key) = pki.pair(name);
    let nginx = support::Settings::default()
        .http(format!(
            "server {{ listen 127.0.0.1:{tls} ssl; ssl_certificate {}; ssl_certificate_key {};
                location / {{ return 200 $ssl_server_name/$host; }} }}
             server {{ listen 127.0.0.1:{plain}; return 200; }}",
            cert.display(),
            key.display(),
        ))
        .start()
        .await;
    (nginx, tls, plain)
}

async fn check(probe: &str, args: &[&str]) -> Ended {
    Command::new("check")
        .args(["website/b1", "10.0.0.5:8080", "--timeout", "10s"])
        .args(["--probe", probe])
        .args(args)
        .run()
        .await
}

#[track_caller]
fn assert_down(ended: &Ended, expected: &str) {
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    assert!(
        ended.output.contains(expected),
        "{expected}: {}",
        ended.output
    );
    for unwanted in ["Error", "docs.rs", "os error", "transport error"] {
        assert!(
            !ended.output.contains(unwanted),
            "{unwanted}: {}",
            ended.output
        );
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_told_in_words() {
    let (pki, other) = (Pki::new(), Pki::new());
    pki.issue("expired", "IP:127.0.0.1", "250131");
    pki.issue("named", "DNS:web.example", "491231");
    let ca = pki.ca().display().to_string();
    let trusted = ["--probe-cacert", &ca];
    for (name, cacert, expected) in [
        (
            "server",
            other.ca(),
            "is not signed by the authority that it names",
        ),
        ("expired", pki.ca(), "expired on 2025-01-31 at 23:59 UTC"),
        (
            "named",
            pki.ca(),
            "is for web.example, not for 127.0.0.1: give the name that it is for with --probe-tls-name",
        ),
        ("ca", pki.ca(), "is a CA certificate, not a server's"),
    ] {
        let (_nginx, tls, _) = server(&pki, name).await;
        let cacert = cacert.display().to_string();
        let probe = format!("https://127.0.0.1:{tls}/");
        let ended = check(&probe, &["--probe-cacert", &cacert]).await;
        assert_down(
            &ended,
            &format!("the certificate of 127.0.0.1:{tls} {expected}"),
        );
        if name == "server" {
            let ended = check(&probe, &[]).await;
            let unknown = "is signed by an authority that is not trusted here: name the authority's certificate with --probe-cacert";
            assert_down(&ended, unknown);
            let ended = check(&probe, &trusted).await;
            assert_eq!(ended.code, Some(0), "{}", ended.output);
        }
        if name == "named" {
            // The name goes into TLS, and the URL's host into the request.
            let named = ["--probe-cacert", &ca, "--probe-tls-name", "web.example"];
            let body = ["--expect-body", "^web.example/127.0.0.1$"];
            let ended = check(&probe, &[&named[..], &body].concat()).await;
            assert_eq!(ended.code, Some(0), "{}", ended.output);
        }
    }
}

#[tokio::test]
async fn http_to_https_and_the_other_way_round_are_told_as_such() {
    let pki = Pki::new();
    let (_nginx, tls, plain) = server(&pki, "server").await;
    let ended = check(&format!("http://127.0.0.1:{tls}/"), &[]).await;
    let expected = format!("127.0.0.1:{tls} speaks TLS: the probe must begin with https://");
    assert_down(&ended, &expected);
    let ended = check(&format!("https://127.0.0.1:{plain}/"), &[]).await;
    let expected = format!("127.0.0.1:{plain} does not speak TLS: perhaps it is an http:// port");
    assert_down(&ended, &expected);
    let ended = check(&format!("grpc://127.0.0.1:{tls}"), &[]).await;
    assert_down(&ended, &format!("127.0.0.1:{tls}"));
    assert!(
        ended.output.contains("perhaps it speaks TLS"),
        "{}",
        ended.output
    );
    let nowhere = free_port();
    for scheme in ["http", "https", "tcp", "grpc"] {
        let ended = check(&format!("{scheme}://127.0.0.1:{nowhere}"), &[]).await;
        let expected = format!("connection refused: nothing listens at 127.0.0.1:{nowhere}");
        assert_down(&ended, &expected);
    }
    let ended = check("http://name.invalid/", &[]).await;
    assert_down(&ended, "the name name.invalid cannot be resolved");
}

#[tokio::test]
async fn a_login_in_a_probe_is_sent_and_never_shown() {
    let folder = support::folder();
    let users = folder.path().join("users");
    std::fs::write(&users, "probe:{PLAIN}hunter2\n").expect("our own folder");
    let port = free_port();
    let _nginx = support::Settings::default()
        .http(format!(
            "server {{ listen 127.0.0.1:{port}; location / {{ auth_basic on;
                auth_basic_user_file {}; try_files /none =204; }} }}",
            users.display()
        ))
        .start()
        .await;
    let right = format!("http://probe:hunter2@127.0.0.1:{port}/?token=hunter2");
    let ended = check(&right, &[]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!(!ended.output.contains("hunter2"), "{}", ended.output);
    let wrong = format!("http://probe:hunter3@127.0.0.1:{port}/?token=hunter3");
    let ended = check(&wrong, &[]).await;
    let expected = format!("http://127.0.0.1:{port}/?...: HTTP 401, expected");
    assert_down(&ended, &expected);
    assert!(!ended.output.contains("hunter3"), "{}", ended.output);
}

#[tokio::test]
async fn no_mistake_on_a_command_line_or_in_a_file_repeats_a_secret() {
    let folder = support::folder();
    let file = folder.path().join("env");
    std::fs::write(
        &file,
        "ETCDCTL_PASSWORD: hunter2\nhunter2=\\nexport X=hunter2\nhunter2",
    )
    .unwrap();
    let file = file.display().to_string();
    let announce = ["website/b1", "10.0.0.5:8080"];
    let push = [
        "--upstream",
        "website",
        "--nginx",
        "https://u:hunter2@host:bad",
    ];
    let login = ["--endpoints", "http://u:hunter2@127.0.0.1:2379"];
    for (command, args) in [
        ("push", &push[..]),
        ("list", &login),
        ("announce", &["http://u:hunter2@h/x", "10.0.0.5:8080"]),
        ("list", &["--prefix", "http://u:hunter2@h"]),
        (
            "announce",
            &[&announce[..], &["--probe-header", "Authorization hunter2"]].concat(),
        ),
        (
            "announce",
            &[&announce[..], &["--env-file", &file]].concat(),
        ),
        (
            "announce",
            &[
                "--container",
                "x",
                "--docker-host",
                "tcp://u:hunter2@host:2375",
            ],
        ),
        (
            "unit",
            &[&announce[..], &["--probe", "http://u:hunter2@h/"]].concat(),
        ),
        (
            "unit",
            &[&announce[..], &["--probe-header", "Authorization: hunter2"]].concat(),
        ),
        ("unit", &[&announce[..], &["--user", "u:hunter2"]].concat()),
    ] {
        let ended = Command::new(command).args(args).run().await;
        assert_eq!(ended.code, Some(64), "{command} {args:?}: {}", ended.output);
        assert!(
            !ended.output.contains("hunter2"),
            "{command}: {}",
            ended.output
        );
    }
    let help = Command::new("announce")
        .args(["--help"])
        .env("SIDEKICK_PROBE_HEADER", "A: hunter2");
    let ended = help
        .env("SIDEKICK_PROBE", "http://u:hunter2@h")
        .env("ETCDCTL_ENDPOINTS", "hunter2")
        .run()
        .await;
    assert!(!ended.output.contains("hunter2"), "{}", ended.output);
}
