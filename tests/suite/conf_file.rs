//! Open-source nginx, kept equal by a file and a reload.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sidekick::etcd::client::Cluster;
use sidekick::model::State;
use sidekick::target::file::{FileTarget, FileUpstream, Settings, Template};
use sidekick::target::{Driver, Error, Layer, Outcome, Progress, Upstream, UpstreamName};
use sidekick::upstream::server::{Origin, Parameters, Server};
use sidekick::upstream::state::Desired;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::support::{Backend, FileNginx, Load, OWN, PATIENCE, Report, free_port, request, until};

/// Long enough for anything that is not to be over in a test.
pub(crate) const LONG: Duration = Duration::from_secs(300);

pub(crate) fn name(text: &str) -> UpstreamName {
    text.parse().unwrap()
}

/// These servers, up where nothing else is said by a `-` or a `~` in front: down, or draining.
pub(crate) fn desired(revision: i64, servers: &[&str]) -> Desired {
    let server = |text: &&str| {
        let state = match text.as_bytes()[0] {
            b'-' => State::Down,
            b'~' => State::Draining,
            _ => State::Up,
        };
        let endpoint = text.trim_start_matches(['-', '~']).parse().unwrap();
        let server = Server {
            weight: NonZeroU16::MIN,
            state,
            parameters: Parameters::default(),
        };
        (endpoint, server)
    };
    Desired {
        service: "website".parse().unwrap(),
        revision,
        overrides: 0,
        servers: servers.iter().map(server).collect(),
        origins: BTreeMap::new(),
        instances: Arc::default(),
        protection: sidekick::upstream::protection::Protection::default(),
    }
}

/// The same with something in the `meta` of each server.
fn with_meta(mut desired: Desired, key: &str, values: &[&str]) -> Desired {
    for (endpoint, value) in desired.servers.keys().zip(values) {
        let origin = Origin {
            instance: "one".parse().unwrap(),
            version: None,
            tags: Vec::new(),
            meta: BTreeMap::from([(key.to_owned(), (*value).to_owned())]),
        };
        desired.origins.insert(endpoint.clone(), Arc::new(origin));
    }
    desired
}

/// One upstream of a site of its own.
pub(crate) fn only(settings: Settings) -> FileUpstream {
    let site = FileTarget::new(settings, [name("website")]).unwrap();
    site.upstream(&name("website"), LONG).unwrap()
}

/// Converges until nothing is to be done at once.
pub(crate) async fn settle(
    upstream: &mut FileUpstream,
    desired: &Desired,
) -> Result<Outcome, Error> {
    let started = Instant::now();
    loop {
        let outcome = upstream.converge(desired).await?;
        if outcome.progress != Progress::Unfinished {
            return Ok(outcome);
        }
        assert!(started.elapsed() < LONG, "it never comes to an end");
    }
}

/// Converges all at once, as the pusher does.
async fn settle_all(upstreams: &mut [FileUpstream], desired: &Desired) {
    let settling = upstreams
        .iter_mut()
        .map(|upstream| settle(upstream, desired));
    for settled in futures_util::future::join_all(settling).await {
        settled.unwrap();
    }
}

/// Converges until no request can come to a draining server any more.
async fn drained(upstream: &mut FileUpstream, desired: &Desired) {
    until(
        LONG,
        "the file to be taken and drained",
        async || match upstream.converge(desired).await {
            Ok(outcome) if outcome.progress == Progress::Converged => Ok(()),
            other => Err(other),
        },
    )
    .await;
}

/// Nothing of a change is left beside the file; the lock stays.
pub(crate) fn nothing_beside(nginx: &FileNginx) {
    let beside = fs::read_dir(nginx.file().parent().unwrap()).unwrap();
    let mut names: Vec<_> = beside.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".upstreams.conf.sidekick-lock", "upstreams.conf"]);
}

pub(crate) async fn who(nginx: &FileNginx, path: &str) -> Result<String, String> {
    let answer = request(nginx.traffic(), "GET", path, "").await?;
    match answer.status {
        200 => Ok(answer.body.trim().to_owned()),
        status => Err(format!("status {status}")),
    }
}

