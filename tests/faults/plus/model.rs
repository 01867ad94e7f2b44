//! What an NGINX Plus holds and how its API changes that.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Map, Value, json};

const VERSIONS: std::ops::RangeInclusive<u64> = 1..=9;

/// Where a text or a number may stand instead of a server's own parameters.
const SETTABLE: [&str; 10] = [
    "server",
    "weight",
    "max_conns",
    "max_fails",
    "fail_timeout",
    "slow_start",
    "route",
    "down",
    "drain",
    "backup",
];

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn json(status: u16, value: &Value) -> Self {
        Self {
            status,
            content_type: "application/json",
            body: value.to_string(),
        }
    }

    /// As the API says that it will not do something.
    pub(super) fn error(status: u16, code: &str, text: &str) -> Self {
        let error = json!({"status": status, "text": text, "code": code});
        let href = "https://nginx.org/en/docs/http/ngx_http_api_module.html";
        Self::json(
            status,
            &json!({"error": error, "request_id": "4d1e7bb5b1a0fd5d1f5c4b7b6c9b2f33", "href": href}),
        )
    }

    /// As nginx itself answers where no API is.
    pub(super) fn html(status: u16, title: &str) -> Self {
        Self {
            status,
            content_type: "text/html",
            body: format!(
                "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n\
                 <hr><center>nginx/1.29.3</center>\r\n</body>\r\n</html>\r\n"
            ),
        }
    }

    /// With half of its body.
    pub(super) fn cut(mut self) -> Self {
        let half = self.body.len() / 2;
        let half = (0..=half)
            .rev()
            .find(|end| self.body.is_char_boundary(*end));
        self.body.truncate(half.unwrap_or(0));
        self.status = 200;
        self
    }

    fn no_path() -> Self {
        Self::error(404, "PathNotFound", "path not found")
    }
}

/// The state of one NGINX Plus.
#[derive(Debug)]
pub(super) struct Model {
    upstreams: BTreeMap<String, Group>,
    address: SocketAddr,
    generation: u64,
    loaded: jiff::Timestamp,
    ppid: u64,
}

/// One upstream.
#[derive(Debug, Default)]
struct Group {
    servers: Vec<Map<String, Value>>,
    /// The next id; none comes twice before a restart.
    next: u64,
}

impl Model {
    pub(super) fn new(upstreams: &[&str], address: SocketAddr) -> Self {
        let upstreams = upstreams
            .iter()
            .map(|name| ((*name).to_owned(), Group::default()));
        Self {
            upstreams: upstreams.collect(),
            address,
            generation: 1,
            loaded: jiff::Timestamp::now(),
            ppid: 100,
        }
    }

    /// Another process, which knows nothing of what this one was told.
    pub(super) fn restart(&mut self) {
        for group in self.upstreams.values_mut() {
            *group = Group::default();
        }
        self.generation = 1;
        self.loaded = jiff::Timestamp::now();
        self.ppid += 10;
    }

    /// The configuration is read again.
    pub(super) fn reload(&mut self) {
        self.generation += 1;
        self.loaded = jiff::Timestamp::now();
    }

    /// Addresses that take new requests.
    pub(super) fn routed(&self, upstream: &str) -> Vec<String> {
        let group = self.upstreams.get(upstream);
        let group = group.unwrap_or_else(|| panic!("no upstream {upstream}"));
        let taking = group.servers.iter().filter(|server| state(server) == "up");
        taking.map(address).collect()
    }

    /// Answers a request, which begins with the location `/api`.
    pub(super) fn answer(&mut self, method: &str, path: &str, body: &[u8]) -> Reply {
        let Some(path) = path.strip_prefix("/api") else {
            return Reply::html(404, "404 Not Found");
        };
        let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
        let Some((version, parts)) = parts.split_first() else {
            return Reply::json(200, &json!(VERSIONS.collect::<Vec<_>>()));
        };
        if !version
            .parse()
            .is_ok_and(|version| VERSIONS.contains(&version))
        {
            return Reply::error(404, "UnknownVersion", "unknown version");
        }
        match (method, parts) {
            ("GET", []) => Reply::json(200, &json!(["nginx", "http"])),
            ("GET", ["nginx"]) => Reply::json(200, &self.identity()),
            ("GET", ["http"]) => Reply::json(200, &json!(["upstreams"])),
            ("GET", ["http", "upstreams"]) => {
                let status = |(name, group): (&String, &Group)| (name.clone(), group.status(name));
                let all: Map<_, _> = self.upstreams.iter().map(status).collect();
                Reply::json(200, &Value::Object(all))
            }
            (_, ["http", "upstreams", name, rest @ ..]) => match self.upstreams.get_mut(*name) {
                Some(group) => group.answer(method, name, rest, body),
                None => Reply::error(404, "UpstreamNotFound", "upstream not found"),
            },
            _ => Reply::no_path(),
        }
    }

    fn identity(&self) -> Value {
        json!({
            "version": "1.29.3", "build": "nginx-plus-r36", "address": self.address.ip().to_string(),
            "generation": self.generation, "load_timestamp": self.loaded.to_string(),
            "timestamp": jiff::Timestamp::now().to_string(), "pid": self.ppid + self.generation, "ppid": self.ppid,
        })
    }
}

