use super::*;

#[test]
fn a_service_is_called_as_its_upstream_where_nothing_else_is_said() {
    let route: Route = "website".parse().unwrap();
    assert_eq!(
        (route.upstream.as_str(), route.service.as_str()),
        ("website", "website")
    );
    let route: Route = "front=website".parse().unwrap();
    assert_eq!(
        (route.upstream.as_str(), route.service.as_str()),
        ("front", "website")
    );
    for text in ["", "=", "a=", "=a", "a b", "a=b=c", "a/b", "a=b/c"] {
        assert!(text.parse::<Route>().is_err(), "{text}");
    }
}
