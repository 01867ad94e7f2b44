//! Groups of flags that several commands share, and where their values come from.

pub(crate) mod container;
pub(crate) mod env_file;
pub(crate) mod etcd;
pub(crate) mod given;
pub(crate) mod host_name;
pub(crate) mod mistakes;
pub(crate) mod names;
pub(crate) mod needs;
pub(crate) mod pace;
pub(crate) mod probe;
pub(crate) mod probes;
pub(crate) mod record;
pub(crate) mod start_stop;
