//! What must not happen to the file whatever happens to sidekick.

use std::fs;
use std::time::Duration;

use sidekick::target::Driver;
use sidekick::target::Layer;
use sidekick::target::file::FileTarget;
use tokio::time::Instant;

use super::conf_file::{
    LONG, desired, name, nothing_beside, one_address, only, settle, template, who,
};
use super::conf_file_others::push_toml;
use super::config::reload;
use crate::support::{Backend, Command, Etcd, FileNginx, Nginx, PATIENCE, until};

/// A check that says that it has begun, and then takes as long as the test likes.
fn slow_check(nginx: &FileNginx) -> (std::path::PathBuf, String) {
    let begun = nginx.folder().join("begun");
    let check = format!("sh -c 'touch {}; sleep 600'", begun.display());
    (begun, check)
}

#[tokio::test]
async fn a_pusher_that_leaves_in_the_middle_of_a_change_leaves_the_file_as_it_was() {
    let nginx = FileNginx::start(Layer::Http, &["website"]).await;
    let one = Backend::start("one").await;
    let (begun, check) = slow_check(&nginx);
    let before = nginx.text();
    let mut settings = nginx.settings(Layer::Http);
    settings.check = Some(check.parse().unwrap());
    settings.timeout = LONG;
    let site = FileTarget::new(settings, [name("website")]).unwrap();
    let mut upstream = site.upstream(&name("website"), LONG).unwrap();
    let wanted = desired(1, &[&one_address(&one)]);
    let pushing = tokio::spawn(async move { settle(&mut upstream, &wanted).await });
    until(PATIENCE, "the check to begin", async || begun.exists()).await;
    assert!(
        nginx.text().contains(&one_address(&one)),
        "it is being tried"
    );
    pushing.abort();
    site.leave().await;
    assert_eq!(nginx.text(), before);
    nothing_beside(&nginx);
    assert_eq!(nginx.reloads(), 0);
}

#[tokio::test]
async fn sigterm_in_the_middle_of_a_change_leaves_the_file_as_it_was() {
    let nginx = FileNginx::start(Layer::Http, &["website"]).await;
    let etcd = Etcd::start().await;
    etcd.put("/services/website/one", r#"{"host":"127.0.0.1","port":9}"#)
        .await;
    let (begun, check) = slow_check(&nginx);
    let before = nginx.text();
    let config = push_toml(&nginx, "command_timeout = \"10m\"");
    let text = fs::read_to_string(&config).unwrap();
    let line = text
        .lines()
        .find(|line| line.trim_start().starts_with("check = "))
        .unwrap();
    fs::write(&config, text.replace(line, &format!("check = \"{check}\""))).unwrap();
    let push = Command::new("push")
        .etcd(&etcd)
        .args(["--config", &config, "--id", "edge"]);
    let mut push = push.start();
    until(PATIENCE, "the check to begin", async || begun.exists()).await;
    let ended = push.leave().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert_eq!(nginx.text(), before, "{}", ended.output);
}

#[tokio::test]
async fn a_template_with_endless_loops_is_named_and_holds_nothing_up() {
    let nginx = FileNginx::start(Layer::Http, &["website"]).await;
    let one = Backend::start("one").await;
    let mut settings = nginx.settings(Layer::Http);
    settings.min_reload_interval = Duration::ZERO;
    let first = desired(1, &[&one_address(&one)]);
    settle(&mut only(settings.clone()), &first).await.unwrap();
    let before = nginx.text();
    settings.template = template(
        &nginx,
        "{% for a in range(100000) %}{% for b in range(100000) %}{% for c in range(100000) %}\n#\n\
         {% endfor %}{% endfor %}{% endfor %}",
    );
    let started = Instant::now();
    let error = settle(&mut only(settings), &desired(1, &["127.0.0.1:9"]))
        .await
        .unwrap_err()
        .to_string();
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    let file = nginx.folder().join("template");
    assert!(error.contains(&file.display().to_string()), "{error}");
    assert!(error.contains("a loop in it runs too long"), "{error}");
    assert_eq!(nginx.text(), before);
}

/// The check fails, and takes longer than a look of the pusher.
#[tokio::test]
async fn a_check_that_fails_slowly_never_counts_as_success() {
    let nginx = FileNginx::start(Layer::Http, &["website"]).await;
    let one = Backend::start("one").await;
    let mut settings = nginx.settings(Layer::Http);
    settings.min_reload_interval = Duration::ZERO;
    settings.check = Some("sh -c 'sleep 0.4; echo no; exit 1'".parse().unwrap());
    let mut upstream = only(settings.clone());
    for _ in 0..3 {
        let error = settle(&mut upstream, &desired(1, &[&one_address(&one)]))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("no"), "{error}");
    }
    settings.timeout = Duration::from_millis(100);
    let error = settle(&mut only(settings), &desired(1, &[&one_address(&one)])).await;
    let error = error.unwrap_err().to_string();
    let said = "refuses it: it did not finish within 100 ms";
    assert!(error.contains(said), "{error}");
    assert_eq!(nginx.reloads(), 0);
    assert_eq!(who(&nginx, "/").await, Err("status 502".to_owned()));
}

