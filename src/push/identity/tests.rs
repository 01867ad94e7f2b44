use super::*;
use crate::push::config::read;
use crate::target::api::{ApiSettings, plus};

fn api(url: &str) -> String {
    let api = ApiSettings::new(url.parse().unwrap());
    of(&TargetSettings::Plus(plus::Settings { api }), "m1")
}

#[test]
fn a_target_is_named_by_its_url_without_secrets() {
    assert_eq!(
        api("https://me:secret@nginx.example:8443/api/"),
        "https://nginx.example:8443/api"
    );
    assert_eq!(api("http://10.0.0.1:8080/api"), "http://10.0.0.1:8080/api");
    assert_eq!(
        api("http://[2001:db8::1]:8080/api"),
        "http://[2001:db8::1]:8080/api"
    );
}

#[test]
fn what_only_this_machine_reaches_is_named_with_the_machine() {
    for url in [
        "http://127.0.0.1:8080/api",
        "http://127.9.9.9/api",
        "http://[::1]:8080/api",
        "http://[::ffff:127.0.0.1]/api",
        "http://localhost:8080/api",
        "http://LOCALHOST/api",
        "http://nginx.localhost/api",
        "http://0.0.0.0:8080/api",
    ] {
        assert!(api(url).ends_with(" on m1"), "{url}: {}", api(url));
    }
    let text = "[[nginx]]\nname = \"e\"\nfile = \"/etc/nginx/u.conf\"\n[[vulcand]]\nname = \"v\"\n[[upstream]]\nname = \"x\"\n";
    let (config, mistakes) = read(text, None);
    assert_eq!(mistakes, []);
    let named = config
        .targets
        .iter()
        .map(|target| of(&target.settings, "m1"));
    let named: Vec<_> = named.collect();
    assert_eq!(named, ["/etc/nginx/u.conf on m1", "/vulcand in etcd"]);
}
