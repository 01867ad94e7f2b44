//! A file and a configuration that others write in too: confd, people, another nginx.

use std::fs;
use std::time::Duration;

use sidekick::target::file::FileTarget;
use sidekick::target::{Layer, Upstream as _};
use tokio::time::{Instant, sleep};

use super::conf_file::{LONG, desired, name, one_address, only, settle, who};
use crate::support::{
    Backend, Command, Etcd, FileNginx, PATIENCE, Signal, announce, free_port, procfs, send, until,
};

/// confd's upstream of the same name is included from another file.
#[tokio::test]
async fn an_upstream_that_is_there_twice_causes_no_reloads_and_is_never_emptied() {
    let mut nginx = FileNginx::new(Layer::Http, &["website", "shop"]);
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let others = nginx.file().with_file_name("confd.conf");
    let website = format!("upstream website {{ server {}; }}\n", one_address(&one));
    fs::write(&others, website).unwrap();
    let shop = "upstream shop { server 127.0.0.1:1 down; }\n";
    fs::write(
        nginx.file(),
        format!("# sidekick: begin shop\n{shop}# sidekick: end shop\n"),
    )
    .unwrap();
    nginx.run().await;
    let mut settings = nginx.settings(Layer::Http);
    settings.min_reload_interval = Duration::ZERO;
    let site = FileTarget::new(settings, ["website", "shop"].map(name)).unwrap();
    let mut upstream = site.upstream(&name("website"), LONG).unwrap();
    let mut shop = site.upstream(&name("shop"), LONG).unwrap();
    let (both, second) = (
        desired(1, &[&one_address(&one), &one_address(&two)]),
        desired(1, &[&one_address(&two)]),
    );
    let (refused, served) = tokio::join!(settle(&mut upstream, &both), settle(&mut shop, &second));
    served.unwrap();
    assert_eq!(
        who(&nginx, "/shop").await.as_deref(),
        Ok("two"),
        "another upstream is not held up"
    );
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("duplicate upstream \"website\""), "{error}");
    assert_eq!(nginx.reloads(), 1);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(4) {
        let error = settle(&mut upstream, &both).await.unwrap_err().to_string();
        assert!(error.contains("duplicate upstream \"website\""), "{error}");
        assert_eq!(who(&nginx, "/").await.as_deref(), Ok("one"));
        // Between two looks: nothing tells when the convergence is over.
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(nginx.reloads(), 1, "nothing has changed");
    fs::remove_file(others).unwrap();
    // As a person would: nginx refuses it, as nobody has such an upstream now.
    until(
        PATIENCE,
        "sidekick's own upstream to be taken",
        async || {
            let answer = who(&nginx, "/").await;
            assert!(answer.is_ok(), "{answer:?}: {}", nginx.text());
            upstream
                .converge(&both)
                .await
                .map(|outcome| outcome.progress)?;
            match nginx.text().contains("upstream website") {
                true => Ok(()),
                false => Err(sidekick::target::Error::ReadOnly),
            }
        },
    )
    .await;
    settle(&mut upstream, &both).await.unwrap();
    assert_eq!(nginx.reloads(), 2);
    assert!(!nginx.text().contains("# no server"), "{}", nginx.text());
}

/// Somebody adds one while sidekick's is served.
#[tokio::test]
async fn a_second_upstream_of_the_same_name_takes_no_server_away() {
    let nginx = FileNginx::start(Layer::Http, &["website"]).await;
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let mut settings = nginx.settings(Layer::Http);
    settings.min_reload_interval = Duration::ZERO;
    let mut upstream = only(settings);
    settle(&mut upstream, &desired(1, &[&one_address(&one)]))
        .await
        .unwrap();
    let others = nginx.file().with_file_name("confd.conf");
    fs::write(&others, "upstream website { server 127.0.0.1:9; }\n").unwrap();
    let before = (nginx.text(), nginx.reloads());
    let next = desired(2, &[&one_address(&two)]);
    for _ in 0..3 {
        let error = settle(&mut upstream, &next).await.unwrap_err().to_string();
        assert!(error.contains("duplicate upstream"), "{error}");
        assert!(error.contains("remove it there"), "{error}");
        assert_eq!((nginx.text(), nginx.reloads()), before);
    }
    fs::remove_file(others).unwrap();
    settle(&mut upstream, &next).await.unwrap();
    assert_eq!(who(&nginx, "/").await.as_deref(), Ok("two"));
}

