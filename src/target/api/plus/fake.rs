//! An upstream API for tests: small, and as unpleasant as wanted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::target::api::fake_http;
use crate::target::api::fake_http::Asked;

/// How a request is treated instead of being answered as usual.
pub(super) enum Trick {
    /// This status and body; nothing is done.
    Answer(u16, String),
    /// The connection ends; nothing is done.
    Break,
    /// It is done, and then the connection ends.
    BreakAfter,
    /// It is done, and no answer ever comes.
    Hang,
    /// Success is said; nothing is done.
    Pretend,
}

/// What one fake nginx holds.
#[derive(Default)]
pub(super) struct Model {
    pub(super) versions: Vec<u64>,
    pub(super) servers: Vec<Value>,
    /// The running requests by address.
    pub(super) active: Vec<(String, u64)>,
    pub(super) zombies: u64,
    pub(super) generation: u64,
    /// How long every answer takes.
    pub(super) delay: Duration,
    /// The requests that came, as `METHOD PATH BODY`.
    pub(super) asked: Vec<String>,
    /// As many servers as there is room for; 0 for any number.
    pub(super) room: usize,
    /// Its upstream is in the stream block; there is none for http.
    pub(super) stream: bool,
    tricks: VecDeque<(String, Trick)>,
    always: Vec<(String, u16, String)>,
    next: u64,
}

impl Model {
    /// Puts servers there.
    pub(super) fn add(&mut self, servers: impl IntoIterator<Item = Value>) {
        for mut server in servers {
            server["id"] = self.next.into();
            self.next += 1;
            self.servers.push(server);
        }
    }

    /// Plays `trick` on the next request that begins like `request`, or, where that ends in `$`, is the same.
    pub(super) fn trick(&mut self, request: &str, trick: Trick) {
        self.tricks.push_back((request.to_owned(), trick));
    }

    /// Answers every request that contains `part` so.
    pub(super) fn always(&mut self, part: &str, status: u16, code: &str) {
        self.always
            .push((part.to_owned(), status, fault(status, code)));
    }

    /// Ends what was to be answered always.
    pub(super) fn mend(&mut self) {
        self.always.clear();
    }

    /// The servers as `ADDRESS weight=N [down] [drain] [backup]`.
    pub(super) fn shown(&self) -> Vec<String> {
        let flag = |server: &Value, name: &str| match server[name].as_bool() {
            Some(true) => format!(" {name}"),
            _ => String::new(),
        };
        let shown = |server: &Value| {
            let address = server["server"].as_str().unwrap();
            let weight = server["weight"].as_u64().unwrap_or(1);
            format!(
                "{address} weight={weight}{}{}{}",
                flag(server, "down"),
                flag(server, "drain"),
                flag(server, "backup")
            )
        };
        self.servers.iter().map(shown).collect()
    }

    /// The changes that were asked for since the last call.
    pub(super) fn changes(&mut self) -> Vec<String> {
        let asked = std::mem::take(&mut self.asked);
        asked
            .into_iter()
            .filter(|request| !request.starts_with("GET"))
            .collect()
    }

    fn answer(&mut self, request: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        if let Some((_, status, body)) =
            self.always.iter().find(|(part, ..)| request.contains(part))
        {
            return (*status, serde_json::from_str(body).unwrap());
        }
        let Some(path) = path.strip_prefix("/api").map(|path| path.trim_matches('/')) else {
            return (404, json!("<html>404 Not Found</html>"));
        };
        let parts: Vec<&str> = path.split('/').collect();
        match (method, &parts[..]) {
            ("GET", [""]) => (200, json!(self.versions)),
            (_, [version, ..])
                if !self
                    .versions
                    .iter()
                    .any(|known| known.to_string() == *version) =>
            {
                refusal(404, "UnknownVersion")
            }
            ("GET", [_, "nginx"]) => (
                200,
                json!({"version": "1.29", "generation": self.generation, "ppid": 7}),
            ),
            (_, [_, layer, ..]) if (*layer == "stream") != self.stream => {
                refusal(404, "PathNotFound")
            }
            (_, [_, _, "upstreams", name, ..]) if *name != "website" => {
                refusal(404, "UpstreamNotFound")
            }
            ("GET", [_, _, _, _]) => (200, self.status()),
            ("GET", [_, _, _, _, "servers"]) => (200, json!(self.servers)),
            ("GET", [_, _, _, _, "servers", id]) => self.get(id),
            ("POST", [_, _, _, _, "servers"]) => self.post(body),
            ("PATCH", [_, _, _, _, "servers", id]) => self.patch(id, body),
            ("DELETE", [_, _, _, _, "servers", id]) => self.delete(id),
            _ => refusal(404, "PathNotFound"),
        }
    }

