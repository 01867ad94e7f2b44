//! Clients of the load balancers. Each answer says which backends nginx has tried.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::judge::Asked;
use super::monitor::Monitor;
use super::tried::Tried;
use crate::support::Answer;
use crate::support::http::{Connection, exchange};

/// Directives of nginx that make its answers tell what it tried, and end what hangs before its client gives up.
pub(crate) const TOLD: &str = "add_header X-Upstream $upstream_addr always; proxy_read_timeout 3s;";

/// A client gives up after this.
const TIMEOUT: Duration = Duration::from_secs(6);

/// Between two requests of one kind to one load balancer.
const GET_EVERY: Duration = Duration::from_millis(20);
const POST_EVERY: Duration = Duration::from_millis(50);

/// Asks each of these, by number, for ever; `instances` are the addresses of ours.
pub(crate) async fn ask(
    balancers: [(usize, SocketAddr); 3],
    instances: Arc<Vec<SocketAddr>>,
    monitor: Monitor,
) {
    let mut clients = JoinSet::new();
    for (balancer, address) in balancers {
        for (is_post, every) in [(false, GET_EVERY), (true, POST_EVERY)] {
            let client = Client {
                balancer,
                address,
                is_post,
                instances: Arc::clone(&instances),
            };
            clients.spawn(client.ask_all_the_time(every, monitor.clone()));
        }
    }
    clients.join_all().await;
}

/// A connection that leaves nothing in the kernel's tables: thousands that wait there for their time make every look at them slow.
async fn connect(address: SocketAddr) -> Result<Connection, String> {
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|error| format!("connect: {error}"))?;
    let _ = stream.set_nodelay(true);
    let _ = stream.set_zero_linger();
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| format!("handshake: {error}"))?;
    tokio::spawn(connection);
    Ok(sender)
}

struct Client {
    balancer: usize,
    address: SocketAddr,
    is_post: bool,
    instances: Arc<Vec<SocketAddr>>,
}

impl Client {
    /// At its pace, however long an answer takes. Every request has a connection of its own, and none is repeated.
    async fn ask_all_the_time(self, every: Duration, monitor: Monitor) {
        let client = Arc::new(self);
        let mut pace = interval(every);
        pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            pace.tick().await;
            let (client, monitor) = (Arc::clone(&client), monitor.clone());
            tokio::spawn(async move {
                let sent = Instant::now();
                let answer = timeout(TIMEOUT, client.ask()).await;
                let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
                monitor.asked(&client.judged((sent, Instant::now()), answer));
            });
        }
    }

    async fn ask(&self) -> Result<Answer, String> {
        let mut connection = connect(self.address).await?;
        let (method, body) = match self.is_post {
            true => ("POST", Bytes::from_static(b"order=1")),
            false => ("GET", Bytes::new()),
        };
        exchange(&mut connection, method, "/", body).await
    }

    fn judged(&self, (sent, over): (Instant, Instant), answer: Result<Answer, String>) -> Asked {
        let (tried, failure) = match answer {
            Ok(answer) => {
                let tried = answer.headers.get("x-upstream");
                let tried = tried.and_then(|tried| tried.to_str().ok());
                let is_good = answer.status == 200;
                let failure = (!is_good).then(|| {
                    format!(
                        "status {} (tried {})",
                        answer.status,
                        tried.unwrap_or("none")
                    )
                });
                (self.tried(tried.unwrap_or_default()), failure)
            }
            Err(why) => (Vec::new(), Some(why)),
        };
        Asked {
            balancer: self.balancer,
            is_post: self.is_post,
            sent,
            over,
            tried,
            failure,
        }
    }

    /// nginx tells all addresses that it tried, with commas between them.
    fn tried(&self, told: &str) -> Vec<Tried> {
        let attempts = told.split([',', ' ']).filter(|word| !word.is_empty());
        attempts
            .map(|told| Tried::of(told, &self.instances))
            .collect()
    }
}
