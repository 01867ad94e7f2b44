//! Removes a record in order: draining, then gone.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Place;
use super::announcer::Keeper;
use super::confirm::{Awaited, Confirmation, confirm};
use crate::etcd::Error;
use crate::etcd::history::changes_after;
use crate::etcd::oneshot;
use crate::etcd::oneshot::{Lease, patiently};
use crate::etcd::pushers;
use crate::etcd::pushers::{Applied, Doubt, Leaving};
use crate::etcd::range::Range;
use crate::etcd::watch::Entry;
use crate::model::Format;
use crate::model::{InstanceId, Nonce, Quarantined, Record, State, decode};
use crate::util::shutdown::Stop;

/// Timeout for a look at the pushers that is optional.
const LOOK: Duration = Duration::from_secs(2);

/// How long to wait.
#[derive(Debug, Clone, Copy)]
pub struct Waiting {
    /// For every pusher to let go, at most.
    pub drain_timeout: Duration,
    /// After that, for requests in flight.
    pub linger: Duration,
}

/// Progress.
#[derive(Debug)]
pub enum Event<'a> {
    /// A process may keep the record; finding out whether it is alive takes at most this long.
    Checking(&'a str, Duration),
    /// The record is draining now.
    Draining,
    /// It waits for pushers.
    Waiting(&'a Leaving),
    /// etcd has no space to mark the record as draining: it is deleted at once.
    NoSpace,
    /// Only lingering is left.
    Lingering,
    /// The key's value is not a record that can be marked as draining.
    Quarantined(&'a Quarantined),
}

/// The result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// There was no record.
    Absent {
        /// The load balancers whose pushers are silent and may not know that.
        silent: Option<String>,
    },
    /// It is deleted.
    Gone(Confirmation),
    /// It is deleted without draining, because etcd has no space.
    Undrained,
    /// A live process keeps it, and would write it back.
    Kept {
        /// A description of the process.
        by: String,
    },
    /// Somebody else wrote it in the meantime, and it was left alone.
    TakenOver,
    /// A signal came before it was known whether the process that keeps the record is alive: it was left alone.
    Interrupted {
        /// A description of the process that may keep it.
        by: String,
    },
}

/// Marks the record as draining, waits until every pusher that routes the service has let go, and deletes it. A request
/// to stop ends the waiting, not the deletion. Dropping the future gives up: the record may stay as it is, or draining.
///
/// # Errors
///
/// When etcd refuses, or cannot be reached.
pub async fn deregister(
    place: &Place,
    id: &InstanceId,
    waiting: Waiting,
    mut stop: Stop,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome, Error> {
    let key = place.prefix.key(id);
    let nonce = Nonce::fresh();
    let Some(entry) = look(place, &key).await? else {
        let silent = silent(place, id).await;
        return Ok(Outcome::Absent { silent });
    };
    if let Some(keeper) = Keeper::of(&entry) {
        let looking = keeper.lives(place, |within| {
            tell(Event::Checking(&keeper.name, within));
        });
        let lives = tokio::select! {
            biased;
            lives = looking => Some(lives?),
            () = stop.leave() => None,
        };
        let by = keeper.name;
        match lives {
            Some(true) => return Ok(Outcome::Kept { by }),
            // It may be alive: leave it alone.
            None => return Ok(Outcome::Interrupted { by }),
            Some(false) => {}
        }
    }
    let draining = draining(place, &entry, &nonce);
    if let Err(quarantined) = &draining {
        tell(Event::Quarantined(quarantined));
    }
    let mut revision = entry.mod_revision;
    let mut drained = None;
    if let Ok(Some(value)) = draining {
        match say(place, &key, value, revision).await {
            Ok(Some(said)) => revision = said,
            Ok(None) => return vanished(place, id, revision, waiting, &mut stop, tell).await,
            Err(error) if error.is_out_of_space() => {
                tell(Event::NoSpace);
                return Ok(match delete(place, &key, revision).await? {
                    Some(_) => Outcome::Undrained,
                    None if look(place, &key).await?.is_none() => Outcome::Undrained,
                    None => Outcome::TakenOver,
                });
            }
            Err(error) => return Err(error),
        }
        tell(Event::Draining);
        drained = Some(let_go(place, id, revision, waiting, &mut stop, tell).await);
    }
    match (delete(place, &key, revision).await?, drained) {
        // A value that cannot be marked as draining drains once it is deleted.
        (Some(deleted), None) => {
            let confirmation = let_go(place, id, deleted, waiting, &mut stop, tell).await;
            Ok(Outcome::Gone(confirmation))
        }
        (Some(_), Some(confirmation)) => Ok(Outcome::Gone(confirmation)),
        (None, Some(_)) if look(place, &key).await?.is_some() => Ok(Outcome::TakenOver),
        // It disappeared after it was marked as draining.
        (None, Some(confirmation)) => Ok(Outcome::Gone(confirmation)),
        (None, None) => vanished(place, id, revision, waiting, &mut stop, tell).await,
    }
}

/// The key changed since `revision`: somebody else has written it, or it is gone. If it is gone, waits from that deletion
/// on.
async fn vanished(
    place: &Place,
    id: &InstanceId,
    revision: i64,
    waiting: Waiting,
    stop: &mut Stop,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome, Error> {
    let key = place.prefix.key(id);
    if look(place, &key).await?.is_some() {
        return Ok(Outcome::TakenOver);
    }
    let range = Range::Key(key.into());
    let past = patiently(&place.cluster, place.patience, async |connection| {
        changes_after(connection, &range, revision).await
    });
    // If that is compacted: it was later than what was seen.
    let deleted = past.await?.newest.max(revision + 1);
    let confirmation = let_go(place, id, deleted, waiting, stop, tell).await;
    Ok(Outcome::Gone(confirmation))
}

/// Which load balancers may still send requests to an instance without a record. It does not wait for them: whoever
/// removed the record may have done so.
async fn silent(place: &Place, id: &InstanceId) -> Option<String> {
    let mut pushers = pushers::Watch::new(place.cluster.clone(), place.meta.clone());
    let heard = timeout(LOOK.min(place.patience), pushers.until_so(|_| true)).await;
    heard.ok()?;
    let applied = pushers.known().leaving(&place.prefix, id, 0).applied;
    let silent = Applied {
        unknown: applied.unknown,
        ..Applied::default()
    };
    silent.missing(Doubt::StillSends)
}

/// Waits until every pusher has let go, and lingers.
async fn let_go(
    place: &Place,
    id: &InstanceId,
    revision: i64,
    waiting: Waiting,
    stop: &mut Stop,
    tell: &mut dyn FnMut(Event<'_>),
) -> Confirmation {
    let Waiting {
        drain_timeout,
        linger,
    } = waiting;
    let mut waits = |progress: &Leaving| tell(Event::Waiting(progress));
    let awaited = Awaited::Leaving(id, revision);
    let confirmation = confirm(place, awaited, drain_timeout, stop, &mut waits).await;
    if !linger.is_zero() && !stop.is_asked() {
        tell(Event::Lingering);
        tokio::select! {
            () = sleep(linger) => {}
            () = stop.leave() => {}
        }
    }
    confirmation
}

/// The record as `draining`; `None` for a plain record, which has no state.
fn draining(place: &Place, entry: &Entry, nonce: &Nonce) -> Result<Option<Vec<u8>>, Quarantined> {
    let (_, record) = decode(&place.prefix, &entry.key, &entry.value)?;
    let has_room = entry.value.trim_ascii().starts_with(b"{");
    Ok(has_room.then(|| {
        let record = Record {
            nonce: Some(nonce.clone()),
            ..record
                .with_state(State::Draining)
                .because("it is being deregistered")
        };
        record.encode(Format::Json)
    }))
}

async fn look(place: &Place, key: &str) -> Result<Option<Entry>, Error> {
    patiently(&place.cluster, place.patience, async |connection| {
        oneshot::get_to_write(connection, key).await
    })
    .await
}

/// Writes `value` under the key's own lease; returns the revision, or `None` if somebody else wrote the key in the
/// meantime.
async fn say(place: &Place, key: &str, value: Vec<u8>, since: i64) -> Result<Option<i64>, Error> {
    patiently(&place.cluster, place.patience, async |connection| {
        let written = oneshot::put(connection, key, &value, Lease::Same, since).await?;
        if written.is_some() {
            return Ok(written);
        }
        // Perhaps this command wrote it, in an attempt whose answer was lost.
        let seen = oneshot::get_to_write(connection, key).await?;
        let own = seen.filter(|entry| entry.value == value);
        Ok(own.map(|entry| entry.mod_revision))
    })
    .await
}

/// Deletes the key; returns the revision, or `None` if somebody else wrote it in the meantime or it is gone.
async fn delete(place: &Place, key: &str, since: i64) -> Result<Option<i64>, Error> {
    patiently(&place.cluster, place.patience, async |connection| {
        oneshot::delete(connection, key, since).await
    })
    .await
}
