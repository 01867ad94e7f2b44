//! sidekick
