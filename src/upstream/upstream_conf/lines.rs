//! What the API shows: one line for each server, `server ADDRESS [PARAMETERS]; # id=N [draining]`.

use crate::plan::{Peer, Tuning, read_time};
use crate::printable::short;

/// Reads all lines.
///
/// # Errors
///
/// What is wrong with the first line that is none of a server.
pub(super) fn read(body: &[u8]) -> Result<Vec<Peer>, String> {
    let text = std::str::from_utf8(body).map_err(|_| "the answer is not text".to_owned())?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let read = |line: &str| {
        let no_server = || format!("not a line as in `server ADDRESS; # id=N`: {}", short(line));
        server(line).ok_or_else(no_server)
    };
    lines.map(read).collect()
}

fn server(line: &str) -> Option<Peer> {
    let (declared, comment) = line.strip_prefix("server ")?.split_once(';')?;
    let mut declared = declared.split_ascii_whitespace();
    let mut comment = comment
        .trim_start()
        .strip_prefix("# id=")?
        .split_ascii_whitespace();
    let mut peer = Peer {
        id: number(comment.next()?)?,
        server: declared.next()?.to_owned(),
        weight: 1,
        down: false,
        drain: false,
        backup: false,
        child: false,
        srv: false,
        tuning: Tuning::default(),
    };
    for word in declared.chain(comment) {
        note(&mut peer, word);
    }
    Some(peer)
}

/// Takes note of one word behind the address or the id. There may be words that are of no interest here.
fn note(peer: &mut Peer, word: &str) {
    let tuning = &mut peer.tuning;
    match word.split_once('=').unwrap_or((word, "")) {
        // nginx has no weight 0: what cannot be read differs from whatever is wanted.
        ("weight", value) => peer.weight = number(value).unwrap_or(0),
        ("max_conns", value) => tuning.max_conns = number(value),
        ("max_fails", value) => tuning.max_fails = number(value),
        ("fail_timeout", value) => tuning.fail_timeout = read_time(value),
        ("slow_start", value) => tuning.slow_start = read_time(value),
        ("service", _) => peer.srv = true,
        ("down", "") => peer.down = true,
        ("drain" | "draining", "") => peer.drain = true,
        ("backup", "") => peer.backup = true,
        _ => {}
    }
}

/// A number of digits only.
fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
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
}
