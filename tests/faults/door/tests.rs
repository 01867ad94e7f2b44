use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{Door, Way};

const KNOWN: &str = "GET / HTTP/1.1\r\nX-Knocks: yes\r\n\r\n";
const UNKNOWN: &str = "GET / HTTP/1.1\r\nHost: website\r\n\r\n";

/// Gives back what it gets, on any number of connections.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut rx, mut tx) = stream.split();
                let _ = tokio::io::copy(&mut rx, &mut tx).await;
            });
        }
    });
    address
}

/// Whether what is said comes back; `None` where nothing does for a while.
async fn says(stream: &mut TcpStream, what: &str) -> Option<bool> {
    let _ = stream.write_all(what.as_bytes()).await;
    comes_back(stream, what).await
}

async fn comes_back(stream: &mut TcpStream, what: &str) -> Option<bool> {
    let mut heard = vec![0; what.len()];
    let heard = timeout(Duration::from_millis(300), stream.read_exact(&mut heard));
    heard.await.ok().map(|heard| heard.is_ok())
}

#[tokio::test]
async fn only_the_load_balancer_that_is_known_is_cut_off() {
    let door = Door::to(echo().await).await;
    let connect = async || {
        TcpStream::connect(door.address())
            .await
            .expect("it is open")
    };
    let (mut known, mut unknown) = (connect().await, connect().await);
    assert_eq!(says(&mut known, KNOWN).await, Some(true));
    assert_eq!(says(&mut unknown, UNKNOWN).await, Some(true));

    door.set(Way::Silent);
    assert_eq!(says(&mut known, KNOWN).await, None);
    assert_eq!(says(&mut connect().await, KNOWN).await, None);
    assert_eq!(says(&mut unknown, UNKNOWN).await, Some(true));
    assert_eq!(says(&mut connect().await, UNKNOWN).await, Some(true));
    // What was held back passes.
    door.set(Way::Open);
    assert_eq!(comes_back(&mut known, KNOWN).await, Some(true));

    door.set(Way::Closed);
    assert_eq!(says(&mut known, KNOWN).await, Some(false));
    assert_eq!(says(&mut connect().await, KNOWN).await, Some(false));
    assert_eq!(says(&mut unknown, UNKNOWN).await, Some(true));
}
