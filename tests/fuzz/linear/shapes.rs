//! The worst inputs that come to mind, each of about the size that is asked for.

/// `head`, then numbered parts until it is large enough, then `tail`.
fn many(size: usize, head: &str, part: impl Fn(usize) -> String, tail: &str) -> Vec<u8> {
    let mut text = head.to_owned();
    for number in 0.. {
        if text.len() + tail.len() >= size {
            break;
        }
        text.push_str(&part(number));
    }
    text.push_str(tail);
    text.into_bytes()
}

/// The same with commas between the parts.
fn listed(size: usize, head: &str, part: impl Fn(usize) -> String, tail: &str) -> Vec<u8> {
    let comma = |number| match number {
        0 => part(number),
        _ => format!(",{}", part(number)),
    };
    many(size, head, comma, tail)
}

/// Shapes with one part again and again.
macro_rules! repeated {
    ($($name:ident: $head:expr, $part:expr, $tail:expr;)+) => {
        $(pub(crate) fn $name(size: usize) -> Vec<u8> {
            super::many(size, $head, |_| $part.to_owned(), $tail)
        })+
    };
}

/// Shapes with numbered parts, and a comma between them.
macro_rules! numbered {
    ($($name:ident: $head:expr, |$number:ident| $part:expr, $tail:expr;)+) => {
        $(pub(crate) fn $name(size: usize) -> Vec<u8> {
            super::listed(size, $head, |$number| format!($part), $tail)
        })+
    };
}

/// Shapes with numbered parts and nothing between them.
macro_rules! lines {
    ($($name:ident: $head:expr, |$number:ident| $part:expr, $tail:expr;)+) => {
        $(pub(crate) fn $name(size: usize) -> Vec<u8> {
            super::many(size, $head, |$number| format!($part), $tail)
        })+
    };
}

pub(crate) mod key {
    repeated! {
        one_segment: "/services/website/", "a", "";
        many_segments: "/services/website", "/a", "";
        odd_bytes: "/services/website/", "\u{1b}\u{fffd}", "";
    }
}

pub(crate) mod record {
    const HEAD: &str = r#"{"host":"10.0.0.5","port":80"#;

    repeated! {
        long_text: r#"{"host":"10.0.0.5","port":80,"reason":""#, "word ", r#""}"#;
        escapes: r#"{"host":"10.0.0.5","port":80,"reason":""#, r"\u0007", r#""}"#;
        twice: r#"{"port":80,"host":"10.0.0.5""#, r#","host":"web.example""#, "}";
        nested: r#"{"host":"10.0.0.5","port":80,"x":"#, "[", "";
        long_number: r#"{"host":"10.0.0.5","port":80,"x":1"#, "7", "}";
        odd_bytes: "", "\u{fffd}\u{1b}", "";
        long_plain: "web.example:80/", "v", "";
    }
    numbered! {
        many_tags: r#"{"host":"10.0.0.5","port":80,"tags":["#, |n| r#""tag{n}""#, "]}";
        many_meta: r#"{"host":"10.0.0.5","port":80,"meta":{"#, |n| r#""key{n}":"v""#, "}}";
    }

    pub(crate) fn many_unknown(size: usize) -> Vec<u8> {
        super::many(
            size,
            HEAD,
            |n| format!(r#","field{n}":{{"a":[1.5,null]}}"#),
            "}",
        )
    }
}

pub(crate) mod hold {
    repeated! {
        long_text: r#"{"reason":""#, "word ", r#""}"#;
        escapes: r#"{"reason":""#, r"\ud83d\ude00", r#""}"#;
        twice: r#"{"until":null"#, r#","reason":"x""#, "}";
    }
    lines! {
        many_unknown: r#"{"reason":"x""#, |n| r#","field{n}":[{{}}]"#, "}";
    }
}

pub(crate) mod split {
    repeated! {
        twice: r#"{"weights":{"a":1"#, r#","v1":7"#, "}}";
    }
    numbered! {
        many_versions: r#"{"weights":{"#, |n| r#""v{n}":{n}"#, "}}";
    }
}

pub(crate) mod release {
    lines! {
        many_unknown: r#"{"nonce":"n1","since":"2026-01-02T03:04:05Z""#, |n| r#","field{n}":"x""#, "}";
    }
}

/// The rest of what a pusher writes.
const AUTHOR: &str = r#""nonce":"n1","since":"2026-01-02T03:04:05Z"}"#;

pub(crate) mod status_record {
    fn numbered(size: usize, head: &str, part: impl Fn(usize) -> String, tail: &str) -> Vec<u8> {
        super::listed(size, head, part, &format!("{tail},{}", super::AUTHOR))
    }

