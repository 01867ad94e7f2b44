//! Inspect answers of real daemons, for tests.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::Container;

/// The daemons.
pub(super) const KINDS: [&str; 2] = ["docker", "podman"];

/// One captured container.
pub(super) fn read(kind: &str, name: &str) -> Container {
    Container::from_inspect(&answer(kind, name)).unwrap()
}

/// What the daemon said of it.
pub(super) fn answer(kind: &str, name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/inspect");
    let path = folder.join(format!("{kind}-{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// A captured answer of which some parts are other than they were.
pub(super) fn mangled() -> impl Strategy<Value = Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/inspect");
    let files = fs::read_dir(folder).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let is_container = |path: &std::path::PathBuf| {
        let name = path.display().to_string();
        name.ends_with(".json") && !name.ends_with("-image.json")
    };
    let mut paths: Vec<_> = paths.filter(is_container).collect();
    paths.sort();
    let original = prop::sample::select(paths);
    let labels = prop::collection::btree_map(label(), text(), 0..6);
    let changes = prop::collection::vec((any::<prop::sample::Index>(), change()), 0..5);
    let stop_timeout = any::<Option<i64>>();
    (original, labels, stop_timeout, changes).prop_map(|(path, labels, stop_timeout, changes)| {
        let mut answer: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        answer["Config"]["Labels"] = serde_json::to_value(labels).unwrap();
        answer["Config"]["StopTimeout"] = stop_timeout.into();
        for (index, change) in changes {
            let at = index.index(count(&answer));
            replace(&mut answer, &mut at.clone(), &change);
        }
        answer
    })
}

/// Any JSON, not too deep.
pub(super) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 5, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from);
        let pairs = prop::collection::vec((text(), inner), 0..5);
        let object = pairs.prop_map(|pairs| Value::from(Map::from_iter(pairs)));
        prop_oneof![list, object]
    })
}

/// Texts that mean something somewhere, and any.
fn text() -> impl Strategy<Value = String> {
    let meaning = "(80|443)/(tcp|udp)|-?[0-9]{1,20}(s|y)?|[a-z./:@-]{0,20}|container:[0-9a-f]{4}|\\[?[0-9a-f:]{2,9}\\]?|SIG[A-Z]{3}";
    prop_oneof![meaning, any::<String>()]
}

/// Names of registrator's labels.
fn label() -> impl Strategy<Value = String> {
    let known = "SERVICE_([0-9]{1,6}_)?(NAME|ID|TAGS|IGNORE|REGION|CHECK_(HTTP|HTTPS|TCP|GRPC|CMD|INTERVAL|TIMEOUT|HTTP_METHOD|X))";
    prop_oneof![
        known,
        Just("org.opencontainers.image.version".to_owned()),
        any::<String>()
    ]
}

/// What becomes of one part of an answer.
#[derive(Debug, Clone)]
enum Change {
    /// Another value of the same type.
    Alike { text: String, number: i64 },
    /// Anything.
    Anything(Value),
}

fn change() -> impl Strategy<Value = Change> {
    let alike = (text(), any::<i64>()).prop_map(|(text, number)| Change::Alike { text, number });
    prop_oneof![4 => alike, 1 => any_json().prop_map(Change::Anything)]
}

fn count(value: &Value) -> usize {
    let parts: usize = match value {
        Value::Array(parts) => parts.iter().map(count).sum(),
        Value::Object(parts) => parts.values().map(count).sum(),
        _ => 0,
    };
    1 + parts
}

/// Changes the part at this place, counted from the top.
fn replace(value: &mut Value, at: &mut usize, change: &Change) {
    if *at == 0 {
        *value = match (&*value, change) {
            (_, Change::Anything(other)) => other.clone(),
            (Value::String(_), Change::Alike { text, .. }) => text.clone().into(),
            (Value::Number(_), Change::Alike { number, .. }) => (*number).into(),
            (Value::Bool(flag), _) => (!flag).into(),
            (Value::Array(_), _) => Vec::<Value>::new().into(),
            (Value::Object(_), _) => Map::new().into(),
            (Value::Null, Change::Alike { text, .. }) => text.clone().into(),
        };
    }
    let parts: Vec<&mut Value> = match value {
        Value::Array(parts) => parts.iter_mut().collect(),
        Value::Object(parts) => parts.values_mut().collect(),
        _ => return,
    };
    for part in parts {
        // Wraps behind the part that was meant, to where none is.
        *at = at.wrapping_sub(1);
        replace(part, at, change);
    }
}
