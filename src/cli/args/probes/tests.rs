use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn arbitrary_probes_never_panic(text in any::<String>(), near in "((https?|tcp|grpc|exec|docker)://?)?[a-z0-9./:]{0,20}") {
        let options = HttpOptions::default();
        let own: Endpoint = "10.0.0.5:80".parse().unwrap();
        for text in [text, near] {
            let _ = header(&text);
            for own in [None, Some(&own)] {
                if let Ok(probe) = probe(&text, own, &options) {
                    prop_assert!(!probe.to_string().is_empty());
                }
            }
        }
    }
}
