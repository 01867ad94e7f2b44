//! One inspection of a container.

use super::Answer;
use std::sync::Arc;

use crate::docker::client::{Client, Error};
use crate::docker::container::{Container, ContainerName, Status};

/// The current container: a running one with the name; else the one followed so far, if it still runs
/// under another name; else any one with the name.
pub(super) async fn look(
    client: Client,
    name: ContainerName,
    held: Option<Arc<Container>>,
) -> Answer {
    let named = found(client.inspect(&name).await)?;
    let Some(held) = held else { return Ok(named) };
    let is_held = |container: &Container| container.id == held.id;
    if named.as_ref().is_some_and(|it| is_held(it) || lives(it)) {
        return Ok(named);
    }
    let Ok(id) = held.id.parse() else {
        return Ok(named);
    };
    let own = found(client.inspect(&id).await)?;
    Ok(own.filter(|own| lives(own)).or(named))
}

pub(super) fn found(answer: Result<Container, Error>) -> Answer {
    match answer {
        Err(Error::NoSuchContainer { .. }) => Ok(None),
        answer => answer.map(|container| Some(container.into())),
    }
}

pub(super) fn lives(container: &Container) -> bool {
    matches!(
        container.status,
        Status::Running | Status::Paused | Status::Stopping
    )
}
