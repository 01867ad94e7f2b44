//! Templates, with values of all kinds.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::syntax::statements;
use super::*;
use crate::model::State;
use crate::upstream::server::{Origin, Origins, Parameters, Server, Servers};

const FULL: &str = "upstream {{ name }} {
{% for server in servers %}
    # {{ server.instance }} {{ server.version }} {{ server.tags|join(' ') }}
    server {{ server.address }} weight={{ server.weight }}{% if server.backup %} backup{% endif %}{% if server.state != 'up' %} down{% endif %};
{% endfor %}
}
map $host $rack { default {{ servers[0].meta.rack }}; }
";

fn rendered(template: &str, rack: &str) -> Result<String, String> {
    let endpoint: Endpoint = "[::1]:80".parse().unwrap();
    let server = Server {
        weight: NonZeroU16::MIN,
        state: State::Draining,
        parameters: Parameters::default(),
    };
    let servers = Servers::from([(endpoint.clone(), server)]);
    let origin = Origin {
        instance: "nginx1".parse().unwrap(),
        version: Some("v1".parse().unwrap()),
        tags: vec!["blue".to_owned(), "edge".to_owned()],
        meta: BTreeMap::from([
            ("rack".to_owned(), rack.to_owned()),
            ("note".to_owned(), "} evil; {".to_owned()),
            ("x; y".to_owned(), "1".to_owned()),
        ]),
    };
    let source = Source {
        name: &"website".parse().unwrap(),
        service: "website",
        servers: &servers,
        origins: &Origins::from([(endpoint, Arc::new(origin))]),
    };
    let template = Template::new("t.jinja", template.to_owned())?;
    template.render(source).map_err(|error| error.to_string())
}

#[test]
fn a_template_sees_everything_of_a_server() {
    let text = rendered(FULL, "r/1").unwrap();
    let expected = "upstream website {
    # nginx1 v1 blue edge
    server [::1]:80 weight=1 down;
}
map $host $rack { default r/1; }
";
    assert_eq!(text.trim_end(), expected.trim_end());
}

#[test]
fn mistakes_are_told_with_their_line() {
    for (template, reason) in [
        ("a\n{% for %}", "line 2"),
        ("a;\n\n{{ nonsense }}", "line 3: undefined value"),
        ("{{ servers[0].meta.none }}", "undefined value"),
        (
            "\n{{ servers[0].max_conns }}",
            "line 2: invalid operation: the value is not set",
        ),
        ("{{ servers }}", "cannot be written as it is"),
        ("a;\n# sidekick: end x", "line 2: lines with"),
        ("a ${{ name }};", "line 1: a value right behind a $"),
        ("a;\ncontent_by_lua_block { }", "line 2: \"_by_lua\""),
    ] {
        let error = rendered(template, "r").unwrap_err();
        assert!(error.contains(reason), "{template}: {error}");
    }
}

#[test]
fn a_template_that_does_not_end_is_stopped_and_named_with_its_line() {
    let endless = "a;\n{% for x in range(100000) %}{% for y in range(100000) %}\n{% for z in range(100000) %}{{ z }}\
                   {% endfor %}{% endfor %}{% endfor %}";
    let error = rendered(endless, "r").unwrap_err();
    let (place, rest) = error.split_once(": stopped after ").unwrap();
    assert!(place.starts_with("t.jinja, line "), "{error}");
    assert!(rest.contains("loop over `servers` alone"), "{error}");
}

#[test]
fn what_a_template_gives_is_bounded_and_no_loop_doubles_a_text() {
    let doubling = "{% set ns = namespace(s='x') %}{% for i in range(40) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}";
    let error = rendered(doubling, "r").unwrap_err();
    assert!(error.contains("`namespace` is not offered"), "{error}");
    let recursive = "{% for s in ['x'] recursive %}{{ loop([s ~ s]) }}{% endfor %}";
    let error = rendered(recursive, "r").unwrap_err();
    assert!(error.contains("recursion limit"), "{error}");
    let long = "{% for i in range(1000) %}{{ 'x' * 100000 }}{% endfor %}";
    let error = rendered(long, "r").unwrap_err();
    assert!(error.contains("gives more than 16777216 bytes"), "{error}");
}

#[test]
fn a_value_that_is_not_harmless_is_named_where_it_is_written_and_else_costs_nothing() {
    let loud = "a {{ servers[0].meta.note }};";
    let error = rendered(loud, "r").unwrap_err();
    assert!(error.starts_with("meta.note holds '}'"), "{error}");
    for written in [
        "{{ servers[0].meta.rack|safe }}",
        "{{ servers[0].meta.rack|e }}",
        "{{ servers[0].meta.rack|upper }}",
        "{{ servers[0].meta.rack ~ '1' }}",
        "{% for key, value in servers[0].meta|items %}{{ value }}{% endfor %}",
        "{{ [servers[0].meta.rack, 1]|join }}",
    ] {
        let template = format!("a {written};");
        let quiet = |rack: &str| rendered(&template, rack).map_err(|error| error.contains("meta."));
        assert_eq!(quiet("x; y"), Err(true), "{written}");
    }
    let keys = "{% for key in servers[0].meta %}{{ key }}{% endfor %}";
    let error = rendered(keys, "r").unwrap_err();
    assert!(error.starts_with("a key of meta holds ';'"), "{error}");
    let unwritten = "{% if servers[0].meta.note is defined %}a;{% endif %}";
    assert_eq!(rendered(unwritten, "$x").as_deref(), Ok("a;"));
    assert!(rendered("{{ servers[0].meta.rack }} x;", "include").is_err());
}

proptest! {
    #[test]
    fn no_record_changes_which_words_there_are(rack in "\\PC{0,6}|[a-z ;{}\"'\\\\#\n\r\t$()-]{1,6}") {
        let words = |text: &str| -> Vec<Vec<String>> {
            statements(text).unwrap().into_iter().map(|statement| statement.words).collect()
        };
        let template = "a {{ servers[0].meta.rack }};# {{ servers[0].meta.rack }}\nb x{{ servers[0].meta.rack }}y {}";
        let expected = words(&rendered(template, "HERE").unwrap());
        if let Ok(text) = rendered(template, &rack) && !rack.is_empty() {
            let with = |word: &String| word.replace("HERE", &rack);
            let expected: Vec<Vec<_>> = expected.iter().map(|words| words.iter().map(with).collect()).collect();
            prop_assert_eq!(words(&text), expected);
        }
    }
}
