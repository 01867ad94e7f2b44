use std::collections::BTreeMap;
use std::io::Write as _;

use tempfile::NamedTempFile;

use super::*;

const ANNOUNCE: [&str; 4] = ["sidekick", "announce", "a/b", "10.0.0.1:80"];

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn with_file(line: &[&str], file: &NamedTempFile) -> Result<Parsed, Error> {
    let named = ["--env-file", file.path().to_str().unwrap()];
    let words = line.iter().chain(&named);
    Line(words.map(OsString::from).collect()).parse()
}

/// The values of an argument of the subcommand.
fn values(parsed: &Parsed, id: &str) -> Vec<String> {
    let (_, matches) = parsed.given.0.subcommand().unwrap();
    let raw = matches.get_raw(id).into_iter().flatten();
    raw.map(|value| value.to_str().unwrap().to_owned())
        .collect()
}

fn refused(text: &str) -> String {
    let error = with_file(&ANNOUNCE, &file(text)).unwrap_err();
    error.to_string()
}

#[test]
fn every_argument_has_one_environment_variable_and_shares_it_with_none() {
    let command = Cli::command();
    for subcommand in command.get_subcommands() {
        let mut seen = BTreeMap::new();
        for arg in command.get_arguments().chain(subcommand.get_arguments()) {
            let id = arg.get_id().as_str();
            if ["help", "version"].contains(&id) {
                continue;
            }
            let place = format!("{} {id}", subcommand.get_name());
            let Some(name) = variable(arg) else {
                assert!(arg.is_positional(), "{place} has no variable");
                continue;
            };
            let ours = ["SIDEKICK_", "ETCDCTL_"]
                .iter()
                .any(|p| name.starts_with(p));
            assert!(ours || name == "DOCKER_HOST", "{place}: {name}");
            if let Some(other) = seen.insert(name.to_owned(), id) {
                panic!("{place} and {other} share {name}");
            }
        }
        assert!(seen.len() > 2, "{seen:?}");
    }
}

/// Options that are spelled alike and mean different things: a variable that is set for the one must not be taken for the other.
const HOMONYMS: [&str; 5] = [
    "SIDEKICK_REGISTER_TTL",
    "SIDEKICK_RELEASE_TIMEOUT",
    "SIDEKICK_WAIT_TIMEOUT",
    "SIDEKICK_HOLD_FOR",
    "SIDEKICK_HOLD_HOST",
];

#[test]
fn an_option_means_the_same_variable_in_every_command() {
    let mut names = BTreeMap::new();
    for subcommand in Cli::command().get_subcommands() {
        for arg in subcommand.get_arguments() {
            let (Some(flag), Some(name)) = (arg.get_long(), variable(arg)) else {
                continue;
            };
            if !HOMONYMS.contains(&name) {
                let first = names.entry(flag.to_owned()).or_insert(name.to_owned());
                assert_eq!(first, name, "--{flag}");
            }
        }
    }
}

#[test]
fn a_variable_that_turns_a_switch_in_one_command_is_no_word_in_another() {
    let mut kinds = BTreeMap::new();
    for subcommand in Cli::command().get_subcommands() {
        for arg in subcommand.get_arguments() {
            if let Some(name) = variable(arg) {
                let switch = matches!(arg.get_action(), ArgAction::SetTrue);
                let first = kinds.entry(name.to_owned()).or_insert(switch);
                assert_eq!(*first, switch, "{name}");
            }
        }
    }
}

#[test]
fn an_empty_line_of_the_file_gives_nothing_and_a_switch_knows_1_and_0() {
    let text = "SIDEKICK_WEIGHT=\nETCDCTL_ENDPOINTS=\nSIDEKICK_VERBOSE=\nSIDEKICK_ALLOW_LOOPBACK=1\n\
                SIDEKICK_PROBE_INSECURE=0";
    let parsed = with_file(&ANNOUNCE, &file(text)).unwrap();
    assert_eq!(values(&parsed, "weight"), Vec::<String>::new());
    assert_eq!(values(&parsed, "endpoints"), ["127.0.0.1:2379"]);
    let (_, announce) = parsed.given.0.subcommand().unwrap();
    assert!(announce.get_flag("allow_loopback") && !announce.get_flag("probe_insecure"));
}

