use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::mpsc;

use super::*;
use crate::docker::Daemon;
use crate::docker::daemon::Address;

/// A daemon that gives these answers in this order to whatever is asked but its version; what was asked is told.
async fn daemon(
    answers: Vec<String>,
) -> (Client, mpsc::UnboundedReceiver<String>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let (told, asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut answers = answers.into_iter();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            let length = stream.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..length]).into_owned();
            let line = head.lines().next().unwrap_or_default().to_owned();
            let answer = if line.contains("/version") {
                with(200, "", r#"{"ApiVersion":"1.41"}"#)
            } else {
                told.send(line).unwrap();
                answers.next().unwrap_or_else(|| with(500, "", "{}"))
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let client = Client::connect(Daemon::at(Address::Unix(path)));
    (client.await.unwrap(), asked, folder)
}

fn with(status: u16, header: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\n{header}Content-Length: {length}\r\n\r\n{body}")
}

fn ping(version: &str) -> String {
    with(200, &format!("Libpod-Api-Version: {version}\r\n"), "OK")
}

fn listed(state: &str) -> String {
    with(200, "", &format!(r#"[{{"Id":"ab","State":"{state}"}}]"#))
}

#[tokio::test]
async fn podman_is_asked_until_it_says_that_the_container_is_stopping() {
    let failure = with(500, "", r#"{"message":"database is locked"}"#);
    let answers = vec![
        ping("5.4.2"),
        listed("running"),
        failure,
        listed("stopping"),
    ];
    let (client, mut asked, _folder) = daemon(answers).await;
    client.stopping("ab").await;
    let mut lines = Vec::new();
    while let Ok(line) = asked.try_recv() {
        lines.push(line);
    }
    assert_eq!(lines.len(), 4, "{lines:?}");
    // Without all=true only those are listed that run.
    for line in &lines[1..] {
        assert!(
            line.starts_with("GET /v5.4.2/libpod/containers/json?all=true&filters="),
            "{line}"
        );
    }
}

#[tokio::test]
async fn docker_which_tells_by_an_event_is_not_asked() {
    let (client, mut asked, _folder) = daemon(vec![with(200, "", "OK")]).await;
    let waiting = timeout(2 * ASKED, client.stopping("ab")).await;
    assert!(waiting.is_err(), "it has something to tell");
    assert_eq!(asked.recv().await.unwrap(), "GET /_ping HTTP/1.1");
    assert!(asked.try_recv().is_err());
}
