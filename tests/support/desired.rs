//! What a driver is told, where no record stands behind it.

use std::num::NonZeroU16;

use sidekick::model::State;
use sidekick::upstream::protection::Protection;
use sidekick::upstream::server::{Origins, Parameters, Server, Servers};
use sidekick::upstream::state::Desired;

/// The upstream `website` with these servers.
pub(crate) fn desired(servers: Servers, origins: Origins) -> Desired {
    Desired {
        service: "website".parse().expect("a name"),
        revision: 1,
        overrides: 0,
        servers,
        origins,
        instances: Default::default(),
        protection: Protection::default(),
    }
}

/// A server of weight 1.
pub(crate) fn server(state: State, parameters: Parameters) -> Server {
    Server {
        weight: NonZeroU16::MIN,
        state,
        parameters,
    }
}