#[test]
fn the_file_stands_for_flags_and_arguments() {
    let text = "SIDEKICK_WEIGHT=5\nSIDEKICK_TAG=eu,canary\nETCDCTL_ENDPOINTS='a:1,b:2'\n\
                SIDEKICK_ALLOW_LOOPBACK=true\nSIDEKICK_VERBOSE=2\nPATH=/nowhere\nSIDEKICK_NGINX=x";
    let parsed = with_file(&ANNOUNCE, &file(text)).unwrap();
    assert_eq!(values(&parsed, "weight"), ["5"]);
    assert_eq!(values(&parsed, "tag"), ["eu", "canary"]);
    assert_eq!(values(&parsed, "endpoints"), ["a:1,b:2"]);
    assert_eq!(values(&parsed, "allow_loopback"), ["true"]);
    assert_eq!(values(&parsed, "verbose"), ["2"]);
    assert_eq!(values(&parsed, "rise"), ["2"], "a default stays");
    assert_eq!(parsed.notes, Vec::<String>::new());

    let text = "SIDEKICK_INSTANCE=x/y\nSIDEKICK_ADDRESS=10.0.0.9:1";
    let parsed = with_file(&ANNOUNCE[..2], &file(text)).unwrap();
    assert_eq!(values(&parsed, "id"), ["x/y"]);
    assert_eq!(values(&parsed, "address"), ["10.0.0.9:1"]);
    let parsed = with_file(&ANNOUNCE[..3], &file(text)).unwrap();
    assert_eq!(values(&parsed, "id"), ["a/b"]);
    assert_eq!(values(&parsed, "address"), ["10.0.0.9:1"]);
}

#[test]
fn a_flag_beats_the_file_and_the_last_line_counts() {
    let text =
        "SIDEKICK_WEIGHT=5\nSIDEKICK_WEIGHT=6\nSIDEKICK_PROBE=/a\nSIDEKICK_ALLOW_LOOPBACK=false\n";
    let flags = ["--weight", "7", "--probe", "/b", "--allow-loopback"];
    let line = [&ANNOUNCE[..], &flags].concat();
    let parsed = with_file(&line, &file(text)).unwrap();
    assert_eq!(values(&parsed, "weight"), ["7"]);
    assert_eq!(values(&parsed, "probe"), ["/b"]);
    assert_eq!(values(&parsed, "allow_loopback"), ["true"]);
    let parsed = with_file(&ANNOUNCE, &file(text)).unwrap();
    assert_eq!(values(&parsed, "weight"), ["6"]);
}

#[test]
fn the_file_beats_the_environment() {
    // A variable that every process has stands for one of ours here: the environment is never written.
    let path = std::env::var("PATH").unwrap();
    let command = |found: &[Assignment]| {
        let command = Cli::command().mut_subcommands(|subcommand| match subcommand.get_name() {
            "announce" => subcommand.mut_arg("weight", |arg| arg.env("PATH")),
            _ => subcommand,
        });
        let filled = fill(command, found).unwrap();
        let matches = filled.try_get_matches_from(ANNOUNCE).unwrap();
        let (_, matches) = matches.subcommand().unwrap();
        matches.get_one::<String>("weight").unwrap().clone()
    };
    assert_eq!(command(&[]), path);
    let assignment = Assignment {
        name: "PATH".to_owned(),
        value: "5".to_owned(),
        line: 1,
        file: "".into(),
    };
    assert_eq!(command(&[assignment]), "5");
}

