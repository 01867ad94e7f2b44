//! What a split said before it became unreadable: that stands, for every reader alike. Who did not see it reads it from etcd's
//! history, as far back as that was not compacted away.

use std::collections::BTreeMap;

use super::client::Connection;
use super::error::{Error, Right};
use super::range::Range;
use super::update::Entry;
use crate::model::{Object, Prefixes};
use etcd_client::GetOptions;

/// So many earlier values of a split are looked at: more than anybody writes between two compactions by mistake.
const MOST: usize = 1_000;

/// What splits said before, by key.
pub(crate) type Formers = BTreeMap<Vec<u8>, Former>;

/// What a split said before it became unreadable.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Former {
    /// There was none.
    #[default]
    Nothing,
    /// This, which stands.
    Stands(Object),
    /// That cannot be known, for this reason: it counts as none.
    Unknown(&'static str),
}

/// Reads what these splits said before they became unreadable.
///
/// # Errors
///
/// When the member does not answer, or refuses.
pub(crate) async fn read(
    connection: &Connection,
    prefixes: &Prefixes,
    unreadable: &[Entry],
) -> Result<Formers, Error> {
    let mut formers = Formers::new();
    for entry in unreadable {
        let former = read_one(connection, prefixes, entry).await?;
        formers.insert(entry.key.clone(), former);
    }
    Ok(formers)
}

async fn read_one(
    connection: &Connection,
    prefixes: &Prefixes,
    unreadable: &Entry,
) -> Result<Former, Error> {
    let mut revision = unreadable.mod_revision;
    for _ in 0..MOST {
        let older = match get(connection, &unreadable.key, revision - 1).await {
            Ok(Some(older)) => older,
            Ok(None) => return Ok(Former::Nothing),
            Err(error) if error.is_compacted() => {
                return Ok(Former::Unknown(
                    "etcd has compacted away what it said before",
                ));
            }
            Err(error) => return Err(error),
        };
        let subject = prefixes.key(&older.key).and_then(|key| key.subject.ok());
        let object = subject.map(|subject| subject.decode(&older.value, older.lease));
        if let Some(Ok(object)) = object {
            return Ok(Former::Stands(object));
        }
        revision = older.mod_revision;
    }
    Ok(Former::Unknown("what it said before is unreadable too"))
}

/// What stood under a key at this revision.
async fn get(connection: &Connection, key: &[u8], revision: i64) -> Result<Option<Entry>, Error> {
    let (mut client, range) = (connection.kv(), Range::Key(key.into()));
    let options = GetOptions::new().with_revision(revision);
    let answer = connection
        .call(async move { client.get(key, Some(options)).await })
        .await
        .map_err(|error| connection.about(error, Right::Read, &range))?;
    Ok(answer.kvs().first().map(Entry::from_kv))
}
