//! The example, the README, and whatever else a text may be.

use super::*;

const EXAMPLE: &str = include_str!("../../../../examples/push.toml");
const README: &str = include_str!("../../../../README.md");

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
    let keys = [
        read::KEYS,
        target::NGINX.keys,
        target::VULCAND.keys,
        upstream::UPSTREAM.keys,
        upstream::SERVER.keys,
    ];
    for key in keys.concat() {
        let shown = EXAMPLE.lines().any(|line| {
            let line = line.trim_start_matches(['#', ' ']);
            let table = line.starts_with(&format!("[[{key}]]"))
                || line.starts_with(&format!("[[upstream.{key}]]"));
            table || line.starts_with(&format!("{key} = "))
        });
        assert!(shown, "the example does not show {key}");
    }
}

/// The keys and defaults of the table of the README that begins with `title`.
fn documented(title: &str) -> Vec<(String, String)> {
    let head = format!("| {title} | default | meaning |");
    let rows = README.lines().skip_while(|line| *line != head).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let rows = rows.flat_map(|row| {
        let mut cells = row.split(" | ");
        let keys = cells.next().unwrap_or_default().trim_start_matches("| ");
        let default = cells.next().unwrap_or_default().to_owned();
        let keys: Vec<_> = keys
            .split(", ")
            .map(|key| key.trim_matches('`').to_owned())
            .collect();
        keys.into_iter().map(move |key| (key, default.clone()))
    });
    rows.collect()
}

#[test]
fn the_readme_names_every_key_and_the_default_that_counts() {
    let plain = "[[nginx]]\nname = \"e\"\napi = \"http://h/\"\n";
    let file = "[[nginx]]\nname = \"e\"\nfile = \"/f\"\n";
    let vulcand = "[[vulcand]]\nname = \"e\"\n";
    let end = "[[upstream]]\nname = \"website\"\n";
    let tables = [
        (
            "top level",
            read::KEYS,
            String::new(),
            format!("{plain}{end}"),
        ),
        (
            "`[[nginx]]`",
            target::NGINX.keys,
            plain.to_owned(),
            end.to_owned(),
        ),
        (
            "`[[vulcand]]`",
            target::VULCAND.keys,
            vulcand.to_owned(),
            end.to_owned(),
        ),
        (
            "`[[upstream]]`",
            upstream::UPSTREAM.keys,
            format!("{plain}{end}"),
            String::new(),
        ),
    ];
    let mut compared = 0;
    for (title, keys, beginning, end) in tables {
        let rows = documented(title);
        let named: Vec<_> = rows.iter().map(|(key, _)| key.as_str()).collect();
        let missing: Vec<_> = keys.iter().filter(|key| !named.contains(key)).collect();
        let surplus: Vec<_> = named.iter().filter(|key| !keys.contains(key)).collect();
        assert_eq!((missing, surplus), (vec![], vec![]), "{title}");
        for (key, default) in &rows {
            let Some(default) = default.strip_prefix('`') else {
                continue;
            };
            let default = default.trim_end_matches('`');
            // A key of another kind of nginx.
            let beginning = match wrong(&format!("{beginning}{key} = {default}\n{end}")).is_empty()
            {
                true => beginning.as_str(),
                false => file,
            };
            let said = right(&format!("{beginning}{key} = {default}\n{end}"));
            let unsaid = right(&format!("{beginning}\n{end}"));
            assert_eq!(
                effective(&said),
                effective(&unsaid),
                "{title} {key} = {default}"
            );
            compared += 1;
        }
    }
    assert!(compared > 15, "only {compared} defaults are named");
}

/// What a configuration comes to, in all that is decided for the whole.
fn effective(config: &Config) -> (Config, String) {
    let overrides = Overrides {
        id: "edge".parse().ok(),
        ..Overrides::default()
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
