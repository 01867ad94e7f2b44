//! Instances given by their container's name alone.

use super::Place;
use crate::etcd::Error;
use crate::etcd::oneshot;
use crate::etcd::oneshot::{list, patiently};
use crate::etcd::range::Range;
use crate::model::{InstanceId, InstanceName};

/// The instance that a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// This one.
    One(InstanceId),
    /// One of these: containers of that name run on several hosts, or serve several ports.
    Several(Vec<InstanceId>),
}

/// Resolves a name: to the instance of exactly this name, else to the one `HOST:NAME` of the service, else to
/// the name itself.
///
/// # Errors
///
/// When etcd cannot be reached, or refuses.
pub async fn named(place: &Place, id: InstanceId) -> Result<Named, Error> {
    if id.instance.is_whole() {
        return Ok(Named::One(id));
    }
    let key = place.prefix.key(&id);
    let exact = patiently(&place.cluster, place.patience, async |connection| {
        oneshot::get(connection, &key).await
    });
    match exact.await {
        Ok(None) => {}
        Ok(Some(_)) => return Ok(Named::One(id)),
        // A user without the right gets the error from the command itself.
        Err(error) if !error.concerns_every_range() => return Ok(Named::One(id)),
        Err(error) => return Err(error),
    }
    let range = place.prefix.service_range(Some(&id.service));
    let all = Range::Prefix(range.clone().into_bytes());
    let entries = match list(&place.cluster, place.patience, &all).await {
        Ok((_, entries)) => entries,
        // A user who may read only this key means this instance.
        Err(error) if !error.concerns_every_range() => return Ok(Named::One(id)),
        Err(error) => return Err(error),
    };
    let names = entries.iter().filter_map(|entry| {
        let key = std::str::from_utf8(&entry.key).ok()?;
        key.strip_prefix(&range)?.parse::<InstanceName>().ok()
    });
    Ok(choose(id, names))
}

fn choose(id: InstanceId, names: impl Iterator<Item = InstanceName>) -> Named {
    let meant = names.filter(|name| id.instance.means(name));
    let mut meant: Vec<_> = meant
        .map(|instance| InstanceId {
            service: id.service.clone(),
            instance,
        })
        .collect();
    match meant.len() {
        0 => Named::One(id),
        1 => Named::One(meant.remove(0)),
        _ => Named::Several(meant),
    }
}

#[cfg(test)]
mod tests;