pub(crate) fn template(nginx: &FileNginx, text: &str) -> Option<PathBuf> {
    let file = nginx.folder().join("template");
    fs::write(&file, text).unwrap();
    Some(file)
}

#[tokio::test]
async fn whatever_is_in_the_file_nginx_ends_with_the_records_and_is_reloaded_no_more_than_needed() {
    let nginx = FileNginx::start(Layer::Http, &["website"]).await;
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let (a, b) = (one.address().to_string(), two.address().to_string());
    let mut settings = nginx.settings(Layer::Http);
    settings.min_reload_interval = Duration::ZERO;
    let mut upstream = only(settings.clone());

    let both = desired(1, &[&a, &b]);
    let plan = upstream.compare(&both).await.unwrap();
    assert_eq!(plan.steps.len(), 2, "{plan:?}");
    let outcome = settle(&mut upstream, &both).await.unwrap();
    assert_eq!(outcome.progress, Progress::Converged);
    assert_eq!(nginx.reloads(), 1);
    // Each worker takes turns by itself.
    let mut seen = BTreeSet::new();
    until(PATIENCE, "both backends to answer", async || {
        seen.insert(who(&nginx, "/").await.unwrap());
        seen.len() == 2
    })
    .await;
    assert!(upstream.compare(&both).await.unwrap().steps.is_empty());

    // Nothing changes, also for a new process: nothing is done.
    settle(&mut upstream, &both).await.unwrap();
    drop(upstream);
    let mut upstream = only(settings);
    settle(&mut upstream, &both).await.unwrap();
    assert_eq!(nginx.reloads(), 1);

    for text in [
        "",
        "# sidekick: begin website\nno configuration {",
        "# sidekick: begin a\nupstream website { server 127.0.0.1:9; }\n",
    ] {
        let before = nginx.reloads();
        fs::write(nginx.file(), text).unwrap();
        settle(&mut upstream, &both).await.unwrap();
        assert_eq!(nginx.reloads(), before + 1);
        who(&nginx, "/").await.unwrap();
    }
    fs::remove_file(nginx.file()).unwrap();
    settle(&mut upstream, &both).await.unwrap();

    settle(&mut upstream, &desired(2, &[])).await.unwrap();
    assert_eq!(who(&nginx, "/").await, Err("status 502".to_owned()));
    settle(&mut upstream, &desired(3, &[&b])).await.unwrap();
    assert_eq!(who(&nginx, "/").await.as_deref(), Ok("two"));
    nothing_beside(&nginx);
}

#[tokio::test]
async fn a_file_is_there_before_nginx_runs_and_a_restart_of_nginx_needs_no_reload() {
    let mut nginx = FileNginx::new(Layer::Http, &["website"]);
    let one = Backend::start("one").await;
    let mut settings = nginx.settings(Layer::Http);
    settings.min_reload_interval = Duration::ZERO;
    let site = FileTarget::new(settings, [name("website")]).unwrap();
    let mut upstream = site.upstream(&name("website"), LONG).unwrap();
    let wanted = desired(1, &[&one.address().to_string()]);
    // Whether no nginx runs anywhere, nobody can tell while other tests run theirs.
    settle(&mut upstream, &wanted).await.unwrap_err();
    assert!(nginx.text().contains(&one.address().to_string()));

    let (restart, mut restarts) = watch::channel(0);
    let watching = tokio::spawn(Arc::new(site).watch(
        Duration::from_millis(10),
        restart,
        Cluster::new(Default::default()),
    ));
    // Its first look is at no nginx.
    tokio::task::yield_now().await;
    nginx.run().await;
    let count = restarts
        .wait_for(|count| *count > 0)
        .await
        .map(|count| *count);
    let count = count.unwrap();
    settle(&mut upstream, &wanted).await.unwrap();
    assert_eq!(who(&nginx, "/").await.as_deref(), Ok("one"));
    nginx.kill();
    restarts.wait_for(|now| *now > count).await.unwrap();
    // Its workers, which go on routing, end a moment after their master.
    until(PATIENCE, "nginx to be gone", async || {
        let error = settle(&mut upstream, &wanted).await.unwrap_err();
        error.is_not_routing().then_some(()).ok_or(error)
    })
    .await;
    nginx.run().await;
    settle(&mut upstream, &wanted).await.unwrap();
    assert_eq!(nginx.reloads(), 0);
    watching.abort();
}