/// SIGTERM while a former target, which SIGHUP has taken away or changed, is still in the middle of a change.
async fn sigterm_after_a_reload(text: impl FnOnce(&str) -> String) {
    let nginx = FileNginx::start(Layer::Http, &["website"]).await;
    let (etcd, other) = tokio::join!(Etcd::start(), Nginx::start());
    etcd.put("/services/website/one", r#"{"host":"127.0.0.1","port":9}"#)
        .await;
    let (begun, check) = slow_check(&nginx);
    let before = nginx.text();
    let config = push_toml(&nginx, "command_timeout = \"10m\"");
    let first = fs::read_to_string(&config).unwrap();
    let line = first
        .lines()
        .find(|line| line.trim_start().starts_with("check = "))
        .unwrap();
    let first = first.replace(line, &format!("check = \"{check}\""));
    let api = format!("[[nginx]]\nname = \"api\"\napi = \"{}\"\n", other.api_url());
    fs::write(&config, first.clone() + &api).unwrap();
    let push = Command::new("push").etcd(&etcd);
    let push = push.args(["--config", &config, "--id", "edge"]).notify();
    let mut push = push.start();
    until(PATIENCE, "the check to begin", async || begun.exists()).await;
    fs::write(&config, text(&first) + &api).unwrap();
    reload(&push).await;
    let ended = push.leave().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert_eq!(nginx.text(), before, "{}", ended.output);
    nothing_beside(&nginx);
}

#[tokio::test]
async fn sigterm_after_a_reload_took_the_target_away_in_the_middle_of_a_change_leaves_the_file_as_it_was()
 {
    let without = |text: &str| {
        let (begin, rest) = text.split_once("[[nginx]]").unwrap();
        let (_, upstream) = rest.split_once("[[upstream]]").unwrap();
        format!("{begin}[[upstream]]{upstream}")
    };
    sigterm_after_a_reload(without).await;
}

#[tokio::test]
async fn sigterm_after_a_reload_changed_the_target_in_the_middle_of_a_change_leaves_the_file_as_it_was()
 {
    let changed = |text: &str| text.replace("\"50ms\"", "\"60ms\"");
    sigterm_after_a_reload(changed).await;
}

#[tokio::test]
async fn sigterm_in_the_middle_of_a_change_of_once_leaves_the_file_as_it_was() {
    let nginx = FileNginx::start(Layer::Http, &["website"]).await;
    let etcd = Etcd::start().await;
    etcd.put("/services/website/one", r#"{"host":"127.0.0.1","port":9}"#)
        .await;
    let (begun, check) = slow_check(&nginx);
    let before = nginx.text();
    let config = push_toml(&nginx, "command_timeout = \"10m\"");
    let text = fs::read_to_string(&config).unwrap();
    let line = text
        .lines()
        .find(|line| line.trim_start().starts_with("check = "))
        .unwrap();
    fs::write(&config, text.replace(line, &format!("check = \"{check}\""))).unwrap();
    let push = Command::new("push").etcd(&etcd);
    let push = push.args(["--config", &config, "--id", "edge", "--once"]);
    let mut push = push.start();
    until(PATIENCE, "the check to begin", async || begun.exists()).await;
    let ended = push.leave().await;
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    assert_eq!(nginx.text(), before, "{}", ended.output);
}
