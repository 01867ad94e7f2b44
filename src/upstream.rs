//! What an upstream should be, and the steps that lead there. Nothing in here does I/O.

pub(crate) mod choose;
pub mod desired;
pub mod guard;
pub(crate) mod instances;
pub(crate) mod overrides;
pub mod plan;
pub(crate) mod pool;
pub(crate) mod records;
