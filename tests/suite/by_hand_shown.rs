//! What there is, shown and waited for: `list`, `watch`, `wait` and `status`.

use std::process;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Backend, Command, Etcd, Harness, PATIENCE, Process, Signal, until};

const UP: &str = r#"{"host":"10.0.0.5","port":80,"version":"v1","weight":3}"#;

/// Records in every state, a hold, a split, and what cannot be read.
async fn zoo(etcd: &Etcd) {
    etcd.put("/services/website/a", UP).await;
    let draining = r#"{"host":"10.0.0.6","port":80,"state":"draining"}"#;
    etcd.put("/services/website/b", draining).await;
    etcd.put("/services/website/c", "10.0.0.7:80").await;
    etcd.put("/services/website/d", "\u{1b}[31mred").await;
    etcd.put("/services/shop/a", UP).await;
    let hold = r#"{"reason":"disk \u001b[2J","until":"2026-01-02T03:04:05Z","by":"eve@ops"}"#;
    etcd.put("/sidekick/holds/website/c", hold).await;
    let split = r#"{"weights":{"v1":9,"v2":1}}"#;
    etcd.put("/sidekick/splits/website", split).await;
}

async fn shown(etcd: &Etcd, arguments: &[&str]) -> String {
    let ended = Command::new("list").etcd(etcd).args(arguments).run().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    ended.output
}

#[tokio::test]
async fn a_list_for_people_shows_state_and_reason_of_everything_in_columns() {
    let etcd = Etcd::start().await;
    zoo(&etcd).await;
    let text = shown(&etcd, &["website"]).await;
    let words = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(key));
        line.unwrap_or_else(|| panic!("no {key}: {text}"))
    };
    assert!(words("website/a ").contains("10.0.0.5:80/v1  up"), "{text}");
    assert!(words("website/b ").contains("draining"), "{text}");
    let held = words("website/c ");
    for part in [
        "held",
        "disk \\x1b[2J",
        "until 2026-01-02T03:04:05Z",
        "by eve@ops",
    ] {
        assert!(held.contains(part), "{part}: {held}");
    }
    assert!(
        words("/services/website/d ").contains("quarantined"),
        "{text}"
    );
    assert!(words("website  ").contains("v1=9 v2=1"), "{text}");
    assert!(!text.contains("shop"), "{text}");
    assert!(
        !text.contains('\u{1b}'),
        "foreign bytes are escaped: {text}"
    );
    let starts: Vec<_> = ["INSTANCE", "website/a ", "website/b "]
        .map(|key| words(key).find("10.0").or(words(key).find("ADDRESS")))
        .to_vec();
    assert!(starts.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
}

#[tokio::test]
async fn a_list_for_programs_is_an_object_a_line() {
    let etcd = Etcd::start().await;
    zoo(&etcd).await;
    let forged = r#"{"host":"10.0.0.9","port":80,"service":"bank","hold":{"reason":"x"}}"#;
    etcd.put("/services/website/e", forged).await;
    let text = shown(&etcd, &["--output", "json"]).await;
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    let find = |service: &str, instance: &str| {
        let found = lines
            .iter()
            .find(|line| line["service"] == service && line["instance"] == instance);
        found.unwrap_or_else(|| panic!("no {service}/{instance}: {text}"))
    };
    let up = find("website", "a");
    assert_eq!(
        (&up["state"], &up["weight"], &up["port"]),
        (&"up".into(), &3.into(), &80.into())
    );
    let held = find("website", "c");
    assert_eq!(
        (&held["state"], &held["hold"]["by"]),
        (&"held".into(), &"eve@ops".into())
    );
    let forged = find("website", "e");
    assert_eq!(
        (&forged["state"], &forged["hold"]),
        (&"up".into(), &Value::Null)
    );
    assert_eq!(forged["extra"]["service"], "bank");
    let unreadable = lines
        .iter()
        .find(|line| line["unreadable"] == "/services/website/d");
    assert!(
        unreadable.is_some_and(|line| line["reason"].is_string()),
        "{text}"
    );
    let split = lines
        .iter()
        .find(|line| line["split"]["weights"]["v2"] == 1);
    assert!(split.is_some(), "{text}");
}

