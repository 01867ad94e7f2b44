//! TOML, parsed with every mistake noted at its place.

mod page;
mod section;

pub(crate) use page::Page;
pub use page::{Mistake, Place};
pub(crate) use section::{Refusal, Section, whole_number};
