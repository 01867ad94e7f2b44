use super::*;

#[test]
fn a_slip_is_recognised_and_a_stranger_is_not() {
    let known = ["website", "shop", "v0.1.0"];
    assert_eq!(nearest("websit", known), Some("website"));
    assert_eq!(nearest("wesbite", known), Some("website"));
    assert_eq!(nearest("v0.1.1", known), Some("v0.1.0"));
    assert_eq!(nearest("database", known), None);
    assert_eq!(nearest("", known), None);
    assert_eq!(nearest("website", []), None);
    assert_eq!(suggestion("shopp", known), "; did you mean shop?");
}
