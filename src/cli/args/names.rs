//! Names as positional arguments: services and instances.

use crate::admin::Place;
use crate::admin::named::{self, Named};
use crate::cli::args::mistakes::Mistakes;
use crate::model::{InstanceId, ServiceName};

/// Parses the required `SERVICE/INSTANCE`.
pub(crate) fn instance(mistakes: &mut Mistakes, text: Option<&str>) -> Option<InstanceId> {
    let place = "SERVICE/INSTANCE";
    let text = mistakes.required(place, text)?;
    mistakes.parse(place, text)
}

/// The instance that a container's name alone stands for.
pub(crate) async fn named(place: &Place, id: InstanceId) -> anyhow::Result<InstanceId> {
    let said = id.to_string();
    match named::named(place, id).await? {
        Named::One(id) => Ok(id),
        Named::Several(several) => {
            let several: Vec<_> = several.iter().map(ToString::to_string).collect();
            let mut mistakes = Mistakes::default();
            mistakes.add(format!(
                "{said} may be any of {}: say which",
                several.join(", ")
            ));
            Ok(mistakes.none_or(None)?)
        }
    }
}

/// Parses the optional `SERVICE`.
pub(crate) fn service(mistakes: &mut Mistakes, text: Option<&str>) -> Option<ServiceName> {
    mistakes.parse("SERVICE", text?)
}

/// Help with a default that clap must not fill in, because it matters whether the flag was given.
pub(crate) fn with_default(help: &str, default: impl std::fmt::Display) -> String {
    format!("{help} [default: {default}]")
}
