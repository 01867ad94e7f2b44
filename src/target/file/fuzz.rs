//! What `tests/fuzz` calls.

use std::num::NonZeroU16;
use std::sync::Arc;

use super::block::Source;
use super::template::Template;
use super::{foreign, syntax, text};
use crate::model::{InstanceName, Record};
use crate::target::{Layer, UpstreamName};
use crate::upstream::server::{Origin, Origins, Parameters, Server, Servers};

/// The blocks of a file that sidekick wrote, and the same file composed anew from them.
#[must_use]
pub fn file_blocks(file: &str) -> (Vec<(String, String)>, String) {
    let blocks = text::split(file);
    let composed = text::compose(&blocks, Layer::Http, None, text::edition(file).unwrap_or(0));
    let pairs = blocks.into_iter().map(|(name, block)| {
        let names = text::names(&block).count();
        (format!("{name} {names}"), text::without_names(&block))
    });
    (pairs.collect(), composed)
}

/// The upstreams of a file that is not sidekick's own.
///
/// # Errors
/// Why it cannot be taken over.
pub fn foreign_blocks(file: &str) -> Result<Vec<(UpstreamName, String)>, String> {
    foreign::blocks(file).map(|blocks| blocks.into_iter().collect())
}

/// The words of each directive, as nginx reads them.
///
/// # Errors
/// Why nginx refuses the text.
pub fn words(file: &str) -> Result<Vec<Vec<String>>, String> {
    let statements = syntax::statements(file)?;
    Ok(statements.into_iter().map(|found| found.words).collect())
}

/// What a template gives for an upstream with one server.
///
/// # Errors
/// Why it gives nothing.
pub fn rendered(
    template: &Template,
    instance: &InstanceName,
    record: &Record,
) -> Result<String, String> {
    let server = Server {
        weight: NonZeroU16::new(record.effective_weight()).unwrap_or(NonZeroU16::MIN),
        state: record.state,
        parameters: Parameters::default(),
    };
    let origin = Origin {
        instance: instance.clone(),
        version: record.version.clone(),
        tags: record.tags.clone(),
        meta: record.meta.clone(),
    };
    let endpoint = &record.endpoint;
    let name = "website".parse().map_err(|error| format!("{error}"))?;
    let source = Source {
        name: &name,
        service: "website",
        servers: &Servers::from([(endpoint.clone(), server)]),
        origins: &Origins::from([(endpoint.clone(), Arc::new(origin))]),
    };
    super::template::render(Some(template), source).map_err(|error| error.to_string())
}