impl Group {
    fn answer(&mut self, method: &str, name: &str, path: &[&str], body: &[u8]) -> Reply {
        match (method, path) {
            ("GET", []) => Reply::json(200, &self.status(name)),
            // Resets the statistics, of which there are none.
            ("DELETE", []) => Reply::json(204, &Value::Null).empty(),
            ("GET", ["servers"]) => Reply::json(200, &json!(self.servers)),
            ("POST", ["servers"]) => match settings(body) {
                Ok(settings) => self.add(settings),
                Err(reply) => reply,
            },
            ("GET" | "PATCH" | "DELETE", ["servers", id]) => match self.position(id) {
                Ok(at) => self.one(method, at, body),
                Err(reply) => reply,
            },
            ("GET", _) => Reply::no_path(),
            _ => Reply::error(405, "MethodNotSupported", "method not supported"),
        }
    }

    fn status(&self, name: &str) -> Value {
        let peer = |server: &Map<String, Value>| {
            json!({
                "id": server["id"], "server": server["server"], "name": server["server"],
                "backup": server["backup"], "weight": server["weight"], "state": state(server),
                "active": 0, "requests": 0, "responses": {"total": 0}, "sent": 0, "received": 0, "fails": 0,
                "unavail": 0, "health_checks": {"checks": 0, "fails": 0, "unhealthy": 0}, "downtime": 0,
            })
        };
        let peers: Vec<_> = self.servers.iter().map(peer).collect();
        json!({"peers": peers, "keepalive": 0, "zombies": 0, "zone": name})
    }

    fn position(&self, id: &str) -> Result<usize, Reply> {
        let id: u64 = id.parse().map_err(|_| {
            Reply::error(
                400,
                "UpstreamBadServerId",
                &format!("server id \"{id}\" is not a number"),
            )
        })?;
        let found = self.servers.iter().position(|server| server["id"] == id);
        found.ok_or_else(|| {
            let text = format!("server with id \"{id}\" does not exist");
            Reply::error(404, "UpstreamServerNotFound", &text)
        })
    }

    /// The same address may come twice, as Plus has been seen to take it.
    fn add(&mut self, settings: Map<String, Value>) -> Reply {
        if !settings.contains_key("server") {
            return format_error("missing \"server\" argument");
        }
        let mut server = defaults();
        server.extend(settings);
        server.insert("id".to_owned(), self.next.into());
        self.next += 1;
        let reply = Reply::json(201, &json!(server));
        self.servers.push(server);
        reply
    }

    fn one(&mut self, method: &str, at: usize, body: &[u8]) -> Reply {
        match method {
            "PATCH" => match settings(body) {
                Ok(settings) if settings.contains_key("backup") => {
                    return format_error("unknown parameter \"backup\"");
                }
                Ok(settings) => self.servers[at].extend(settings),
                Err(reply) => return reply,
            },
            "DELETE" => {
                self.servers.remove(at);
                return Reply::json(200, &json!(self.servers));
            }
            _ => {}
        }
        if self.servers[at].get("drain") == Some(&Value::Bool(false)) {
            self.servers[at].remove("drain");
        }
        Reply::json(200, &json!(self.servers[at]))
    }
}

impl Reply {
    fn empty(mut self) -> Self {
        self.body.clear();
        self
    }
}

fn defaults() -> Map<String, Value> {
    let defaults = json!({
        "weight": 1, "max_conns": 0, "max_fails": 1, "fail_timeout": "10s", "slow_start": "0s", "route": "",
        "backup": false, "down": false,
    });
    match defaults {
        Value::Object(defaults) => defaults,
        _ => Map::new(),
    }
}

fn address(server: &Map<String, Value>) -> String {
    server["server"].as_str().unwrap_or_default().to_owned()
}

fn state(server: &Map<String, Value>) -> &'static str {
    let is = |name| server.get(name) == Some(&Value::Bool(true));
    match (is("down"), is("drain")) {
        (true, _) => "down",
        (false, true) => "draining",
        (false, false) => "up",
    }
}

fn format_error(text: &str) -> Reply {
    Reply::error(400, "UpstreamConfFormatError", text)
}

/// The settings in a body, checked.
fn settings(body: &[u8]) -> Result<Map<String, Value>, Reply> {
    let parsed = serde_json::from_slice(body);
    let parsed = parsed.map_err(|_| Reply::error(415, "JsonError", "invalid JSON"))?;
    let Value::Object(settings) = parsed else {
        return Err(format_error("not an object"));
    };
    for (name, value) in &settings {
        check(name, value)?;
    }
    Ok(settings)
}

fn check(name: &str, value: &Value) -> Result<(), Reply> {
    if !SETTABLE.contains(&name) {
        return Err(format_error(&format!("unknown parameter \"{name}\"")));
    }
    let refused = |code| {
        Err(Reply::error(
            400,
            code,
            &format!("invalid value of \"{name}\""),
        ))
    };
    match name {
        "server" => match value.as_str().map(str::parse::<SocketAddr>) {
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) => {
                let text = "no resolver defined to resolve names at run time";
                Err(Reply::error(400, "UpstreamConfNoResolver", text))
            }
            None => Err(format_error("\"server\" is not a string")),
        },
        "weight"
            if !value
                .as_u64()
                .is_some_and(|weight| (1..=65_535).contains(&weight)) =>
        {
            refused("UpstreamBadWeight")
        }
        "max_conns" if !value.is_u64() => refused("UpstreamBadMaxConns"),
        "max_fails" if !value.is_u64() => refused("UpstreamBadMaxFails"),
        "fail_timeout" if !value.is_string() => refused("UpstreamBadFailTimeout"),
        "slow_start" if !value.is_string() => refused("UpstreamBadSlowStart"),
        "route" if !value.is_string() => refused("UpstreamBadRoute"),
        "down" | "drain" | "backup" if !value.is_boolean() => {
            Err(format_error(&format!("\"{name}\" is not a boolean")))
        }
        _ => Ok(()),
    }
}
