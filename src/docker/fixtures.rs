//! Inspect answers of real daemons, for tests.

use std::fs;
use std::path::Path;

use super::Container;

/// The daemons.
pub(super) const KINDS: [&str; 2] = ["docker", "podman"];

/// One captured container.
pub(super) fn read(kind: &str, name: &str) -> Container {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/inspect");
    let path = folder.join(format!("{kind}-{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let answer = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    Container::from_inspect(answer).unwrap()
}
