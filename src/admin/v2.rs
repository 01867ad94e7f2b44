//! Keys in etcd's old v2 store, which sidekick does not read.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Place;

/// Timeout of the request for such keys.
const PATIENCE: Duration = Duration::from_secs(1);
/// How much of the answer is read.
const MAX_ANSWER: u64 = 16 * 1024;

/// A hint for an empty list: the records may be in the v2 store, if etcd has one.
pub async fn hint(place: &Place) -> Option<String> {
    let mut members = place.cluster.endpoints().iter();
    // Only members that need no certificate or password.
    let member = members.find_map(|member| member.strip_prefix("http://"))?;
    let path = format!("/v2/keys{}", place.prefix);
    let answer = timeout(PATIENCE, ask(member, &path)).await.ok()?.ok()?;
    let prefix = &place.prefix;
    has_keys(&answer).then(|| {
        format!(
            "there are keys below {prefix} in etcd's old v2 store (written with ETCDCTL_API=2 or by an old client), which \
            sidekick does not read: write them with etcdctl put and ETCDCTL_API=3, or move them with etcdctl migrate"
        )
    })
}

async fn ask(member: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(member).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {member}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Whether the answer shows such a key in a v2 store.
fn has_keys(answer: &str) -> bool {
    let found = answer
        .split_once(' ')
        .is_some_and(|(_, rest)| rest.starts_with("200"));
    found && answer.contains("\"node\"")
}

#[cfg(test)]
mod tests;
