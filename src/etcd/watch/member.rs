//! Listing and watching a range at one member.

use super::reached::{Reach, Reached};
use super::{Census, Change, Entry, Events, Source, Told};
use std::time::Duration;

use etcd_client::{
    EventType, GetOptions, KeyValue, ResponseHeader, SortOrder, SortTarget, WatchOptions,
    WatchResponse, WatchStream,
};
use tokio::time::{Instant, timeout_at};

use crate::etcd::client::{CALL_TIMEOUT, Cluster, Connection, Pace};
use crate::etcd::error::{Error, Right, STREAM_CLOSED};
use crate::etcd::range::Range;
use crate::util::log_limit::More;

/// How many keys one call of a listing asks for at first: some hundred kilobytes of ordinary records.
const PAGE: i64 = 1_000;
/// After so long without a message the member is asked whether it still watches.
const IDLE: Duration = Duration::from_secs(30);
/// The same where another member could be watched instead.
const IDLE_AMONG_SEVERAL: Duration = Duration::from_secs(5);
/// How long a doubtful member may take to answer that: another one did better just now.
const DOUBT: Duration = Duration::from_secs(1);
/// The real source.
#[derive(Debug)]
pub(crate) struct Etcd {
    cluster: Cluster,
    range: Range,
    pace: Pace,
    /// How many keys a call of a listing asks for.
    page: i64,
    /// The generation of the connection that was used last.
    generation: u64,
}

impl Etcd {
    pub(super) fn new(cluster: Cluster, range: Range) -> Self {
        let pace = cluster.pace();
        Self {
            cluster,
            range,
            pace,
            page: PAGE,
            generation: 0,
        }
    }

    /// Asks with smaller pages until each fits into a message: values of a megabyte each, written by
    /// whomever, must not blind the reader to all others.
    pub(super) async fn list_at(
        &mut self,
        connection: &Connection,
    ) -> Result<(i64, Vec<Entry>), Error> {
        loop {
            match self.pages(connection).await {
                Err(error) if error.is_too_large() && self.page > 1 => self.page /= 10,
                answer => return answer,
            }
        }
    }

    async fn pages(&self, connection: &Connection) -> Result<(i64, Vec<Entry>), Error> {
        let mut start = self.range.start().to_vec();
        let mut entries = Vec::new();
        let mut listed_at = 0;
        loop {
            let mut options = GetOptions::new()
                .with_limit(self.page)
                .with_revision(listed_at);
            if let Some(end) = self.range.end() {
                options = options.with_range(end);
            }
            let mut client = connection.kv();
            let answer = connection
                .call(async move { client.get(start, Some(options)).await })
                .await
                .map_err(|error| connection.about(error, Right::Read, &self.range))?;
            if listed_at == 0 {
                // All pages show the same revision, or the listing would be no picture of any moment.
                listed_at = answer
                    .header()
                    .ok_or_else(|| connection.incomplete("a header"))?
                    .revision();
            }
            entries.extend(answer.kvs().iter().map(Entry::from_kv));
            match answer.kvs().last() {
                Some(last) if answer.more() => {
                    start = last.key().to_vec();
                    start.push(0);
                }
                _ => return Ok((listed_at, entries)),
            }
        }
    }

    async fn census_at(&self, connection: &Connection) -> Result<Census, Error> {
        // The count is of all, whatever the limit.
        let mut options = GetOptions::new()
            .with_limit(1)
            .with_keys_only()
            .with_sort(SortTarget::Mod, SortOrder::Descend);
        if let Some(end) = self.range.end() {
            options = options.with_range(end);
        }
        let mut client = connection.kv();
        let start = self.range.start().to_vec();
        let answer = connection
            .call(async move { client.get(start, Some(options)).await })
            .await?;
        Ok(Census {
            keys: answer.count(),
            newest: answer.kvs().first().map_or(0, KeyValue::mod_revision),
        })
    }

    async fn watch_at(&self, connection: &Connection, from: i64) -> Result<EtcdStream, Error> {
        let mut options = WatchOptions::new()
            .with_start_revision(from)
            .with_progress_notify()
            .with_fragment();
        if let Some(end) = self.range.end() {
            options = options.with_range(end);
        }
        let mut client = connection.watches();
        let key = self.range.start().to_vec();
        let stream = connection
            .call(async move { client.watch(key, Some(options)).await })
            .await
            .map_err(|error| connection.about(error, Right::Read, &self.range))?;
        Ok(EtcdStream {
            cluster: self.cluster.clone(),
            connection: connection.clone(),
            range: self.range.clone(),
            stream,
            asked: false,
            idle: match self.cluster.members() {
                0 | 1 => IDLE,
                _ => IDLE_AMONG_SEVERAL,
            },
            moved: self.cluster.moved(),
            heard_by: Instant::now() + IDLE_AMONG_SEVERAL,
            reached: Reached::from(from),
        })
    }
}

impl Source for Etcd {
    type Stream = EtcdStream;

    async fn list(&mut self) -> Result<(i64, Vec<Entry>), Error> {
        self.generation = self.cluster.generation();
        let connection = self.cluster.connection().await?;
        let answer = self.list_at(&connection).await;
        answer.inspect_err(|error| self.cluster.failed(&connection, error))
    }

