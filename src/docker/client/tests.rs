//! Against daemons that behave as none should.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::docker::daemon::Address;

/// What a bad daemon does with an inspect request, after it has agreed on a version.
enum Answer {
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// This beginning, then spaces without end.
    Endless(&'static str),
}

/// A daemon that answers like this, for as long as it is kept.
struct BadDaemon {
    client: Client,
    server: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Drop for BadDaemon {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn daemon(answer: Answer) -> BadDaemon {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            let length = stream.read(&mut head).await.unwrap();
            let asked = String::from_utf8_lossy(&head[..length]).into_owned();
            if asked.contains("/version") {
                let _ = stream
                    .write_all(ok(r#"{"ApiVersion":"1.41"}"#).as_bytes())
                    .await;
                continue;
            }
            match &answer {
                Answer::Bytes(bytes) => {
                    let _ = stream.write_all(bytes).await;
                }
                Answer::Endless(beginning) => {
                    let _ = stream.write_all(beginning.as_bytes()).await;
                    let spaces = [b' '; 64 * 1024];
                    while stream.write_all(&spaces).await.is_ok() {}
                }
            }
        }
    });
    let client = Client::connect(Daemon::at(Address::Unix(path)));
    BadDaemon {
        client: client.await.unwrap(),
        server,
        _folder: folder,
    }
}

/// Asks a daemon that answers like this.
async fn ask(answer: Answer) -> Error {
    let daemon = daemon(answer).await;
    let answer = daemon.client.inspect(&"web1".parse().unwrap()).await;
    answer.unwrap_err()
}

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn answers_without_end_cost_no_more_than_a_bounded_read() {
    let started = Instant::now();
    for beginning in [
        "HTTP/1.1 200 OK\r\n\r\n{",
        "HTTP/1.1 500 No\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: ",
    ] {
        let error = ask(Answer::Endless(beginning)).await;
        assert!(matches!(error, Error::Failed { .. }), "{error:?}");
        assert!(error.to_string().len() < 500, "{error}");
    }
    assert!(started.elapsed() < CALL_TIMEOUT);
}

#[tokio::test]
async fn what_is_no_answer_is_a_reason_and_no_more() {
    for (bytes, part) in [
        (String::new(), "closed"),
        ("garbage\r\n\r\n".to_owned(), "HTTP"),
        (ok("]"), "cannot be read"),
        (ok("[]"), "no State"),
        (ok("{\"Id\":7,\"State\":{}}"), "no Id"),
        (ok("{}"), "no State"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{".to_owned(),
            "closed the connection before its answer was complete",
        ),
        (
            "HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbusy".to_owned(),
            "503: busy",
        ),
    ] {
        let error = ask(Answer::Bytes(bytes.clone().into())).await.to_string();
        assert!(error.contains(part), "{bytes:?}: {error}");
    }
    let missing = "HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\n{}".to_owned();
    let error = ask(Answer::Bytes(missing.into())).await;
    assert!(matches!(error, Error::NoSuchContainer { .. }), "{error:?}");
}

#[tokio::test]
async fn a_socket_that_is_not_there_or_not_ours_is_said_in_words() {
    let nowhere = Daemon::at("unix:///nonexistent/docker.sock".parse().unwrap());
    let error = Client::connect(nowhere).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "unix:///nonexistent/docker.sock: there is no such socket: is the daemon running?"
    );
}

/// The first thing that a daemon tells which speaks like this.
async fn first_event(body: &[u8]) -> Option<Result<Event, Error>> {
    let answer = [b"HTTP/1.1 200 OK\r\n\r\n", body].concat();
    let daemon = daemon(Answer::Bytes(answer)).await;
    let mut events = std::pin::pin!(daemon.client.events(&["web1"], None));
    let first = timeout(CALL_TIMEOUT, events.next()).await;
    first.expect("it neither tells nor ends")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_stream_of_anything_ends_in_an_event_or_a_short_reason(
        bytes: Vec<u8>, lines in prop::collection::vec(crate::docker::fixtures::any_json(), 0..4)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
        for body in [bytes, lines.into_bytes()] {
            if let Some(Err(error)) = runtime.block_on(first_event(&body)) {
                let shown = error.to_string();
                prop_assert!(shown.len() < 500 && !shown.contains('\n'), "{}", shown);
            }
        }
    }
}
