//! Files: of operators, of nginx, and those that templates give.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use sidekick::fuzz;
use sidekick::model::{self, Prefix, Record};
use sidekick::push::config;
use sidekick::target::file::Template;

use crate::checks;

/// The longest message about a file, in bytes.
const MESSAGE: usize = 4000;

/// A file of environment variables: what is read from it reads the same when it is quoted.
pub(crate) fn env_file(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let pairs = match fuzz::env_file(&text) {
        Ok(pairs) => pairs,
        Err(mistakes) => {
            mistakes
                .iter()
                .for_each(|text| checks::printable(text, MESSAGE));
            return mistakes.concat();
        }
    };
    let quoted = pairs.iter().map(|(name, value)| {
        assert!(!value.contains('\0'));
        let value = ['\\', '"', '$', '`']
            .into_iter()
            .fold(value.clone(), |value, c| {
                value.replace(c, &format!("\\{c}"))
            });
        format!("{name}=\"{value}\"\n")
    });
    let quoted: String = quoted.collect();
    assert_eq!(fuzz::env_file(&quoted).as_ref(), Ok(&pairs));
    format!("{pairs:?}")
}

/// A certificate, in PEM or in DER.
pub(crate) fn certificate(bytes: &[u8]) -> String {
    format!("{:?}", fuzz::validity(bytes).map(|valid| valid.is_some()))
}

/// `push.toml`: mistakes have a place in the text.
pub(crate) fn push_toml(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let (config, mistakes) = config::read(&text, None);
    let lines: Vec<_> = text.split('\n').map(|line| line.chars().count()).collect();
    for mistake in &mistakes {
        checks::message(&mistake.text, MESSAGE);
        let place = mistake
            .place
            .unwrap_or(config::Place { line: 1, column: 1 });
        assert!((1..=lines.len()).contains(&place.line), "{mistake:?}");
        assert!(
            (1..=lines[place.line - 1] + 2).contains(&place.column),
            "{mistake:?}"
        );
    }
    let targets: BTreeSet<_> = config.targets.iter().map(|target| &target.name).collect();
    for upstream in &config.upstreams {
        let known = |name| targets.contains(name);
        // A target that is wrong in itself is left out.
        assert!(!mistakes.is_empty() || upstream.targets.iter().all(known));
    }
    format!("{config:?} {mistakes:?}")
}

/// A file of nginx: one of sidekick's own, or one that it may take over.
pub(crate) fn nginx_file(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let (blocks, composed) = fuzz::file_blocks(&text);
    let (again, _) = fuzz::file_blocks(&composed);
    assert_eq!(again, blocks);
    let foreign = fuzz::foreign_blocks(&text);
    match &foreign {
        Ok(blocks) => {
            for (name, block) in blocks {
                let words = fuzz::words(block).unwrap();
                assert_eq!(words[0], ["upstream", name.as_str()]);
            }
        }
        Err(message) => checks::message(message, MESSAGE),
    }
    format!("{blocks:?} {foreign:?} {:?}", fuzz::words(&text))
}

/// A template that writes all that a record says.
const TEMPLATE: &str = "upstream {{ name }} {
{% for server in servers %}
    # {{ server.instance }}{% if server.version is not none %} {{ server.version }}{% endif %} {{ server.tags|join(' ') }}
    server {{ server.address }} weight={{ server.weight }}{% if server.state != 'up' %} down{% endif %};
{% endfor %}
}
map $host $rack { default x{{ servers[0].meta.rack }}; }
{% for key, value in servers[0].meta|items %}
# {{ key }}
map $host $one { default x{{ value }}y; }
{% endfor %}
";

static READ: LazyLock<Template> = LazyLock::new(|| {
    let file = std::env::temp_dir().join(format!("sidekick-fuzz-{}", std::process::id()));
    std::fs::write(&file, TEMPLATE).unwrap();
    let template = Template::read(&file);
    std::fs::remove_file(&file).unwrap();
    template.unwrap()
});

/// A template with the values of a record: they never change which directives there are.
pub(crate) fn template(bytes: &[u8]) -> String {
    let read = model::decode(&Prefix::default(), b"/services/website/nginx1", bytes);
    let Ok((id, mut record)) = read else {
        return "no record".to_owned();
    };
    record.meta.entry("rack".to_owned()).or_default();
    match fuzz::rendered(&READ, &id.instance, &record) {
        Ok(text) => {
            directives(&record, &text);
            text
        }
        Err(message) => {
            checks::message(&message, MESSAGE);
            message
        }
    }
}

fn directives(record: &Record, text: &str) {
    let words = fuzz::words(text).unwrap();
    let mut expected = vec![vec!["upstream".to_owned(), "website".to_owned()]];
    let weight = format!("weight={}", record.effective_weight().max(1));
    let mut server = vec!["server".to_owned(), record.endpoint.to_string(), weight];
    server.extend((record.state != model::State::Up).then(|| "down".to_owned()));
    expected.push(server);
    let map = |variable: &str, value: String| {
        let head = ["map", "$host", variable].map(str::to_owned).to_vec();
        [head, vec!["default".to_owned(), value]]
    };
    expected.extend(map("$rack", format!("x{}", record.meta["rack"])));
    for value in record.meta.values() {
        expected.extend(map("$one", format!("x{value}y")));
    }
    assert_eq!(words, expected);
}