#[tokio::test]
async fn twenty_rolling_restarts_under_load_lose_no_request() {
    let report = roll(true).await;
    assert_eq!(report.failed(), 0, "{report:#?}");
}

#[tokio::test]
async fn the_same_restarts_lose_requests_when_the_old_workers_are_not_waited_for() {
    let report = roll(false).await;
    assert!(
        report.failed() > 0,
        "the other test proves nothing: {report:#?}"
    );
}

/// Takes three backends out in turn, restarts them and brings them back, while clients never stop asking.
async fn roll(drain: bool) -> Report {
    let nginx = FileNginx::start(Layer::Http, &["website"]).await;
    let mut settings = nginx.settings(Layer::Http);
    settings.min_reload_interval = Duration::from_millis(50);
    let mut upstream = only(settings);
    let mut backends = Vec::new();
    for name in ["b1", "b2", "b3"] {
        backends.push(Backend::start_slow(name, Duration::from_millis(100)).await);
    }
    let all: Vec<_> = backends.iter().map(|b| b.address().to_string()).collect();
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    settle(&mut upstream, &desired(1, &all)).await.unwrap();
    let load = Load::start(nginx.traffic(), 20);
    for turn in 0..20 {
        let backend = &mut backends[turn % 3];
        let answers = load.report().answers_of(backend.name());
        until(PATIENCE, "the backend to answer", async || {
            load.report().answers_of(backend.name()) > answers
        })
        .await;
        let leaving = format!("~{}", backend.address());
        let mut servers = all.clone();
        servers[turn % 3] = &leaving;
        let revision = i64::try_from(2 * turn + 2).unwrap();
        let without = desired(revision, &servers);
        if drain {
            drained(&mut upstream, &without).await;
        } else {
            settle(&mut upstream, &without).await.unwrap();
        }
        backend.restart().await;
        settle(&mut upstream, &desired(revision + 1, &all))
            .await
            .unwrap();
    }
    let report = load.stop().await;
    eprintln!(
        "drain {drain}: {} answered, {} failed, {} reloads",
        report.answered(),
        report.failed(),
        nginx.reloads()
    );
    report
}

#[tokio::test]
async fn upstreams_that_change_together_share_a_reload_and_the_last_state_is_always_applied() {
    let names: Vec<_> = (0..20).map(|number| format!("u{number}")).collect();
    let upstreams: Vec<_> = names.iter().map(String::as_str).collect();
    let nginx = FileNginx::start(Layer::Http, &upstreams).await;
    let one = Backend::start("one").await;
    let address = one.address().to_string();
    let mut settings = nginx.settings(Layer::Http);
    settings.min_reload_interval = Duration::from_secs(1);
    let site = FileTarget::new(settings, upstreams.iter().map(|text| name(text))).unwrap();
    let mut handles: Vec<_> = upstreams
        .iter()
        .map(|text| site.upstream(&name(text), LONG).unwrap())
        .collect();

    let started = Instant::now();
    for revision in 1..=5 {
        let wanted = if revision % 2 == 1 {
            desired(revision, &[&address])
        } else {
            desired(revision, &[])
        };
        let tasks = handles.into_iter().map(|mut handle| {
            let wanted = wanted.clone();
            tokio::spawn(async move {
                // As a reconciler does: the newest state replaces one that still waits.
                handle.converge(&wanted).await.unwrap();
                handle
            })
        });
        let mut done = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            done.push(task.await.unwrap());
        }
        handles = done;
    }
    for handle in &mut handles {
        settle(handle, &desired(5, &[&address])).await.unwrap();
    }
    let allowed = 1 + usize::try_from(started.elapsed().as_secs()).unwrap();
    let reloads = nginx.reloads();
    assert!(
        (1..=allowed).contains(&reloads),
        "{reloads} reloads, {allowed} allowed"
    );
    for text in &upstreams {
        assert_eq!(who(&nginx, &format!("/{text}")).await.as_deref(), Ok("one"));
    }
}