    async fn census(&self) -> Result<Census, Error> {
        let connection = self.cluster.connection().await?;
        let answer = self.census_at(&connection).await;
        answer.inspect_err(|error| self.cluster.failed(&connection, error))
    }

    async fn watch(&mut self, revision: i64) -> Result<EtcdStream, Error> {
        self.generation = self.cluster.generation();
        let connection = self.cluster.connection().await?;
        let answer = self.watch_at(&connection, revision).await;
        answer.inspect_err(|error| self.cluster.failed(&connection, error))
    }

    fn pause(&mut self) -> Duration {
        self.pace.after_failure()
    }

    fn succeeded(&mut self, was_blind: bool) -> bool {
        self.pace.reset();
        self.cluster.sight().regain(was_blind)
    }

    fn was_seen(&self) -> bool {
        self.cluster.sight().was_seen()
    }

    fn lost(&self, first: bool, trouble: &str, line: &'static str) -> Option<More> {
        let sight = self.cluster.sight();
        sight.lose(first, self.generation, trouble, line)
    }

    fn forget(&self) {
        self.cluster.sight().forget();
    }
}

/// An open watch at one member.
#[derive(Debug)]
pub(crate) struct EtcdStream {
    cluster: Cluster,
    connection: Connection,
    range: Range,
    stream: WatchStream,
    /// How long the member may stay silent before it is asked for a progress notification.
    idle: Duration,
    /// Changes when another connection is in use.
    moved: tokio::sync::watch::Receiver<()>,
    /// Whether the member was asked for a progress notification and has not sent one yet.
    asked: bool,
    /// When the silence becomes too long. A point in time, as readers often drop the wait half way.
    heard_by: Instant,
    /// How far the member is.
    reached: Reached,
}

impl EtcdStream {
    /// The next answer, or an error when the member stays silent after being asked.
    async fn message(&mut self) -> Result<WatchResponse, Error> {
        loop {
            let heard = tokio::select! {
                biased;
                heard = timeout_at(self.heard_by, self.stream.message()) => heard,
                Ok(()) = self.moved.changed(), if !self.asked => {
                    self.ask(DOUBT).await?;
                    continue;
                }
            };
            match heard {
                Ok(Ok(Some(answer))) => {
                    self.asked = false;
                    let at = answer.header().map_or(0, ResponseHeader::revision);
                    let patience = match self.reached.note(at) {
                        Reach::There => self.idle,
                        Reach::Behind => DOUBT,
                        Reach::Lost => return Err(self.ended(self.reached.in_words(at))),
                    };
                    self.heard_by = Instant::now() + patience;
                    return Ok(answer);
                }
                Ok(Ok(None)) => return Err(self.ended(STREAM_CLOSED.to_owned())),
                Ok(Err(source)) => return Err(self.connection.error(source)),
                Err(_) if self.asked => {
                    return Err(Error::Silent {
                        endpoint: self.connection.endpoint().to_owned(),
                        after: CALL_TIMEOUT,
                    });
                }
                Err(_) => self.ask(CALL_TIMEOUT).await?,
            }
        }
    }

    /// Asks the member for a progress notification, which is due then.
    async fn ask(&mut self, within: Duration) -> Result<(), Error> {
        self.asked = true;
        self.heard_by = Instant::now() + within;
        let asking = self.stream.request_progress().await;
        asking.map_err(|source| self.connection.error(source))
    }

    fn ended(&self, reason: String) -> Error {
        Error::WatchEnded {
            endpoint: self.connection.endpoint().to_owned(),
            reason,
        }
    }

    async fn changes(&mut self) -> Result<Told, Error> {
        loop {
            let answer = self.message().await?;
            if answer.canceled() {
                let ended = self.ended(why_canceled(&answer));
                return Err(self.connection.about(ended, Right::Read, &self.range));
            }
            let changes: Vec<_> = answer.events().iter().filter_map(change).collect();
            if changes.is_empty() {
                continue;
            }
            return Ok(Told {
                revision: changes.iter().map(Change::revision).max().unwrap_or(0),
                changes,
                more: answer.events().iter().map(more).sum(),
            });
        }
    }
}

impl Events for EtcdStream {
    async fn next(&mut self) -> Result<Told, Error> {
        let answer = self.changes().await;
        if let Err(error) = &answer {
            self.cluster.failed(&self.connection, error);
        }
        answer
    }
}

fn why_canceled(answer: &WatchResponse) -> String {
    match (answer.compact_revision(), answer.cancel_reason()) {
        (0, "") => "no reason given".to_owned(),
        (0, reason) => reason.to_owned(),
        (compacted, _) => format!("history before revision {compacted} was compacted away"),
    }
}

/// How many keys there are more by this event.
fn more(event: &etcd_client::Event) -> i64 {
    let is_new = |kv: &KeyValue| kv.create_revision() == kv.mod_revision();
    match event.event_type() {
        EventType::Put => event.kv().map_or(0, |kv| i64::from(is_new(kv))),
        EventType::Delete => -1,
    }
}

fn change(event: &etcd_client::Event) -> Option<Change> {
    let kv = event.kv()?;
    Some(match event.event_type() {
        EventType::Put => Change::Put(Entry::from_kv(kv)),
        EventType::Delete => Change::Deleted {
            key: kv.key().to_vec(),
            mod_revision: kv.mod_revision(),
        },
    })
}
