//! Answers to a probe over HTTP.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use sidekick::probe::{HttpOptions, HttpProbe, Probe};
use tokio::runtime::{Builder, Runtime};

use super::answer;
use crate::checks;

/// The longest reason of a failed probe, in bytes.
const MESSAGE: usize = 1000;
/// The timeout of a probe: whoever has an answer, or the end of one, needs none of it.
const TIMEOUT: Duration = Duration::from_secs(60);

thread_local! {
    static PEER: Peer = Peer::start();
}

/// All that a backend says, from the status line on, before it ends the connection.
pub(crate) fn http_probe(bytes: &[u8]) -> String {
    let verdict = PEER.with(|peer| {
        peer.answers.send(bytes.to_vec()).unwrap();
        peer.runtime.block_on(peer.probe.attempt(TIMEOUT))
    });
    match &verdict {
        Ok(()) => assert!(String::from_utf8_lossy(bytes).contains("HTTP/1.")),
        Err(failure) => checks::message(&failure.reason, MESSAGE),
    }
    answer(&verdict)
}

/// A backend that says what it is told, once for each connection.
struct Peer {
    answers: Sender<Vec<u8>>,
    probe: Probe,
    runtime: Runtime,
}

impl Peer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let (answers, told) = channel::<Vec<u8>>();
        thread::spawn(move || {
            let mut request = [0; 4096];
            for answer in told {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut request);
                let _ = stream.write_all(&answer);
                let _ = stream.shutdown(Shutdown::Write);
                // The end of the probe: else what is unread would reset the connection under it.
                while stream.read(&mut request).is_ok_and(|count| count > 0) {}
            }
        });
        let options = HttpOptions {
            expect_body: "^ok".parse().ok(),
            ..HttpOptions::default()
        };
        let url = format!("http://{address}/health");
        let probe = HttpProbe::new(&url, options).unwrap();
        Self {
            answers,
            probe: Probe::Http(probe.into()),
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
        }
    }
}