#[tokio::test]
async fn an_upstream_that_nginx_refuses_keeps_its_last_good_servers_and_holds_no_other_up() {
    let upstreams = ["a", "b", "c", "d"];
    let nginx = FileNginx::start(Layer::Http, &upstreams).await;
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let (one, two) = (one_address(&one), one_address(&two));
    let mut settings = nginx.settings(Layer::Http);
    settings.min_reload_interval = Duration::ZERO;
    // "c" is spelt wrong from the second state on.
    settings.template = template(
        &nginx,
        "upstream {{ name }} {\n{% for server in servers %}\
         server {{ server.address }}{% if server.down_with is defined %} x{% endif %};\n{% endfor %}\
         {% if name == 'c' and servers[0].meta.bad is defined %} nonsense on; {% endif %}\n}\n",
    );
    let site = FileTarget::new(settings, upstreams.map(name)).unwrap();
    let mut handles = upstreams.map(|text| site.upstream(&name(text), LONG).unwrap());
    settle_all(&mut handles, &desired(1, &[&one])).await;
    let next = with_meta(desired(2, &[&two]), "bad", &["yes"]);
    let mut results = Vec::new();
    for mut handle in handles {
        let next = next.clone();
        results.push(tokio::spawn(
            async move { settle(&mut handle, &next).await },
        ));
    }
    for (text, result) in upstreams.iter().zip(results) {
        let result = result.await.unwrap();
        let serving = who(&nginx, &format!("/{text}")).await;
        if *text == "c" {
            let error = result.unwrap_err().to_string();
            assert!(error.contains("unknown directive \"nonsense\""), "{error}");
            assert_eq!(serving.as_deref(), Ok("one"));
        } else {
            result.unwrap();
            assert_eq!(serving.as_deref(), Ok("two"));
        }
    }
    assert!(nginx.text().contains(&two) && !nginx.text().contains("nonsense"));
}

pub(crate) fn one_address(backend: &Backend) -> String {
    backend.address().to_string()
}

#[tokio::test]
async fn a_server_that_nginx_refuses_is_left_out_and_the_others_of_its_upstream_get_through() {
    let nginx = FileNginx::start(Layer::Http, &["website"]).await;
    let one = Backend::start("one").await;
    let mut settings = nginx.settings(Layer::Http);
    settings.min_reload_interval = Duration::ZERO;
    settings.template = template(
        &nginx,
        "upstream {{ name }} { {% for server in servers %} server {{ server.address }} weight={{ server.meta.weight }}; {% endfor %}
        server 127.0.0.1:1 down; }",
    );
    let mut upstream = only(settings);
    let mut servers = vec![one_address(&one)];
    servers.extend((2..8).map(|last| format!("127.0.0.{last}:9")));
    let servers: Vec<_> = servers.iter().map(String::as_str).collect();
    let wanted = desired(1, &servers);
    // nginx has no such weight, and the template finds none at all.
    let mut wanted = with_meta(wanted, "weight", &["1", "1", "much", "1", "1", "1", "1"]);
    wanted.origins.remove(&"127.0.0.5:9".parse().unwrap());
    let outcome = settle(&mut upstream, &wanted).await.unwrap();
    let refused: Vec<_> = outcome.refused.iter().collect();
    let [(bad, reason), (unset, undefined)] = &refused[..] else {
        panic!("{refused:?}")
    };
    assert_eq!(
        (bad.as_str(), unset.as_str()),
        ("server 127.0.0.3:9", "server 127.0.0.5:9")
    );
    assert!(
        reason.contains("invalid parameter \"weight=much\";"),
        "without the line of a file that is gone: {reason}"
    );
    assert!(undefined.contains("undefined value"), "{undefined}");
    assert_eq!(
        nginx.text().matches("weight=1").count(),
        5,
        "{}",
        nginx.text()
    );
    assert_eq!(who(&nginx, "/").await.as_deref(), Ok("one"));
}

