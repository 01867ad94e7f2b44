use super::*;

#[test]
fn a_host_is_held_however_its_address_is_spelled() {
    let covers = |held: &str, host: &str| {
        let scope = HoldScope::host(&held.parse().unwrap());
        let (service, instance) = ("web".parse().unwrap(), "a".parse().unwrap());
        scope.covers(&service, &instance, &host.parse().unwrap())
    };
    assert!(covers("10.0.0.5", "10.0.0.5"));
    assert!(covers("::ffff:10.0.0.5", "10.0.0.5"));
    assert!(covers("10.0.0.5", "::ffff:10.0.0.5"));
    assert!(covers("2001:DB8::5", "2001:db8:0:0::5"));
    assert!(covers("Web-1.Example.COM", "web-1.example.com."));
    assert!(!covers("10.0.0.5", "10.0.0.50"));
    assert!(!covers("web-1", "web-1.example.com"));
}

#[test]
fn an_instance_and_a_service_are_held_by_name() {
    let host = "10.0.0.5".parse().unwrap();
    let covers = |scope: HoldScope, id: &str| {
        let id: InstanceId = id.parse().unwrap();
        scope.covers(&id.service, &id.instance, &host)
    };
    let one = || HoldScope::Instance("web/a".parse().unwrap());
    assert!(covers(one(), "web/a"));
    assert!(!covers(one(), "web/b") && !covers(one(), "shop/a"));
    let all = || HoldScope::Service("web".parse().unwrap());
    assert!(covers(all(), "web/a") && covers(all(), "web/b"));
    assert!(!covers(all(), "shop/a"));
}
