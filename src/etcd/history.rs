//! What has happened to a range of keys: a deletion leaves no trace in a listing, but one in etcd's history.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_client::{Event, EventType, GetOptions, WatchOptions, WatchStream};
use tokio::time::{Instant, timeout};

use super::client::{CALL_TIMEOUT, Connection};
use super::error::{Error, Right, STREAM_CLOSED};
use super::range::Range;

/// etcd hands out its history in rounds that are so long apart.
const ROUND: Duration = Duration::from_millis(100);
/// After so many rounds without a change all were told. etcd before 3.4.25 and 3.5.8 says that it is up to date before it is.
const QUIET: u32 = 5;

/// What etcd's history has of a range.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Past {
    /// The revision of the newest change in it; 0 for none.
    pub(crate) newest: i64,
    /// The keys that were deleted and are gone since, with the revisions of that.
    pub(crate) deleted: BTreeMap<Vec<u8>, i64>,
    /// After this revision it was looked for changes; what etcd has compacted of that is unknown.
    pub(crate) asked_after: i64,
}

/// What happened in the range after a revision, until now.
///
/// # Errors
///
/// When the member does not answer, or refuses.
pub(crate) async fn changes_after(
    connection: &Connection,
    range: &Range,
    revision: i64,
) -> Result<Past, Error> {
    let until = revision_now(connection, range).await?;
    let mut from = revision + 1;
    let mut past = Past {
        asked_after: revision,
        ..Past::default()
    };
    while from <= until {
        match read(connection, range, from, until, &mut past).await? {
            Read::All => break,
            Read::Compacted(oldest) => from = oldest.max(from + 1),
        }
    }
    Ok(past)
}

impl Past {
    /// Takes in an event; gives its revision.
    fn note(&mut self, event: &Event) -> Option<i64> {
        let kv = event.kv()?;
        match event.event_type() {
            EventType::Put => self.deleted.remove(kv.key()),
            EventType::Delete => self.deleted.insert(kv.key().to_vec(), kv.mod_revision()),
        };
        self.newest = self.newest.max(kv.mod_revision());
        Some(kv.mod_revision())
    }
}

/// etcd's own revision.
async fn revision_now(connection: &Connection, range: &Range) -> Result<i64, Error> {
    let mut options = GetOptions::new().with_count_only();
    if let Some(end) = range.end() {
        options = options.with_range(end);
    }
    let (mut client, start) = (connection.kv(), range.start().to_vec());
    let answer = connection
        .call(async move { client.get(start, Some(options)).await })
        .await
        .map_err(|error| connection.about(error, Right::Read, range))?;
    let header = answer.header();
    let header = header.ok_or_else(|| connection.incomplete("a header"))?;
    Ok(header.revision())
}

enum Read {
    /// Every change between the two revisions was told.
    All,
    /// There is no history before this revision any more.
    Compacted(i64),
}

async fn read(
    connection: &Connection,
    range: &Range,
    from: i64,
    until: i64,
    past: &mut Past,
) -> Result<Read, Error> {
    let mut stream = open(connection, range, from).await?;
    let (mut quiet, mut heard) = (0, Instant::now());
    loop {
        let Ok(message) = timeout(ROUND, stream.message()).await else {
            if heard.elapsed() > CALL_TIMEOUT {
                return Err(Error::Silent {
                    endpoint: connection.endpoint().to_owned(),
                    after: CALL_TIMEOUT,
                });
            }
            let asking = stream.request_progress().await;
            asking.map_err(|error| connection.error(error))?;
            continue;
        };
        let message = message.map_err(|error| connection.error(error))?;
        let ended = |reason: String| Error::WatchEnded {
            endpoint: connection.endpoint().to_owned(),
            reason,
        };
        let Some(message) = message else {
            return Err(ended(STREAM_CLOSED.to_owned()));
        };
        heard = Instant::now();
        if message.canceled() {
            return match message.compact_revision() {
                0 => {
                    let ended = ended(message.cancel_reason().to_owned());
                    Err(connection.about(ended, Right::Read, range))
                }
                oldest => Ok(Read::Compacted(oldest)),
            };
        }
        let changes = message.events().iter();
        let told = changes.filter_map(|event| past.note(event)).max();
        quiet = match told {
            Some(_) => 0,
            None if message.created() => quiet,
            None => quiet + 1,
        };
        if past.newest >= until || quiet >= QUIET {
            return Ok(Read::All);
        }
    }
}

async fn open(connection: &Connection, range: &Range, from: i64) -> Result<WatchStream, Error> {
    let mut options = WatchOptions::new()
        .with_start_revision(from)
        .with_fragment();
    if let Some(end) = range.end() {
        options = options.with_range(end);
    }
    let (mut client, start) = (connection.watches(), range.start().to_vec());
    connection
        .call(async move { client.watch(start, Some(options)).await })
        .await
        .map_err(|error| connection.about(error, Right::Read, range))
}
