//! The container that is named on the command line: what runs, and the settings that follow from it.

use std::sync::Arc;

use tokio::sync::watch;

use crate::announce::Settings;
use crate::announce::container;
use crate::announce::container::{Pairing, Run};
use crate::cli::commands::announce::{Args, Found};
use crate::cli::{Invalid, Mistakes};
use crate::docker::Client;
use crate::docker::follow::State;
use crate::docker::host::Surroundings;
use crate::docker::identity::{Derived, Problem, derive};

/// What a look at the container has found.
pub(crate) enum Looked {
    /// It runs.
    Runs(Run),
    /// It does not: its name, and how it is instead.
    Otherwise(String, State),
}

/// Why the container cannot be announced, for people.
pub(crate) fn refused(pairing: &Pairing, mistakes: &container::Mistakes) -> Invalid {
    let name = &pairing.container;
    let said = mistakes
        .said
        .iter()
        .map(|it| format!("container {name}: {it}"));
    Invalid::from(said.collect::<Vec<_>>())
}

/// Looks at the container once.
pub(crate) async fn find(pairing: &Pairing) -> anyhow::Result<Looked> {
    let client = Client::connect(pairing.daemon.clone()).await?;
    let container = Arc::new(client.inspect(&pairing.container).await?);
    let state = State::of(container.clone());
    if !matches!(state, State::Running(_)) {
        return Ok(Looked::Otherwise(container.name.clone(), state));
    }
    let wanted = &pairing.wanted;
    let choice = wanted.reach.host.as_ref();
    let wants_name = wanted.needs_host_name();
    let host = Surroundings::look(&pairing.daemon, choice, wants_name).await;
    // It stays as it is: whoever asks looks once.
    let (_, states) = watch::channel(state);
    Ok(Looked::Runs(Run {
        container,
        states,
        daemon: pairing.daemon.clone(),
        host: Arc::new(host),
    }))
}

/// The settings of a run, and what they come from.
pub(crate) fn settings(
    args: &Args,
    pairing: &Pairing,
    run: &Run,
) -> Result<(Settings, Derived), container::Mistakes> {
    let mut mistakes = Mistakes::default();
    let derived = match derive(&pairing.wanted, &run.container, &run.host) {
        Ok(derived) => derived,
        Err(problems) => {
            let said = problems.iter().map(ToString::to_string);
            return Err(container::Mistakes {
                said: said.collect(),
                passing: problems.iter().all(Problem::is_passing),
            });
        }
    };
    for note in &derived.notes {
        tracing::warn!("{note}");
    }
    let found = Found {
        derived: &derived,
        run,
    };
    let settings = args.settings(&mut mistakes, Some(&found));
    match mistakes.none_or(settings).map_err(Invalid::into_mistakes) {
        Ok(settings) => Ok((settings, derived)),
        Err(said) => Err(container::Mistakes {
            said,
            passing: false,
        }),
    }
}
