use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn one(line: &str) -> Peer {
    let mut peers = read(line.as_bytes()).unwrap();
    assert_eq!(peers.len(), 1, "{line}");
    peers.remove(0)
}

#[test]
fn a_server_is_read_with_and_without_its_parameters() {
    let bare = one("server 10.0.0.1:80; # id=12\n");
    assert_eq!(
        (bare.id, bare.server.as_str(), bare.weight),
        (12, "10.0.0.1:80", 1)
    );
    assert_eq!(bare.tuning, Tuning::default());
    let full = one(
        "server [::1]:80 weight=3 max_conns=5 max_fails=0 fail_timeout=1m slow_start=500ms route=a backup down resolve; # id=1",
    );
    assert_eq!((full.server.as_str(), full.weight), ("[::1]:80", 3));
    assert!(full.backup && full.down && !full.drain && !full.srv);
    let tuning = Tuning {
        max_conns: Some(5),
        max_fails: Some(0),
        fail_timeout: Some(Duration::from_secs(60)),
        slow_start: Some(Duration::from_millis(500)),
    };
    assert_eq!(full.tuning, tuning);
    assert!(one("server 10.0.0.1:80; # id=1 draining").drain);
    assert!(one("server 10.0.0.1:80 drain; # id=1").drain);
    assert!(one("server unix:/run/x service=http; # id=1").srv);
    assert_eq!(one("server a:1 weight=x; # id=1").weight, 0);
}

#[test]
fn an_empty_upstream_is_an_empty_answer() {
    assert_eq!(read(b""), Ok(vec![]));
    assert_eq!(read(b"\r\n\n"), Ok(vec![]));
}

#[test]
fn whatever_is_no_line_of_a_server_is_refused_with_the_line() {
    for text in [
        "<html>",
        "server 10.0.0.1:80;",
        "server 10.0.0.1:80; # id=",
        "server 10.0.0.1:80; # id=-1",
        "server 10.0.0.1:80; # id=+1",
        "server 10.0.0.1:80; # id=99999999999999999999",
        "server ; # id=1",
        "server 10.0.0.1:80 # id=1",
        "servers 10.0.0.1:80; # id=1",
        "server a:1; # id=1\nnonsense\u{1b}",
    ] {
        let problem = read(text.as_bytes()).unwrap_err();
        assert!(
            problem.starts_with("not a line") && problem.is_ascii(),
            "{problem}"
        );
    }
    assert!(read(b"\xff").is_err());
}

proptest! {
    #[test]
    fn whatever_comes_does_no_harm(body: Vec<u8>, text in "server [ -~]{0,40}; # id=[0-9a-z ]{0,9}") {
        let _ = (read(&body), read(text.as_bytes()));
    }
}
