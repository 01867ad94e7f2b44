//! backend
fn main() {}
