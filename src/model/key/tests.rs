use proptest::prelude::*;

use super::*;

#[test]
fn keys_lie_where_the_contract_says() {
    let id: InstanceId = "website/nginx1".parse().unwrap();
    let (records, own) = (Prefix::default(), MetaPrefix::default());
    assert_eq!(records.key(&id), "/services/website/nginx1");
    assert_eq!(records.service_range(None), "/services/");
    assert_eq!(
        records.service_range(Some(&id.service)),
        "/services/website/"
    );
    let pusher = "edge-1".parse().unwrap();
    assert_eq!(own.pusher_key(&pusher), "/sidekick/pushers/edge-1");
    assert_eq!(own.pusher(b"/sidekick/pushers/edge-1"), Some(pusher));
    assert_eq!(own.pusher(b"/sidekick/pushers/edge-1/x"), None);
    assert_eq!(own.split_key(&id.service), "/sidekick/splits/website");
    let held = HoldScope::Instance(id.clone());
    assert_eq!(own.hold_key(&held), "/sidekick/holds/website/nginx1");
    assert_eq!(
        own.split(b"/sidekick/splits/website"),
        Some(id.service.clone())
    );
    assert_eq!(own.split(b"/sidekick/splits/website/x"), None);
    assert_eq!(own.hold(b"/sidekick/holds/website/nginx1"), Some(held));
    for (key, held) in [
        ("service-holds/website", HoldScope::Service(id.service)),
        (
            "host-holds/10.0.0.5",
            HoldScope::host(&"10.0.0.5".parse().unwrap()),
        ),
        (
            "host-holds/2001:db8::5",
            HoldScope::host(&"2001:db8::5".parse().unwrap()),
        ),
        (
            "host-holds/web-1",
            HoldScope::host(&"Web-1".parse().unwrap()),
        ),
    ] {
        let key = format!("/sidekick/{key}");
        assert_eq!(own.hold_key(&held), key);
        assert_eq!(own.hold(key.as_bytes()), Some(held));
    }
    assert_eq!(own.hold(b"/sidekick/service-holds/website/nginx1"), None);
    assert_eq!(own.hold(b"/sidekick/host-holds/10.0.0.5:80"), None);
    assert_eq!(own.hold(b"/sidekick/holds/website"), None);
    assert_eq!(own.hold(b"/sidekick/splits/website/nginx1"), None);
    assert_eq!(own.release_key("website"), "/sidekick/releases/website");
    assert_eq!(own.released(b"/sidekick/releases/website"), Some("website"));
    assert_eq!(own.released(b"/sidekick/holds/website"), None);
}

#[test]
fn prefixes_are_absolute_and_lose_a_final_slash() {
    assert_eq!("/a/b/".parse::<Prefix>().unwrap().as_str(), "/a/b");
    for text in [
        "",
        "/",
        "//",
        "a",
        "/a//b",
        "/a/../b",
        "/a b",
        "/\n",
        &format!("/{}", "a/".repeat(400)),
    ] {
        assert!(text.parse::<Prefix>().is_err(), "{text:?}");
    }
}

#[test]
fn own_keys_must_lie_apart_from_the_records() {
    let apart = |own: &str, records: &str| {
        let own: MetaPrefix = own.parse().unwrap();
        own.is_apart_from(&records.parse().unwrap())
    };
    assert!(apart("/sidekick", "/services"));
    assert!(apart("/services-meta", "/services"));
    assert!(!apart("/services/meta", "/services"));
    assert!(!apart("/a", "/a"));
    assert!(!apart("/a", "/a/b"));
}

#[test]
fn a_key_is_taken_apart_as_far_as_it_goes() {
    let parse = |key: &[u8]| Prefix::default().parse_key(key);
    let (service, id) = parse(b"/services/website/nginx1");
    assert_eq!(service.unwrap().as_str(), "website");
    assert_eq!(id.unwrap().to_string(), "website/nginx1");
    for key in [
        &b"/services/website"[..],
        b"/servicesx/website/a",
        b"/services//a",
        b"/services/\xff/a",
        b"",
    ] {
        let (service, id) = parse(key);
        assert!(service.is_none() && id.is_err(), "{key:?}");
    }
    for key in [
        &b"/services/website/"[..],
        b"/services/website/a/b",
        b"/services/website/..",
        b"/services/website/a\xff",
    ] {
        let (service, id) = parse(key);
        assert_eq!(service.unwrap().as_str(), "website");
        assert!(id.is_err(), "{key:?}");
    }
}

proptest! {
    #[test]
    fn every_key_is_taken_apart_as_it_was_put_together(service in "[a-z0-9._:-]{1,20}", instance in "[a-z0-9._:@-]{1,20}") {
        let id: Result<InstanceId, _> = format!("{service}/{instance}").parse();
        prop_assume!(id.is_ok());
        let (prefix, meta) = (Prefix::default(), MetaPrefix::default());
        let id = id.unwrap();
        let (found, read) = prefix.parse_key(prefix.key(&id).as_bytes());
        prop_assert_eq!(found, Some(id.service.clone()));
        prop_assert_eq!(read.unwrap(), id);
        let pusher: PusherId = instance.parse().unwrap();
        prop_assert_eq!(meta.pusher(meta.pusher_key(&pusher).as_bytes()), Some(pusher));
    }

    #[test]
    fn arbitrary_keys_and_prefixes_never_panic(key: Vec<u8>, text in any::<String>(), near in "/?[a-z./]{0,30}") {
        let prefix = Prefix::default();
        for key in [key.clone(), [b"/services/", &key[..]].concat(), [b"/sidekick/pushers/", &key[..]].concat()] {
            let _ = (prefix.parse_key(&key), MetaPrefix::default().pusher(&key));
        }
        for text in [text, near] {
            match text.parse::<Prefix>() {
                Ok(prefix) => prop_assert!(prefix.as_str().starts_with('/') && !prefix.as_str().ends_with('/')),
                Err(error) => prop_assert!(error.to_string().len() < 400),
            }
        }
    }
}
