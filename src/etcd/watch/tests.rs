use std::collections::VecDeque;

use super::*;
use crate::util::logged::Logged;

/// What the scripted etcd answers, in order; the end of the script is silence.
enum Answer {
    List(i64, Vec<Entry>),
    ListFails,
    /// The revision from which the watch must be asked for.
    Watch(i64),
    Changes(Vec<Change>),
    WatchEnds,
    /// Nobody answers.
    Cut,
    Silence,
    Census(i64, i64),
}

/// With the cluster that it is of, and how often a watch was asked for.
#[derive(Clone)]
struct Script(
    std::sync::Arc<std::sync::Mutex<VecDeque<Answer>>>,
    Cluster,
    u64,
);

impl Script {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers = std::sync::Mutex::new(answers.into_iter().collect());
        let settings = crate::etcd::client::Settings {
            endpoints: vec!["http://127.0.0.1:1".to_owned()],
            user: None,
            tls: None,
        };
        Self(std::sync::Arc::new(answers), Cluster::new(settings), 0)
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

fn cut() -> Error {
    Error::Silent {
        endpoint: "script".into(),
        after: Duration::from_secs(1),
    }
}

impl Source for Script {
    type Stream = Script;

    async fn list(&mut self) -> Result<(i64, Vec<Entry>), Error> {
        match self.take().await {
            Answer::List(revision, entries) => Ok((revision, entries)),
            Answer::ListFails => Err(failure()),
            Answer::Cut => Err(cut()),
            _ => panic!("listed out of turn"),
        }
    }

    async fn census(&self) -> Result<Census, Error> {
        match self.take().await {
            Answer::Census(keys, newest) => Ok(Census { keys, newest }),
            _ => panic!("counted out of turn"),
        }
    }

    async fn watch(&mut self, revision: i64) -> Result<Script, Error> {
        match self.take().await {
            Answer::Watch(expected) => {
                assert_eq!(revision, expected, "watched from a wrong revision");
                self.2 += 1;
                Ok(self.clone())
            }
            _ => panic!("watched out of turn"),
        }
    }

    fn pause(&mut self) -> Duration {
        Duration::from_secs(1)
    }

    fn succeeded(&mut self, was_blind: bool) -> bool {
        self.1.sight().regain(was_blind)
    }

    fn was_seen(&self) -> bool {
        true
    }

    fn lost(&self, first: bool, trouble: &str, line: &'static str) -> Option<More> {
        let generation = self.2;
        self.1.sight().lose(first, generation, trouble, line)
    }

    fn forget(&self) {
        self.1.sight().forget();
    }
}

impl Events for Script {
    async fn next(&mut self) -> Result<Told, Error> {
        // What is counted is answered in between.
        while matches!(self.0.lock().unwrap().front(), Some(Answer::Census(..))) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        match self.take().await {
            Answer::Changes(changes) => Ok(Told {
                revision: changes.last().unwrap().revision(),
                more: changes.iter().map(difference).sum(),
                changes,
            }),
            Answer::Silence => std::future::pending().await,
            Answer::WatchEnds => Err(failure()),
            Answer::Cut => Err(cut()),
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

/// Every put in these tests is of a new key.
fn difference(change: &Change) -> i64 {
    match change {
        Change::Put(_) => 1,
        Change::Deleted { .. } => -1,
    }
}

fn entry(mod_revision: i64) -> Entry {
    match put(mod_revision) {
        Change::Put(entry) => entry,
        Change::Deleted { .. } => unreachable!(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_was_never_told_is_found_by_counting_and_all_is_listed_again() {
    // A deletion: one key fewer. A write: a newer revision.
    for found in [Answer::Census(1, 5), Answer::Census(2, 9)] {
        let again = match &found {
            Answer::Census(keys, newest) => Answer::Census(*keys, *newest),
            _ => unreachable!(),
        };
        let script = Script::new([
            Answer::List(7, vec![entry(4), entry(5)]),
            Answer::Watch(8),
            Answer::Census(2, 5),
            found,
            again,
            Answer::List(9, vec![]),
        ]);
        let mut following = Following::new(script.clone());
        let started = Instant::now();
        following.next().await;
        assert_eq!(following.next().await, listed(9));
        assert!(script.is_used_up());
        assert!(started.elapsed() >= 2 * COUNT_EVERY && started.elapsed() < 5 * COUNT_EVERY);
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_was_on_its_way_is_not_taken_for_missed() {
    let script = Script::new([
        Answer::List(7, vec![entry(5)]),
        Answer::Watch(8),
        Answer::Census(2, 9),
        Answer::Changes(vec![put(9)]),
        Answer::Census(2, 9),
        Answer::Silence,
    ]);
    let mut following = Following::new(script.clone());
    following.next().await;
    assert!(matches!(
        following.next().await,
        Update::Changed { revision: 9, .. }
    ));
    let silence = tokio::time::timeout(10 * COUNT_EVERY, following.next()).await;
    assert!(silence.is_err(), "{silence:?}");
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

/// Four quick outages, then one for longer than the log's limit lasts.
#[tokio::test(start_paused = true)]
async fn an_outage_that_lasts_is_told_whatever_came_before_it() {
    for (ends, fails) in [
        (|| Answer::Cut, || Answer::Cut),
        (|| Answer::WatchEnds, || Answer::ListFails),
    ] as [(fn() -> Answer, fn() -> Answer); 2]
    {
        let logged = Logged::start();
        let quick = (0..5).flat_map(|_| [Answer::List(7, vec![]), Answer::Watch(8), ends()]);
        let script = Script::new(quick.chain((0..120).map(|_| fails())));
        script.1.sight().regain(false);
        let mut following = Following::new(script);
        let outage = async {
            loop {
                following.next().await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(50), outage).await;
        assert_eq!(logged.count("answers again"), 3, "{:#?}", logged.lines());
        assert_eq!(logged.lines().len(), 6, "{:#?}", logged.lines());
        let outage = async {
            loop {
                following.next().await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(50), outage).await;
        assert_eq!(logged.lines().len(), 7, "{:#?}", logged.lines());
        let last = logged.last();
        assert!(last.contains("trying again"), "{last}");
        tokio::time::advance(Duration::from_secs(60)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_trouble_that_lasts_is_no_news_and_its_end_is() {
    let script = Script::new([
        Answer::ListFails,
        Answer::ListFails,
        Answer::Cut,
        Answer::List(7, Vec::new()),
        Answer::Watch(8),
    ]);
    let mut following = Following::new(script);
    let mut trouble = following.trouble.subscribe();
    // It fails once a second, and lists at the fourth attempt.
    for (millis, is_news) in [(500, true), (1_000, false), (1_000, true), (1_000, false)] {
        let step = Duration::from_millis(millis);
        let _ = tokio::time::timeout(step, following.next()).await;
        assert_eq!(trouble.has_changed().unwrap(), is_news);
        assert!(trouble.borrow_and_update().is_some());
    }
    // Followed again.
    let silent = tokio::time::timeout(Duration::from_secs(1), following.next()).await;
    assert!(silent.is_err());
    assert!(trouble.has_changed().unwrap());
    assert_eq!(*trouble.borrow_and_update(), None);
}
