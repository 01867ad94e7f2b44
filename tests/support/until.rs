//! Waiting for a condition instead of sleeping.

use std::fmt::Debug;
use std::panic::Location;
use std::time::Duration;

use tokio::time::Instant;

/// Between the first looks at a condition.
const PAUSE: Duration = Duration::from_millis(5);

/// Between later ones: many tests that look all the time would keep each other from what they wait for.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// What a condition may give back: how it ends the wait, or what it saw instead.
pub(crate) trait Outcome {
    /// What the wait gives back.
    type Value;

    /// `Err` says what was seen, for the message at the end of a wait in vain.
    fn into_outcome(self) -> Result<Self::Value, String>;
}

impl Outcome for bool {
    type Value = ();

    fn into_outcome(self) -> Result<(), String> {
        self.then_some(()).ok_or_else(|| "no".to_owned())
    }
}

impl<T> Outcome for Option<T> {
    type Value = T;

    fn into_outcome(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing".to_owned())
    }
}

impl<T, E: Debug> Outcome for Result<T, E> {
    type Value = T;

    fn into_outcome(self) -> Result<T, String> {
        self.map_err(|seen| format!("{seen:?}"))
    }
}

/// Looks again and again until `condition` is met, and gives back what it found.
///
/// # Panics
/// After `limit`, at the caller's line, with what was seen last.
#[track_caller]
pub(crate) fn until<C, O>(
    limit: Duration,
    what: impl Into<String>,
    mut condition: C,
) -> impl Future<Output = O::Value>
where
    C: AsyncFnMut() -> O,
    O: Outcome,
{
    let (caller, what) = (Location::caller(), what.into());
    async move {
        let deadline = Instant::now() + limit;
        let mut seen = "nothing: the first look did not come to an end".to_owned();
        let mut pause = PAUSE;
        loop {
            match tokio::time::timeout_at(deadline, condition()).await {
                Ok(outcome) => match outcome.into_outcome() {
                    Ok(value) => return value,
                    Err(instead) => seen = instead,
                },
                Err(_) => {
                    panic!("{caller}: waited {limit:?} in vain for {what}; seen last: {seen}")
                }
            }
            assert!(
                Instant::now() < deadline,
                "{caller}: waited {limit:?} in vain for {what}; seen last: {seen}"
            );
            // This is the one place that waits for conditions.
            tokio::time::sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 5 / 4);
        }
    }
}
