//! The door of a backend. It sees which load balancer knocks, so that one of them can be cut off from a backend that all others reach.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::support::free_port;

#[cfg(test)]
mod tests;

/// The header by which one load balancer is known, and how nginx is told to send it.
const HEADER: &str = "x-knocks: ";
pub(crate) const KNOCKS: &str = "proxy_set_header X-Knocks yes;";

/// What happens to the one that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// Nothing passes, and nothing is closed.
    Silent,
    /// Its connections are closed, as is each new one as soon as it asks something.
    Closed,
}

/// A port in front of a backend, until it is dropped.
#[derive(Debug)]
pub(crate) struct Door {
    address: SocketAddr,
    way: watch::Sender<Way>,
    task: AbortHandle,
}

impl Door {
    pub(crate) async fn to(inside: SocketAddr) -> Self {
        let listener = loop {
            let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
            // Another process may have been faster.
            if let Ok(listener) = TcpListener::bind(address).await {
                break listener;
            }
        };
        let address = listener.local_addr().expect("it is bound");
        let way = watch::Sender::new(Way::Open);
        let task = tokio::spawn(open(listener, inside, way.subscribe())).abort_handle();
        Self { address, way, task }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, for the load balancer that is known.
    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn open(listener: TcpListener, inside: SocketAddr, way: watch::Receiver<Way>) {
    // Dropped with this task: that is what closes the connections.
    let mut connections = JoinSet::new();
    loop {
        if let Ok((guest, _)) = listener.accept().await {
            connections.spawn(carry(guest, inside, way.clone()));
        }
        while connections.try_join_next().is_some() {}
    }
}

/// One connection. A backend that does not accept it is not there for the guest either.
async fn carry(guest: TcpStream, inside: SocketAddr, mut way: watch::Receiver<Way>) {
    let Ok(host) = TcpStream::connect(inside).await else {
        return;
    };
    let _ = (guest.set_nodelay(true), host.set_nodelay(true));
    let is_known = is_known(&guest).await;
    let passes = is_known.then(|| way.clone());
    let (guest_rx, guest_tx) = guest.into_split();
    let (host_rx, host_tx) = host.into_split();
    let closed = async {
        let closed = way.wait_for(|way| is_known && *way == Way::Closed).await;
        drop(closed);
    };
    tokio::select! {
        biased;
        () = closed => {}
        () = copy(guest_rx, host_tx, passes.clone()) => {}
        () = copy(host_rx, guest_tx, passes) => {}
    }
}

/// By the first thing that it says.
async fn is_known(guest: &TcpStream) -> bool {
    let mut head = [0; 4096];
    let length = guest.peek(&mut head).await.unwrap_or_default();
    let head = String::from_utf8_lossy(&head[..length]).to_ascii_lowercase();
    head.lines().any(|line| line.starts_with(HEADER))
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut way: Option<watch::Receiver<Way>>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if let Some(way) = &mut way
            && way.wait_for(|way| *way != Way::Silent).await.is_err()
        {
            return;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