#[test]
fn what_is_wrong_in_the_file_is_named_with_its_line_and_all_at_once() {
    let said = refused("SIDEKICK_ALLOW_LOOPBACK=perhaps\nSIDEKICK_VERBOSE=much\n");
    assert!(said.contains("line 1: SIDEKICK_ALLOW_LOOPBACK"), "{said}");
    assert!(said.contains("line 2: SIDEKICK_VERBOSE"), "{said}");
    assert!(said.starts_with("2 mistakes"), "{said}");
    assert!(refused("A='").contains("line 1: the quote of A is not closed"));
}

#[test]
fn a_name_of_ours_that_means_nothing_is_noted() {
    let text = "SIDEKICK_WIEGHT=5\nETCDCTL_API=3\nSIDEKICK_ENV_FILE=/other\n";
    let parsed = with_file(&ANNOUNCE, &file(text)).unwrap();
    let [first, second] = &parsed.notes[..] else {
        panic!("{:?}", parsed.notes);
    };
    assert!(
        first.contains("line 1: SIDEKICK_WIEGHT belongs to no option"),
        "{first}"
    );
    assert!(
        second.contains("line 3: SIDEKICK_ENV_FILE is ignored"),
        "{second}"
    );
}

#[test]
fn the_option_of_a_trial_counts_only_where_the_trial_puts_it() {
    let (line, trial) = Line::of(["sidekick", TRIAL, "announce"].into_iter()).without_trial();
    assert_eq!((line.words().len(), trial), (2, true));
    let (line, trial) = Line::of(["sidekick", "announce", TRIAL].into_iter()).without_trial();
    assert_eq!((line.words().len(), trial), (3, false));
    assert!(line.parse().is_err());
}

#[test]
fn an_agent_is_understood_in_the_same_way_without_the_other_commands() {
    for name in ["announce", "push"] {
        let line = Line(["sidekick", name].map(OsString::from).to_vec());
        let help = |mut whole: Command| {
            whole.build();
            let agent = whole.find_subcommand_mut(name).unwrap();
            agent.render_long_help().to_string()
        };
        assert_eq!(line.command().get_subcommands().count(), 1);
        assert_eq!(help(line.command()), help(Cli::command()));
    }
}

#[test]
fn lines_that_mean_nothing_are_named_up_to_a_limit_and_counted() {
    let lines: String = (0..20_000)
        .map(|number| format!("SIDEKICK_X{number}=1\n"))
        .collect();
    let parsed = with_file(&ANNOUNCE, &file(&lines)).unwrap();
    assert_eq!(parsed.notes.len(), NOTED + 1);
    assert!(parsed.notes[0].contains("line 1: SIDEKICK_X0 belongs to no option"));
    assert_eq!(
        parsed.notes[NOTED],
        "19980 more lines like these are ignored"
    );
}

/// What this thread has cost so far, whatever else the machine does.
fn cpu() -> std::time::Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos = told.split(' ').next().unwrap();
    std::time::Duration::from_nanos(nanos.parse().unwrap())
}

#[test]
fn an_env_file_of_many_lines_is_read_in_linear_time_whatever_they_say() {
    let kinds: [&dyn Fn(usize) -> String; 4] = [
        &|number| format!("SIDEKICK_TAG=t{number}\n"),
        &|number| format!("SIDEKICK_UNKNOWN{number}=x\n"),
        &|number| format!("A{number}='x\\\n{number}' # y\n"),
        &|number| format!("no name {number}\n"),
    ];
    for one in kinds {
        let cost = |lines: usize| {
            let file = file(&(0..lines).map(one).collect::<String>());
            let once = |_| {
                let began = cpu();
                let _ = with_file(&ANNOUNCE, &file);
                cpu() - began
            };
            (0..3).map(once).min().unwrap()
        };
        let (small, large) = (cost(1_000), cost(10_000));
        assert!(
            large < small * 30 + std::time::Duration::from_millis(50),
            "{}: {small:?}, ten times as many: {large:?}",
            one(0)
        );
    }
}
