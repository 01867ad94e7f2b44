//! The doors of members to each other: each sees which member knocks, so that one of them can be cut off from the others
//! while all go on to hear their clients.

use std::collections::HashSet;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::support::free_port;

/// Where nothing passes: gates of the members that dial, and gates that they dial at.
pub(super) type Cuts = HashSet<(SocketAddr, SocketAddr)>;

/// A port in front of what one member says to the others.
#[derive(Debug)]
pub(super) struct Gate {
    address: SocketAddr,
    task: AbortHandle,
}

impl Gate {
    /// Leads from a free port to `inside` as far as `cuts` lets it.
    pub(super) async fn to(inside: SocketAddr, cuts: &watch::Sender<Cuts>) -> Self {
        let (address, listener) = loop {
            let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
            // Another process may have been faster.
            if let Ok(listener) = TcpListener::bind(address).await {
                break (address, listener);
            }
        };
        let cuts = cuts.subscribe();
        let task = tokio::spawn(open(listener, address, inside, cuts)).abort_handle();
        Self { address, task }
    }

    /// Where other members connect.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn open(
    listener: TcpListener,
    gate: SocketAddr,
    inside: SocketAddr,
    cuts: watch::Receiver<Cuts>,
) {
    // Dropped with this task: that is what closes the connections.
    let mut connections = JoinSet::new();
    loop {
        if let Ok((guest, _)) = listener.accept().await {
            connections.spawn(carry(guest, gate, inside, cuts.clone()));
        }
        while connections.try_join_next().is_some() {}
    }
}

/// From one member to another.
#[derive(Clone)]
struct Way {
    /// `None` for what has no sender: questions about versions and health.
    ends: Option<(SocketAddr, SocketAddr)>,
    cuts: watch::Receiver<Cuts>,
}

impl Way {
    /// Waits while it is cut; `false` when the cluster is gone.
    async fn is_open(&mut self) -> bool {
        let ends = self.ends;
        let open = |cuts: &Cuts| ends.is_none_or(|ends| !cuts.contains(&ends));
        self.cuts.wait_for(open).await.is_ok()
    }
}

async fn carry(
    guest: TcpStream,
    gate: SocketAddr,
    inside: SocketAddr,
    cuts: watch::Receiver<Cuts>,
) {
    let ends = sender(&guest).await.map(|sender| (sender, gate));
    let mut way = Way { ends, cuts };
    if !way.is_open().await {
        return;
    }
    let Ok(host) = TcpStream::connect(inside).await else {
        return;
    };
    let _ = (guest.set_nodelay(true), host.set_nodelay(true));
    let (guest_rx, guest_tx) = guest.into_split();
    let (host_rx, host_tx) = host.into_split();
    tokio::select! {
        () = copy(guest_rx, host_tx, way.clone()) => {}
        () = copy(host_rx, guest_tx, way) => {}
    }
}

/// The gate of the member that sends the first request here: etcd names it in a header of all that is raft's.
async fn sender(guest: &TcpStream) -> Option<SocketAddr> {
    let mut head = [0; 4096];
    let length = guest.peek(&mut head).await.ok()?;
    let head = String::from_utf8_lossy(&head[..length]).to_ascii_lowercase();
    let mut lines = head.lines();
    let urls = lines.find_map(|line| line.strip_prefix("x-peerurls: http://"))?;
    urls.trim().parse().ok()
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut way: Way) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if !way.is_open().await || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
    // A cut holds back the end of a connection too.
    way.is_open().await;
}
