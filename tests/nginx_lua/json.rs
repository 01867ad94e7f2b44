//! The two readers of JSON, lua-cjson and our own: nobody can tell which one is in use.

use serde_json::json;

use crate::support::{Nginx, Settings};

/// `/reader` says whether lua-cjson is in use. `/decode` shows what becomes of a body, as the library reads it and as our
/// own reader does; the second line is empty when both are the same.
const LOCATIONS: &str = r#"
    location /reader { content_by_lua_block { ngx.print(tostring(require("upstream_api.json").uses_cjson)) } }
    location /decode {
        client_body_buffer_size 64k;
        content_by_lua_block {
            local json, reader = require "upstream_api.json", require "upstream_api.json.reader"
            local function show(value)
                if type(value) ~= "table" then
                    return type(value) .. " " .. string.format("%q", tostring(value)):gsub("\n", "n")
                end
                local parts = {}
                for name, item in pairs(value) do
                    parts[#parts + 1] = show(name) .. " = " .. show(item)
                end
                table.sort(parts)
                return (json.is_array(value) and "array" or "object") .. " { " .. table.concat(parts, ", ") .. " }"
            end
            local function outcome(decode, text)
                local value, why = decode(text)
                return why and "error: " .. why or show(value)
            end
            ngx.req.read_body()
            local text = ngx.req.get_body_data() or ""
            local found, own = outcome(json.decode, text), outcome(reader.decode, text)
            ngx.say(found)
            ngx.say(found == own and "" or own)
        }
    }
"#;

async fn decoded(nginx: &Nginx, text: &[u8]) -> String {
    let text = text.to_vec();
    let answer = crate::support::request(nginx.traffic(), "POST", "/decode", text).await;
    answer.expect("an answer").body
}

#[tokio::test]
async fn lua_cjson_is_used_where_it_is_installed_and_not_missed_where_it_is_not() {
    for (settings, uses) in [
        (Settings::default(), "true"),
        (Settings::default().without_cjson(), "false"),
    ] {
        let nginx = settings.locations(LOCATIONS).start().await;
        assert_eq!(nginx.get("/reader").await.unwrap().body, uses);
        let text = br#"{"a":[1,{"b":null}],"c":[]}"#;
        let found = decoded(&nginx, text).await;
        let expected = r#"object { string "a" = array { number "1" = number "1", "#;
        assert!(found.starts_with(expected), "{found}");
        assert!(found.contains(r#"string "c" = array {  }"#), "{found}");
    }
}

#[tokio::test]
async fn a_module_that_is_only_called_cjson_stops_nothing() {
    for before in [
        "package.preload.cjson = function() return { new = function() return {} end } end",
        "package.preload.cjson = function() return { new = function() end } end",
        "package.preload.cjson = function() return { new = function() error('no') end } end",
        "package.preload.cjson = function() return true end",
    ] {
        let nginx = Settings::default().before(before);
        let nginx = nginx.locations(LOCATIONS).start().await;
        assert_eq!(nginx.get("/reader").await.unwrap().body, "false");
        assert!(decoded(&nginx, b"[1]").await.contains("number"), "{before}");
    }
}

#[tokio::test]
async fn both_readers_take_and_refuse_the_same_texts_in_the_same_words() {
    let nginx = Settings::default().locations(LOCATIONS).start().await;
    let state = json!({"format": 1, "upstreams": {"website": {"servers": [
        {"server": "10.0.0.1:80", "weight": 1, "fail_timeout": "10s", "drain": true, "n": null},
        {"server": "[::1]:80", "max_conns": -1.5e3, "x": [[0], {}, [1, false]]},
    ]}}})
    .to_string();
    let nested = |depth: usize, inside: &str| "[".repeat(depth) + inside + &"]".repeat(depth);
    let mut texts: Vec<Vec<u8>> = [
        "{}",
        " {} ",
        "[]",
        "{}\n",
        "{}\n\n",
        "{}\0",
        "{\"a\":1}\0x",
        "[ ]",
        "[\t]",
        "1",
        "1.",
        "-.5",
        "null",
        "",
        "[1.]",
        "[1.,2]",
        "[1.e3]",
        "[-.5]",
        "[.5]",
        "[-]",
        "[--1]",
        "[+1]",
        "[01]",
        "[-01]",
        "[0x10]",
        "[1e]",
        "[1e+]",
        "[1e400]",
        "[-1e400]",
        "[1E2]",
        "[1e-2]",
        "[-0]",
        "[NaN]",
        "[nan]",
        "[inf]",
        "[-inf]",
        "[Infinity]",
        "[true]",
        "[True]",
        "[tru]",
        "[truely]",
        "[nulls]",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1]]",
        "[",
        "{",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":1,\"a\":2}",
        "{\"\":1}",
        "{\"1\":1}",
        "{\"a\":[],\"b\":{}}",
        "[\"a\nb\"]",
        "[\"a\tb\"]",
        "[\"a\u{1}b\"]",
        "[\"a\u{7f}b\"]",
        "[\"\u{e9}\u{1f600}\"]",
        "[\"\\u00e9\"]",
        "[\"\\ud83d\\ude00\"]",
        "[\"\\ud83d\"]",
        "[\"\\ude00\"]",
        "[\"\\ud83d\\u0041\"]",
        "[\"\\u0000\"]",
        "[\"\\u12\"]",
        "[\"\\x\"]",
        "[\"\\/\\b\\f\\n\\r\\t\\\\\\\"\"]",
        "[\"",
        "[\"\\",
        "[\"[]\"]",
        "\u{feff}{}",
        "{}x",
        "[9007199254740993]",
        "[123456789012345678901234567890]",
        "/* */ {}",
        "[1]//",
        "{\"server\":\"unix:/run/a1.sock\"}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    for depth in [13, 14, 15, 16, 17, 2000] {
        texts.extend(
            [
                nested(depth, ""),
                nested(depth, "1"),
                nested(depth, "{\"a\":1}"),
            ]
            .map(String::into_bytes),
        );
    }
    texts.push([b"[\"".as_slice(), &[0xff, 0xc0], b"\"]"].concat());
    // Cut off anywhere, and with another character in every place.
    for at in 0..state.len() {
        texts.push(state.as_bytes()[..at].to_vec());
        let mut changed = state.clone().into_bytes();
        changed[at] = b"[]{},:\"0.\\e-\n \0"[at % 15];
        texts.push(changed);
    }
    for text in texts {
        let shown = String::from_utf8_lossy(&text);
        let found = decoded(&nginx, &text).await;
        let (found, own) = found.split_once('\n').expect("two lines");
        assert_eq!(own.trim_end(), "", "{shown:.300}\ninstead of {found:.300}");
    }
}
