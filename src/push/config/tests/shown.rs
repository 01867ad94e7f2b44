//! The example, the manual, and whatever else a text may be.

use super::*;

const EXAMPLE: &str = include_str!("../../../../examples/push.toml");
const PAGE: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/src/cli/commands/manual/sidekick-push.toml.5"
));

/// The example with every key that it shows in a comment.
fn example_in_full() -> String {
    let lines = EXAMPLE.lines().map(|line| {
        let key = line
            .strip_prefix('#')
            .filter(|key| !key.is_empty() && !key.starts_with(' '));
        format!("{}\n", key.unwrap_or(line))
    });
    lines.collect()
}

#[test]
fn the_example_is_right_as_it_is_and_with_every_key_that_it_shows() {
    assert_eq!(right(EXAMPLE).upstreams.len(), 1);
    let full = right(&example_in_full());
    assert_eq!(full.targets.len(), 5);
    let tables = target::tables();
    let mut keys = read::keys(&tables);
    keys.extend(tables.into_iter().flat_map(|table| table.keys));
    keys.extend(upstream::UPSTREAM.keys);
    keys.extend(upstream::SERVER.keys);
    for key in keys {
        let shown = EXAMPLE.lines().any(|line| {
            let line = line.trim_start_matches(['#', ' ']);
            let table = line.starts_with(&format!("[[{key}]]"))
                || line.starts_with(&format!("[[upstream.{key}]]"));
            table || line.starts_with(&format!("{key} = "))
        });
        assert!(shown, "the example does not show {key}");
    }
}

/// The keys of a section of the manual page, with their defaults where it has one: `\fBttl\fR = \fB"15s"\fR`.
fn documented(section: &str) -> Vec<(String, Option<String>)> {
    let head = format!(".SH {section}\n");
    let (_, text) = PAGE.split_once(&head).expect("it has this section");
    let text = text.split("\n.SH ").next().unwrap_or_default();
    let entries = text.split(".TP\n").skip(1);
    let entries = entries.flat_map(|entry| {
        let entry = entry.lines().next().unwrap_or_default();
        let entry = entry
            .replace("\\fB", "")
            .replace("\\fR", "")
            .replace("\\-", "-");
        let entry = entry.trim_end_matches(" (required)").to_owned();
        let (keys, default) = match entry.split_once(" = ") {
            Some((key, default)) => (key.to_owned(), Some(default.to_owned())),
            None => (entry, None),
        };
        let keys: Vec<_> = keys.split(", ").map(str::to_owned).collect();
        keys.into_iter().map(move |key| (key, default.clone()))
    });
    entries.collect()
}

#[test]
fn the_manual_names_every_key_and_the_default_that_counts() {
    let plain = "[[nginx]]\nname = \"e\"\napi = \"http://h/\"\n";
    let file = "[[nginx]]\nname = \"e\"\nfile = \"/f\"\n";
    let vulcand = "[[vulcand]]\nname = \"e\"\n";
    let end = "[[upstream]]\nname = \"website\"\n";
    let whole = format!("{plain}{end}");
    let targets = target::tables();
    let tables = [
        ("\"TOP LEVEL\"", read::keys(&targets), "", whole.as_str()),
        ("[[nginx]]", targets[0].keys.clone(), plain, end),
        ("[[vulcand]]", targets[1].keys.clone(), vulcand, end),
        ("[[upstream]]", upstream::UPSTREAM.keys.to_vec(), &whole, ""),
    ];
    let mut compared = 0;
    for (section, keys, beginning, end) in tables {
        let entries = documented(section);
        let named: Vec<_> = entries.iter().map(|(key, _)| key.as_str()).collect();
        let missing: Vec<_> = keys.iter().filter(|key| !named.contains(key)).collect();
        let surplus: Vec<_> = named.iter().filter(|key| !keys.contains(key)).collect();
        assert_eq!((missing, surplus), (vec![], vec![]), "{section}");
        for (key, default) in &entries {
            let Some(default) = default else {
                continue;
            };
            // A key of another kind of nginx.
            let beginning = match wrong(&format!("{beginning}{key} = {default}\n{end}")).is_empty()
            {
                true => beginning,
                false => file,
            };
            let said = right(&format!("{beginning}{key} = {default}\n{end}"));
            let unsaid = right(&format!("{beginning}\n{end}"));
            assert_eq!(
                effective(&said),
                effective(&unsaid),
                "{section} {key} = {default}"
            );
            compared += 1;
        }
    }
    assert!(compared > 15, "only {compared} defaults are named");
}

/// What a configuration comes to, in all that is decided for the whole.
fn effective(config: &Config) -> (Config, String) {
    let overrides = FromFlags {
        id: "edge".parse().ok(),
        ..FromFlags::default()
    };
    let settings = overrides.settings(config).map(|settings| {
        let (pacing, ttl) = (settings.pacing, settings.ttl);
        format!("{} {} {pacing:?} {ttl:?}", settings.prefix, settings.meta)
    });
    let top = settings.unwrap_or_default();
    let tables = Config {
        targets: config.targets.clone(),
        upstreams: config.upstreams.clone(),
        ..Config::default()
    };
    (tables, top)
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let text = String::from_utf8_lossy(&bytes);
        let (_, mistakes) = read(&text, None);
        prop_assert!(!mistakes.is_empty());
    }

    #[test]
    fn no_text_that_looks_like_a_configuration_makes_it_panic(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)
    ) {
        let _ = read(&pieces.concat(), Some(Path::new("/c")));
    }
}

/// What configurations are made of.
const PIECES: &[&str] = &[
    "[[nginx]]\n",
    "[[upstream]]\n",
    "[[upstream.server]]\n",
    "[[vulcand]]\n",
    "[nginx]\n",
    "[",
    "]",
    "{",
    "}",
    "\n",
    "\n",
    "\n",
    " = ",
    " = ",
    ",",
    ".",
    "\"",
    "'",
    "\"\"\"",
    "#",
    "name",
    "api",
    "file",
    "\"edge\"",
    "\"http://h/api\"",
    "nginx",
    "upstream",
    "server",
    "tags",
    "[\"edge\"]",
    "hold",
    "\"1m\"",
    "weight",
    "1",
    "-1",
    "0x_",
    "1e400",
    "1979-05-27",
    "true",
    "max_removal",
    "\"50%\"",
    "versions",
    "ä",
    "\u{0}",
    "\r",
    "\\u",
];
