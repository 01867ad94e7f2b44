//! Times that the program names hold, and what it says of etcd is so: whatever etcd refuses, grants or keeps silent about.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{
    Backend, Command, Etcd, Link, PASSWORD, Proxy, Sidekick, announce, folder, key,
};

/// What a busy machine takes to start a program and to end it.
const SLACK: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_command_gives_up_on_a_silent_etcd_within_the_time_that_it_names() {
    let etcd = Etcd::start().await;
    let (one, two, three) = (
        Proxy::to(etcd.address()).await,
        Proxy::to(etcd.address()).await,
        Proxy::to(etcd.address()).await,
    );
    for proxy in [&one, &two, &three] {
        proxy.set(Link::Silent);
    }
    let single = one.endpoint();
    let several = [one.endpoint(), two.endpoint(), three.endpoint()].join(",");
    let user = ["--user", "root:x"];
    for (endpoints, user, limit) in [
        (&single, &[][..], 2),
        (&single, &[][..], 5),
        (&several, &[][..], 4),
        (&single, &user[..], 2),
        (&several, &user[..], 2),
    ] {
        let limit_text = format!("{limit}s");
        for command in [&["list"][..], &["register", "web/a", "10.0.0.5:80"][..]] {
            let asked = Instant::now();
            let list = Command::new(command[0]).args(&command[1..]);
            let list = list.endpoints(endpoints).args(user);
            let ended = list.args(["--command-timeout", &limit_text]).run().await;
            let took = asked.elapsed();
            assert_eq!(ended.code, Some(69), "{}", ended.output);
            let said = format!("no answer within {limit} s");
            assert!(ended.output.contains(&said), "{}", ended.output);
            let bound = Duration::from_secs(limit) + SLACK;
            assert!(took < bound, "{limit_text}: {took:?}: {}", ended.output);
        }
    }
}

#[tokio::test]
async fn a_member_that_is_silent_costs_a_command_its_share_of_the_time_and_no_answer() {
    let etcd = Etcd::start().await;
    let proxy = Proxy::to(etcd.address()).await;
    proxy.set(Link::Silent);
    let endpoints = [proxy.endpoint(), etcd.endpoint()].join(",");
    // The first member is chosen by chance: one of these begins with the silent one, most likely.
    for _ in 0..6 {
        let list = Command::new("list").endpoints(&endpoints);
        let ended = list.args(["--command-timeout", "2s"]).run().await;
        assert_eq!(ended.code, Some(0), "{}", ended.output);
    }
}

/// Asks it to leave, and sees that it does so at once.
async fn leaves_at_once(announcer: &mut Sidekick) -> String {
    let asked = Instant::now();
    let left = announcer.leave().await;
    let took = asked.elapsed();
    assert_eq!(left.code, Some(0), "{}", left.output);
    assert!(
        took < Duration::from_secs(2) + SLACK,
        "{took:?}: {}",
        left.output
    );
    let says = |line: &&str| line.contains("stopped; ") || line.contains("etcd has not confirmed");
    let last = left.output.lines().rev().find(says);
    last.expect("it says how it left").to_owned()
}

#[tokio::test]
async fn who_was_refused_by_etcd_leaves_at_once_and_says_that_nothing_was_announced_and_why() {
    let mut etcd = Etcd::start().await;
    etcd.require_users().await;
    let key = "/services/website/b1";
    let read = "read /services/website/b1";
    etcd.add_user_with("reader", &[read]).await;
    let folder = folder();
    let file = folder.path().join("password");
    std::fs::write(&file, PASSWORD).expect("our own folder");
    let file = file.display().to_string();
    let wrong = folder.path().join("wrong");
    std::fs::write(&wrong, "no such password").expect("our own folder");
    let wrong = wrong.display().to_string();
    let backend = Backend::start("b1").await;
    for (who, why) in [
        (&[][..], "user name is empty"),
        (
            &["--user", "reader", "--password-file", &file][..],
            "user reader lacks the right to write /services/website/b1",
        ),
        (
            &["--user", "nobody", "--password-file", &file][..],
            "authentication failed",
        ),
        (
            &["--user", "reader", "--password-file", &wrong][..],
            "authentication failed",
        ),
    ] {
        let announcer = announce(&etcd.endpoint(), &backend).args(who);
        let mut announcer = announcer.start();
        announcer.process().line(why).await;
        let last = leaves_at_once(&mut announcer).await;
        assert!(
            last.contains("website/b1 was not announced") && last.contains(why),
            "{who:?}: {last}"
        );
        assert_eq!(etcd.get(key).await, None);
    }
}

#[tokio::test]
async fn who_leaves_before_anything_was_announced_does_not_say_that_a_record_is_gone() {
    let etcd = Etcd::start().await;
    let link = Proxy::to(etcd.address()).await;
    // On a busy machine it may be announced before it is asked to leave.
    for number in 0..10 {
        let backend = Backend::start(&format!("b{number}")).await;
        link.set(Link::Slow(Duration::from_millis(100)));
        let mut announcer = announce(&link.endpoint(), &backend).start();
        announcer.process().line("passes its probes").await;
        let left = announcer.leave().await;
        assert_eq!(left.code, Some(0), "{}", left.output);
        if etcd.history(&key(&backend)).await.is_empty() {
            let says = format!("website/b{number} was not announced");
            assert!(left.output.contains(&says), "{}", left.output);
            assert!(!left.output.contains("withdrawn"), "{}", left.output);
            return;
        }
    }
    panic!("it was announced each time");
}

#[tokio::test]
async fn who_may_not_delete_its_record_any_more_leaves_at_once_and_says_how_long_it_stays() {
    let mut etcd = Etcd::start().await;
    etcd.require_users().await;
    let right = "readwrite /services/website/b1";
    etcd.add_user_with("web", &[right, "--prefix=true read /sidekick/"])
        .await;
    let backend = Backend::start("b1").await;
    let login = format!("web:{PASSWORD}");
    let announcer = announce(&etcd.endpoint(), &backend).args(["--user", &login]);
    let mut announcer = announcer.args(["--drain-timeout", "0s"]).start();
    announcer.ready().await;
    etcd.revoke_right("web", "/services/website/b1").await;
    let last = leaves_at_once(&mut announcer).await;
    let says = [
        "etcd has not confirmed that website/b1 is gone",
        "lacks the right",
        "within 1 min",
    ];
    for part in says {
        assert!(last.contains(part), "{part}: {last}");
    }
}

#[tokio::test]
async fn a_lease_that_etcd_grants_for_longer_than_was_asked_is_told_so() {
    let etcd = Etcd::start_with_slow_elections().await;
    let backend = Backend::start("b1").await;
    let announcer = announce(&etcd.endpoint(), &backend).args(["--ttl", "3s"]);
    let mut announcer = announcer.start();
    announcer.ready().await;
    let instead = "etcd grants a lease of 9 s in place of 3 s";
    let told = announcer.process().line(instead).await;
    assert!(
        told.contains("/services/website/b1 outlives a killed process"),
        "{told}"
    );
    announcer.leave().await;
    let lines = announcer.process().lines();
    let times = lines.iter().filter(|line| line.contains(instead)).count();
    assert_eq!(times, 1, "{lines:?}");

    let register = Command::new("register").etcd(&etcd);
    let register = register.args(["website/b2", "10.0.0.5:80", "--ttl", "3s"]);
    let ended = register.run().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!(ended.output.contains(instead), "{}", ended.output);
}
