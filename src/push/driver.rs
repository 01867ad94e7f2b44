//! The drivers behind one type, so that a pusher can have targets of every kind.

use crate::target::api::plus::Plus;
use crate::target::api::upstream_conf::UpstreamConf;
use crate::target::file::ConfFile;
use crate::target::vulcand::Vulcand;
use crate::target::{Error, Outcome, Upstream};
use crate::upstream::desired::Desired;
use crate::upstream::plan::Plan;

/// One upstream of a target of any kind.
#[derive(Debug)]
pub(super) enum Driver {
    Plus(Plus),
    UpstreamConf(UpstreamConf),
    ConfFile(ConfFile),
    Vulcand(Vulcand),
}

impl Upstream for Driver {
    async fn converge(&mut self, desired: &Desired) -> Result<Outcome, Error> {
        match self {
            Self::Plus(plus) => plus.converge(desired).await,
            Self::UpstreamConf(conf) => conf.converge(desired).await,
            Self::ConfFile(file) => file.converge(desired).await,
            Self::Vulcand(vulcand) => vulcand.converge(desired).await,
        }
    }

    async fn compare(&mut self, desired: &Desired) -> Result<Plan, Error> {
        match self {
            Self::Plus(plus) => plus.compare(desired).await,
            Self::UpstreamConf(conf) => conf.compare(desired).await,
            Self::ConfFile(file) => file.compare(desired).await,
            Self::Vulcand(vulcand) => vulcand.compare(desired).await,
        }
    }

    fn forgotten(&mut self) {
        match self {
            Self::Plus(plus) => plus.forgotten(),
            Self::UpstreamConf(conf) => conf.forgotten(),
            Self::ConfFile(file) => file.forgotten(),
            Self::Vulcand(vulcand) => vulcand.forgotten(),
        }
    }

    fn forgets(&self) -> bool {
        match self {
            Self::Plus(plus) => plus.forgets(),
            Self::UpstreamConf(conf) => conf.forgets(),
            Self::ConfFile(file) => file.forgets(),
            Self::Vulcand(vulcand) => vulcand.forgets(),
        }
    }
}
