use std::convert::Infallible;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use proptest::prelude::*;

use super::*;

/// A server that knows one service, `shop`, in the given state; answers without a body are gRPC's way to send
/// a status alone.
async fn server(state: u8) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer =
                move |request| async move { Ok::<_, Infallible>(check(request, state).await) };
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
    endpoint.parse().unwrap()
}

async fn check(request: hyper::Request<Incoming>, state: u8) -> hyper::Response<Full<Bytes>> {
    use http_body_util::BodyExt;
    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let answer = hyper::Response::builder().header("content-type", "application/grpc");
    // Behind the five bytes that frame a message, a string field with the tag 1.
    if body[5..] == *b"\x0a\x04shop" {
        let message = Bytes::from(vec![0, 0, 0, 0, 2, 8, state]);
        answer
            .header("grpc-status", "0")
            .body(Full::new(message))
            .unwrap()
    } else {
        let unknown = answer
            .header("grpc-status", "5")
            .header("grpc-message", "no such service");
        unknown.body(Full::new(Bytes::new())).unwrap()
    }
}

async fn ask(state: u8, service: &str) -> Result<(), String> {
    let endpoint = server(state).await;
    let probe: GrpcProbe = format!("{endpoint}/{service}").parse().unwrap();
    probe.attempt().await
}

#[tokio::test]
async fn only_a_service_that_says_it_serves_passes() {
    assert_eq!(ask(1, "shop").await, Ok(()));
    assert_eq!(
        ask(2, "shop").await.unwrap_err(),
        "health status NOT_SERVING"
    );
    let said = ask(1, "bank").await.unwrap_err();
    assert!(
        said.contains("gRPC status 5:") && said.contains("no such service"),
        "{said}"
    );
}

#[test]
fn the_service_is_optional_and_shown_as_it_was_given() {
    for text in ["127.0.0.1:50051", "[::1]:50051/shop.v1.Shop"] {
        let probe: GrpcProbe = text.parse().unwrap();
        assert_eq!(probe.to_string(), format!("grpc://{text}"));
    }
    assert!("nowhere".parse::<GrpcProbe>().is_err());
}

proptest! {
    #[test]
    fn arbitrary_text_is_a_probe_that_comes_back_or_none(text in any::<String>(), near in "[0-9a-z.:]{0,20}(/[!-~]{0,9})?") {
        for text in [text, near] {
            if let Ok(probe) = text.parse::<GrpcProbe>() {
                let shown = probe.to_string();
                prop_assert_eq!(shown.trim_start_matches("grpc://").parse::<GrpcProbe>().unwrap(), probe);
            }
        }
    }

    #[test]
    fn arbitrary_messages_are_judged_and_never_panic(bytes: Vec<u8>, status: i32) {
        use prost::Message as _;
        let _ = CheckResponse::decode(&bytes[..]).map(|answer| judge(answer.status));
        prop_assert_eq!(judge(status).is_ok(), status == SERVING);
    }

    #[test]
    fn garbage_from_a_server_is_a_short_reason(bytes: Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let reason = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let probe: GrpcProbe = listener.local_addr().unwrap().to_string().parse().unwrap();
            tokio::spawn(async move {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut greeting = [0; 24];
                let _ = stream.read(&mut greeting).await;
                // The beginning of an answer as HTTP/2 has it, so that more than the first bytes is looked at.
                let _ = stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
                let _ = stream.write_all(&bytes).await;
            });
            let limit = std::time::Duration::from_secs(20);
            let verdict = crate::probe::Probe::Grpc(probe).attempt(limit).await;
            verdict.unwrap_err().reason
        });
        prop_assert!(reason.len() < 300 && !reason.contains("within 20s"), "{}", reason);
    }
}
