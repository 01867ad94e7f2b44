use std::collections::VecDeque;

use super::*;

/// What the scripted etcd answers, in order; the end of the script is silence.
enum Answer {
    List(i64, Vec<Entry>),
    ListFails,
    /// The revision from which the watch must be asked for.
    Watch(i64),
    Changes(Vec<Change>),
    WatchEnds,
}

#[derive(Default, Clone)]
struct Script(std::sync::Arc<std::sync::Mutex<VecDeque<Answer>>>);

impl Script {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self(std::sync::Arc::new(std::sync::Mutex::new(
            answers.into_iter().collect(),
        )))
    }

    async fn take(&self) -> Answer {
        let answer = self.0.lock().unwrap().pop_front();
        match answer {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    fn is_used_up(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }
}

fn failure() -> Error {
    Error::WatchEnded {
        endpoint: "script".into(),
        reason: "so it is written".into(),
    }
}

impl Source for Script {
    type Stream = Script;

    async fn list(&mut self) -> Result<(i64, Vec<Entry>), Error> {
        match self.take().await {
            Answer::List(revision, entries) => Ok((revision, entries)),
            Answer::ListFails => Err(failure()),
            _ => panic!("listed out of turn"),
        }
    }

    async fn watch(&mut self, revision: i64) -> Result<Script, Error> {
        match self.take().await {
            Answer::Watch(expected) => {
                assert_eq!(revision, expected, "watched from a wrong revision");
                Ok(self.clone())
            }
            _ => panic!("watched out of turn"),
        }
    }

    fn pause(&mut self) -> Duration {
        Duration::from_secs(1)
    }

    fn succeeded(&mut self) {}

    fn lost(&self) -> bool {
        true
    }

    fn regained(&self) -> bool {
        true
    }
}

impl Events for Script {
    async fn next(&mut self) -> Result<(i64, Vec<Change>), Error> {
        match self.take().await {
            Answer::Changes(changes) => Ok((changes.last().unwrap().revision(), changes)),
            Answer::WatchEnds => Err(failure()),
            _ => panic!("read a watch out of turn"),
        }
    }
}

fn put(mod_revision: i64) -> Change {
    Change::Put(Entry {
        key: b"k".to_vec(),
        value: b"v".to_vec(),
        mod_revision,
        lease: 0,
    })
}

fn listed(revision: i64) -> Update {
    Update::Listed {
        revision,
        entries: vec![],
    }
}

#[tokio::test(start_paused = true)]
async fn the_watch_starts_right_behind_the_listing() {
    let script = Script::new([
        Answer::List(7, vec![]),
        Answer::Watch(8),
        Answer::Changes(vec![put(9)]),
    ]);
    let mut following = Following::new(script.clone());
    assert_eq!(following.next().await, listed(7));
    let changes = vec![put(9)];
    assert_eq!(
        following.next().await,
        Update::Changed {
            revision: 9,
            changes
        }
    );
    assert!(script.is_used_up());
}

#[tokio::test(start_paused = true)]
async fn whatever_ends_a_watch_leads_back_to_a_listing_even_a_lower_one() {
    let script = Script::new([
        Answer::List(700, vec![]),
        Answer::Watch(701),
        Answer::WatchEnds,
        Answer::ListFails,
        Answer::ListFails,
        Answer::List(5, vec![]),
        Answer::Watch(6),
    ]);
    let mut following = Following::new(script.clone());
    assert_eq!(following.next().await, listed(700));
    assert_eq!(following.next().await, listed(5));
    let silence = tokio::time::timeout(Duration::from_millis(1), following.next()).await;
    assert!(
        silence.is_err(),
        "a listing without changes was followed by {silence:?}"
    );
    assert!(script.is_used_up());
}

#[tokio::test(start_paused = true)]
async fn readers_that_drop_the_wait_do_not_shorten_or_restart_the_pause() {
    let script = Script::new([Answer::ListFails, Answer::List(3, vec![])]);
    let mut following = Following::new(script);
    let started = Instant::now();
    let update = loop {
        tokio::select! {
            update = following.next() => break update,
            () = tokio::time::sleep(Duration::from_millis(300)) => {}
        }
    };
    assert_eq!(update, listed(3));
    assert_eq!(started.elapsed(), Duration::from_secs(1));
}

#[test]
fn the_end_of_a_prefix_is_the_first_key_behind_it() {
    let end = |prefix: &[u8]| Range::Prefix(prefix.to_vec()).end();
    assert_eq!(end(b"/services/"), Some(b"/services0".to_vec()));
    assert_eq!(end(b"a\xff\xff"), Some(b"b".to_vec()));
    assert_eq!(end(b"\xff"), Some(vec![0]));
    assert_eq!(Range::Key(b"a".to_vec()).end(), None);
}
