//! Upstreams of the stream block.

use super::*;

const STREAM: &str = "/api/9/stream/upstreams/website/servers/";

async fn stage(there: &[&str]) -> Stage {
    let stage = Stage::new(there).await;
    stage.fake.model().stream = true;
    let url = format!("http://{}/api", stage.fake.address);
    let api = Arc::new(api_at(&url, PATIENCE));
    let plus = upstream(api, Layer::Stream, "website".parse().unwrap(), PATIENCE);
    Stage { plus, ..stage }
}

#[tokio::test]
async fn a_stream_upstream_becomes_what_is_desired() {
    let mut stage = stage(&[B]).await;
    assert!(converged(
        &stage.converge(&[A_UP, (C, State::Down, 2)]).await
    ));
    assert_eq!(
        stage.fake.model().changes(),
        [
            format!(r#"POST {STREAM} {{"server":"10.0.0.1:80","weight":1}}"#),
            format!(r#"POST {STREAM} {{"server":"10.0.0.3:80","weight":2,"down":true}}"#),
            format!("DELETE {STREAM}0"),
        ]
    );
}

#[tokio::test]
async fn a_stream_server_drains_by_being_down_until_its_connections_have_ended() {
    let mut stage = stage(&[A, B]).await;
    stage.set_active(A, 2);
    let draining = |active| {
        Ok(Progress::Draining {
            active,
            confirmed: 0,
        })
    };
    assert_eq!(stage.converge(&[A_DRAINS, B_UP]).await, draining(2));
    assert_eq!(
        stage.fake.model().changes(),
        [format!(r#"PATCH {STREAM}0 {{"down":true}}"#)],
        "there is no drain in stream, and it is not tried"
    );
    assert_eq!(stage.converge(&[A_DRAINS, B_UP]).await, draining(2));
    assert!(
        converged(&stage.converge(&[A_UP, B_UP]).await),
        "it comes back"
    );
    assert_eq!(
        stage.shown(),
        ["10.0.0.1:80 weight=1", "10.0.0.2:80 weight=1"]
    );
    stage.set_active(A, 0);
    assert!(converged(&stage.converge(&[A_DRAINS, B_UP]).await));
    assert_eq!(stage.shown(), ["10.0.0.2:80 weight=1"]);
}

#[tokio::test]
async fn a_stream_server_that_cannot_be_taken_out_is_never_said_to_be_drained() {
    let mut stage = stage(&[A]).await;
    stage
        .fake
        .model()
        .always("PATCH", 400, "UpstreamConfFormatError");
    let error = stage.converge(&[A_DRAINS]).await.unwrap_err();
    assert!(matches!(error, Error::Undrainable(_)), "{error}");
}

#[tokio::test]
async fn an_nginx_without_stream_says_so() {
    let mut stage = stage(&[]).await;
    stage.fake.model().stream = false;
    assert_eq!(stage.converge(&[A_UP]).await, Err(Error::NoStream));
    stage
        .fake
        .model()
        .always("/stream/", 404, "StreamNotConfigured");
    let error = stage.converge(&[A_UP]).await.unwrap_err();
    assert_eq!(error, Error::NoStream);
    assert!(
        error.to_string().contains("there is no `stream` block"),
        "{error}"
    );
}