    pub(crate) fn many_services(size: usize) -> Vec<u8> {
        let part = |n| format!(r#""s{n}":{{"applied":1,"not_routed":{{"a":"b"}}}}"#);
        numbered(size, r#"{"services":{"#, part, "}")
    }

    pub(crate) fn many_instances(size: usize) -> Vec<u8> {
        let part = |n| format!(r#""i{n}":"edge: no resolver""#);
        numbered(size, r#"{"services":{"s":{"not_routed":{"#, part, "}}}")
    }

    pub(crate) fn many_targets(size: usize) -> Vec<u8> {
        let part =
            |n| format!(r#""t{n}":{{"ok":true,"errors":[],"upstreams":{{"u":{{"wanted":1}}}}}}"#);
        numbered(size, r#"{"targets":{"#, part, "}")
    }

    pub(crate) fn many_errors(size: usize) -> Vec<u8> {
        let part = |n| format!(r#""website: no answer {n}""#);
        numbered(size, r#"{"targets":{"t":{"errors":["#, part, "]}}")
    }

    pub(crate) fn many_protected(size: usize) -> Vec<u8> {
        let part = |n| format!(r#"{{"server":"10.0.0.1:{n}","why":"the last"}}"#);
        numbered(
            size,
            r#"{"targets":{"t":{"upstreams":{"u":{"protected":["#,
            part,
            "]}}}}",
        )
    }

    pub(crate) fn escapes(size: usize) -> Vec<u8> {
        let head = r#"{"targets":{"t":{"errors":[""#;
        let tail = format!(r#""]}}}},{}"#, super::AUTHOR);
        super::many(size, head, |_| r"\u001b".to_owned(), &tail)
    }
}

pub(crate) mod balancer {
    fn numbered(size: usize, head: &str, part: impl Fn(usize) -> String, tail: &str) -> Vec<u8> {
        let head = format!(r#"{{"prefix":"/services",{head}"#);
        super::listed(size, &head, part, &format!("{tail},{}", super::AUTHOR))
    }

    pub(crate) fn many_services(size: usize) -> Vec<u8> {
        let part = |n| format!(r#""s{n}""#);
        numbered(size, r#""targets":["t"],"services":["#, part, "]")
    }

    pub(crate) fn many_targets(size: usize) -> Vec<u8> {
        let part = |n| format!(r#""http://10.0.0.1:{n}/api""#);
        numbered(size, r#""services":["s"],"targets":["#, part, "]")
    }

    pub(crate) fn many_routes(size: usize) -> Vec<u8> {
        let part = |n| format!(r#""s{n}":["t http/x","u http/y"]"#);
        numbered(
            size,
            r#""services":["s"],"targets":["t"],"routes":{"#,
            part,
            "}",
        )
    }

    pub(crate) fn escapes(size: usize) -> Vec<u8> {
        let part = |_| r#""\u001b\\""#.to_owned();
        numbered(size, r#""services":["s"],"targets":["#, part, "]")
    }
}

pub(crate) mod vulcand {
    repeated! {
        long_url: r#"{"URL":"http://10.0.0.5:80/"#, r"x\u001b", r#""}"#;
        nothing: "", "\n", r#"{"URL":"http://10.0.0.5:80"}"#;
    }
    lines! {
        many: "", |n| "{{\"URL\":\"http://10.0.0.5:{n}\"}}\n", "";
    }
}

pub(crate) mod certificate {
    repeated! {
        long_base64: "-----BEGIN CERTIFICATE-----\n", "MIHAMHQCAQEwBQYDK2Vw\n", "-----END CERTIFICATE-----\n";
        many_certificates: "", "-----BEGIN CERTIFICATE-----\n", "MIHA";
    }
}

pub(crate) mod nginx_api {
    repeated! {
        twice: r#"[{"id":1,"server":"a:80""#, r#","max_conns":7"#, "}]";
        long_text: r#"{"error":{"code":"A","text":""#, r"\n", r#""}}"#;
        tags: "<html>", "<b>", "x";
    }
    numbered! {
        many_servers: "[", |n| r#"{{"id":{n},"server":"10.0.0.1:80","weight":1,"fail_timeout":"10s"}}"#, "]";
        many_peers: r#"{"peers":["#, |n| r#"{{"id":{n},"server":"10.0.0.1:80","active":3}}"#, "]}";
    }
}

pub(crate) mod upstream_conf {
    repeated! {
        many_words: "server 10.0.0.1:80", " weight=3", "; # id=1\n";
        long_word: "server ", "a", ":80; # id=1\n";
        blank_lines: "", " \r\n", "server a:80; # id=1\n";
    }
    lines! {
        many_servers: "", |n| "server 10.0.0.1:80 weight=3 slow_start=1m30s; # id={n}\n", "";
    }
    numbered! {
        many_peers: "[", |n| r#"{{"id":{n},"server":"10.0.0.1:80","active":3}}"#, "]";
    }
}

pub(crate) mod nginx_file {
    repeated! {
        long_word: "upstream w { server ", r"a\b$x{", "; }";
        quotes: "upstream w { hash ", r#""a" 'b' "#, "; }";
        comments: "", "# {;\n", "upstream w {}";
    }
    lines! {
        many_upstreams: "", |n| "upstream u{n} {{ server a:80; }}\n", "";
        many_blocks: "", |n| "# sidekick: begin u{n}\nupstream u{n} {{ server a:80; }}\n# sidekick: end u{n}\n", "";
        many_marks: "", |n| "# sidekick: begin u{n}\n", "# sidekick: end u0\n";
        many_names: "# sidekick: begin u\n", |n| "# sidekick: name h{n}.example 10.0.0.1 ::1\n", "# sidekick: end u\n";
    }

    pub(crate) fn deep(size: usize) -> Vec<u8> {
        let depth = size / 6;
        format!("upstream u {}{}", "{ a ".repeat(depth), "b;}".repeat(depth)).into_bytes()
    }
}

pub(crate) mod template {
    pub(crate) use super::record::{escapes, long_text, many_meta, many_tags};
}

pub(crate) mod docker_inspect {
    const REST: &str = r#""NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"","HostPort":"8080"}]}},
        "Id":"ab12","State":{"Status":"running","Running":true}"#;

    fn with(size: usize, head: &str, part: impl Fn(usize) -> String, tail: &str) -> Vec<u8> {
        super::listed(size, &format!("{{{REST},{head}"), part, tail)
    }

    pub(crate) fn many_labels(size: usize) -> Vec<u8> {
        let part = |n| format!(r#""SERVICE_{n}_TAGS":"a,b","SERVICE_X{n}":"http://u:p@h/""#);
        with(size, r#""Config":{"Image":"web:1","Labels":{"#, part, "}}}")
    }

    pub(crate) fn many_variables(size: usize) -> Vec<u8> {
        let part = |n| format!(r#""SERVICE_X{n}=secret","PATH{n}=/bin""#);
        with(size, r#""Config":{"Image":"web:1","Env":["#, part, "]}}")
    }

    pub(crate) fn many_ports(size: usize) -> Vec<u8> {
        let part = |n| format!(r#""{n}/tcp":[{{"HostIp":"10.0.0.1","HostPort":"{n}"}}]"#);
        let head = r#""Config":{"Image":"web:1"},"NetworkSettings":{"Ports":{"#;
        with(size, head, part, "}}}")
    }

    pub(crate) fn many_networks(size: usize) -> Vec<u8> {
        let part = |n| format!(r#""net{n}":{{"IPAddress":"172.17.0.2"}}"#);
        let head = r#""Config":{"Image":"web:1"},"NetworkSettings":{"Networks":{"#;
        with(size, head, part, "}}}")
    }

    pub(crate) fn long_health(size: usize) -> Vec<u8> {
        let head = r#"{"Id":"ab12","State":{"Status":"running","Health":{"Status":"unhealthy","Log":[{"Output":""#;
        super::many(size, head, |_| r"\u001b \n".to_owned(), r#""}]}}}"#)
    }

    pub(crate) fn long_name(size: usize) -> Vec<u8> {
        let head = format!(r#"{{{REST},"Config":{{"Image":"shop/"#);
        super::many(size, &head, |_| "a/:@".to_owned(), r#""}}"#)
    }
}

pub(crate) mod docker_event {
    repeated! {
        long_name: r#"{"Type":"container","Action":"die","Actor":{"ID":"ab","Attributes":{"name":""#, "a", r#""}}}"#;
    }
    numbered! {
        many_attributes: r#"{"Type":"container","Action":"die","Actor":{"ID":"ab","Attributes":{"#, |n| r#""label{n}":"x""#, "}}}";
    }
}

pub(crate) mod env_file {
    repeated! {
        long_value: "A=", "x ", "\n";
        escapes: "A=\"", r#"\"\$\x"#, "\"\n";
        comments: "", "# x \\\n", "\n";
        unclosed: "A='", "b\nc=\"", "\n";
        mistakes: "", "no-name = 1\nwords\n", "";
    }
    lines! {
        many: "", |n| "NAME{n}=\"value {n}\" # more\n", "";
    }

    pub(crate) fn long_name(size: usize) -> Vec<u8> {
        super::many(size, "", |_| "A ".to_owned(), "=1\n")
    }
}

pub(crate) mod http_probe {
    repeated! {
        long_header: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: ", "word ", "\r\n\r\nok";
        long_reason: "HTTP/1.1 503 ", "no ", "\r\n\r\n";
        long_body: "HTTP/1.1 200 OK\r\n\r\nok", "\u{1b}", "";
        many_chunks: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "1;x=y\r\na\r\n", "0\r\n\r\n";
    }
    lines! {
        many_headers: "HTTP/1.1 200 OK\r\n", |n| "X-{n}: value\r\n", "\r\nok";
    }
}

pub(crate) mod push_toml {
    const EDGE: &str = "[[nginx]]\nname = \"edge\"\napi = \"http://h/api\"\n";

    lines! {
        many_upstreams: EDGE, |n| "[[upstream]]\nname = \"u{n}\"\nnginx = [\"edge\"]\n", "";
        many_targets: "", |n| "[[nginx]]\nname = \"n{n}\"\napi = \"http://h{n}/api\"\n", "[[upstream]]\nname = \"u\"\n";
        unknown_targets: "", |n| "[[nginx]]\nname = \"n{n}\"\n[[upstream]]\nname = \"u{n}\"\nnginx = [\"edge{n}\"]\n", "";
        unknown_keys: "", |n| "naem{n} = 1\n", "";
        twice: EDGE, |n| "[[upstream]]\nname = \"u{n}\"\nname = \"v\"\n", "";
        syntax_errors: "", |n| "a{n} = = [ \" \n", "";
        many_rules: "[[upstream]]\nname = \"u\"\n", |n| "[[upstream.server]]\ntags = [\"t{n}\"]\nweight = 2\n", "";
        headers: "", |n| "[a{n}.b.c]\n", "";
        comments: EDGE, |n| "# comment {n}\n", "";
    }
    repeated! {
        long_string: "id = \"", "é", "\"\n";
        escapes: "id = \"", r"\u00e9\n", "\"\n";
        dotted: "a", ".b", " = 1\n";
        nested: "a = ", "[", "";
    }

    pub(crate) fn one_line(size: usize) -> Vec<u8> {
        let part = |n| format!("{{ name = \"u{n}\", nmae = 1 }}");
        super::listed(
            size,
            "nginx = [{ name = \"e\" }]\nupstream = [",
            part,
            "]\n",
        )
    }

    pub(crate) fn long_list(size: usize) -> Vec<u8> {
        let head = format!("{EDGE}[[upstream]]\nname = \"u\"\nversions = [");
        super::listed(size, &head, |n| format!("\"v{n}\""), "]\n")
    }

    /// Every upstream goes to every target: the text is linear in both, the routes are not, so the targets stay few.
    pub(crate) fn upstreams_of_all(size: usize) -> Vec<u8> {
        let targets: String = (0..5)
            .map(|n| format!("[[vulcand]]\nname = \"v{n}\"\nprefix = \"/v{n}\"\n"))
            .collect();
        super::many(
            size,
            &targets,
            |n| format!("[[upstream]]\nname = \"u{n}\"\n"),
            "",
        )
    }
}
