//! The drivers behind one type, so that a pusher can have targets of every kind.

use crate::desired::Desired;
use crate::plan::Plan;
use crate::upstream::plus::Plus;
use crate::upstream::{Error, Outcome, Upstream};

/// One upstream of a target of any kind.
#[derive(Debug)]
pub(super) enum Driver {
    Plus(Plus),
}

impl Upstream for Driver {
    async fn converge(&mut self, desired: &Desired) -> Result<Outcome, Error> {
        match self {
            Self::Plus(plus) => plus.converge(desired).await,
        }
    }

    async fn compare(&mut self, desired: &Desired) -> Result<Plan, Error> {
        match self {
            Self::Plus(plus) => plus.compare(desired).await,
        }
    }
}
