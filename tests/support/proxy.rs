//! A link that can be slow, silent, cut or gone: by TCP on the clients' side, to a TCP or a Unix socket.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// State of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// Everything passes at once.
    Up,
    /// Everything passes after this time, in both directions.
    Slow(Duration),
    /// Nothing passes and nothing is closed; connections are still accepted.
    Silent,
    /// What clients send arrives; what the server answers does not.
    HalfOpen,
    /// Every connection is accepted and then reset.
    Reset,
    /// Open connections are closed and new ones are refused.
    Down,
}

/// Where a link leads.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl From<PathBuf> for Target {
    fn from(path: PathBuf) -> Self {
        Self::Unix(path)
    }
}

/// A link between clients and one server, on the runtime of the test.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    link: watch::Sender<Link>,
    task: AbortHandle,
}

impl Proxy {
    /// Leads from a free port to `server`.
    pub(crate) async fn to(server: impl Into<Target>) -> Self {
        let server = server.into();
        let (address, listener) = loop {
            let address = SocketAddr::from(([127, 0, 0, 1], super::ports::free_port()));
            // Another process may have been faster.
            if let Ok(listener) = TcpListener::bind(address).await {
                break (address, listener);
            }
        };
        let (link, link_rx) = watch::channel(Link::Up);
        let task = tokio::spawn(run(listener, server, link_rx)).abort_handle();
        Self {
            address,
            link,
            task,
        }
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// For `--endpoints`.
    pub(crate) fn endpoint(&self) -> String {
        self.address.to_string()
    }

    /// Changes the link from now on; what it holds back passes when it is `Up` again.
    pub(crate) fn set(&self, link: Link) {
        self.link.send_replace(link);
    }

    /// Closes all open connections; new ones are accepted at once.
    pub(crate) async fn cut(&self) {
        self.set(Link::Down);
        let address = self.address;
        super::until(super::PATIENCE, "the link to be down", async || {
            TcpStream::connect(address).await.is_err()
        })
        .await;
        self.set(Link::Up);
        super::until(super::PATIENCE, "the link to be up", async || {
            TcpStream::connect(address).await
        })
        .await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(first: TcpListener, server: Target, mut link: watch::Receiver<Link>) {
    let address = first.local_addr().expect("it is bound");
    let mut listener = Some(first);
    loop {
        // Dropped with the listener: that is what closes the connections.
        let mut connections = JoinSet::new();
        if let Some(listener) = listener.take() {
            loop {
                let carried = link.clone();
                tokio::select! {
                    biased;
                    _ = link.wait_for(|link| *link == Link::Down) => break,
                    Ok((client, _)) = listener.accept() => {
                        connections.spawn(carry(client, server.clone(), carried));
                    }
                }
            }
        }
        drop(connections);
        if link.wait_for(|link| *link != Link::Down).await.is_err() {
            return;
        }
        listener = Some(TcpListener::bind(address).await.expect("our own port"));
    }
}

/// Carries one connection until one end closes it, or the link resets it.
async fn carry(mut client: TcpStream, server: Target, link: watch::Receiver<Link>) {
    let mut changes = link.clone();
    let is_reset = tokio::select! {
        biased;
        changed = changes.wait_for(|link| *link == Link::Reset) => changed.is_ok(),
        () = carry_whole(&mut client, server, link) => false,
    };
    if is_reset {
        let _ = client.set_zero_linger();
    }
}

async fn carry_whole(client: &mut TcpStream, server: Target, mut link: watch::Receiver<Link>) {
    if link.wait_for(|link| *link != Link::Silent).await.is_err() {
        return;
    }
    let _ = client.set_nodelay(true);
    match server {
        Target::Tcp(address) => {
            let Ok(server) = TcpStream::connect(address).await else {
                return;
            };
            let _ = server.set_nodelay(true);
            join(client, server, link).await;
        }
        Target::Unix(path) => {
            let Ok(server) = UnixStream::connect(path).await else {
                return;
            };
            join(client, server, link).await;
        }
    }
}

async fn join(
    client: &mut TcpStream,
    server: impl AsyncRead + AsyncWrite,
    link: watch::Receiver<Link>,
) {
    let (client_rx, client_tx) = client.split();
    let (server_rx, server_tx) = split(server);
    tokio::select! {
        () = copy(client_rx, server_tx, link.clone(), |link| link != Link::Silent) => {}
        () = copy(server_rx, client_tx, link, |link| !matches!(link, Link::Silent | Link::HalfOpen)) => {}
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut link: watch::Receiver<Link>,
    passes: fn(Link) -> bool,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let state = *link.borrow_and_update();
        match state {
            // The delay of the link itself is what is wanted here.
            Link::Slow(delay) => tokio::time::sleep(delay).await,
            _ => {
                if link.wait_for(|link| passes(*link)).await.is_err() {
                    return;
                }
            }
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
