//! The settings as a table of `push.toml` has them.

use std::path::Path;
use std::sync::Arc;

use super::handle::FileTarget;
use super::settings::{MIN_RELOAD_INTERVAL, PID, Settings, TIMEOUT};
use crate::target::{
    Driver, DriverSettings, FromTable, Layer, OpenError, Syntax, TargetFlags, UpstreamName,
};
use crate::util::sanitize::printable;
use crate::util::toml::Section;

impl DriverSettings for Settings {
    fn open(&self, upstreams: &[(Layer, UpstreamName)]) -> Result<Arc<dyn Driver>, OpenError> {
        let layer = upstreams.first().map_or(Layer::Http, |(layer, _)| *layer);
        if let Some((_, other)) = upstreams.iter().find(|(other, _)| *other != layer) {
            let one = &upstreams[0].1;
            return Err(OpenError(format!(
                "a file is included in http or in stream, and \"{one}\" and \"{other}\" are not of one protocol: give each a file"
            )));
        }
        let settings = Self {
            layer,
            ..self.clone()
        };
        let names = upstreams.iter().map(|(_, name)| name.clone());
        Ok(Arc::new(FileTarget::new(settings, names)?))
    }

    fn place(&self) -> String {
        printable(self.file.as_os_str().as_encoded_bytes(), 400)
    }

    /// Of a file that is written, only the template.
    fn files(&self) -> Vec<&Path> {
        self.template.as_deref().into_iter().collect()
    }

    fn is_local(&self) -> bool {
        true
    }

    fn is_file(&self) -> bool {
        true
    }

    fn apply_flags(&mut self, flags: TargetFlags) {
        self.adopt = flags.adopt;
    }
}

impl FromTable for Settings {
    const SYNTAX: Syntax = Syntax {
        table: "nginx",
        title: "[[nginx]]",
        mark: Some("file"),
        keys: &[&[
            "check",
            "reload",
            "template",
            "min_reload_interval",
            "command_timeout",
            "pid",
            "proof",
        ]],
        refusals: &[],
    };

    fn read(section: &Section<'_>, _: Option<&Path>) -> Option<Self> {
        let file = section.has("file").then(|| section.path("file")).flatten();
        let check = section.optional("check", Section::parse);
        let reload = section.optional("reload", Section::parse);
        let template = section.optional("template", Section::path);
        let interval = section.or("min_reload_interval", MIN_RELOAD_INTERVAL, Section::time);
        let timeout = section.or("command_timeout", TIMEOUT, Section::time_above_zero);
        let pid = section.or("pid", PID.into(), Section::path);
        let proof = section.optional("proof", |section, key| {
            let proof = section.text(key)?.parse().ok();
            if proof.is_none() {
                let text = "a loopback address with a port such as \"127.0.0.1:9181\" is expected";
                section.note(key, text);
            }
            proof
        });
        // The layer is that of the upstreams.
        let usual = Self::new(file?, Layer::Http);
        Some(Self {
            check: check?.or(usual.check),
            reload: reload?.unwrap_or(usual.reload),
            template: template?,
            min_reload_interval: interval?,
            timeout: timeout?,
            pid: Some(pid?),
            proof: proof?,
            ..usual
        })
    }
}
