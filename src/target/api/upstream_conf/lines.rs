//! What the API shows: one line for each server, `server ADDRESS [PARAMETERS]; # id=N [draining]`.

use crate::upstream::plan::{Peer, Tuning, read_time};
use crate::util::sanitize::short;

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
mod tests;