#[tokio::test]
async fn a_list_for_scripts_names_instance_address_and_state() {
    let etcd = Etcd::start().await;
    zoo(&etcd).await;
    let text = shown(&etcd, &["--output", "plain"]).await;
    let mut lines: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with("sidekick:"))
        .collect();
    lines.sort_unstable();
    let expected = [
        "shop/a 10.0.0.5:80/v1 up",
        "website/a 10.0.0.5:80/v1 up",
        "website/b 10.0.0.6:80 draining",
        "website/c 10.0.0.7:80 held",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn a_service_without_records_is_answered_with_the_one_that_was_meant() {
    let etcd = Etcd::start().await;
    assert!(shown(&etcd, &[]).await.contains("no records"));
    zoo(&etcd).await;
    let text = shown(&etcd, &["webstie"]).await;
    assert!(text.contains("did you mean website?"), "{text}");
}

#[tokio::test]
async fn colours_are_for_terminals_where_nobody_asked_for_none() {
    let etcd = Etcd::start().await;
    zoo(&etcd).await;
    for (no_color, coloured) in [("", true), ("1", false)] {
        let ended = on_terminal(&etcd, "list", no_color).await;
        assert_eq!(ended.code, Some(0), "{}", ended.output);
        let shown = ended.output.contains("\u{1b}[32mup");
        assert_eq!(shown, coloured, "{}", ended.output);
        // A log is written on a terminal too.
        let nowhere = "wait website --for gone --timeout 1s --endpoints 127.0.0.1:1";
        let ended = on_terminal(&etcd, nowhere, no_color).await;
        let log = ended
            .output
            .lines()
            .find(|line| line.contains("cannot follow etcd yet"));
        let log = log.unwrap_or_else(|| panic!("{}", ended.output));
        assert_eq!(log.contains("\u{1b}[33m"), coloured, "{log:?}");
    }
}

#[tokio::test]
async fn what_is_waited_for_is_redrawn_in_place_on_a_terminal_only() {
    let etcd = Etcd::start().await;
    let wait = "wait website --for announced --timeout 1s";
    let ended = on_terminal(&etcd, wait, "").await;
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    assert!(
        ended.output.contains("\r\u{1b}[Kwaiting: 0 of 1"),
        "{}",
        ended.output
    );
    let arguments = ["website", "--for", "announced", "--timeout", "1s"];
    let ended = waits(&etcd, &arguments).await;
    assert!(
        ended.output.starts_with("waiting: 0 of 1"),
        "{}",
        ended.output
    );
}

/// Runs a command line of sidekick on a terminal of its own.
async fn on_terminal(etcd: &Etcd, line: &str, no_color: &str) -> crate::support::Ended {
    let program = env!("CARGO_BIN_EXE_sidekick");
    let line = format!("{program} {line}");
    let mut command = process::Command::new("script");
    command.args(["-q", "-e", "-c", &line, "/dev/null"]);
    command.env("ETCDCTL_ENDPOINTS", etcd.endpoint());
    command.env("NO_COLOR", no_color).env("TERM", "xterm");
    Process::start("script", &mut command).end(PATIENCE).await
}

#[tokio::test]
async fn a_watch_tells_what_was_there_and_every_change_through_an_outage_until_it_is_interrupted() {
    let mut etcd = Etcd::start().await;
    etcd.put("/services/website/a", UP).await;
    let command = Command::new("watch")
        .etcd(&etcd)
        .args(["website", "-o", "plain"]);
    let mut watch = command.start();
    let line = |text: &'static str| watch.process().line(text);
    line("listed website/a 10.0.0.5:80/v1 up").await;
    etcd.put("/services/website/b", "10.0.0.6:80").await;
    line("added website/b 10.0.0.6:80 up").await;
    etcd.put("/sidekick/holds/website/b", r#"{"reason":"x"}"#)
        .await;
    line("changed website/b 10.0.0.6:80 held").await;
    // It is held already, by the narrower one.
    let whole = "/sidekick/service-holds/website";
    etcd.put(whole, r#"{"reason":"y"}"#).await;
    line("changed website/a 10.0.0.5:80/v1 held").await;
    etcd.delete(whole).await;
    line("changed website/a 10.0.0.5:80/v1 up").await;
    let held = "changed website/b 10.0.0.6:80 held";
    let lines = watch.process().lines();
    assert_eq!(lines.iter().filter(|line| **line == held).count(), 1);
    etcd.delete("/sidekick/holds/website/b").await;
    line("changed website/b 10.0.0.6:80 up").await;
    etcd.restart().await;
    etcd.delete("/services/website/a").await;
    etcd.put("/services/shop/a", UP).await;
    line("removed website/a 10.0.0.5:80/v1 up").await;
    etcd.put("/services/website/c", "10.0.0.7:80").await;
    line("added website/c").await;
    let lines = watch.process().lines();
    assert!(!lines.iter().any(|line| line.contains("shop")), "{lines:?}");
    let listed = lines.iter().filter(|line| line.starts_with("listed"));
    assert_eq!(listed.count(), 1, "{lines:?}");
    watch.process().signal(Signal::INT);
    assert_eq!(watch.end(PATIENCE).await.code, Some(0));
}

#[tokio::test]
async fn a_watch_shows_times_and_events_to_people_and_programs() {
    let etcd = Etcd::start().await;
    zoo(&etcd).await;
    let table = Command::new("watch").etcd(&etcd).start();
    table.process().line("TIME ").await;
    table.process().line("quarantined").await;
    let json = Command::new("watch")
        .etcd(&etcd)
        .args(["--output", "json"])
        .start();
    json.process().line("\"event\":\"listed\"").await;
    etcd.put("/sidekick/splits/website", r#"{"weights":{"v2":1}}"#)
        .await;
    table.process().line("v2=1").await;
    let line = json.process().line("\"event\":\"changed\"").await;
    let object: Value = serde_json::from_str(&line).expect("an object");
    assert_eq!(object["split"]["weights"]["v2"], 1, "{line}");
    assert!(object["time"].is_string(), "{line}");
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_failure() {
    let etcd = Etcd::start().await;
    zoo(&etcd).await;
    let program = env!("CARGO_BIN_EXE_sidekick");
    let endpoint = etcd.endpoint();
    let script = r#""$0" watch -o plain --endpoints "$1" | { read -r line; echo "$line"; }; echo "ended ${PIPESTATUS[0]}""#;
    let mut command = process::Command::new("bash");
    command.args(["-c", script, program, &endpoint]);
    let shell = Process::start("bash", &mut command);
    shell.line("listed").await;
    // Only a further write shows that nobody reads any more.
    let mut round = 0;
    let line = until(PATIENCE, "the watch to end", async || {
        round += 1;
        etcd.put("/services/website/n", format!("10.0.0.{}:80", round % 200))
            .await;
        shell
            .lines()
            .into_iter()
            .find(|line| line.starts_with("ended"))
    })
    .await;
    assert_eq!(line, "ended 0", "{}", shell.output());
}

async fn waits(etcd: &Etcd, arguments: &[&str]) -> crate::support::Ended {
    Command::new("wait").etcd(etcd).args(arguments).run().await
}

#[tokio::test]
async fn a_wait_ends_when_so_many_are_announced_or_none_is_left() {
    let etcd = Etcd::start().await;
    let mut two = Command::new("wait")
        .etcd(&etcd)
        .args(["website", "--for", "announced", "--count", "2"])
        .start();
    two.process().line("0 of 2").await;
    etcd.put("/services/website/a", UP).await;
    two.process().line("1 of 2").await;
    let down = r#"{"host":"10.0.0.6","port":80,"state":"down"}"#;
    etcd.put("/services/website/b", down).await;
    etcd.put("/services/website/c", UP).await;
    assert_eq!(two.end(PATIENCE).await.code, Some(0));
    assert_eq!(
        waits(&etcd, &["website/a", "--for", "announced"])
            .await
            .code,
        Some(0)
    );
    let mut gone = Command::new("wait")
        .etcd(&etcd)
        .args(["website/a", "--for", "gone"])
        .start();
    gone.process().line("still there: a").await;
    etcd.delete("/services/website/a").await;
    assert_eq!(gone.end(PATIENCE).await.code, Some(0));
    let late = waits(&etcd, &["website", "--for", "gone", "--timeout", "1s"]).await;
    assert_eq!(late.code, Some(1), "{}", late.output);
    assert!(
        late.output
            .contains("not within 1s (--timeout): still there: b, c"),
        "{}",
        late.output
    );
}

#[tokio::test]
async fn a_wait_for_routing_ends_when_the_load_balancer_has_the_server() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let _announcer = harness.announced(&backend).await;
    let mut wait = Command::new("wait")
        .etcd(&harness.etcd)
        .args(["website/b1", "--for", "routed"])
        .start();
    wait.process().line("no live pusher routes website").await;
    let _pusher = harness.push().start();
    assert_eq!(wait.end(PATIENCE).await.code, Some(0));
    assert_eq!(
        harness.nginx.addresses("website").await,
        [backend.address().to_string()]
    );
}

#[tokio::test]
async fn a_wait_without_time_looks_once_and_takes_no_silence_for_routing() {
    let etcd = Etcd::start().await;
    etcd.put("/services/website/a", UP).await;
    let now = async |goal| waits(&etcd, &["website", "--timeout", "0s", "--for", goal]).await;
    assert_eq!(now("announced").await.code, Some(0));
    assert_eq!(now("gone").await.code, Some(1));
    // In which order etcd answers is by chance: the answer must not be.
    for _ in 0..20 {
        let routed = now("routed").await;
        assert_eq!(routed.code, Some(1), "{}", routed.output);
        assert!(
            routed.output.contains("no live pusher routes website"),
            "{}",
            routed.output
        );
    }
}

#[tokio::test]
async fn a_wait_rides_through_an_outage_and_names_one_that_lasts() {
    let mut etcd = Etcd::start().await;
    etcd.kill();
    let mut wait = Command::new("wait")
        .etcd(&etcd)
        .args(["website", "--for", "announced"])
        .start();
    let short = waits(&etcd, &["website", "--for", "routed", "--timeout", "1s"]).await;
    assert_eq!(short.code, Some(69), "{}", short.output);
    assert_eq!(
        short.output.matches("cannot follow etcd yet").count(),
        1,
        "{}",
        short.output
    );
    assert!(
        !short.output.contains("lost sight"),
        "nobody has seen it: {}",
        short.output
    );
    etcd.resume().await;
    etcd.put("/services/website/a", UP).await;
    assert_eq!(wait.end(PATIENCE).await.code, Some(0));
}

async fn status(etcd: &Etcd, arguments: &[&str]) -> String {
    let ended = Command::new("status")
        .etcd(etcd)
        .args(arguments)
        .run()
        .await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    ended.output
}

#[tokio::test]
async fn the_status_of_a_pusher_tells_its_targets_and_that_it_is_up_to_date() {
    let harness = Harness::start().await;
    assert!(status(&harness.etcd, &[]).await.contains("no live pusher"));
    let backend = Backend::start("b1").await;
    let _announcer = harness.announced(&backend).await;
    let _pusher = harness.pushing().await;
    until(PATIENCE, "the pusher to be up to date", async || {
        let text = status(&harness.etcd, &[]).await;
        let target = text
            .lines()
            .any(|line| line.contains(&harness.nginx.api_url()) && line.contains("ok"));
        let service = text
            .lines()
            .any(|line| line.starts_with("edge") && line.ends_with("no"));
        if target && service { Ok(()) } else { Err(text) }
    })
    .await;
}

#[tokio::test]
async fn a_hold_that_every_pusher_follows_is_neither_waited_for_nor_behind() {
    let harness = Harness::start().await;
    let backends = [Backend::start("b1").await, Backend::start("b2").await];
    let _announcers = [
        harness.announced(&backends[0]).await,
        harness.announced(&backends[1]).await,
    ];
    let _pusher = harness.pushing().await;
    let run = async |name: &str, arguments: &[&str]| {
        let ended = Command::new(name).etcd(&harness.etcd).args(arguments);
        let ended = ended.run().await;
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.output);
        ended.output
    };
    run("wait", &["website", "--for", "routed", "--count", "2"]).await;
    let hold = ["website/b1", "--for", "10m", "--reason", "x"];
    let said = run("hold", &hold).await;
    assert!(said.contains("applied by 1 of 1 pushers"), "{said}");
    run("wait", &["website", "--for", "routed"]).await;
    let status = run("status", &[]).await;
    let up_to_date = |line: &str| line.starts_with("edge") && line.ends_with("no");
    assert!(status.lines().any(up_to_date), "{status}");
    run("hold", &["website/b1", "--release"]).await;
    run("wait", &["website", "--for", "routed", "--count", "2"]).await;
    run("split", &["website", "--clear"]).await;
}

#[tokio::test]
async fn the_status_tells_what_is_quarantined_and_why_also_without_a_pusher() {
    let etcd = Etcd::start().await;
    etcd.put("/services/website/a", UP).await;
    let wrong = r#"{"host":"10.0.0.6;","port":80}"#;
    etcd.put("/services/website/b\u{1b}[31m", wrong).await;
    etcd.put("/services/website/c", wrong).await;
    let table = status(&etcd, &[]).await;
    let row = table.lines().find(|line| line.contains("/website/c"));
    let row = row.unwrap_or_else(|| panic!("{table}"));
    assert!(
        row.contains("neither an IP address nor a DNS name"),
        "{table}"
    );
    assert!(table.contains(r"/website/b\x1b[31m"), "{table}");
    assert!(!table.contains("website/a"), "{table}");
    let json = status(&etcd, &["-o", "json"]).await;
    let objects = json.lines().filter(|line| line.starts_with('{'));
    assert_eq!(objects.count(), 2, "{json}");
    assert!(
        json.contains(r#""unreadable":"/services/website/c""#),
        "{json}"
    );
}

#[tokio::test]
async fn the_status_tells_errors_lags_and_fields_of_later_versions() {
    let etcd = Etcd::start().await;
    let first = etcd.put("/services/website/a", UP).await;
    let status_record = format!(
        r#"{{"services":{{"website":{{"applied":{first}}}}},"targets":{{"edge":{{"ok":false,"errors":["website: no \u001b[2J answer"],"later":1,"upstreams":{{"website":{{"wanted":2,"protected":[{{"server":"10.0.0.1:80","why":"the last that takes traffic"}}]}}}}}}}},"nonce":"n","since":"2026-01-02T03:04:05Z","later":[1]}}"#
    );
    etcd.put_for("/sidekick/pushers/one", &status_record, 600)
        .await;
    etcd.put_for("/sidekick/pushers/two", "{", 600).await;
    let since = jiff::Timestamp::now() - Duration::from_secs(60);
    let new = format!(r#"{{"host":"10.0.0.6","port":80,"since":"{since}"}}"#);
    etcd.put("/services/website/b", new).await;
    etcd.put("/sidekick/holds/website/a", r#"{"reason":"x"}"#)
        .await;
    let text = status(&etcd, &[]).await;
    let line = |part: &str| {
        text.lines()
            .find(|line| line.contains(part))
            .unwrap_or_else(|| panic!("no {part}: {text}"))
    };
    assert!(line("failing").contains("no \\x1b[2J answer"), "{text}");
    assert!(line("two").contains("quarantined"), "{text}");
    assert!(line("the last that").contains("10.0.0.1:80"), "{text}");
    assert!(line("sidekick release").contains("lets them go"), "{text}");
    assert!(line("2 changes, 6").contains("website  "), "{text}");
    let json = status(&etcd, &["-o", "json"]).await;
    let lines: Vec<Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines[0]["pusher"], "one");
    assert_eq!(lines[0]["later"], serde_json::json!([1]));
    assert_eq!(lines[0]["lag"]["website"]["changes"], 2);
    assert_eq!(lines[0]["lag"]["website"]["applied"], first);
    assert!(lines[1]["unreadable"].is_string(), "{json}");
    assert_eq!(lines[0]["quarantined"], serde_json::json!([]));
    assert_eq!(
        status(&etcd, &["-o", "plain"])
            .await
            .lines()
            .filter(|line| line.starts_with("one website"))
            .count(),
        1
    );
}

#[tokio::test]
async fn the_status_tells_what_is_quarantined_and_why() {
    let etcd = Etcd::start().await;
    let status_record = |service: &str| {
        format!(
            r#"{{"services":{{"{service}":{{"applied":1}}}},"targets":{{}},"nonce":"n","since":"2026-01-02T03:04:05Z"}}"#
        )
    };
    for (id, service) in [("one", "website"), ("two", "shop")] {
        let key = format!("/sidekick/pushers/{id}");
        etcd.put_for(&key, &status_record(service), 600).await;
    }
    etcd.put("/services/website/a", "no record").await;
    etcd.put("/services/website/b", UP).await;
    let text = status(&etcd, &[]).await;
    let line = text
        .lines()
        .find(|line| line.starts_with("/services/website/a"));
    assert!(
        line.is_some_and(|line| line.contains("neither a JSON object nor HOST:PORT")),
        "{text}"
    );
    assert!(!text.contains("/services/website/b"), "{text}");
    let json = status(&etcd, &["-o", "json"]).await;
    let lines: Vec<Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines[0]["quarantined"][0]["key"], "/services/website/a");
    assert_eq!(lines[0]["quarantined"][0]["service"], "website");
    assert_eq!(lines[1]["quarantined"], serde_json::json!([]), "{json}");
    let plain = status(&etcd, &["-o", "plain"]).await;
    assert!(
        plain.contains("quarantined: /services/website/a"),
        "{plain}"
    );
}
