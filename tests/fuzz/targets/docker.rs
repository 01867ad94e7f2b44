//! Answers of Docker and Podman.

use std::net::IpAddr;

use serde_json::Value;
use sidekick::docker::Container;
use sidekick::docker::host::Surroundings;
use sidekick::docker::host_address::{HostAddresses, Known};
use sidekick::docker::identity::{Identity, Wanted, identify};
use sidekick::fuzz;
use sidekick::model::{self, Format, Prefix};

use super::answer;
use crate::checks;

/// The longest message about a container, in bytes: its settings are named.
const MESSAGE: usize = 4000;

/// One line of the stream of events.
pub(crate) fn docker_event(bytes: &[u8]) -> String {
    answer(&fuzz::docker_event(bytes))
}

/// An answer to inspect, and what is announced for it.
pub(crate) fn docker_inspect(bytes: &[u8]) -> String {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
        return "no JSON".to_owned();
    };
    let container = match Container::from_inspect(&value) {
        Ok(container) => container,
        Err(error) => return error.to_string(),
    };
    let address: IpAddr = [10, 0, 0, 5].into();
    let host = Surroundings {
        name: Some("host1".to_owned()),
        addresses: HostAddresses {
            v4: Known::DefaultRoute(address),
            ..HostAddresses::default()
        },
        ..Surroundings::default()
    };
    let wanted = |labels_only| Wanted {
        labels_only,
        ..Wanted::default()
    };
    let answers =
        [false, true].map(
            |labels_only| match identify(&wanted(labels_only), &container, &host) {
                Ok(identity) => announced(&identity),
                Err(problems) => {
                    let messages = problems.iter().map(|problem| {
                        let message = problem.to_string();
                        checks::message(&message, MESSAGE);
                        message
                    });
                    messages.collect()
                }
            },
        );
    let (status, health, id) = (container.status, &container.health, container.short_id());
    format!("{} {status} {health:?} {id}", answers.concat())
}

/// Its record is one that others can read, unless the container's texts are longer than any record may be.
fn announced(identity: &Identity) -> String {
    let record = identity.record();
    checks::address(&record.endpoint.to_string());
    let prefix = Prefix::default();
    let key = prefix.key(&identity.id);
    let written = record.encode(Format::Json);
    if written.len() < 60 << 10 {
        let read = model::decode(&prefix, key.as_bytes(), &written);
        assert_eq!(read.as_ref(), Ok(&(identity.id.clone(), record)));
    }
    for reason in &identity.reasons {
        checks::printable(&reason.value, MESSAGE);
        checks::message(&reason.because, MESSAGE);
    }
    for note in &identity.notes {
        checks::message(note, MESSAGE);
    }
    let checks = identity.checks.iter().map(ToString::to_string);
    format!("{:?} {:?}", identity.reasons, checks.collect::<Vec<_>>())
}