#[tokio::test]
async fn a_mistake_elsewhere_in_the_configuration_is_told_and_blames_nobody() {
    let nginx = FileNginx::start(Layer::Http, &["website"]).await;
    let one = Backend::start("one").await;
    let mut settings = nginx.settings(Layer::Http);
    settings.min_reload_interval = Duration::ZERO;
    let mut upstream = only(settings);
    nginx.configure(Layer::Http, &["website"], "broken on;");
    let before = nginx.text();
    let wanted = desired(1, &[&one_address(&one)]);
    let error = settle(&mut upstream, &wanted).await.unwrap_err();
    assert!(
        error.to_string().contains("unknown directive \"broken\""),
        "{error}"
    );
    assert_eq!((nginx.text(), nginx.reloads()), (before, 0));
    nginx.configure(Layer::Http, &["website"], "");
    settle(&mut upstream, &wanted).await.unwrap();
    assert_eq!(who(&nginx, "/").await.as_deref(), Ok("one"));
}

#[tokio::test]
async fn a_reload_that_nginx_rejects_in_silence_is_noticed_and_taken_back() {
    tokio::join!(rejected(false), rejected(true));
}

async fn rejected(with_proof: bool) {
    let upstreams = ["a", "b"];
    let nginx = FileNginx::start(Layer::Http, &upstreams).await;
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let mut settings = nginx.settings(Layer::Http);
    settings.min_reload_interval = Duration::ZERO;
    // A busy machine takes some seconds for a reload that it does take.
    settings.timeout = Duration::from_secs(12);
    settings.proof = with_proof.then(|| format!("127.0.0.1:{}", free_port()).parse().unwrap());
    // `nginx -t` does not mind that somebody else listens there; the reload does.
    let taken = two.address();
    settings.template = template(
        &nginx,
        &format!(
            "upstream {{{{ name }}}} {{ {{% for server in servers %}} server {{{{ server.address }}}}; {{% endfor %}} }}\n\
             {{% if name == 'a' and servers|length == 2 %}} server {{ listen {taken}; }} {{% endif %}}"
        ),
    );
    let site = FileTarget::new(settings, upstreams.map(name)).unwrap();
    let mut handles = upstreams.map(|text| site.upstream(&name(text), LONG).unwrap());
    let (one, two) = (one_address(&one), one_address(&two));
    settle_all(&mut handles, &desired(1, &[&one])).await;
    let [mut a, mut b] = handles;
    let (bad, good) = (desired(2, &[&one, &two]), desired(2, &[&two]));
    let (bad, good) = tokio::join!(settle(&mut a, &bad), settle(&mut b, &good));
    let error = bad.unwrap_err();
    assert!(matches!(error, Error::NotTaken { .. }), "{error}");
    good.unwrap();
    assert_eq!(who(&nginx, "/a").await.as_deref(), Ok("one"));
    assert_eq!(who(&nginx, "/b").await.as_deref(), Ok("two"));
    assert!(
        !nginx.text().contains("listen 127.0.0.1:") || with_proof,
        "{}",
        nginx.text()
    );
    settle(&mut a, &desired(3, &[&two])).await.unwrap();
    assert_eq!(who(&nginx, "/a").await.as_deref(), Ok("two"));
}

