//! Records that nobody should write, beside records that must not suffer from them.

use std::ops::Range;
use std::time::Duration;

use etcd_client::{Txn, TxnOp};

use crate::support::{Backend, Command, Harness, PATIENCE, key, until};

/// Values that are no record, by the name of their instance.
const BAD: [(&str, &[u8]); 33] = [
    ("empty", b""),
    ("blank", b"   "),
    ("words", b"hello world"),
    ("html", b"<html><body>502</body></html>"),
    ("null", b"null"),
    ("number", b"42"),
    ("array", br#"["127.0.0.1", 80]"#),
    ("text", br#""127.0.0.1:80""#),
    ("cut-off", br#"{"host":"127.0.0.1","port":8"#),
    (
        "two",
        br#"{"host":"127.0.0.1","port":1} {"host":"127.0.0.1","port":2}"#,
    ),
    ("no-host", br#"{"port":80}"#),
    ("no-port", br#"{"host":"127.0.0.1"}"#),
    ("port-0", br#"{"host":"127.0.0.1","port":0}"#),
    ("port-large", br#"{"host":"127.0.0.1","port":65536}"#),
    ("port-negative", br#"{"host":"127.0.0.1","port":-80}"#),
    ("port-fraction", br#"{"host":"127.0.0.1","port":80.5}"#),
    (
        "port-words",
        br#"{"host":"127.0.0.1","port":"80; server 6.6.6.6"}"#,
    ),
    ("port-plus", br#"{"host":"127.0.0.1","port":"+80"}"#),
    ("host-number", br#"{"host":2130706433,"port":80}"#),
    ("host-empty", br#"{"host":"","port":80}"#),
    (
        "host-directive",
        br#"{"host":"127.0.0.1; server 6.6.6.6","port":80}"#,
    ),
    (
        "host-newline",
        b"{\"host\":\"127.0.0.1\\nserver 6.6.6.6\",\"port\":80}",
    ),
    (
        "host-null-byte",
        b"{\"host\":\"127.0.0.1\\u0000\",\"port\":80}",
    ),
    ("host-path", br#"{"host":"../../etc/passwd","port":80}"#),
    (
        "host-socket",
        br#"{"host":"unix:/run/docker.sock","port":80}"#,
    ),
    ("host-octets", br#"{"host":"127.0.0.999","port":80}"#),
    ("host-template", br#"{"host":"{{ host }}","port":80}"#),
    ("host-brackets", br#"{"host":"[::1","port":80}"#),
    (
        "state",
        br#"{"host":"127.0.0.1","port":80,"state":"flying"}"#,
    ),
    (
        "weight-large",
        br#"{"host":"127.0.0.1","port":80,"weight":65536}"#,
    ),
    (
        "weight-negative",
        br#"{"host":"127.0.0.1","port":80,"weight":-1}"#,
    ),
    ("not-utf-8", b"{\"host\":\"127.0.0.1\xff\",\"port\":80}"),
    ("plain-directive", b"127.0.0.1:80; server 6.6.6.6:80"),
];

/// Keys below the service that name no instance.
const BAD_KEYS: [&str; 6] = [
    "/services/website/",
    "/services/website/a/b",
    "/services/website/\u{1b}[2J",
    "/services/website/../../x",
    "/services//b1",
    "/services/website",
];

const GOOD: &str = r#"{"host":"127.0.0.1","port":1}"#;

#[tokio::test]
async fn no_hostile_record_reaches_nginx_or_hinders_a_good_one() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    // Some of it is there already, the rest comes while pushing.
    let (before, after) = BAD.split_at(BAD.len() / 2);
    put(&harness, before).await;
    let mut pusher = harness.pushing().await;
    put(&harness, after).await;
    harness.etcd.put("/services/website/deep", deep()).await;
    harness.etcd.put("/services/website/huge", huge()).await;
    for key in BAD_KEYS {
        harness.etcd.put(key, GOOD).await;
    }
    let announcer = harness
        .announce(&backend)
        .args(["--ready", "routed"])
        .start();
    announcer.ready().await;

    harness.routed(&[&backend]).await;
    harness.applied().await;
    assert!(pusher.runs());
    let listed = Command::new("list").etcd(&harness.etcd).run().await;
    for name in BAD
        .map(|(name, _)| name)
        .into_iter()
        .chain(["deep", "huge"])
    {
        // Each is told, with its key; the log, where there are this many, names some and counts the rest.
        let key = format!("/services/website/{name}");
        assert!(listed.output.contains(&key), "{key}: {}", listed.output);
    }
    pusher.process().line("/services/website/array").await;
    let raw_escape = pusher.process().output().contains("\u{1b}[2J");
    assert!(!raw_escape, "a key's control characters reach the terminal");
}

#[tokio::test]
async fn a_record_turned_hostile_and_back_takes_only_its_own_server_along() {
    let harness = Harness::start().await;
    let (steady, other) = (Backend::start("b1").await, Backend::start("b2").await);
    let _pusher = harness.pushing().await;
    let _announcer = harness.announced(&steady).await;
    let good = format!(
        r#"{{"host":"127.0.0.1","port":{}}}"#,
        other.address().port()
    );
    harness.etcd.put("/services/website/b2", good.clone()).await;
    harness.routed(&[&steady, &other]).await;
    harness.etcd.put("/services/website/b2", "{{{{").await;
    harness.routed(&[&steady]).await;
    harness.etcd.put("/services/website/b2", good).await;
    harness.routed(&[&steady, &other]).await;
}

#[tokio::test]
async fn what_the_coreos_unit_and_registrator_write_is_routed() {
    let harness = Harness::start().await;
    let (json, plain, key) = (
        Backend::start("b1").await,
        Backend::start("b2").await,
        Backend::start("b3").await,
    );
    let _pusher = harness.pushing().await;
    let port = json.address().port();
    let spaced =
        format!(r#"  {{ "host": "127.0.0.1", "port": " {port} ", "version": "52c7248a14" }} "#);
    harness.etcd.put("/services/website/b1", spaced).await;
    harness
        .etcd
        .put("/services/website/b2", plain.address().to_string())
        .await;
    harness
        .etcd
        .put(&format!("/services/website/{}", key.address()), "running")
        .await;
    harness.routed(&[&json, &plain, &key]).await;
}

#[tokio::test]
async fn what_cannot_be_read_of_a_pusher_holds_no_announcer_back() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let hostile = [
        "",
        "{",
        "[]",
        r#"{"services":[]}"#,
        r#"{"services":{"website":"x"}}"#,
    ];
    for (number, value) in hostile.into_iter().enumerate() {
        for kind in ["pushers", "balancers"] {
            let key = format!("/sidekick/{kind}/bad{number}");
            harness.etcd.put_for(&key, value, 600).await;
        }
    }
    let mut announcer = harness
        .announce(&backend)
        .args(["--drain-timeout", "10m"])
        .start();
    announcer.ready().await;
    let ended = announcer.leave().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert_eq!(harness.record(&backend).await, None);
}

#[tokio::test]
async fn thousands_of_foreign_keys_do_not_delay_a_record() {
    let harness = Harness::start().await;
    let (first, second) = tokio::join!(Backend::start("b1"), Backend::start("b2"));
    put_foreign(&harness, 0..FOREIGN / 2).await;
    let _pusher = harness.pushing().await;
    routed_at_once(&harness, &first, &[&first]).await;
    // And while it runs.
    put_foreign(&harness, FOREIGN / 2..FOREIGN).await;
    routed_at_once(&harness, &second, &[&first, &second]).await;
}

/// How many foreign keys there are, in the service and as many beside it.
const FOREIGN: usize = 6_000;

/// How late a record may be beside them. Alone it takes some ten milliseconds.
const SOON: Duration = Duration::from_secs(3);

/// Keys that are no records, half of them of the service.
async fn put_foreign(harness: &Harness, numbers: Range<usize>) {
    let mut client = harness.etcd.client().await;
    let numbers: Vec<_> = numbers.collect();
    // etcd takes 128 operations at once.
    for some in numbers.chunks(100) {
        let puts = some.iter().map(|number| {
            let key = match number % 2 {
                0 => format!("/services/other{number}/x"),
                _ => format!("/services/website/x{number}"),
            };
            TxnOp::put(key, "{", None)
        });
        let puts = Txn::new().and_then(puts.collect::<Vec<_>>());
        client.txn(puts).await.expect("etcd takes puts");
    }
}

/// Writes the record of one, and then nginx soon has all of them.
async fn routed_at_once(harness: &Harness, one: &Backend, all: &[&Backend]) {
    let record = one.address().to_string();
    harness.etcd.put(&key(one), record).await;
    let mut wanted: Vec<_> = all.iter().map(|it| it.address().to_string()).collect();
    wanted.sort();
    until(SOON, "the record to be routed", async || {
        let mut servers = harness.nginx.addresses("website").await;
        servers.sort();
        (servers == wanted).then_some(()).ok_or(servers)
    })
    .await;
}

async fn put(harness: &Harness, records: &[(&str, &[u8])]) {
    for (name, value) in records {
        harness
            .etcd
            .put(&format!("/services/website/{name}"), *value)
            .await;
    }
}

/// Far deeper than any stack allows for a recursive reader.
fn deep() -> String {
    let depth = 100_000;
    format!(
        r#"{{"host":"127.0.0.1","port":80,"meta":{}{}}}"#,
        "[".repeat(depth),
        "]".repeat(depth)
    )
}

/// Just below what etcd takes.
fn huge() -> String {
    format!(
        r#"{{"host":"127.0.0.1","port":80,"version":"{}"}}"#,
        "x".repeat(1_000_000)
    )
}

/// What others may write as often as they like: what stands there is told, however often it is written anew.
#[tokio::test]
async fn what_is_written_badly_a_thousand_times_gives_a_few_lines_and_a_count() {
    let harness = Harness::start().await;
    let pusher = harness.pushing().await;
    let keys = [
        "/services/website/bad",
        "/services/-stray-/bad",
        "/sidekick/holds/website/bad",
        "/sidekick/splits/website",
        "/sidekick/releases/website",
        "/sidekick/pushers/bad",
        "/sidekick/balancers/bad",
    ];
    let mut client = harness.etcd.client().await;
    let mut revision = 0;
    for number in 0..1_000 {
        // Every other time it can be read, where anything can: that is news too.
        let value = match number % 2 {
            0 => format!("bad {number}"),
            _ => r#"{"host":"10.99.0.1","port":80,"state":"down"}"#.to_owned(),
        };
        let puts = keys.map(|key| TxnOp::put(key, value.clone(), None));
        let txn = Txn::new().and_then(puts.to_vec());
        let answer = client.txn(txn).await.expect("etcd answers");
        revision = answer.header().expect("a header").revision();
    }
    until(PATIENCE, "all of it to be applied", async || {
        let status_record = harness.status_record().await.json();
        let applied = status_record["services"]["website"]["applied"].as_i64();
        (applied >= Some(revision))
            .then_some(())
            .ok_or(status_record)
    })
    .await;
    let output = pusher.process().output();
    for key in keys {
        let lines = output.lines().filter(|line| line.contains(key)).count();
        assert!(lines <= 6, "{key}: {lines} lines");
    }
    let lines = output.lines().count();
    assert!(lines <= 80, "{lines} lines: {output}");
    assert!(output.contains("/services/website/bad"), "{output}");
    assert!(output.contains("are only counted"), "{output}");
}
