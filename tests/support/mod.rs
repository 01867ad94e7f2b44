//! The real things that tests and benchmarks run against: etcd, nginx, backends, sidekick itself, and bad networks.
//!
//! Every value here owns what it started, on free ports and in a temporary folder of its own, and ends it by its
//! process id when dropped. While a test fails, each process prints what it had said.

mod backend;
mod desired;
mod dns;
pub(crate) mod docker;
mod docker_api;
mod docker_network;
mod etcd;
pub(crate) mod examples;
mod file_nginx;
mod folder;
mod harness;
pub(crate) mod hosts;
pub(crate) mod http;
mod load;
mod nginx;
mod notify;
pub(crate) mod paired_harness;
mod pki;
mod podman_runtime;
mod ports;
mod process;
pub(crate) mod procfs;
mod proxy;
mod roles;
mod sidekick;
mod until;

pub(crate) use backend::{Backend, program as backend_program};
pub(crate) use desired::{desired, server};
pub(crate) use dns::{Dns, Reply};
pub(crate) use docker::archive_of;
pub(crate) use etcd::{Etcd, Kv, PASSWORD, TOKEN_TTL};
pub(crate) use file_nginx::{FileNginx, OWN};
pub(crate) use folder::{copy_folder, folder};
pub(crate) use harness::{Harness, TTL, announce, key, protected, push};
pub(crate) use http::{Answer, request};
pub(crate) use load::{Load, Report};
pub(crate) use nginx::{Nginx, Server, Settings, WORKERS};
pub(crate) use paired_harness::PairedHarness;
pub(crate) use pki::Pki;
pub(crate) use ports::free_port;
pub(crate) use process::{Ended, Process, send};
pub(crate) use proxy::{Link, Proxy};
pub(crate) use roles::{Role, as_user, command, roles};
pub(crate) use rustix::process::Signal;
pub(crate) use sidekick::{Command, Sidekick, program};
pub(crate) use until::until;

use std::time::Duration;

/// How long anything that normally takes milliseconds may take on a machine that is busy with other tests. It costs nothing
/// where it is met.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
