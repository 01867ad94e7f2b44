use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::upstream::server::{Origin, Server, Servers};

fn place() -> Place {
    Place::new(&"/vulcand".parse().unwrap(), &"website".parse().unwrap())
}

fn entry(key: &str, value: &str) -> Entry {
    Entry {
        key: format!("/vulcand/backends/website/{key}").into_bytes(),
        value: value.into(),
        mod_revision: 7,
        lease: 0,
    }
}

fn backend() -> Entry {
    entry("backend", r#"{"Type":"http","Settings":{}}"#)
}

fn desired(wanted: &[(&str, &str, State)]) -> Desired {
    let mut desired = Desired::at(1, &Servers::new());
    for (instance, endpoint, state) in wanted {
        let endpoint: Endpoint = endpoint.parse().unwrap();
        let server = Server {
            weight: NonZeroU16::MIN,
            state: *state,
            parameters: Parameters::default(),
        };
        let origin = Origin {
            instance: instance.parse().unwrap(),
            version: None,
            tags: vec![],
            meta: BTreeMap::new(),
        };
        desired.servers.insert(endpoint.clone(), server);
        desired.origins.insert(endpoint, Arc::new(origin));
    }
    desired
}

fn shown(desired: &Desired, found: &[Entry]) -> Vec<String> {
    let shown = |step: &Move| {
        let key = String::from_utf8_lossy(&step.key).into_owned();
        let key = key.strip_prefix("/vulcand/backends/website/").unwrap();
        let value = step.value.as_deref().unwrap_or("-");
        format!("{key} {value} @{}", step.unless_changed_since)
    };
    let moves = moves(&place(), Scheme::Http, desired, found);
    moves.iter().map(shown).collect()
}

#[test]
fn what_no_record_names_any_more_stays_under_the_key_that_it_has() {
    let kept = |instance| desired(&[(instance, "10.0.0.1:80", State::Up)]);
    let found = [
        backend(),
        entry("servers/n1", r#"{"URL":"http://10.0.0.1:80"}"#),
    ];
    assert_eq!(shown(&kept("10.0.0.1:80"), &found), Vec::<String>::new());
    assert_eq!(shown(&kept("n1"), &found), Vec::<String>::new());
    let moved = shown(&kept("n9"), &found);
    assert_eq!(moved.len(), 2, "{moved:?}");
    // Somebody else has the name by now.
    let both = desired(&[
        ("10.0.0.1:80", "10.0.0.1:80", State::Up),
        ("n1", "10.0.0.2:80", State::Up),
    ]);
    assert_eq!(
        shown(&both, &found),
        [
            r#"servers/10.0.0.1_80 {"URL":"http://10.0.0.1:80"} @0"#,
            r#"servers/n1 {"URL":"http://10.0.0.2:80"} @7"#,
        ]
    );
}

#[test]
fn what_is_found_and_would_go_is_told_by_its_address() {
    let found = [
        entry("servers/a", r#"{"URL":"http://10.0.0.1:8080"}"#),
        entry("servers/b", r#"{"URL":"http://web.example/"}"#),
        entry("servers/c", r#"{"URL":"https://[::1]"}"#),
        entry("servers/d", r#"{"URL":"unix:/x"}"#),
        entry("servers/e", r#"{"URL":"http://10.0.0.9:80"}"#),
        entry("middlewares/f", r#"{"URL":"http://10.0.0.7:80"}"#),
    ];
    let desired = desired(&[("e2", "10.0.0.9:80", State::Up)]);
    let moves = moves(&place(), Scheme::Http, &desired, &found);
    let leaving = plan(moves, &desired).leaving.into_iter();
    let leaving: Vec<_> = leaving.map(|one| one.endpoint.to_string()).collect();
    assert_eq!(leaving, ["10.0.0.1:8080", "[::1]:443", "web.example:80"]);
    assert_eq!(serving(&place(), &found).len(), 4);
}

#[test]
fn a_new_backend_comes_before_its_servers() {
    let wanted = desired(&[
        ("n1", "10.0.0.1:80", State::Up),
        ("n2", "[::1]:81", State::Up),
    ]);
    assert_eq!(
        shown(&wanted, &[]),
        [
            r#"backend {"Type":"http"} @0"#,
            r#"servers/n1 {"URL":"http://10.0.0.1:80"} @0"#,
            r#"servers/n2 {"URL":"http://[::1]:81"} @0"#,
        ]
    );
    assert_eq!(
        shown(&desired(&[]), &[]),
        [""; 0],
        "nobody asks for a backend without servers"
    );
}

#[test]
fn what_is_equal_is_left_alone_however_it_is_written() {
    let wanted = desired(&[("n1", "10.0.0.1:80", State::Up)]);
    let server = entry(
        "servers/n1",
        r#"{ "Id": "n1", "URL": "http://10.0.0.1:80" }"#,
    );
    let other = entry("other", "x");
    assert_eq!(shown(&wanted, &[backend(), other, server.clone()]), [""; 0]);
    let leased = Entry { lease: 9, ..server };
    assert_eq!(
        shown(&wanted, &[backend(), leased]),
        [r#"servers/n1 {"URL":"http://10.0.0.1:80"} @7"#],
        "what hangs on a lease does not stay"
    );
}

#[test]
fn a_backend_that_was_deleted_is_told_its_servers_again() {
    let wanted = desired(&[("n1", "10.0.0.1:80", State::Up)]);
    let server = entry("servers/n1", r#"{"URL":"http://10.0.0.1:80"}"#);
    assert_eq!(
        shown(&wanted, &[server]),
        [
            r#"backend {"Type":"http"} @0"#,
            r#"servers/n1 {"URL":"http://10.0.0.1:80"} @7"#
        ]
    );
}

#[test]
fn strangers_nonsense_and_what_drains_or_is_down_go_last() {
    let wanted = desired(&[
        ("n1", "10.0.0.1:80", State::Up),
        ("n2", "10.0.0.2:80", State::Draining),
        ("n3", "10.0.0.3:80", State::Down),
    ]);
    let found = [
        backend(),
        entry("servers/a/b", "{}"),
        entry("servers/n1", r#"{"URL":"http://10.9.9.9:80"}"#),
        entry("servers/n2", r#"{"URL":"http://10.0.0.2:80"}"#),
        entry("servers/n3", "\u{1b}"),
        entry("servers/older", r#"{"URL":"http://10.0.0.1:80"}"#),
    ];
    assert_eq!(
        shown(&wanted, &found),
        [
            r#"servers/n1 {"URL":"http://10.0.0.1:80"} @7"#,
            "servers/a/b - @7",
            "servers/n2 - @7",
            "servers/n3 - @7",
            "servers/older - @7",
        ]
    );
    let plan = plan(moves(&place(), Scheme::Http, &wanted, &found), &wanted);
    let steps: Vec<_> = plan.steps.iter().map(Step::to_string).collect();
    assert_eq!(
        steps,
        [
            "add 10.0.0.1:80 weight=1",
            "remove http://10.9.9.9:80 (another one has taken its place)",
            "remove /vulcand/backends/website/servers/a/b (no record names it)",
            "remove http://10.0.0.2:80 (drained)",
            "remove /vulcand/backends/website/servers/n3 (no record names it)",
            "remove http://10.0.0.1:80 (another one has taken its place)",
        ]
    );
}

#[test]
fn nonsense_under_the_key_of_a_record_is_written_over_and_no_server_is_removed() {
    let wanted = desired(&[("n1", "10.0.0.1:80", State::Up)]);
    let found = [backend(), entry("servers/n1", "nonsense")];
    let plan = plan(moves(&place(), Scheme::Http, &wanted, &found), &wanted);
    let steps: Vec<_> = plan.steps.iter().map(Step::to_string).collect();
    assert_eq!(steps, ["add 10.0.0.1:80 weight=1"]);
}

#[test]
fn ids_are_plain_and_never_the_same() {
    let up = State::Up;
    let wanted = desired(&[
        ("a:b", "10.0.0.1:80", up),
        ("a@b", "10.0.0.2:80", up),
        ("c", "10.0.0.3:80", up),
        ("a_b-10.0.0.1_80", "10.0.0.4:80", up),
    ]);
    let ids: Vec<_> = super::wanted(Scheme::Https, &wanted, &BTreeMap::new())
        .into_keys()
        .collect();
    assert_eq!(
        ids,
        [
            "a_b-10.0.0.1_80",
            "a_b-10.0.0.1_80_",
            "a_b-10.0.0.2_80",
            "c"
        ]
    );
}

#[test]
fn what_vulcand_cannot_be_told_is_told_to_people() {
    let mut wanted = desired(&[
        ("n1", "10.0.0.1:80", State::Up),
        ("n2", "10.0.0.2:80", State::Up),
    ]);
    assert_eq!(untold(&wanted).len(), 0);
    let second = wanted.servers.last_entry().unwrap().into_mut();
    second.weight = 5.try_into().unwrap();
    second.parameters.backup = true;
    let untold: Vec<_> = untold(&wanted).into_keys().collect();
    assert_eq!(untold, ["set backup=true", "set weights"]);
    assert_eq!(
        super::wanted(Scheme::Http, &wanted, &BTreeMap::new()).len(),
        1,
        "the backup is left out"
    );
}

proptest! {
    /// Whatever stands there, one round of moves leads to what is wanted, and another finds nothing to do.
    #[test]
    fn moves_carried_out_leave_nothing_to_do(
        ups in proptest::collection::btree_map("[a-c@:]{1,2}", 1..250_u8, 0..5),
        found in proptest::collection::btree_map("(backend|servers/[a-c_]{1,2}|x)", "[ -~]{0,9}|\\{\"URL\":\"http://10.0.0.[1-9]:80\"\\}", 0..6),
    ) {
        let names: Vec<_> = ups.iter().map(|(name, host)| (name.clone(), format!("10.0.0.{host}:80"))).collect();
        let wanted: Vec<_> = names.iter().map(|(name, endpoint)| (name.as_str(), endpoint.as_str(), State::Up)).collect();
        let desired = desired(&wanted);
        let mut there: BTreeMap<Vec<u8>, Entry> = found
            .iter()
            .map(|(key, value)| entry(key, value))
            .map(|entry| (entry.key.clone(), entry))
            .collect();
        for step in moves(&place(), Scheme::Http, &desired, &there.values().cloned().collect::<Vec<_>>()) {
            let seen = there.get(&step.key).map_or(0, |entry| entry.mod_revision);
            prop_assert_eq!(step.unless_changed_since, seen);
            match step.value {
                Some(value) => {
                    let entry = Entry { key: step.key.clone(), value: value.into_bytes(), mod_revision: 8, lease: 0 };
                    there.insert(step.key, entry);
                }
                None => drop(there.remove(&step.key)),
            }
        }
        let there: Vec<_> = there.into_values().collect();
        prop_assert_eq!(moves(&place(), Scheme::Http, &desired, &there), vec![]);
        let servers = there.iter().filter(|entry| entry.key.starts_with(b"/vulcand/backends/website/servers/"));
        prop_assert_eq!(servers.count(), desired.servers.len());
    }
}