#[tokio::test]
async fn a_full_disk_leaves_the_file_as_it_was_until_there_is_room() {
    let nginx = FileNginx::start(Layer::Http, &["website"]).await;
    let one = Backend::start("one").await;
    let mut settings = nginx.settings(Layer::Http);
    settings.min_reload_interval = Duration::ZERO;
    let folder = nginx.file().parent().unwrap();
    let disk = SmallDisk::mount(folder);
    let upstream = "upstream website { server 127.0.0.1:9; }\n";
    fs::write(nginx.file(), format!("{OWN}{upstream}")).unwrap();
    let filling = folder.join("filling");
    disk.fill(&filling);
    let before = nginx.text();
    let mut upstream = only(settings);
    let wanted = desired(1, &[&one_address(&one)]);
    for _ in 0..3 {
        let error = settle(&mut upstream, &wanted).await.unwrap_err();
        assert!(
            error.to_string().contains("No space left on device"),
            "{error}"
        );
    }
    assert_eq!((nginx.text(), nginx.reloads()), (before, 0));
    fs::remove_file(filling).unwrap();
    settle(&mut upstream, &wanted).await.unwrap();
    assert_eq!(who(&nginx, "/").await.as_deref(), Ok("one"));
    nothing_beside(&nginx);
}

/// A file system of a few pages, mounted over a folder; gone when dropped.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(folder: &std::path::Path) -> Self {
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16k", "tmpfs"])
            .arg(folder)
            .output()
            .unwrap();
        assert!(
            mounted.status.success(),
            "mount (root is needed): {mounted:?}"
        );
        Self(folder.to_owned())
    }

    /// Leaves not a byte.
    fn fill(&self, file: &std::path::Path) {
        use std::io::Write as _;
        let mut file = fs::File::create(file).unwrap();
        let error = loop {
            if let Err(error) = file.write_all(&[b'#'; 512]) {
                break error;
            }
        };
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{error}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: nginx may be reading.
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
    }
}

#[tokio::test]
async fn a_hostile_value_in_a_users_template_costs_its_own_server_and_no_other() {
    let nginx = FileNginx::start(Layer::Http, &["website"]).await;
    let one = Backend::start("one").await;
    let one = one_address(&one);
    let mut settings = nginx.settings(Layer::Http);
    settings.min_reload_interval = Duration::ZERO;
    settings.template = template(
        &nginx,
        "{% for server in servers %}
# {{ server.meta.x }}
map $host $bare_{{ loop.index }} { default {{ server.meta.x }}; {{ server.meta.x }} 1; }
map $host $half_{{ loop.index }} { default x={{ server.meta.x }}/y; 'a {{ server.meta.x }}' \"{{ server.meta.x }}\"; }
{% endfor %}
upstream {{ name }} { {% for server in servers %} server {{ server.address }}; {% endfor %} server 127.0.0.1:1 down; }\n",
    );
    let mut upstream = only(settings);
    let evil = [
        "; } daemon on; #",
        "x; include /etc/passwd;",
        "\"; evil on; \"",
        "'; evil on; '",
        "\\",
        "\\\"; evil on;",
        "a\nevil on;\n",
        "a\r\n\t{ {",
        "}",
        "}}}}",
        "#",
        "\u{202e}",
        "{{ 7 * 7 }}",
        " ",
        "$request_uri",
        "include",
    ];
    for (revision, value) in (1..).zip(evil) {
        let both = desired(revision, &[&one, "127.0.0.9:9"]);
        let mut wanted = with_meta(both, "x", &["fine", "fine"]);
        let origin = wanted.origins.get_mut(&"127.0.0.9:9".parse().unwrap());
        Arc::make_mut(origin.unwrap())
            .meta
            .insert("x".to_owned(), value.to_owned());
        let outcome = settle(&mut upstream, &wanted).await;
        let outcome = outcome.unwrap_or_else(|error| panic!("{value:?}: {error}"));
        let refused: Vec<_> = outcome.refused.iter().collect();
        let [(server, reason)] = &refused[..] else {
            panic!("{value:?}: {refused:?}")
        };
        assert_eq!(server.as_str(), "server 127.0.0.9:9", "{value:?}");
        assert!(reason.starts_with("meta.x "), "{value:?}: {reason}");
        assert!(!nginx.text().contains("127.0.0.9"), "{value:?}");
        assert_eq!(who(&nginx, "/").await.as_deref(), Ok("one"), "{value:?}");
    }
}

#[tokio::test]
async fn the_example_of_a_template_is_one_that_nginx_takes() {
    let nginx = FileNginx::start(Layer::Http, &["website"]).await;
    let one = Backend::start("one").await;
    let mut settings = nginx.settings(Layer::Http);
    settings.min_reload_interval = Duration::ZERO;
    let example = include_str!("../../examples/conf-file/upstream.conf.jinja");
    settings.template = template(&nginx, example);
    let mut upstream = only(settings);
    let wanted = desired(1, &[&one_address(&one), "~127.0.0.2:9"]);
    let wanted = with_meta(wanted, "rack", &["r1", "r2"]);
    let outcome = settle(&mut upstream, &wanted).await.unwrap();
    assert!(outcome.refused.is_empty(), "{outcome:?}");
    assert_eq!(who(&nginx, "/").await.as_deref(), Ok("one"));
    assert!(upstream.compare(&wanted).await.unwrap().steps.is_empty());
    settle(&mut upstream, &desired(2, &[])).await.unwrap();
    assert_eq!(who(&nginx, "/").await, Err("status 502".to_owned()));
}

#[tokio::test]
async fn a_template_that_fails_says_where_and_leaves_the_file_alone() {
    let nginx = FileNginx::start(Layer::Http, &["website"]).await;
    let mut settings = nginx.settings(Layer::Http);
    settings.template = template(
        &nginx,
        "upstream {{ name }} {\n\n  server {{ nonsense }};\n}\n",
    );
    let before = nginx.text();
    let error = settle(&mut only(settings), &desired(1, &["127.0.0.1:9"]))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("line 3"), "{error}");
    assert!(!nginx.text().contains("127.0.0.1:9"), "{before}");

    let file = nginx.folder().join("wrong");
    fs::write(&file, "a;\n{% for server in servers %}\n").unwrap();
    let error = Template::read(&file).unwrap_err().to_string();
    assert!(
        error.contains("line 2") || error.contains("line 3"),
        "{error}"
    );
}

