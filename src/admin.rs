//! By hand and from hooks: what is done once in etcd, waited for where that makes sense, and left alone.
//!
//! - [`register`] and [`deregister`]: a record without an announcer.
//! - [`hold`] and [`split`]: who takes traffic, and how much of it. [`release`]: protected servers may go.
//! - [`overview`] and [`follow`]: records, holds and splits as one overview, once or continuously.
//! - [`roles`]: which rights in etcd who needs. [`v2`]: keys where sidekick does not look.
//! - [`wait`]: until the picture is as somebody wants it.
//! - [`status`]: how the pushers do.

mod announcer;
pub mod confirm;
mod deletions;
pub mod deregister;
pub mod follow;
pub mod hold;
pub mod line;
pub mod named;
pub mod overview;
pub mod register;
pub mod release;
pub mod roles;
pub mod split;
pub mod status;
pub mod v2;
pub mod wait;

use std::time::Duration;

use crate::etcd::client::Cluster;
use crate::model::{MetaPrefix, Prefix, Prefixes};

/// Where everything lies, and how long an etcd that does not answer is tolerated.
#[derive(Debug, Clone)]
pub struct Place {
    /// The cluster.
    pub cluster: Cluster,
    /// Where the records lie.
    pub prefix: Prefix,
    /// Where sidekick's own keys lie.
    pub meta: MetaPrefix,
    /// For how long a call is tried again.
    pub patience: Duration,
}

impl Place {
    /// Where records and sidekick's own keys lie.
    #[must_use]
    pub fn prefixes(&self) -> Prefixes {
        Prefixes {
            records: self.prefix.clone(),
            meta: self.meta.clone(),
        }
    }
}
