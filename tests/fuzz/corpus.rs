//! What to begin with. Events and answers of daemons are captured (`capture.sh`, here and in `tests/fixtures/inspect`), and what is
//! called `captured` was written to etcd by sidekick. The rest is written by hand, in the shape that etcd, nginx, backends and
//! operators give it, with more of its fields than one answer has.

use std::fs;
use std::path::{Path, PathBuf};

/// The inputs for a target, always in the same order.
pub(crate) fn of(target: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = in_folder(&root.join("tests/fuzz/corpus").join(target));
    match target {
        "docker_inspect" => files.extend(in_folder(&root.join("tests/fixtures/inspect"))),
        "push_toml" => files.push(root.join("examples/push.toml")),
        "env_file" => files.push(root.join("examples/sidekick.env")),
        _ => {}
    }
    let inputs: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(!inputs.is_empty(), "{target} has no corpus");
    // What is commented out is worth a try as well.
    let uncommented = |input: &Vec<u8>| {
        let text = String::from_utf8_lossy(input).replace("\n#", "\n");
        text.into_bytes()
    };
    let more = match target {
        "push_toml" | "env_file" => inputs.iter().map(uncommented).collect(),
        _ => Vec::new(),
    };
    [inputs, more].concat()
}

fn in_folder(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}
