//! sidekick
fn main() {}
