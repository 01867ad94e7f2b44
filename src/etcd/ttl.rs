//! The lengths that a lease can have.

use std::time::Duration;

use crate::util::duration::{self, whole_seconds};

/// etcd grants no shorter lease with its default settings.
const MIN: Duration = Duration::from_secs(2);
/// etcd accepts no longer one.
const MAX: Duration = Duration::from_secs(9_000_000_000);

/// Why a TTL is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TtlError {
    /// One lost packet would end it.
    #[error(
        "below {} there is no time for three heartbeats, and one lost packet would end the lease",
        duration::typed(MIN)
    )]
    TooShort,
    /// etcd would make it longer.
    #[error("below {} etcd grants no lease", duration::typed(MIN))]
    None,
    /// etcd would refuse it.
    #[error("longer than etcd keeps a lease")]
    TooLong,
}

/// A warning if etcd grants another length than requested: its minimum is 1.5 times the
/// election timeout of its members.
pub(crate) fn differs(asked: Duration, granted: Duration) -> Option<String> {
    let (asked, granted) = (whole_seconds(asked), whole_seconds(granted));
    let show = |seconds| duration::show(Duration::from_secs(seconds));
    let (shown, instead) = (show(granted), show(asked));
    (asked != granted).then(|| format!("etcd grants a lease of {shown} in place of {instead}"))
}

/// Checks the length of a lease that is not renewed.
///
/// # Errors
///
/// When it is too short or too long.
pub fn check_length(length: Duration) -> Result<(), TtlError> {
    match check_ttl(length) {
        Err(TtlError::TooShort) => Err(TtlError::None),
        answer => answer,
    }
}

/// Checks the TTL of a lease.
///
/// # Errors
///
/// When it is too short or too long.
pub fn check_ttl(ttl: Duration) -> Result<(), TtlError> {
    if ttl < MIN {
        Err(TtlError::TooShort)
    } else if ttl > MAX {
        Err(TtlError::TooLong)
    } else {
        Ok(())
    }
}