#[tokio::test]
async fn connections_of_a_stream_go_where_the_file_says() {
    let nginx = FileNginx::start(Layer::Stream, &["website"]).await;
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    for proof in [
        None,
        Some(format!("127.0.0.1:{}", free_port()).parse().unwrap()),
    ] {
        let mut settings = nginx.settings(Layer::Stream);
        settings.min_reload_interval = Duration::ZERO;
        settings.proof = proof;
        let mut upstream = only(settings);
        for (backend, revision) in [(&one, 1), (&two, 2)] {
            let wanted = desired(revision, &[&one_address(backend)]);
            settle(&mut upstream, &wanted).await.unwrap();
            assert_eq!(who(&nginx, "/").await.as_deref(), Ok(backend.name()));
        }
    }
}

#[tokio::test]
async fn an_nginx_that_cannot_be_seen_proves_by_its_answer_that_it_has_the_file() {
    let mut nginx = FileNginx::start(Layer::Http, &["website"]).await;
    let one = Backend::start("one").await;
    let mut settings = nginx.settings(Layer::Http);
    settings.min_reload_interval = Duration::ZERO;
    settings.pid = None;
    settings.proof = Some(format!("127.0.0.1:{}", free_port()).parse().unwrap());
    let mut upstream = only(settings.clone());
    let wanted = desired(1, &[&one_address(&one)]);
    settle(&mut upstream, &wanted).await.unwrap();
    // Nobody sees when an old worker is gone.
    until(PATIENCE, "the backend to answer", async || {
        who(&nginx, "/").await
    })
    .await;
    // A new process asks before it reloads.
    settle(&mut only(settings), &wanted).await.unwrap();
    assert_eq!(nginx.reloads(), 1);
    nginx.kill();
    let error = settle(&mut upstream, &wanted).await.unwrap_err();
    assert!(error.is_not_routing(), "{error}");
    nginx.run().await;
    settle(&mut upstream, &wanted).await.unwrap();
    assert_eq!(nginx.reloads(), 0);
}