#[tokio::test]
async fn a_file_that_is_not_sidekicks_own_is_left_alone() {
    let nginx = FileNginx::start(Layer::Http, &["website"]).await;
    let one = Backend::start("one").await;
    let port = free_port();
    let foreign = format!(
        "# by hand\nupstream website {{ server 127.0.0.1:9; }}\nserver {{ listen 127.0.0.1:{port}; return 204; }}\n"
    );
    let wanted = desired(1, &[&one_address(&one)]);
    for adopt in [false, true] {
        fs::write(nginx.file(), &foreign).unwrap();
        let mut settings = nginx.settings(Layer::Http);
        settings.adopt = adopt;
        let mut upstream = only(settings);
        for error in [
            settle(&mut upstream, &wanted).await.unwrap_err(),
            upstream.compare(&wanted).await.unwrap_err(),
        ] {
            let error = error.to_string();
            assert!(error.contains("no mark of sidekick's"), "{error}");
            assert!(error.contains("(line 3: server)"), "{error}");
        }
        assert_eq!((nginx.text(), nginx.reloads()), (foreign.clone(), 0));
    }
}

#[tokio::test]
async fn confds_file_is_taken_over_when_asked_for_and_its_other_upstreams_stay() {
    let nginx = FileNginx::new(Layer::Http, &["website", "shop"]);
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let (one, two) = (one_address(&one), one_address(&two));
    let confd = format!(
        "upstream website {{\n  server {one} max_fails=3;\n  least_conn;\n}}\nupstream shop {{\n  server {one};\n}}\n"
    );
    fs::write(nginx.file(), &confd).unwrap();
    let mut nginx = nginx;
    nginx.run().await;
    let etcd = Etcd::start().await;
    let (host, port) = two.split_once(':').unwrap();
    let record = format!(r#"{{"host":"{host}","port":{port}}}"#);
    etcd.put("/services/website/two", record).await;
    let config = push_toml(&nginx, "");
    let push = |more: &[&str]| {
        let push = Command::new("push")
            .etcd(&etcd)
            .args(["--config", &config, "--id", "edge"]);
        push.args(more).run()
    };
    let refused = push(&["--once"]).await;
    assert!(
        refused
            .output
            .contains("it holds upstreams shop, website; `sidekick push --adopt`"),
        "{}",
        refused.output
    );
    assert_eq!(refused.code, Some(1), "{}", refused.output);
    assert!(!refused.output.contains("retrying"), "{}", refused.output);
    let one_route = fs::read_to_string(&config).unwrap();
    let two_routes = format!("{one_route}\n[[upstream]]\nname = \"shop\"\n");
    fs::write(&config, two_routes).unwrap();
    let shown = push(&["--dry-run", "--adopt"]).await;
    fs::write(&config, one_route).unwrap();
    assert_eq!(shown.code, Some(2), "{}", shown.output);
    assert!(
        shown.output.contains(&format!("add {two}")),
        "{}",
        shown.output
    );
    let would = shown
        .output
        .matches("--adopt would take it over, without --dry-run")
        .count();
    assert_eq!(would, 1, "once for both upstreams: {}", shown.output);
    assert!(!shown.output.contains("taking it over"), "{}", shown.output);
    assert_eq!((nginx.text(), nginx.reloads()), (confd, 0));
    let done = push(&["--once", "--adopt"]).await;
    assert_eq!(done.code, Some(0), "{}", done.output);
    assert!(
        done.output.contains(&format!(
            "upstream website {{\\n  server {one} max_fails=3;\\n  least_conn;\\n}}"
        )),
        "it says what it replaces: {}",
        done.output
    );
    for output in [&shown.output, &done.output] {
        assert!(output.contains("directives=least_conn"), "{output}");
        assert!(output.contains("parameters=max_fails"), "{output}");
    }
    let taking = done.output.matches("taking it over").count();
    assert_eq!(taking, 1, "{}", done.output);
    assert_eq!(who(&nginx, "/").await.as_deref(), Ok("two"));
    assert_eq!(who(&nginx, "/shop").await.as_deref(), Ok("one"));
    let again = push(&["--once"]).await;
    assert_eq!(
        again.code,
        Some(0),
        "it is sidekick's own now: {}",
        again.output
    );
}

/// A configuration for this nginx, with more keys for its `[[nginx]]`.
pub(crate) fn push_toml(nginx: &FileNginx, more: &str) -> String {
    let file = nginx.folder().join("push.toml");
    let text = format!(
        r#"
            resync = "1s"
            [[nginx]]
            name = "file"
            file = "{file}"
            check = "{check}"
            reload = "{reload}"
            pid = "{pid}"
            min_reload_interval = "50ms"
            {more}
            [[upstream]]
            name = "website"
        "#,
        file = nginx.file().display(),
        check = nginx.command("-t"),
        reload = nginx.command("-s reload"),
        pid = nginx.folder().join("nginx.pid").display(),
    );
    fs::write(&file, text).expect("our own folder");
    file.display().to_string()
}

#[tokio::test]
async fn an_nginx_in_another_pid_namespace_is_reloaded_but_counts_as_one_that_may_route() {
    let nginx = FileNginx::new(Layer::Http, &["website"]);
    let mut nginx = nginx.started_by(["unshare", "--pid", "--fork", "--kill-child"]);
    fs::write(nginx.file(), "").unwrap();
    let one = Backend::start("one").await;
    let mut settings = nginx.settings(Layer::Http);
    settings.min_reload_interval = Duration::ZERO;
    let wanted = desired(1, &[&one_address(&one)]);
    settings.proof = Some(format!("127.0.0.1:{}", free_port()).parse().unwrap());
    let proven = settings.clone();
    settings.proof = None;
    // nginx needs the upstream to start.
    fs::write(nginx.file(), "# sidekick: begin website\nupstream website { server 127.0.0.1:1 down; }\n# sidekick: end website\n").unwrap();
    nginx.run().await;
    let master = procfs::children(nginx.process().pid())[0];
    settings.reload = format!("kill -HUP {master}").parse().unwrap();
    let mut upstream = only(settings.clone());
    for _ in 0..3 {
        let error = settle(&mut upstream, &wanted).await.unwrap_err();
        assert!(!error.is_not_routing(), "{error}");
        assert!(error.to_string().contains("set `proof`"), "{error}");
    }
    until(PATIENCE, "the backend to answer", async || {
        who(&nginx, "/").await
    })
    .await;
    assert_eq!(nginx.reloads(), 1);
    let reload = settings.reload;
    let mut upstream = only(sidekick::target::file::Settings { reload, ..proven });
    settle(&mut upstream, &wanted).await.unwrap();
}

#[tokio::test]
async fn an_nginx_that_lost_its_pid_file_goes_on_routing_and_its_error_says_what_to_do() {
    let nginx = FileNginx::start(Layer::Http, &["website"]).await;
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let pid_file = nginx.folder().join("nginx.pid");
    let mut settings = nginx.settings(Layer::Http);
    settings.min_reload_interval = Duration::ZERO;
    let mut upstream = only(settings.clone());
    let first = desired(1, &[&one_address(&one)]);
    settle(&mut upstream, &first).await.unwrap();
    let id = fs::read_to_string(&pid_file).unwrap();
    fs::remove_file(&pid_file).unwrap();
    settle(&mut upstream, &first).await.unwrap();
    let second = desired(2, &[&one_address(&two)]);
    for _ in 0..2 {
        let error = settle(&mut upstream, &second).await.unwrap_err();
        assert!(!error.is_not_routing(), "{error}");
        let (error, id) = (error.to_string(), id.trim());
        assert!(error.contains(&format!("process {id}: write")), "{error}");
        assert_eq!(who(&nginx, "/").await.as_deref(), Ok("one"));
    }
    fs::write(&pid_file, &id).unwrap();
    settle(&mut upstream, &second).await.unwrap();
    assert_eq!(who(&nginx, "/").await.as_deref(), Ok("two"));

    // A reload that needs no pid file is one that works.
    settings.reload = format!("kill -HUP {}", id.trim()).parse().unwrap();
    let mut upstream = only(settings);
    settle(&mut upstream, &second).await.unwrap();
    fs::remove_file(&pid_file).unwrap();
    let third = desired(3, &[&one_address(&one)]);
    settle(&mut upstream, &third).await.unwrap();
    assert_eq!(who(&nginx, "/").await.as_deref(), Ok("one"));
}

#[tokio::test]
async fn workers_that_go_on_without_their_master_are_an_nginx_that_routes() {
    let nginx = FileNginx::start(Layer::Http, &["website"]).await;
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let mut settings = nginx.settings(Layer::Http);
    settings.min_reload_interval = Duration::ZERO;
    let mut upstream = only(settings);
    settle(&mut upstream, &desired(1, &[&one_address(&one)]))
        .await
        .unwrap();
    let workers = procfs::children(nginx.process().pid());
    send(nginx.process().pid(), Signal::KILL).unwrap();
    until(PATIENCE, "the master to be gone", async || {
        procfs::children(nginx.process().pid()).is_empty()
    })
    .await;
    let second = desired(2, &[&one_address(&two)]);
    for _ in 0..2 {
        let error = settle(&mut upstream, &second).await.unwrap_err();
        assert!(!error.is_not_routing(), "{error}");
        let error = error.to_string();
        assert!(error.contains("kill -QUIT"), "{error}");
        assert_eq!(who(&nginx, "/").await.as_deref(), Ok("one"));
    }
    for worker in workers {
        send(worker, Signal::KILL).unwrap();
    }
    until(PATIENCE, "no nginx to run", async || {
        let ended = settle(&mut upstream, &second).await;
        ended.is_err_and(|error| error.is_not_routing())
    })
    .await;
}

#[tokio::test]
async fn whoever_leaves_waits_for_an_nginx_that_lost_its_pid_file() {
    let (etcd, nginx) = tokio::join!(Etcd::start(), FileNginx::start(Layer::Http, &["website"]));
    let (leaving, staying) = tokio::join!(Backend::start("a"), Backend::start("b"));
    let config = push_toml(&nginx, "");
    let pusher = Command::new("push").etcd(&etcd);
    let pusher = pusher.args(["--config", &config, "--id", "edge"]).start();
    let announcers = [&leaving, &staying].map(|backend| {
        let command = announce(&etcd.endpoint(), backend);
        let command = command.args(["--ready", "routed", "--drain-timeout", "3s"]);
        command.start()
    });
    let [mut announcer, other] = announcers;
    announcer.ready().await;
    other.ready().await;
    fs::remove_file(nginx.folder().join("nginx.pid")).unwrap();
    let ended = announcer.leave().await;
    let said = "is not drained after 3 s: not yet applied by edge";
    assert!(ended.output.contains(said), "{}", ended.output);
    pusher.process().line("does not name the nginx that").await;
    let gone = ["website/a", "--for", "gone", "--timeout", "1s"];
    let ended = Command::new("wait").etcd(&etcd).args(gone).run().await;
    assert_eq!(ended.code, Some(1), "{}", ended.output);
}
