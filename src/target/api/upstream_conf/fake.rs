//! A server of the text API for tests, by the rules of its documentation and of clients that have met it.

use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::target::api::fake_http;
use crate::target::api::fake_http::Asked;

/// A server of the upstream.
#[derive(Debug, Clone, Default)]
pub(super) struct Server {
    id: u64,
    pub(super) address: String,
    /// What was set, by name; flags have no value.
    pub(super) set: Vec<(String, String)>,
    pub(super) draining: bool,
}

impl Server {
    fn line(&self, verbose: bool) -> String {
        let mut line = format!("server {}", self.address);
        let is_flag = |name: &str| ["backup", "down"].contains(&name);
        let shown = self.set.iter().filter(|(name, _)| verbose || is_flag(name));
        for (name, value) in shown {
            line += &match value.as_str() {
                "" => format!(" {name}"),
                value => format!(" {name}={value}"),
            };
        }
        let draining = if self.draining { " draining" } else { "" };
        format!("{line}; # id={}{draining}\n", self.id)
    }

    fn unset(&mut self, name: &str) {
        self.set.retain(|(known, _)| known != name);
    }
}

/// What one fake nginx holds.
#[derive(Default)]
pub(super) struct Model {
    pub(super) servers: Vec<Server>,
    pub(super) stream: bool,
    /// Whether `up` ends draining, which is documented nowhere.
    pub(super) up_ends_draining: bool,
    /// Whether removing is answered by 204.
    pub(super) silent_removal: bool,
    /// As many servers as there is room for; 0 for any number.
    pub(super) room: usize,
    /// Parameters that this group does not take.
    pub(super) refused: &'static [&'static str],
    /// The running requests by address; the status module is there.
    pub(super) active: Option<Vec<(String, u64)>>,
    /// Queries and paths as they came.
    pub(super) asked: Vec<String>,
    /// Whether the next change is done but its answer does not come.
    pub(super) breaks_after_change: bool,
    next: u64,
}

impl Model {
    pub(super) fn add(&mut self, address: &str) {
        self.servers.push(Server {
            id: self.next,
            address: address.to_owned(),
            ..Server::default()
        });
        self.next += 1;
    }

    /// The servers as the API shows them.
    pub(super) fn shown(&self) -> Vec<String> {
        let lines = self.servers.iter().map(|server| server.line(true));
        lines.map(|line| line.trim().to_owned()).collect()
    }

    /// The changes that were asked for since the last call.
    pub(super) fn changes(&mut self) -> Vec<String> {
        let mut asked = std::mem::take(&mut self.asked);
        let is_look =
            |asked: &String| asked.ends_with("=website&verbose=") || asked.starts_with("/status");
        asked.retain(|asked| !is_look(asked));
        asked
    }

    fn answer(&mut self, uri: &str) -> (u16, String) {
        match uri.split_once('?') {
            Some(("/upstream_conf", query)) => self.conf(query),
            _ => match uri.strip_prefix("/status/") {
                Some(path) => self.status(path),
                None => (404, "<html>404 Not Found</html>".to_owned()),
            },
        }
    }

    fn status(&self, path: &str) -> (u16, String) {
        let Some(active) = &self.active else {
            return (404, "<html>404 Not Found</html>".to_owned());
        };
        let expected = if self.stream {
            "stream/upstreams/website"
        } else {
            "upstreams/website"
        };
        if path != expected {
            return (404, String::new());
        }
        let of = |server: &Server| {
            active
                .iter()
                .find(|(address, _)| *address == server.address)
        };
        let peers: Vec<_> = self
            .servers
            .iter()
            .map(|server| json!({"id": server.id, "server": server.address, "active": of(server).map_or(0, |(_, count)| *count)}))
            .collect();
        (200, json!({"peers": peers, "keepalive": 0}).to_string())
    }

    fn conf(&mut self, query: &str) -> (u16, String) {
        let pairs: Vec<(&str, &str)> = query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .collect();
        let argument = |name: &str| {
            pairs
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| *value)
        };
        let Some(upstream) = argument("upstream") else {
            return (400, "missing \"upstream\" argument\n".to_owned());
        };
        if upstream != "website" || argument("stream").is_some() != self.stream {
            return (404, format!("upstream \"{upstream}\" not found\n"));
        }
        if query.contains('%') {
            // Arguments are not decoded.
            return (400, "invalid host\n".to_owned());
        }
        let verbose = argument("verbose").is_some();
        let at = argument("id").map(|id| {
            let id = id.parse().ok();
            self.servers.iter().position(|server| Some(server.id) == id)
        });
        let settings = pairs.iter().filter(|(name, _)| {
            ![
                "upstream", "stream", "id", "verbose", "add", "remove", "server",
            ]
            .contains(name)
        });
        if let Some((name, _)) = settings
            .clone()
            .find(|(name, _)| self.refused.contains(name))
        {
            return (400, format!("invalid {name} parameter\n"));
        }
        let settings: Vec<_> = settings
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        match (argument("add"), argument("remove"), at) {
            (Some(_), ..) => {
                if self.room > 0 && self.servers.len() >= self.room {
                    return (400, "upstream \"website\" memory exhausted\n".to_owned());
                }
                self.add(argument("server").unwrap());
                let server = self.servers.last_mut().unwrap();
                server.set = settings;
                (200, server.line(verbose))
            }
            (.., Some(None)) => (404, "server not found\n".to_owned()),
            (_, Some(_), Some(Some(at))) => {
                self.servers.remove(at);
                match self.silent_removal {
                    true => (204, String::new()),
                    false => (200, self.lines(false)),
                }
            }
            (.., Some(Some(at))) => {
                let up_ends_draining = self.up_ends_draining;
                let server = &mut self.servers[at];
                for (name, value) in settings {
                    match name.as_str() {
                        "drain" => server.draining = true,
                        "up" => {
                            server.unset("down");
                            server.draining &= !up_ends_draining;
                        }
                        name => {
                            server.unset(name);
                            server.set.push((name.to_owned(), value));
                        }
                    }
                }
                (200, server.line(verbose))
            }
            _ => (200, self.lines(verbose)),
        }
    }

    fn lines(&self, verbose: bool) -> String {
        self.servers
            .iter()
            .map(|server| server.line(verbose))
            .collect()
    }
}

/// A fake nginx with an empty upstream.
pub(super) type Fake = fake_http::Fake<Model>;

impl Fake {
    pub(super) async fn start() -> Self {
        Self::of(Model::default(), answer).await
    }
}

async fn answer(model: Arc<Mutex<Model>>, asked: Asked) -> Option<(u16, String)> {
    let mut model = model.lock().unwrap();
    model.asked.push(asked.uri.clone());
    let answer = model.answer(&asked.uri);
    let is_look = asked.uri.ends_with("=website&verbose=");
    let breaks = !is_look && std::mem::take(&mut model.breaks_after_change);
    (!breaks).then_some(answer)
}
