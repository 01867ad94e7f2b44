use super::*;

/// Made by `openssl ca -selfsign -startdate 20260102030405Z -enddate 20510102030405Z`.
const PEM: &str = "-----BEGIN CERTIFICATE-----
MIHAMHQCAQEwBQYDK2VwMAwxCjAIBgNVBAMMAWEwIBcNMjYwMTAyMDMwNDA1WhgP
MjA1MTAxMDIwMzA0MDVaMAwxCjAIBgNVBAMMAWEwKjAFBgMrZXADIQAbmhY8Oh0+
i+8Rl41CTc6G7iUgosfqI1yiqZih1Wc5ZTAFBgMrZXADQQDN2M6h+pmMggu+1jmQ
NhPq0X7UK7gmn9LEZ9lpbbIq+xZyxk2FEchj2qXg8v+t0jLYc/0S4r8DbD0giSb2
I8sK
-----END CERTIFICATE-----
";

#[test]
fn both_ways_to_write_a_time_are_read() {
    let (from, until) = validity(&first_certificate(PEM).unwrap()).unwrap();
    assert_eq!(from.to_string(), "2026-01-02T03:04:05Z");
    assert_eq!(until.to_string(), "2051-01-02T03:04:05Z");
}

#[test]
fn what_is_no_certificate_tells_nothing() {
    let bytes = first_certificate(PEM).unwrap();
    for end in 0..bytes.len().min(120) {
        assert_eq!(validity(&bytes[..end]), None);
    }
    assert_eq!(validity(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    assert_eq!(first_certificate("-----BEGIN CERTIFICATE-----\n?"), None);
}
