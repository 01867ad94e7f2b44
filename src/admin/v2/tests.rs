use super::*;

#[test]
fn only_a_store_that_has_the_key_counts() {
    let found =
        "HTTP/1.0 200 OK\r\n\r\n{\"action\":\"get\",\"node\":{\"key\":\"/services\",\"dir\":true}}";
    assert!(has_keys(found));
    let missing = "HTTP/1.0 404 Not Found\r\n\r\n{\"errorCode\":100,\"message\":\"Key not found\"}";
    let without = "HTTP/1.0 404 Not Found\r\n\r\n404 page not found";
    for answer in [missing, without, "", "HTTP/1.0 200 OK\r\n\r\nhello"] {
        assert!(!has_keys(answer), "{answer}");
    }
}