    fn status(&self) -> Value {
        let active = |server: &Value| {
            let of = |(address, _): &&(String, u64)| server["server"] == address.as_str();
            self.active.iter().find(of).map_or(0, |(_, active)| *active)
        };
        let peer = |server: &Value| json!({"id": server["id"], "server": server["server"], "active": active(server)});
        json!({"peers": self.servers.iter().map(peer).collect::<Vec<_>>(), "zombies": self.zombies})
    }

    fn get(&self, id: &str) -> (u16, Value) {
        let id = id.parse().ok();
        let mut servers = self.servers.iter();
        match servers.find(|server| server["id"].as_u64() == id) {
            Some(server) => (200, server.clone()),
            None => refusal(404, "UpstreamServerNotFound"),
        }
    }

    fn post(&mut self, body: &Value) -> (u16, Value) {
        if self.room > 0 && self.servers.len() >= self.room {
            return refusal(400, "UpstreamOutOfMemory");
        }
        self.add([body.clone()]);
        (201, body.clone())
    }

    fn patch(&mut self, id: &str, body: &Value) -> (u16, Value) {
        let id = id.parse().ok();
        let unknown = |name: &&str| !body[*name].is_null();
        let unknowns: &[&str] = if self.stream {
            &["backup", "drain"]
        } else {
            &["backup"]
        };
        if let Some(name) = unknowns.iter().find(|name| unknown(name)) {
            let text = format!("unknown parameter \"{name}\"");
            return (400, error_body(400, &text, "UpstreamConfFormatError"));
        }
        let Some(server) = self
            .servers
            .iter_mut()
            .find(|server| server["id"].as_u64() == id)
        else {
            return refusal(404, "UpstreamServerNotFound");
        };
        for (name, value) in body.as_object().unwrap() {
            server[name] = value.clone();
        }
        (200, server.clone())
    }

    fn delete(&mut self, id: &str) -> (u16, Value) {
        let id = id.parse().ok();
        let Some(at) = self
            .servers
            .iter()
            .position(|server| server["id"].as_u64() == id)
        else {
            return refusal(404, "UpstreamServerNotFound");
        };
        self.servers.remove(at);
        (200, json!(self.servers))
    }
}

/// The body of an error as the API makes them.
pub(super) fn fault(status: u16, code: &str) -> String {
    error_body(status, &format!("text of {code}"), code).to_string()
}

fn error_body(status: u16, text: &str, code: &str) -> Value {
    json!({"error": {"status": status, "text": text, "code": code}, "request_id": "1"})
}

fn refusal(status: u16, code: &str) -> (u16, Value) {
    (status, serde_json::from_str(&fault(status, code)).unwrap())
}

/// A fake nginx with an empty upstream.
pub(super) type Fake = fake_http::Fake<Model>;

impl Fake {
    pub(super) async fn start() -> Self {
        let versions = (1..=9).collect();
        let model = Model {
            versions,
            ..Model::default()
        };
        Self::of(model, answer).await
    }
}

async fn answer(model: Arc<Mutex<Model>>, request: Asked) -> Option<(u16, String)> {
    let Asked { method, uri, body } = request;
    let request = format!("{method} {uri} {body}").trim_end().to_owned();
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    let (trick, delay, (status, answer)) = {
        let mut model = model.lock().unwrap();
        model.asked.push(request.clone());
        let at = model
            .tricks
            .iter()
            .position(|(pattern, _)| matches(pattern, &request));
        let trick = at
            .and_then(|at| model.tricks.remove(at))
            .map(|(_, trick)| trick);
        let usual = match trick {
            Some(Trick::Answer(..) | Trick::Break) => (500, Value::Null),
            Some(Trick::Pretend) => (200, json!({})),
            Some(Trick::BreakAfter | Trick::Hang) | None => {
                model.answer(&request, &method, &uri, &body)
            }
        };
        (trick, model.delay, usual)
    };
    sleep(delay).await;
    match trick {
        Some(Trick::Break | Trick::BreakAfter) => None,
        Some(Trick::Hang) => std::future::pending().await,
        Some(Trick::Answer(status, text)) => Some((status, text)),
        Some(Trick::Pretend) | None => Some((status, answer.to_string())),
    }
}

fn matches(pattern: &str, request: &str) -> bool {
    match pattern.strip_suffix('$') {
        Some(whole) => request == whole,
        None => request.starts_with(pattern),
    }
}

/// An answer that is longer than anything an API says.
pub(super) fn endless() -> String {
    "[".repeat(40 << 20)
}
