//! An update that waits until it is known what its unreadable splits said before.

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::client::Cluster;
use super::former::{Formers, read};
use super::store::Store;
use super::update::{Entry, Update};
use crate::model::Prefixes;

/// An update, while what its unreadable splits said before is read.
#[derive(Debug)]
pub(crate) struct Recall {
    /// The update.
    pub(crate) update: Update,
    reading: JoinSet<Formers>,
}

impl Recall {
    /// Begins to read where the store does not know it.
    pub(crate) fn new(cluster: &Cluster, store: &Store, update: Update) -> Self {
        let (unseen, mut reading) = (store.unseen(&update), JoinSet::new());
        if !unseen.is_empty() {
            reading.spawn(read_until_answered(
                cluster.clone(),
                store.prefixes().clone(),
                unseen,
            ));
        }
        Self { update, reading }
    }

    /// Waits until it is read. Cancel safe.
    pub(crate) async fn done(&mut self) -> Formers {
        let read = self.reading.join_next().await;
        read.and_then(Result::ok).unwrap_or_default()
    }
}

/// Who guessed in place of waiting would decide otherwise than others.
async fn read_until_answered(
    cluster: Cluster,
    prefixes: Prefixes,
    unreadable: Vec<Entry>,
) -> Formers {
    let mut pace = cluster.pace();
    loop {
        let error = match cluster.connection().await {
            Ok(connection) => match read(&connection, &prefixes, &unreadable).await {
                Ok(formers) => return formers,
                Err(error) => {
                    cluster.failed(&connection, &error);
                    error
                }
            },
            Err(error) => error,
        };
        tracing::debug!(%error, "the history of splits is not read yet");
        sleep(pace.after_failure()).await;
    }
}
