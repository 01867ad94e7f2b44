//! Whose key it is, and what may be done to it: pure.
//!
//! The newest claimant wins. No clock decides who is newer: whoever finds another claimant on its
//! very first attempt is the newer one, and whoever finds another one later was there first.

use super::watch::Entry;
use crate::model::{Nonce, author_in_words, claimant};
use crate::util::sanitize::short;

/// Who wrote a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Claimant {
    /// A process that names itself in the value.
    Named(Nonce),
    /// A process known only by its lease, as a plain value has no room for a name.
    Leased(i64),
    /// Nobody who would keep it: written by hand and without a lease.
    Stranger,
}

impl Claimant {
    pub(crate) fn of(entry: &Entry) -> Self {
        match (claimant(&entry.value), entry.lease) {
            (Some(nonce), _) => Self::Named(nonce),
            (None, 0) => Self::Stranger,
            (None, lease) => Self::Leased(lease),
        }
    }
}

/// Who wrote an entry, in words.
fn in_words(entry: &Entry) -> String {
    match Claimant::of(entry) {
        Claimant::Named(nonce) => {
            let author = author_in_words(&entry.value);
            format!("{author} (nonce {nonce})")
        }
        Claimant::Leased(lease) => format!(
            "a process that keeps {} there under the lease {lease:x} and names itself not: an announcer with --format plain, or \
            an old-style loop with etcdctl put --lease; stop that one, or give this instance another name",
            short(&entry.value)
        ),
        Claimant::Stranger => "somebody without a lease".to_owned(),
    }
}

/// What is to be done to the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Move {
    /// It is as wanted since this revision.
    Done {
        /// The revision of the last write.
        revision: i64,
    },
    /// Write it, if it was last changed at this revision (0: if it does not exist).
    Write {
        /// The revision that must still hold.
        unless_changed_since: i64,
    },
    /// Leave it alone for good: a newer claimant has it.
    Yield {
        /// Who, in words.
        to: String,
    },
}

/// What this process has done about a key so far.
#[derive(Debug)]
pub(super) struct Claim {
    nonce: Nonce,
    /// Every lease that may still be on our own key, newest last.
    leases: Vec<i64>,
    /// Whether a write was ever tried: from then on a new name on the key is a successor's.
    attempted: bool,
    /// Whose key the first write was to take over, until it is known to have worked.
    superseding: Option<Claimant>,
}

/// Old leases are remembered only while they may still be on the key: a few outages at most.
const MAX_LEASES: usize = 8;

impl Claim {
    /// Of a process that has written the key under these leases so far, newest last.
    pub(super) fn new(nonce: Nonce, leases: Vec<i64>, attempted: bool) -> Self {
        Self {
            nonce,
            leases,
            attempted,
            superseding: None,
        }
    }

    /// Every lease that may still be on our own key, newest last.
    pub(super) fn leases(&self) -> &[i64] {
        &self.leases
    }

    /// Whether the key was ours for sure: from then on a new name on it is a successor's.
    pub(super) fn is_settled(&self) -> bool {
        self.attempted && self.superseding.is_none()
    }

    /// Takes note of a lease that our writes hang on.
    pub(super) fn leased(&mut self, lease: i64) {
        if self.leases.len() == MAX_LEASES {
            self.leases.remove(0);
        }
        self.leases.push(lease);
    }

    /// Takes note that a write is about to be sent over `seen`. Its outcome may stay unknown.
    pub(super) fn attempting(&mut self, seen: Option<&Entry>) {
        if !self.attempted {
            self.attempted = true;
            self.superseding = seen.map(Claimant::of);
        }
    }

    /// Whether the key as `seen` is this process's own.
    pub(super) fn is_ours(&self, seen: &Entry) -> bool {
        match Claimant::of(seen) {
            Claimant::Named(nonce) => nonce == self.nonce,
            Claimant::Leased(lease) => self.leases.contains(&lease),
            Claimant::Stranger => false,
        }
    }

    /// What to do so that the key holds `value` under `lease`.
    pub(super) fn decide(&mut self, seen: Option<&Entry>, value: &[u8], lease: i64) -> Move {
        let Some(entry) = seen else {
            return Move::Write {
                unless_changed_since: 0,
            };
        };
        if self.is_ours(entry) {
            self.superseding = None;
            if entry.value == value && entry.lease == lease {
                return Move::Done {
                    revision: entry.mod_revision,
                };
            }
        } else if let Some(to) = self.successor(entry) {
            return Move::Yield { to };
        }
        Move::Write {
            unless_changed_since: entry.mod_revision,
        }
    }

