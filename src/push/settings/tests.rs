use super::*;
use crate::push::TargetError;
use crate::target::TargetSettings;
use crate::target::api::{ApiSettings, plus};

fn target(routes: &[&str]) -> Result<Target, TargetError> {
    let route = |route: &&str| Arc::new(route.parse().unwrap());
    let url = "http://127.0.0.1:1/api";
    let api = ApiSettings::new(url.parse().unwrap());
    let settings = TargetSettings::Plus(plus::Settings { api });
    Target::new(url, settings, routes.iter().map(route).collect())
}

fn range(routes: &[&str]) -> Range {
    let settings = Settings {
        id: "edge".parse().unwrap(),
        prefix: Prefix::default(),
        meta: MetaPrefix::default(),
        targets: vec![target(routes).unwrap()],
        pacing: Pacing::default(),
        ttl: TTL,
        forget_after: FORGET_AFTER,
    };
    settings.range()
}

#[test]
fn no_more_keys_are_watched_than_needed() {
    let prefix = |text: &str| Range::Prefix(text.into());
    assert_eq!(range(&["front=website"]), prefix("/services/website/"));
    assert_eq!(
        range(&["front=website", "back=website"]),
        prefix("/services/website/")
    );
    assert_eq!(range(&["website", "shop"]), prefix("/services/"));
}
