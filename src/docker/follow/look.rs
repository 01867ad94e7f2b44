//! One look at a container.

use super::Answer;
use std::sync::Arc;

use crate::docker::client::{Client, Error};
use crate::docker::container::{Container, ContainerName, Status};

/// The container that is meant now: whichever has the name and runs; else the one followed so far, if that lives on
/// under another name; else whichever bears the name.
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
