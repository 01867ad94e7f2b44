//! Answers of nginx.

use sidekick::fuzz;

use crate::checks;

/// The longest message about an answer, in bytes, before the driver cuts it.
const MESSAGE: usize = 300;

/// Any body of the API of NGINX Plus.
pub(crate) fn nginx_api(bytes: &[u8]) -> String {
    let fault = fuzz::api_fault(bytes);
    checks::printable(&fault, MESSAGE);
    let readings = [fuzz::api_servers, fuzz::api_status, fuzz::api_identity];
    let answers = readings.map(|read| read(bytes).unwrap_or_else(|error| error));
    format!("{fault} {}", answers.join(" "))
}

/// Any body of the older text API, and of the status module beside it.
pub(crate) fn upstream_conf(bytes: &[u8]) -> String {
    let lines = fuzz::conf_lines(bytes);
    if let Err(message) = &lines {
        checks::printable(message, MESSAGE);
    }
    let status = fuzz::conf_status(bytes);
    [lines, status]
        .map(|read| read.unwrap_or_else(|error| error))
        .concat()
}
