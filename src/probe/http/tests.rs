use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::probe::{Probe, Verdict};

/// How long an attempt may take here that comes to an end by itself, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// How long one may take that does not.
const SHORT: Duration = Duration::from_millis(400);

/// What a scripted backend does with a connection once it has read the request.
type Behaviour = fn(TcpStream) -> futures::Future;

/// Boxed futures, as function pointers need them.
mod futures {
    pub(super) type Future = std::pin::Pin<Box<dyn std::future::Future<Output = ()> + Send>>;
}

/// Probes a backend that behaves so.
async fn probe(options: HttpOptions, behaviour: Behaviour) -> Verdict {
    probe_for(LIMIT, options, behaviour).await
}

/// Probes a backend that behaves so, for no longer than this.
async fn probe_for(limit: Duration, options: HttpOptions, behaviour: Behaviour) -> Verdict {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/health", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        behaviour(stream).await;
    });
    let http = HttpProbe::new(&url, options).unwrap();
    let started = Instant::now();
    let verdict = Probe::Http(std::sync::Arc::new(http)).attempt(limit).await;
    assert!(
        started.elapsed() < limit + LIMIT,
        "the verdict took {:?}",
        started.elapsed()
    );
    server.abort();
    verdict
}

fn reason(verdict: Verdict) -> String {
    verdict.expect_err("it was to fail").reason
}

fn say(mut stream: TcpStream, answer: &'static str) -> futures::Future {
    Box::pin(async move {
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
}

fn well(stream: TcpStream) -> futures::Future {
    say(
        stream,
        "HTTP/1.1 200 OK\r\nX-State: ready\r\nContent-Length: 11\r\n\r\ndatabase ok",
    )
}

#[tokio::test]
async fn status_body_and_headers_must_be_as_expected() {
    let regex = |text: &str| regex_lite::Regex::new(text).unwrap();
    let state = HeaderName::from_static("x-state");
    let good = HttpOptions {
        expect_body: Some(regex("database (ok|degraded)")),
        expect_headers: vec![(state.clone(), regex("^ready$"))],
        ..HttpOptions::default()
    };
    assert_eq!(probe(good, well).await, Ok(()));

    let status = HttpOptions {
        expect_status: "204".parse().unwrap(),
        ..HttpOptions::default()
    };
    assert_eq!(reason(probe(status, well).await), "HTTP 200, expected 204");
    let body = HttpOptions {
        expect_body: Some(regex("^fine$")),
        ..HttpOptions::default()
    };
    let said = reason(probe(body, well).await);
    assert!(
        said.contains("does not match \"^fine$\": database ok"),
        "{said}"
    );
    let header = HttpOptions {
        expect_headers: vec![(state, regex("leaving"))],
        ..HttpOptions::default()
    };
    let said = reason(probe(header, well).await);
    assert!(said.contains("no header x-state matches"), "{said}");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let moved: Behaviour = |stream| {
        say(
            stream,
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        )
    };
    assert_eq!(probe(HttpOptions::default(), moved).await, Ok(()));
}

#[tokio::test]
async fn what_is_not_http_or_breaks_off_fails() {
    let garbage: Behaviour = |stream| say(stream, "\x16\x03\x01 this is not HTTP\r\n\r\n");
    assert!(probe(HttpOptions::default(), garbage).await.is_err());
    let silent: Behaviour = |stream| say(stream, "");
    assert!(probe(HttpOptions::default(), silent).await.is_err());
    let broken: Behaviour = |stream| {
        say(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
        )
    };
    let said = reason(probe(HttpOptions::default(), broken).await);
    assert!(said.starts_with("HTTP 200, then "), "{said}");
}

#[tokio::test]
async fn a_backend_that_hangs_or_drips_is_given_up_at_the_limit() {
    let hanging: Behaviour = |stream| {
        Box::pin(async move {
            let _open = stream;
            std::future::pending().await
        })
    };
    let said = reason(probe_for(SHORT, HttpOptions::default(), hanging).await);
    assert!(said.contains("no whole answer within 400ms"), "{said}");

    let dripping: Behaviour = |mut stream| {
        Box::pin(async move {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
            let _ = stream.write_all(head.as_bytes()).await;
            while stream.write_all(b".").await.is_ok() {
                // The pace of the drip is the behaviour under test.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
    };
    let said = reason(probe_for(SHORT, HttpOptions::default(), dripping).await);
    assert!(said.contains("no whole answer within 400ms"), "{said}");
}

#[tokio::test]
async fn an_endless_body_is_read_only_up_to_its_limit() {
    let endless: Behaviour = |mut stream| {
        Box::pin(async move {
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(head.as_bytes()).await;
            while stream.write_all(&[b'x'; 8192]).await.is_ok() {}
        })
    };
    assert_eq!(probe(HttpOptions::default(), endless).await, Ok(()));
}

#[test]
fn what_stands_behind_64_kib_of_a_body_is_not_read() {
    let verdict = |before: usize| {
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
        let body = "x".repeat(before) + "ready";
        let options = HttpOptions {
            expect_body: Some(Regex::new("ready").unwrap()),
            ..HttpOptions::default()
        };
        verdict_on((head.to_owned() + &body).into_bytes(), options)
    };
    let room = (64 << 10) - "ready".len();
    assert_eq!(verdict(room), Ok(()));
    let said = reason(verdict(room + 1));
    assert!(said.contains("ready"), "{said}");
}

/// The verdict on a backend that answers with these bytes and then closes.
fn verdict_on(answer: Vec<u8>, options: HttpOptions) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/health", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
        });
        let http = HttpProbe::new(&url, options).unwrap();
        let limit = Duration::from_secs(20);
        Probe::Http(std::sync::Arc::new(http)).attempt(limit).await
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_a_backend_answers_the_verdict_is_short_and_says_no_more_than_it_is(
        garbage: Vec<u8>, status in 0u16..1000, header in "[ -~]{0,40}", body: Vec<u8>
    ) {
        let expecting = || HttpOptions {
            expect_body: Some(Regex::new("^ok$").unwrap()),
            ..HttpOptions::default()
        };
        let head = format!("HTTP/1.1 {status:03} Word\r\n{header}\r\nContent-Length: {}\r\n\r\n", body.len());
        let answer = [head.as_bytes(), &body].concat();
        for (answer, is_http) in [(garbage, false), (answer, true)] {
            let verdict = verdict_on(answer, expecting());
            let passes = is_http && (200..400).contains(&status) && body == b"ok";
            prop_assert!(passes || verdict.is_err());
            if let Err(failure) = verdict {
                let shown = failure.to_string();
                prop_assert!(shown.len() < 600 && !shown.contains('\x1b') && !shown.contains("within 20s"), "{}", shown);
            }
        }
    }
}

#[tokio::test]
async fn a_backend_that_has_answered_is_not_suspected_of_speaking_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/health", listener.local_addr().unwrap());
    let http = HttpProbe::new(&url, HttpOptions::default()).unwrap();
    let server = tokio::spawn(async move {
        for answer in [
            "",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "",
        ] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let first = http.attempt().await.unwrap_err();
    assert!(first.contains("perhaps it speaks TLS"), "{first}");
    assert_eq!(http.attempt().await, Ok(()));
    let last = http.attempt().await.unwrap_err();
    assert!(last.contains("closed the connection"), "{last}");
    assert!(!last.contains("TLS"), "{last}");
    server.await.unwrap();
}