    /// Who has taken the key over from this process, if anybody has.
    pub(super) fn successor(&self, seen: &Entry) -> Option<String> {
        let holder = Claimant::of(seen);
        let takeable = !self.attempted
            || holder == Claimant::Stranger
            || self.is_ours(seen)
            || self.superseding.as_ref() == Some(&holder);
        (!takeable).then(|| in_words(seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(nonce: &str, mod_revision: i64, lease: i64) -> Entry {
        Entry {
            key: b"/services/a/b".to_vec(),
            value: format!(r#"{{"host":"10.0.0.1","port":1,"nonce":"{nonce}"}}"#).into_bytes(),
            mod_revision,
            lease,
        }
    }

    fn plain(mod_revision: i64, lease: i64) -> Entry {
        Entry {
            value: b"10.0.0.1:1".to_vec(),
            ..named("", mod_revision, lease)
        }
    }

    fn us() -> (Claim, Entry) {
        let mut claim = Claim::new("us".parse().unwrap(), Vec::new(), false);
        claim.leased(7);
        (claim, named("us", 10, 7))
    }

    fn decide(claim: &mut Claim, seen: Option<&Entry>) -> Move {
        let wanted = named("us", 0, 0).value;
        claim.decide(seen, &wanted, 7)
    }

    fn write(unless_changed_since: i64) -> Move {
        Move::Write {
            unless_changed_since,
        }
    }

    #[test]
    fn an_absent_key_is_created_and_our_own_is_left_as_it_is() {
        let (mut claim, ours) = us();
        assert_eq!(decide(&mut claim, None), write(0));
        claim.attempting(None);
        assert_eq!(decide(&mut claim, Some(&ours)), Move::Done { revision: 10 });
    }

    #[test]
    fn a_key_of_ours_with_another_value_or_lease_is_rewritten() {
        let (mut claim, ours) = us();
        claim.attempting(None);
        let stale_lease = Entry { lease: 3, ..ours };
        assert_eq!(decide(&mut claim, Some(&stale_lease)), write(10));
        let draining = named("us", 11, 7);
        assert_eq!(claim.decide(Some(&draining), b"other", 7), write(11));
    }

    #[test]
    fn the_first_claim_takes_over_from_a_predecessor_also_when_its_outcome_is_unknown() {
        let (mut claim, _) = us();
        let ghost = named("ghost", 5, 1);
        assert_eq!(decide(&mut claim, Some(&ghost)), write(5));
        claim.attempting(Some(&ghost));
        assert_eq!(decide(&mut claim, Some(&ghost)), write(5));
        let ghost_again = named("ghost", 6, 1);
        assert_eq!(decide(&mut claim, Some(&ghost_again)), write(6));
    }

    #[test]
    fn who_has_taken_over_is_named_with_its_address_and_time() {
        let (mut claim, _) = us();
        claim.attempting(None);
        let named = Entry {
            value: br#"{"host":"10.0.0.9","port":80,"nonce":"n2","since":"2026-01-02T03:04:05Z"}"#
                .to_vec(),
            ..named("", 5, 9)
        };
        assert_eq!(
            claim.successor(&named).unwrap(),
            "another announcer at 10.0.0.9:80 since 2026-01-02T03:04:05Z (nonce n2)"
        );
        let status = r#"{"services":{},"targets":{"edge":{"ok":true}},"nonce":"n2","since":"2026-01-02T03:04:05Z"}"#;
        let balancer =
            r#"{"services":[],"targets":["edge"],"nonce":"n2","since":"2026-01-02T03:04:05Z"}"#;
        for value in [status, balancer] {
            let pusher = Entry {
                value: value.as_bytes().to_vec(),
                ..named.clone()
            };
            assert_eq!(
                claim.successor(&pusher).unwrap(),
                "another pusher of edge since 2026-01-02T03:04:05Z (nonce n2)"
            );
        }
        let looping = claim.successor(&plain(5, 0xabc)).unwrap();
        assert!(
            looping.contains("lease abc") && looping.contains("etcdctl put --lease"),
            "{looping}"
        );
    }

    #[test]
    fn a_new_name_after_our_claim_is_a_successor() {
        for predecessor in [None, Some(named("ghost", 5, 1))] {
            let (mut claim, _) = us();
            claim.attempting(predecessor.as_ref());
            let successor = named("next", 20, 9);
            assert!(matches!(
                decide(&mut claim, Some(&successor)),
                Move::Yield { .. }
            ));
        }
    }

    #[test]
    fn a_predecessor_that_writes_after_our_confirmed_claim_counts_as_newer() {
        let (mut claim, ours) = us();
        let ghost = named("ghost", 5, 1);
        claim.attempting(Some(&ghost));
        decide(&mut claim, Some(&ours));
        let again = named("ghost", 30, 1);
        assert!(matches!(
            decide(&mut claim, Some(&again)),
            Move::Yield { .. }
        ));
    }

    #[test]
    fn plain_values_are_told_apart_by_their_lease() {
        let (mut claim, _) = us();
        claim.attempting(None);
        assert_eq!(
            claim.decide(Some(&plain(4, 7)), b"10.0.0.1:1", 7),
            Move::Done { revision: 4 }
        );
        assert!(matches!(
            claim.decide(Some(&plain(5, 8)), b"10.0.0.1:1", 7),
            Move::Yield { .. }
        ));
    }

    #[test]
    fn the_next_image_of_a_process_goes_on_and_knows_its_successors() {
        let ours = named("us", 10, 7);
        let mut claim = Claim::new("us".parse().unwrap(), vec![7], true);
        assert_eq!(decide(&mut claim, Some(&ours)), Move::Done { revision: 10 });
        let successor = named("next", 20, 9);
        let yields = matches!(decide(&mut claim, Some(&successor)), Move::Yield { .. });
        assert!(yields);
    }

    #[test]
    fn a_value_written_by_hand_without_a_lease_is_healed() {
        let (mut claim, _) = us();
        claim.attempting(None);
        let scribble = Entry {
            value: b"oops".to_vec(),
            ..plain(9, 0)
        };
        assert_eq!(decide(&mut claim, Some(&scribble)), write(9));
    }
}
