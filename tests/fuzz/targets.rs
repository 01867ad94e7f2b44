//! The parsers, each with what must hold for whatever it is given.

mod docker;
mod etcd;
mod files;
mod http;
mod nginx;

pub(crate) use docker::{docker_event, docker_inspect};
pub(crate) use etcd::{balancer, hold, key, record, release, split, status_record, vulcand};
pub(crate) use files::{certificate, env_file, nginx_file, push_toml, template};
pub(crate) use http::http_probe;
pub(crate) use nginx::{nginx_api, upstream_conf};

/// The answer to an input, good or bad, as text.
fn answer<T: std::fmt::Debug, E: std::fmt::Display>(read: &Result<T, E>) -> String {
    match read {
        Ok(value) => format!("{value:?}"),
        Err(error) => error.to_string(),
    }
}
