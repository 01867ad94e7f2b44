use super::*;

#[test]
fn leases_made_by_hand_are_told_from_those_of_etcd() {
    for id in [BY_HAND, BY_HAND | 0xff_ffff_ffff, BY_HAND | 7] {
        assert!(is_by_hand(id) && id > 0, "{id:x}");
    }
    for id in [0, 7, 0x694d_9f00_1234_5678, i64::MAX, i64::MIN] {
        assert!(!is_by_hand(id), "{id:x}");
    }
}
