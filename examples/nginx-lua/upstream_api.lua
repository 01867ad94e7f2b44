-- upstream_api: the upstream part of the NGINX Plus REST API for open-source nginx.
--
-- One file for nginx with lua-nginx-module (Debian: libnginx-mod-http-lua) or OpenResty. It keeps the servers of
-- http upstreams in a shared dictionary, balances requests over them and serves the same REST API as NGINX Plus
-- (versions 2 to 9), so that whatever manages servers there manages them here, without a reload.
--
--   lua_shared_dict upstreams 1m;
--   init_by_lua_block { require("upstream_api").setup{ dict = "upstreams", upstreams = { "website" } } }
--   log_by_lua_block  { require("upstream_api").log() }
--   upstream website {
--       server 0.0.0.1;                                    # never used, but nginx wants one
--       balancer_by_lua_block { require("upstream_api").balance("website") }
--       keepalive 32;                                      # after the balancer
--   }
--   server {
--       listen 127.0.0.1:8080;
--       location /api { content_by_lua_block { require("upstream_api").serve() } }
--   }
--
-- setup{ ... } takes
--   dict       name of a lua_shared_dict for this purpose alone, 64k or more. Count 2 KB for each server and
--              256 bytes for each server and worker process: 1m is right for some 200 servers.
--   upstreams  names, or names with the servers to start from, in the API's own terms:
--              { "website", shop = { servers = { "10.0.0.1:80", { server = "10.0.0.2:80", weight = 2 } } } }
--   state      file that keeps the servers over a restart of nginx. The worker processes must be able to write to
--              its folder (a relative one is below nginx's prefix). What it says about an upstream goes before the
--              servers to start from.
--
-- serve{ ... } takes
--   mount      the prefix of the location; needed only when it lies below /api/ or has a part made of digits
--   write      false: the API is read-only
--
-- What differs from NGINX Plus:
--   * Servers survive a reload of the configuration (they live in the dictionary), with the same ids.
--   * Names as addresses are refused, there is no resolver for them: UpstreamConfNoResolver.
--   * There are no sticky sessions, so "drain" means no new requests, and "route" is only kept and shown.
--   * There are no health checks and no queue; "keepalive" (idle connections) reads 0, nginx does not tell.
--   * `active` counts requests until they end for the client (log phase), not for the server alone.
--   * Statistics other than `active` are at most a tenth of a second late.

local base = require "resty.core.base"
local balancer = require "ngx.balancer"
local process = require "ngx.process"
local raw_log = require("ngx.errlog").raw_log
local ffi = require "ffi"

local ngx = ngx
local var = ngx.var
local ffi_cast = ffi.cast
local get_request = base.get_request
local set_current_peer = balancer.set_current_peer
local get_last_failure = balancer.get_last_failure
local set_more_tries = balancer.set_more_tries

local concat, sort = table.concat, table.sort
local byte, char, find, format, gmatch, gsub = string.byte, string.char, string.find, string.format, string.gmatch,
    string.gsub
local match, rep, sub = string.match, string.rep, string.sub
local floor, max = math.floor, math.max

local _M = { _VERSION = "0.1.0" }

-- What setup() was told. The rest of the module finds no dictionary before that.
local settings
local dict

---------------------------------------------------------------------------------------------------------------------
-- Words: log lines, quoting, times
---------------------------------------------------------------------------------------------------------------------

-- ngx.log would put the name of this very function before every line.
local function log_line(level, ...)
    raw_log(level, "upstream_api: " .. concat({ ... }))
end

-- Text from outside, made harmless for a log line or an error message.
local function quoted(text)
    text = tostring(text)
    if #text > 80 then
        text = sub(text, 1, 77) .. "..."
    end
    return '"' .. gsub(text, '[^\32-\126]', "?") .. '"'
end

local function iso_time(seconds)
    local whole = floor(seconds)
    return format("%s.%03dZ", os.date("!%Y-%m-%dT%H:%M:%S", whole), floor((seconds - whole) * 1000))
end

-- An error of the API: HTTP status, NGINX Plus's code, a sentence.
local function fault(status, code, text)
    return { status = status, code = code, text = text }
end

---------------------------------------------------------------------------------------------------------------------
-- JSON. Debian's lua module comes without a JSON library, and the API must tell [] from {}.
---------------------------------------------------------------------------------------------------------------------

local ARRAY, object, put, array, encode, decode, is_object, NULL

do
    local OBJECT = {}
    ARRAY = {}
    NULL = setmetatable({}, { __tostring = function() return "null" end })
    local MAX_DEPTH = 16

    -- An object that remembers the order of its members, for readers' sake.
    function object()
        return setmetatable({ names = {}, values = {} }, OBJECT)
    end

    function put(target, name, value)
        local names = target.names
        names[#names + 1] = name
        target.values[name] = value
        return target
    end

    function array(list)
        return setmetatable(list or {}, ARRAY)
    end

    local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

    local function escape(c)
        return ESCAPES[c] or format("\\u%04x", byte(c))
    end

    local encode_into

    local function encode_members(out, value)
        local values = value.values
        for i, name in ipairs(value.names) do
            out[#out + 1] = (i == 1 and '{"' or ',"') .. gsub(name, '[%c"\\]', escape) .. '":'
            encode_into(out, values[name])
        end
        out[#out + 1] = #value.names == 0 and "{}" or "}"
    end

    local function encode_items(out, value)
        out[#out + 1] = "["
        for i, item in ipairs(value) do
            if i > 1 then
                out[#out + 1] = ","
            end
            encode_into(out, item)
        end
        out[#out + 1] = "]"
    end

    encode_into = function(out, value)
        local kind = type(value)
        if kind == "string" then
            out[#out + 1] = '"' .. gsub(value, '[%c"\\]', escape) .. '"'
        elseif kind == "number" then
            out[#out + 1] = format("%.0f", value)
        elseif kind == "boolean" then
            out[#out + 1] = tostring(value)
        elseif getmetatable(value) == OBJECT then
            encode_members(out, value)
        else
            encode_items(out, value)
        end
    end

    function encode(value)
        local out = {}
        encode_into(out, value)
        return concat(out)
    end

    local function json_error(at, what)
        error(what .. " at byte " .. at, 0)
    end

    local function skip_space(text, at)
        return match(text, "^[ \t\r\n]*()", at)
    end

    local function utf8(code)
        if code < 0x80 then
            return char(code)
        elseif code < 0x800 then
            return char(0xC0 + floor(code / 64), 0x80 + code % 64)
        elseif code < 0x10000 then
            return char(0xE0 + floor(code / 4096), 0x80 + floor(code / 64) % 64, 0x80 + code % 64)
        end
        return char(0xF0 + floor(code / 262144), 0x80 + floor(code / 4096) % 64, 0x80 + floor(code / 64) % 64,
                    0x80 + code % 64)
    end

    -- The character behind \u at `at` (the first hex digit), and where it ends.
    local function decode_unicode(text, at)
        local high = tonumber(match(text, "^%x%x%x%x", at) or json_error(at, "bad \\u escape"), 16)
        if high < 0xD800 or high > 0xDFFF then
            return utf8(high), at + 4
        end
        local low = tonumber(match(text, "^\\u(%x%x%x%x)", at + 4) or "0", 16)
        if high > 0xDBFF or low < 0xDC00 or low > 0xDFFF then
            json_error(at, "lone surrogate")
        end
        return utf8(0x10000 + (high - 0xD800) * 1024 + (low - 0xDC00)), at + 10
    end

    local UNESCAPES = {
        ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t",
    }

    -- The string whose opening quote stands at `at`.
    local function decode_string(text, at)
        local parts, from = {}, at + 1
        while true do
            local stop = find(text, '[%z\1-\31"\\]', from) or json_error(at, "unfinished string")
            parts[#parts + 1] = sub(text, from, stop - 1)
            local c = sub(text, stop, stop)
            if c == '"' then
                return concat(parts), stop + 1
            elseif c ~= "\\" then
                json_error(stop, "control character in a string")
            end
            local escaped = sub(text, stop + 1, stop + 1)
            if escaped == "u" then
                parts[#parts + 1], from = decode_unicode(text, stop + 2)
            else
                parts[#parts + 1], from = UNESCAPES[escaped] or json_error(stop, "unknown escape"), stop + 2
            end
        end
    end

    local function decode_number(text, at)
        local whole, stop = match(text, "^-?(%d+)()", at)
        if not whole or (#whole > 1 and byte(whole) == 48) then
            json_error(at, "unexpected character")
        end
        stop = match(text, "^%.%d+()", stop) or stop
        stop = match(text, "^[eE][+-]?%d+()", stop) or stop
        return tonumber(sub(text, at, stop - 1)), stop
    end

    local decode_value

    local function decode_array(text, at, depth)
        local list = array()
        at = skip_space(text, at + 1)
        if byte(text, at) == 93 then
            return list, at + 1
        end
        while true do
            list[#list + 1], at = decode_value(text, at, depth + 1)
            at = skip_space(text, at)
            local c = byte(text, at)
            if c == 93 then
                return list, at + 1
            elseif c ~= 44 then
                json_error(at, "expected , or ]")
            end
            at = at + 1
        end
    end

    local function decode_object(text, at, depth)
        local members = {}
        at = skip_space(text, at + 1)
        if byte(text, at) == 125 then
            return members, at + 1
        end
        while true do
            at = skip_space(text, at)
            if byte(text, at) ~= 34 then
                json_error(at, "expected a name")
            end
            local name
            name, at = decode_string(text, at)
            at = skip_space(text, at)
            if byte(text, at) ~= 58 then
                json_error(at, "expected :")
            end
            members[name], at = decode_value(text, at + 1, depth + 1)
            at = skip_space(text, at)
            local c = byte(text, at)
            if c == 125 then
                return members, at + 1
            elseif c ~= 44 then
                json_error(at, "expected , or }")
            end
            at = at + 1
        end
    end

    local LITERALS = { ["true"] = true, ["false"] = false, null = NULL }

    decode_value = function(text, at, depth)
        if depth > MAX_DEPTH then
            json_error(at, "nested too deeply")
        end
        at = skip_space(text, at)
        local c = byte(text, at)
        if c == 123 then
            return decode_object(text, at, depth)
        elseif c == 91 then
            return decode_array(text, at, depth)
        elseif c == 34 then
            return decode_string(text, at)
        end
        local word, stop = match(text, "^(%l+)()", at)
        if word and LITERALS[word] ~= nil then
            return LITERALS[word], stop
        end
        return decode_number(text, at)
    end

    local function decode_document(text)
        local value, at = decode_value(text, 1, 1)
        at = skip_space(text, at)
        if at <= #text then
            json_error(at, "text after the end")
        end
        return value
    end

    -- The value of a JSON text, or nil and what is wrong. Objects are plain tables, arrays carry ARRAY.
    function decode(text)
        local ok, value = pcall(decode_document, text)
        if ok then
            return value
        end
        return nil, value
    end

    function is_object(value)
        return type(value) == "table" and value ~= NULL and getmetatable(value) ~= ARRAY
    end
end

---------------------------------------------------------------------------------------------------------------------
-- Addresses, in the spelling nginx itself prints, so that clients can compare them as text
---------------------------------------------------------------------------------------------------------------------

local split_port, is_host_name, parse_address

do
    local function ipv4_octets(text)
        local octets = { match(text, "^(%d+)%.(%d+)%.(%d+)%.(%d+)$") }
        for i = 1, 4 do
            local octet = octets[i]
            -- A leading zero means octal to some readers and decimal to others.
            if not octet or #octet > 3 or tonumber(octet) > 255 or (#octet > 1 and byte(octet) == 48) then
                return nil
            end
            octets[i] = tonumber(octet)
        end
        return octets
    end

    -- The 16-bit groups of one side of "::"; only the very last group of an address may be written as IPv4.
    local function ipv6_groups(text, is_last)
        local words = {}
        if text == "" then
            return words
        end
        for group, stop in gmatch(text .. ":", "([^:]*):()") do
            if match(group, "^%x%x?%x?%x?$") then
                words[#words + 1] = tonumber(group, 16)
            else
                local octets = is_last and stop > #text and ipv4_octets(group)
                if not octets then
                    return nil
                end
                words[#words + 1] = octets[1] * 256 + octets[2]
                words[#words + 1] = octets[3] * 256 + octets[4]
            end
        end
        return words
    end

    local function ipv6_words(text)
        local gap = find(text, "::", 1, true)
        if not gap then
            local words = ipv6_groups(text, true)
            return words and #words == 8 and words or nil
        end
        local words, tail = ipv6_groups(sub(text, 1, gap - 1), false), ipv6_groups(sub(text, gap + 2), true)
        if not words or not tail or #words + #tail > 7 then
            return nil
        end
        for _ = 1, 8 - #words - #tail do
            words[#words + 1] = 0
        end
        for _, word in ipairs(tail) do
            words[#words + 1] = word
        end
        return words
    end

    -- Where the longest run of two or more zero groups starts, and its length.
    local function longest_zeros(words)
        local best, length, run = nil, 1, 0
        for i = 1, 8 do
            run = words[i] == 0 and run + 1 or 0
            if run > length then
                best, length = i - run + 1, run
            end
        end
        return best, length
    end

    local function ipv6_text(words)
        local best, length = longest_zeros(words)
        if best == 1 and length == 5 and words[6] == 0xFFFF then
            local high, low = words[7], words[8]
            return format("::ffff:%d.%d.%d.%d", floor(high / 256), high % 256, floor(low / 256), low % 256)
        end
        local groups = {}
        for i = 1, 8 do
            groups[i] = format("%x", words[i])
        end
        if not best then
            return concat(groups, ":")
        end
        return concat(groups, ":", 1, best - 1) .. "::" .. concat(groups, ":", best + length, 8)
    end

    function is_host_name(text)
        return #text <= 253 and match(text, "^[%w_][%w_.-]*$") ~= nil and not find(text, "..", 1, true)
    end

    local function bad_address(text, why)
        return nil, fault(400, "UpstreamBadAddress", why .. " while parsing " .. quoted(text))
    end

    -- Splits "host", "host:port", "[v6]" and "[v6]:port". The port is nil when there is none, false when it is wrong.
    function split_port(text)
        local host, rest = match(text, "^(%[[^%]]*%])(.*)$")
        if not host then
            host, rest = match(text, "^([^:]*)(.*)$")
        end
        if rest == "" then
            return host, nil
        end
        local digits = match(rest, "^:(%d%d?%d?%d?%d?)$")
        local port = digits and tonumber(digits) or 0
        return host, port >= 1 and port <= 65535 and port
    end

    local function parse_unix(text)
        -- sun_path holds 107 bytes and a zero.
        local path = match(text, "^unix:(/[\33-\126]+)$")
        if not path or #path > 107 then
            return bad_address(text, "bad path of a unix socket")
        end
        return { server = text, host = text, port = 0 }
    end

    -- A server's address: `server` is its canonical text, `host` and `port` are what the balancer connects to.
    -- Port 80 when none is given, as nginx does. A host name is told apart from nonsense: it wants a resolver.
    function parse_address(text)
        if sub(text, 1, 5) == "unix:" then
            return parse_unix(text)
        end
        local host, port = split_port(text)
        if port == false then
            return bad_address(text, "invalid port")
        end
        local inside = match(host, "^%[(.*)%]$")
        if inside then
            local words = ipv6_words(inside)
            host = words and "[" .. ipv6_text(words) .. "]"
        elseif match(host, "^[%d.]+$") then
            local octets = ipv4_octets(host)
            host = octets and concat(octets, ".")
        elseif is_host_name(host) then
            return nil, fault(400, "UpstreamConfNoResolver", "no resolver defined to resolve " .. quoted(host))
        else
            host = nil
        end
        if not host then
            return bad_address(text, "invalid host")
        end
        port = port or 80
        return { server = host .. ":" .. port, host = host, port = port }
    end
end

---------------------------------------------------------------------------------------------------------------------
-- Server parameters
---------------------------------------------------------------------------------------------------------------------

local parse_time, new_record, patched_record, show_record

do
    local MAX_INTEGER = 2147483647

    -- Unit -> its place in the order nginx demands, and its length in seconds. A bare number is seconds and comes last.
    local TIME_UNITS = {
        y = { 1, 31536000 }, M = { 2, 2592000 }, w = { 3, 604800 }, d = { 4, 86400 }, h = { 5, 3600 }, m = { 6, 60 },
        s = { 7, 1 }, ms = { 8, 0.001 }, [""] = { 9, 1 },
    }

    -- Seconds of a time as nginx writes them ("10s", "1h 30m", "500ms", "10"), or nil.
    function parse_time(text)
        local total, last, at = 0, 0, 1
        while at <= #text do
            local digits, unit, stop = match(text, "^(%d+)(%a*) *()", at)
            local step = digits and #digits <= 10 and TIME_UNITS[unit]
            if not step or step[1] <= last then
                return nil
            end
            total, last, at = total + tonumber(digits) * step[2], step[1], stop
        end
        return last > 0 and total <= MAX_INTEGER and total or nil
    end

    local function check_integer(lowest)
        return function(value)
            return value >= lowest and value <= MAX_INTEGER and value + 0 or nil -- -0 becomes 0
        end
    end

    -- Times are kept as they were written: clients compare them as text with what they want.
    local function check_time(allows_milliseconds)
        return function(value)
            if type(value) == "number" then
                value = format("%.0fs", value)
            end
            if find(value, "ms", 1, true) and not allows_milliseconds then
                return nil
            end
            return parse_time(value) and value
        end
    end

    local function check_route(value)
        return #value <= 32 and not find(value, "[^\33-\126]") and value or nil
    end

    local function check_boolean(value)
        return value
    end

    -- In the order of NGINX Plus's own output. `number`, `string` and `boolean` are the JSON types it takes, `code` is
    -- the error of a right type with a wrong value; a `fixed` one is given when the server is added, and cannot be changed.
    local PARAMETERS = {
        { name = "weight", default = 1, number = true, code = "UpstreamBadWeight", check = check_integer(1) },
        { name = "max_conns", default = 0, number = true, code = "UpstreamBadMaxConns", check = check_integer(0) },
        { name = "max_fails", default = 1, number = true, code = "UpstreamBadMaxFails", check = check_integer(0) },
        { name = "fail_timeout", default = "10s", number = true, string = true, code = "UpstreamBadFailTimeout",
          check = check_time(false) },
        { name = "slow_start", default = "0s", number = true, string = true, code = "UpstreamBadSlowStart",
          check = check_time(true) },
        { name = "route", default = "", string = true, code = "UpstreamBadRoute", check = check_route },
        { name = "backup", default = false, boolean = true, fixed = true, check = check_boolean },
        { name = "down", default = false, boolean = true, check = check_boolean },
        { name = "drain", default = false, boolean = true, check = check_boolean },
    }

    local PARAMETER = {}
    for _, parameter in ipairs(PARAMETERS) do
        PARAMETER[parameter.name] = parameter
    end

    local function format_fault(text)
        return fault(400, "UpstreamConfFormatError", text)
    end

    local function check_parameter(name, value)
        local parameter = PARAMETER[name]
        local kind = type(value)
        if kind == "table" and value ~= NULL then
            return nil, format_fault("nested object or list")
        elseif not parameter[kind] or (kind == "number" and (value ~= floor(value) or value - value ~= 0)) then
            return nil, format_fault("invalid " .. quoted(name) .. " value")
        end
        local checked = parameter.check(value)
        if checked == nil then
            return nil, fault(400, parameter.code, "invalid " .. quoted(name))
        end
        return checked
    end

    -- `service` asks for SRV records, which would need a resolver even if everything else were right.
    local function refuse_service(given)
        local service, server = given.service, given.server
        if type(service) ~= "string" then
            return format_fault('invalid "service" value')
        elseif service == "" then
            return fault(400, "UpstreamBadService", '"service" is empty')
        end
        local host, port = split_port(server)
        if port ~= nil then
            return fault(400, "UpstreamBadAddress", "service upstream " .. quoted(host) .. " may not have port")
        elseif match(host, "^[%d.]+$") or not is_host_name(host) then
            return fault(400, "UpstreamBadAddress", "service upstream " .. quoted(host) .. " requires domain name")
        end
        return fault(400, "UpstreamConfNoResolver", "no resolver defined to resolve " .. quoted(host))
    end

    -- The address in `given`, parsed, or nil and the fault. `given.server` must be there.
    local function check_server(given)
        local server = given.server
        if type(server) == "table" and server ~= NULL then
            return nil, format_fault("nested object or list")
        elseif type(server) ~= "string" then
            return nil, format_fault('invalid "server" value')
        elseif given.service ~= nil then
            return nil, refuse_service(given)
        end
        return parse_address(server)
    end

    -- Checks every parameter in `given` into `record`. `adding` tells a POST from a PATCH.
    local function apply_parameters(record, given, adding)
        local names = {}
        for name in pairs(given) do
            names[#names + 1] = tostring(name) -- in setup{} it may be a number
        end
        sort(names) -- so that the same wrong body always gets the same answer
        for _, name in ipairs(names) do
            local parameter = PARAMETER[name]
            if not parameter then
                if name ~= "server" and not (name == "service" and adding) then
                    return nil, format_fault("unknown parameter " .. quoted(name))
                end
            else
                local checked, problem = check_parameter(name, given[name])
                if checked == nil then
                    return nil, problem
                elseif parameter.fixed and not adding and checked ~= record[name] then
                    return nil, format_fault(quoted(name) .. " cannot be changed")
                end
                record[name] = checked
            end
        end
        return record
    end

    -- A server record from a POST body, a state file or setup{}; without id. Records never change once made.
    function new_record(given)
        if not is_object(given) then
            return nil, format_fault("a server must be an object")
        elseif given.server == nil then
            return nil, format_fault('missing "server" argument')
        end
        local record = {}
        for _, parameter in ipairs(PARAMETERS) do
            record[parameter.name] = parameter.default
        end
        local ok, problem = apply_parameters(record, given, true)
        if not ok then
            return nil, problem
        end
        local address
        address, problem = check_server(given)
        if not address then
            return nil, problem
        end
        record.server, record.host, record.port = address.server, address.host, address.port
        return record
    end

    -- `record` with the changes of a PATCH body.
    function patched_record(record, given)
        if not is_object(given) then
            return nil, format_fault("a server must be an object")
        end
        local changed = { id = record.id, server = record.server, host = record.host, port = record.port }
        for _, parameter in ipairs(PARAMETERS) do
            changed[parameter.name] = record[parameter.name]
        end
        local ok, problem = apply_parameters(changed, given, false)
        if ok and given.server ~= nil then
            local address
            address, problem = check_server(given)
            ok = address
            if address then
                changed.server, changed.host, changed.port = address.server, address.host, address.port
            end
        end
        if not ok then
            return nil, problem
        end
        return changed
    end

    -- The server object of the API. NGINX Plus leaves `drain` out when it is false. The state file takes no ids.
    function show_record(record, without_id)
        local shown = object()
        if not without_id then
            put(shown, "id", record.id)
        end
        put(shown, "server", record.server)
        for _, parameter in ipairs(PARAMETERS) do
            local name = parameter.name
            if name ~= "drain" or record.drain then
                put(shown, name, record[name])
            end
        end
        return shown
    end
end

---------------------------------------------------------------------------------------------------------------------
-- The dictionary. What stands in it, NAME being an upstream, ID a server, TOKEN a worker process:
--
--   v/NAME            version: +1 with every change that a balancer must know
--   c/NAME/COPY       the servers, as text; p/NAME says which copy holds
--   e/NAME            +1 with every reset of the statistics
--   a/TOKEN/NAME/ID   requests that this worker has on this server now
--   w/SLOT            TOKEN of the worker that has this slot
--   t/TOKEN           somebody takes over what the dead TOKEN has left
--   f/NAME/ID         failures within the running fail_timeout
--   u/NAME/ID         unavailable until this time; a negative one: recovered then
--   b/NAME/ID         one request is finding out whether an unavailable server works again
--   s/NAME/ID/FIELD   statistics
--   x/GENERATION/...  a line of the log that must not come again
--   names, generation, lock
--
-- A full dictionary must never push anything out, so nothing here uses a call that may evict (set and add on new
-- keys, incr with an initial value). Reserved space keeps room for what must not fail.
---------------------------------------------------------------------------------------------------------------------

local SMALLEST_DICT = 64 * 1024

-- Bytes that only the lock, the workers' counts and the bookkeeping of failures may use.
local function reserve()
    return max(16 * 1024, floor(dict:capacity() / 8))
end

local function has_room()
    if dict:free_space() >= reserve() then
        return true
    end
    dict:flush_expired()
    return dict:free_space() >= reserve()
end

-- At most once in `pause` seconds (0: once) over all workers, for lines that would come with every request.
local function say_rarely(pause, topic, level, ...)
    local first, why = dict:safe_add("x/" .. settings.generation .. "/" .. topic, true, pause)
    if first or why ~= "exists" then
        log_line(level, ...)
    end
end

local function dict_is_full(what)
    say_rarely(60, "full", ngx.ERR, "shared dictionary ", quoted(settings.dict), " is full, ", what,
               "; give its lua_shared_dict more memory and restart nginx")
end

-- Adds to a number that may not exist yet; false when there is no memory for it.
local function add_up(key, delta)
    while true do
        if dict:incr(key, delta) then
            return true
        end
        local added, why = dict:safe_add(key, delta)
        if added then
            return true
        elseif why ~= "exists" then
            return false
        end
    end
end

---------------------------------------------------------------------------------------------------------------------
-- Worker processes. Active requests are counted for each process apart, so that those of a killed one can be told
-- and left out. A TOKEN is the process id and its start time, because process ids come back.
---------------------------------------------------------------------------------------------------------------------

ffi.cdef [[
int upstream_api_kill(int pid, int sig) __asm__("kill");
int upstream_api_open(const char *path, int flags, ...) __asm__("open");
ssize_t upstream_api_read(int fd, void *to, size_t size) __asm__("read");
int upstream_api_close(int fd) __asm__("close");
char *upstream_api_strerror(int number) __asm__("strerror");
]]

local C = ffi.C
local NO_SUCH_FILE, NO_SUCH_PROCESS = 2, 3
local TOKEN_LENGTH = 31

-- State letter and start time (in clock ticks since boot, as text) of a process; nil and an error number otherwise.
local function process_stat(pid)
    local file, _, number = io.open("/proc/" .. pid .. "/stat")
    if not file then
        return nil, number
    end
    local line
    line, _, number = file:read("*l")
    file:close()
    if not line then
        return nil, number
    end
    -- The command's name stands in brackets and may hold anything, so start behind the last one.
    local fields = {}
    for field in gmatch(match(line, "^.*%)(.*)$") or "", "%S+") do
        fields[#fields + 1] = field
    end
    return fields[1], fields[20]
end

-- Of fixed length, so that the dictionary can put one token in the place of another. Start 0: no /proc here.
local function make_token(pid)
    local state, started = process_stat(pid)
    return format("%010d.%020.0f", pid, state and tonumber(started) or 0)
end

-- Whatever keeps us from knowing, such as too many open files, must not make a live process dead: its requests would
-- not be counted any more.
local function is_alive(token)
    local pid, started = match(token, "^0*(%d+)%.0*(%d*)$")
    if started == "" then
        return C.upstream_api_kill(tonumber(pid), 0) == 0 or ffi.errno() ~= NO_SUCH_PROCESS
    end
    local state, seen = process_stat(pid)
    if not state then
        return seen ~= NO_SUCH_FILE and seen ~= NO_SUCH_PROCESS
    end
    return seen == started and state ~= "Z" and state ~= "X"
end

local upstreams = {} -- name -> view, see "The worker's view"
local load_config    -- defined with the store

local function active_key(token, name, id)
    return "a/" .. token .. "/" .. name .. "/" .. id
end

-- Only to free memory: nobody reads the counts of a process that has no slot.
local function forget_counts(token)
    for name in pairs(upstreams) do
        local config = load_config(name)
        for _, record in ipairs(config and config.records or {}) do
            dict:delete(active_key(token, name, record.id))
        end
        for _, id in ipairs(config and config.zombies or {}) do
            dict:delete(active_key(token, name, id))
        end
    end
end

-- Slots are numbered without gaps, so that a reader finds them all. The slot of a dead process goes to the next one
-- that asks; t/TOKEN decides between two that ask at the same time.
local function claim_slot(token)
    for slot = 1, math.huge do
        local key = "w/" .. slot
        local added, why = dict:safe_add(key, token)
        if added then
            return true
        elseif why ~= "exists" then
            return false
        end
        local owner = dict:get(key)
        if owner and not is_alive(owner) and dict:safe_add("t/" .. owner, true, 3600) and dict:get(key) == owner then
            dict:safe_set(key, token)
            forget_counts(owner)
            return true
        end
    end
end

local me = {}

-- This process's token. The first call registers the process, so it comes before the first count.
local function my_token()
    local pid = ngx.worker.pid()
    if me.pid ~= pid then
        me.pid, me.token = pid, make_token(pid)
        if not claim_slot(me.token) then
            dict_is_full("the requests of worker " .. pid .. " are not counted")
        end
    end
    return me.token
end

-- The processes that may have active requests: TOKENs, and below `dead` what is known of them.
local function list_workers()
    local workers = { dead = {} }
    for slot = 1, math.huge do
        local token = dict:get("w/" .. slot)
        if not token then
            return workers
        end
        workers[slot] = token
    end
end

-- Requests active on a server, of all live workers. Call list_workers after the change whose effect is asked for.
local function count_active(workers, name, id)
    local total = 0
    for _, token in ipairs(workers) do
        local count = dict:get(active_key(token, name, id))
        if count and count > 0 then
            if workers.dead[token] == nil then
                workers.dead[token] = not is_alive(token)
            end
            if not workers.dead[token] then
                total = total + count
            end
        end
    end
    return total
end

---------------------------------------------------------------------------------------------------------------------
-- One writer at a time. The lock has no expiry: a holder that is merely slow or stopped would come back and undo what
-- others wrote meanwhile. It is broken only when its holder is dead, which the token tells. Between lock and unlock
-- nothing yields, so one process never waits for itself.
---------------------------------------------------------------------------------------------------------------------

local LOCK_PATIENCE = 5 -- seconds
local lock_serial = 0

local function break_lock(holder)
    -- The winner of t/HOLDER is the only one who may delete, and the holder itself cannot any more.
    if dict:safe_add("t/" .. holder, true, 3600) and dict:get("lock") == holder then
        for name in pairs(upstreams) do
            dict:incr("v/" .. name, 1) -- its last change may be in place but unannounced
        end
        dict:delete("lock")
        log_line(ngx.WARN, "worker ", tonumber(sub(holder, 1, 10)), " died while it changed an upstream")
    end
end

-- true, or nil and the fault to answer with.
local function lock()
    lock_serial = lock_serial + 1
    local mine = my_token() .. "/" .. lock_serial
    local give_up = ngx.now() + LOCK_PATIENCE
    repeat
        local added, why = dict:safe_add("lock", mine)
        if added then
            return true
        elseif why ~= "exists" then
            dict_is_full("nothing can be changed")
            return nil, fault(400, "UpstreamOutOfMemory", "memory exhausted")
        end
        local holder = dict:get("lock")
        if holder and not is_alive(sub(holder, 1, TOKEN_LENGTH)) then
            break_lock(holder)
        else
            ngx.sleep(0.001 + ngx.worker.pid() % 4 / 1000) -- not all at the same time again
        end
    until ngx.now() > give_up
    local holder = tonumber(sub(dict:get("lock") or "", 1, 10)) or "unknown"
    log_line(ngx.ERR, "worker ", holder, " has been changing an upstream for ", LOCK_PATIENCE,
             " seconds: is it stopped?")
    return nil, fault(503, "UpstreamBusy", "another change does not finish")
end

local function unlock()
    dict:delete("lock")
end

---------------------------------------------------------------------------------------------------------------------
-- The store: the servers of an upstream as text in the dictionary. The first line holds the next free id and the ids
-- of removed servers that may still be busy; then comes one line of JSON for each server. The text is padded, so that
-- most changes overwrite it in place: a change that does not grow the group needs no memory, and a reader sees the
-- old text or the new one. Lines already known are not parsed again.
---------------------------------------------------------------------------------------------------------------------

local known_lines = {} -- name -> line -> record

local function parse_line(line)
    local given = decode(line)
    local id = is_object(given) and given.id
    if not id then
        return nil
    end
    given.id = nil
    local record = new_record(given)
    if record then
        record.id, record.line = id, line
    end
    return record
end

-- The lines of a text, without what comes behind the last one. (A pattern would go through the padding again and
-- again in search of a line's end.)
local function lines_of(text)
    local at = 1
    return function()
        local stop = find(text, "\n", at, true)
        if stop then
            local line = sub(text, at, stop - 1)
            at = stop + 1
            return line
        end
    end
end

local function parse_config(name, text)
    local lines = lines_of(text)
    local before, now = known_lines[name] or {}, {}
    local config = { records = {}, zombies = {} }
    for number in gmatch(lines(), "%d+") do
        if not config.next then
            config.next = tonumber(number)
        else
            config.zombies[#config.zombies + 1] = tonumber(number)
        end
    end
    for line in lines do
        local record = before[line] or parse_line(line)
        if not record then
            return nil
        end
        now[line] = record
        config.records[#config.records + 1] = record
    end
    known_lines[name] = now
    return config
end

local function config_text(config)
    local lines = { concat({ config.next, unpack(config.zombies) }, " ") }
    for i, record in ipairs(config.records) do
        record.line = record.line or encode(show_record(record))
        lines[i + 1] = record.line
    end
    lines[#lines + 1] = ""
    return concat(lines, "\n")
end

-- The configuration { next, records, zombies }, or nil when the dictionary has none (or has lost it).
load_config = function(name)
    for _ = 1, 100 do
        local copy = dict:get("p/" .. name)
        local text = copy and dict:get("c/" .. name .. "/" .. copy)
        if text then
            return parse_config(name, text)
        elseif not copy then
            return nil
        end
        -- The text moved between the two calls.
    end
end

-- Rooms leave 128 bytes for the dictionary's own use below a power of two, which is how its memory is dealt out.
local function room_for(length)
    local room = 2048
    while room - 128 < length do
        room = room * 2
    end
    return room - 128
end

local function move_config(name, copy, text)
    local room = room_for(#text)
    if not dict:safe_set("c/" .. name .. "/" .. copy + 1, text .. rep(" ", room - #text)) then
        return false
    end
    if not dict:safe_set("p/" .. name, copy + 1) then
        dict:delete("c/" .. name .. "/" .. copy + 1)
        return false
    end
    dict:delete("c/" .. name .. "/" .. copy)
    return true
end

-- Writes and announces a configuration; false when there is no memory for it. Call with the lock held.
local function store_config(name, config)
    local text = config_text(config)
    local copy = dict:get("p/" .. name) or 0
    local key = "c/" .. name .. "/" .. copy
    local room = #(dict:get(key) or "")
    if #text <= room then
        dict:safe_set(key, text .. rep(" ", room - #text))
    elseif not move_config(name, copy, text) then
        return false
    end
    return add_up("v/" .. name, 1)
end

---------------------------------------------------------------------------------------------------------------------
-- The state file: {"format":1,"upstreams":{NAME:{"servers":[...]}}}. It is written beside and renamed, so a reader
-- finds the old one or the new one. There is no fsync: it would stop every request of the worker for as long as the
-- disk takes, and a file lost with the machine is repaired by whoever manages the servers. What is read back is
-- trusted no more than a request: everything goes through the checks of a POST.
---------------------------------------------------------------------------------------------------------------------

local load_state, save_state

do
    local MAX_STATE_BYTES = 16 * 1024 * 1024

    -- O_RDONLY|O_NONBLOCK, so that a pipe in the file's place cannot stop nginx from starting.
    local OPEN_FLAGS = ffi.os == "Linux" and 0x800 or 0x4

    local function system_error()
        return ffi.string(C.upstream_api_strerror(ffi.errno()))
    end

    local function read_all(fd)
        local size = 65536
        local buffer, parts, total = ffi.new("char[?]", size), {}, 0
        while true do
            local got = tonumber(C.upstream_api_read(fd, buffer, size))
            if got < 0 then
                return nil, system_error()
            elseif got == 0 then
                return concat(parts)
            end
            parts[#parts + 1], total = ffi.string(buffer, got), total + got
            if total > MAX_STATE_BYTES then
                return nil, "larger than 16 MB"
            end
        end
    end

    -- The text of the file; nil when there is none; nil and the reason when it cannot be read.
    local function read_file(path)
        local fd = C.upstream_api_open(path, OPEN_FLAGS)
        if fd < 0 then
            if ffi.errno() == NO_SUCH_FILE then
                return nil
            end
            return nil, system_error()
        end
        local text, why = read_all(fd)
        C.upstream_api_close(fd)
        return text, why
    end

    local function parse_state(text)
        local document, why = decode(text)
        if document == nil then
            return nil, why
        elseif not is_object(document) or not is_object(document.upstreams) then
            return nil, "it is not a state file"
        elseif document.format ~= 1 then
            return nil, "its format is not 1"
        end
        return document.upstreams
    end

    -- NAME -> { servers = ... } as the file says, nothing checked; empty when there is no file or no sense in it.
    function load_state(path)
        local text, why = read_file(path)
        if text then
            local saved
            saved, why = parse_state(text)
            if saved then
                return saved
            end
        end
        if why then
            log_line(ngx.ERR, "state file ", quoted(path), " is not used: ", why,
                     "; the upstreams start with the servers of setup{}, the next change replaces the file")
        end
        return {}
    end

    local function state_text()
        local all = object()
        for name in gmatch(dict:get("names") or "", "%S+") do
            local config = load_config(name)
            local servers = array()
            for i, record in ipairs(config and config.records or {}) do
                servers[i] = show_record(record, true)
            end
            put(all, name, put(object(), "servers", servers))
        end
        return encode(put(put(object(), "format", 1), "upstreams", all)) .. "\n"
    end

    local function write_state(path)
        local beside = path .. ".new"
        local file, why = io.open(beside, "wb")
        if not file then
            return nil, why
        end
        local ok
        ok, why = file:write(state_text())
        local closed, why_closed = file:close()
        if not ok or not closed then
            os.remove(beside)
            return nil, beside .. ": " .. tostring(why or why_closed)
        end
        return os.rename(beside, path)
    end

    -- A file that cannot be written does not undo the change, nor make it an error for the client: the servers are in
    -- use, and what is at stake is only the next restart. NGINX Plus is not known to do otherwise.
    function save_state()
        if not settings.state then
            return
        end
        local ok, why = write_state(settings.state)
        if not ok then
            log_line(ngx.ERR, "the state file cannot be written, a restart of nginx would lose this change: ", why,
                     "; the worker processes need the right to create files in its folder")
        end
    end
end

---------------------------------------------------------------------------------------------------------------------
-- The worker's view: for each upstream the servers as this process last saw them, ready for balancing. A view is
-- rebuilt only when v/NAME has moved. Peers are kept by id, with what this worker counts on them.
---------------------------------------------------------------------------------------------------------------------

local function new_view(name)
    return {
        name = name,
        version_key = "v/" .. name,
        version = nil,    -- v/NAME when the view was built
        epoch = nil,      -- e/NAME of the statistics that wait to be written
        peers = {},       -- id -> peer, of the servers in the group
        all = {},         -- the same in the group's order
        primary = {},     -- those that may get requests
        backup = {},
        tries = 1,        -- servers that one request may be sent to
        single = false,   -- the only server of a group is never considered unavailable
    }
end

local function new_pending()
    return {
        requests = 0, sent = 0, received = 0, fails = 0, unavail = 0,
        ["1xx"] = 0, ["2xx"] = 0, ["3xx"] = 0, ["4xx"] = 0, ["5xx"] = 0,
        headers = 0, header_time = 0, response_time = 0,
    }
end

-- Where a peer stands in the round at first. Workers that all began with the same server would send it the first
-- request each. (math.random gives the same numbers in all workers, which inherit its seed.)
local function first_place(id, weight)
    return ((ngx.worker.pid() * 7919 + id * 104729) % 1000 / 1000 - 0.5) * weight
end

local every_peer = {} -- peer -> true, also of removed servers while this worker has requests on them

local function new_peer(view, record)
    local id = record.id
    local tail = view.name .. "/" .. id
    local peer = {
        view = view,
        id = id,
        current = first_place(id, record.weight), -- smooth weighted round-robin's account
        held = 0,         -- requests of this worker on this server
        dirty = false,    -- statistics wait to be written
        selected = nil,   -- time of the last selection, if not yet written
        pending = new_pending(),
        codes = {},       -- status -> responses not yet written
        active_key = active_key(my_token(), view.name, id),
        fails_key = "f/" .. tail,
        unavail_key = "u/" .. tail,
        probe_key = "b/" .. tail,
        stats_key = "s/" .. tail .. "/",
    }
    every_peer[peer] = true
    return peer
end

local function seconds(text)
    return parse_time(text) or 0
end

-- Whether failures make the server unavailable at all.
local function can_be_unavailable(peer)
    return peer.max_fails > 0 and peer.fail_timeout > 0 and not peer.view.single
end

local function update_peer(peer, record)
    if peer.record ~= record then
        peer.record = record
        peer.host, peer.port = record.host, record.port
        peer.weight = record.weight
        peer.max_conns = record.max_conns
        peer.max_fails = record.max_fails
        peer.fail_timeout = seconds(record.fail_timeout)
        peer.slow_start = seconds(record.slow_start)
    end
    peer.unavailable_until, peer.recovered_at = nil, nil
    local mark = can_be_unavailable(peer) and dict:get(peer.unavail_key)
    if mark and mark > 0 then
        peer.unavailable_until = mark
    elseif mark and peer.slow_start > 0 then
        peer.recovered_at = -mark
    end
end

local function adopt(view, config)
    local before = view.peers
    view.peers, view.all, view.primary, view.backup = {}, {}, {}, {}
    view.single = #config.records == 1
    for i, record in ipairs(config.records) do
        local peer = before[record.id] or new_peer(view, record)
        update_peer(peer, record)
        view.peers[record.id], view.all[i] = peer, peer
        if not record.down and not record.drain then
            local group = record.backup and view.backup or view.primary
            group[#group + 1] = peer
        end
    end
    view.tries = view.single and 1 or #view.primary + #view.backup
    for id, peer in pairs(before) do
        if not view.peers[id] and peer.held == 0 then
            every_peer[peer] = nil
        end
    end
end

local function current_version(view)
    return dict:get(view.version_key) or 0
end

-- What was collected before the statistics were reset must not be added to the new ones.
local function drop_reset_statistics(view)
    local epoch = dict:get("e/" .. view.name) or 0
    if view.epoch and view.epoch ~= epoch then
        for _, peer in ipairs(view.all) do
            peer.pending, peer.codes, peer.selected = new_pending(), {}, nil
        end
    end
    view.epoch = epoch
end

-- Brings the view up to date. The version is read first: a change that comes between is seen the next time.
local function refresh(view)
    local version = current_version(view)
    if version == view.version then
        return
    end
    view.version = version
    drop_reset_statistics(view)
    local config = load_config(view.name)
    if config then
        adopt(view, config)
    else
        log_line(ngx.ERR, "upstream ", quoted(view.name), " is gone from the shared dictionary ", quoted(settings.dict),
                 ": does something else write to it? This worker goes on with the servers it knows; restart nginx")
    end
end

---------------------------------------------------------------------------------------------------------------------
-- Statistics: collected in the worker, added to the dictionary ten times a second while there is something to add.
---------------------------------------------------------------------------------------------------------------------

local FLUSH_INTERVAL = 0.1 -- seconds
local MAX_CODES = 500

local dirty_peers = {}
local flush_is_due = false

-- Numbers the status codes seen on a server: s/NAME/ID/c1, c2, ... hold the codes, without gaps.
local function register_code(peer, code)
    for i = 1, MAX_CODES do
        local key = peer.stats_key .. "c" .. i
        local known = dict:get(key)
        if not known then
            local added, why = dict:safe_add(key, code)
            if added or why ~= "exists" then
                return added
            end
            known = dict:get(key)
        end
        if known == code then
            return true
        end
    end
end

local function add_codes(peer)
    for code, count in pairs(peer.codes) do
        local key = peer.stats_key .. code
        if not dict:incr(key, count) and has_room() and register_code(peer, code) then
            add_up(key, count)
        end
    end
end

local function add_statistics(peer)
    for field, count in pairs(peer.pending) do
        local key = peer.stats_key .. field
        if count > 0 and not dict:incr(key, count) and not (has_room() and add_up(key, count)) then
            dict_is_full("statistics are incomplete")
        end
    end
    local selected = peer.stats_key .. "selected"
    if peer.selected and (dict:get(selected) or has_room()) then
        dict:safe_set(selected, peer.selected)
    end
    add_codes(peer)
end

local function flush_peer(peer)
    if peer.view.peers[peer.id] == peer then
        add_statistics(peer)
    end
    peer.pending, peer.codes, peer.selected, peer.dirty = new_pending(), {}, nil, false
end

local function flush_statistics()
    flush_is_due = false
    local peers = dirty_peers
    dirty_peers = {}
    for _, peer in ipairs(peers) do
        refresh(peer.view)
        flush_peer(peer)
    end
end

local function mark_dirty(peer)
    if peer.dirty then
        return
    end
    peer.dirty = true
    dirty_peers[#dirty_peers + 1] = peer
    if not flush_is_due then
        flush_is_due = true
        if not ngx.timer.at(FLUSH_INTERVAL, flush_statistics) then
            flush_statistics() -- the worker is on its way out and takes no timers
        end
    end
end

---------------------------------------------------------------------------------------------------------------------
-- Unavailable servers. After max_fails failures within fail_timeout a server gets no requests for fail_timeout; then
-- one request at a time may find out whether it works again. All workers share this. As in nginx, the rest of the
-- group takes over at once, by the rules of proxy_next_upstream.
---------------------------------------------------------------------------------------------------------------------

local function announce(view)
    dict:incr(view.version_key, 1)
end

local function set_unavailable(peer, now)
    local until_now = dict:get(peer.unavail_key)
    local was_available = not until_now or until_now < 0
    if not dict:safe_set(peer.unavail_key, now + peer.fail_timeout) then
        dict_is_full("failures are not remembered")
        return
    end
    dict:delete(peer.probe_key)
    if was_available then
        peer.pending.unavail = peer.pending.unavail + 1
        if has_room() or dict:get(peer.stats_key .. "downstart") then
            dict:safe_set(peer.stats_key .. "downstart", now)
        end
        log_line(ngx.WARN, "upstream ", peer.view.name, ": server ", peer.record.server, " is unavailable for ",
                 peer.record.fail_timeout, " after ", peer.record.max_fails, " failure(s)")
    end
    announce(peer.view)
end

local function report_failure(peer)
    peer.pending.fails = peer.pending.fails + 1
    mark_dirty(peer)
    if not can_be_unavailable(peer) then
        return
    end
    local now = ngx.now()
    if peer.unavailable_until then
        return set_unavailable(peer, now)
    end
    local failures = dict:incr(peer.fails_key, 1)
    if not failures then
        -- The first failure opens the window: the count expires with it.
        dict:safe_add(peer.fails_key, 0, peer.fail_timeout)
        failures = dict:incr(peer.fails_key, 1)
    end
    if failures and failures >= peer.max_fails then
        set_unavailable(peer, now)
    end
end

-- The request that was let through to an unavailable server has succeeded.
local function report_recovery(peer)
    local mark = dict:get(peer.unavail_key)
    if not mark or mark < 0 then
        return
    end
    local now = ngx.now()
    dict:delete(peer.fails_key)
    dict:delete(peer.probe_key)
    if peer.slow_start > 0 then
        dict:safe_set(peer.unavail_key, -now)
    else
        dict:delete(peer.unavail_key)
    end
    local since = dict:get(peer.stats_key .. "downstart")
    if since and now > since then
        add_up(peer.stats_key .. "downtime", (now - since) * 1000)
    end
    announce(peer.view)
end

---------------------------------------------------------------------------------------------------------------------
-- Selection: smooth weighted round-robin in each worker, so that the shares hold in each and therefore over all.
---------------------------------------------------------------------------------------------------------------------

local function was_tried(ticket, peer)
    local tried = ticket.tried
    if tried then
        for i = 1, #tried do
            if tried[i] == peer then
                return true
            end
        end
    end
    return false
end

-- The weight that counts now: less while a recovered server is in its slow start.
local function weight_now(peer, now)
    local recovered = peer.recovered_at
    if recovered then
        local share = (now - recovered) / peer.slow_start
        if share < 1 then
            return peer.weight * max(share, 0.01)
        end
        peer.recovered_at = nil
    end
    return peer.weight
end

local function pick_from(peers, ticket, now)
    local best, total = nil, 0
    for i = 1, #peers do
        local peer = peers[i]
        local away = peer.unavailable_until
        if not (away and now < away) and not was_tried(ticket, peer) then
            local weight = weight_now(peer, now)
            local current = peer.current + weight
            peer.current = current
            total = total + weight
            if not best or current > best.current then
                best = peer
            end
        end
    end
    if best then
        best.current = best.current - total
    end
    return best
end

local function exclude(ticket, peer)
    local tried = ticket.tried
    if not tried then
        tried = {}
        ticket.tried = tried
    end
    tried[#tried + 1] = peer
end

-- An unavailable server whose time is over gets one request of all workers; the others look elsewhere meanwhile.
local function may_probe(peer)
    local added, why = dict:safe_add(peer.probe_key, true, peer.fail_timeout)
    return added or why ~= "exists"
end

local function pick(view, ticket)
    local now = ngx.now()
    while true do
        local peer = pick_from(view.primary, ticket, now) or pick_from(view.backup, ticket, now)
        if not peer or not peer.unavailable_until or may_probe(peer) then
            return peer
        end
        exclude(ticket, peer)
    end
end

---------------------------------------------------------------------------------------------------------------------
-- Active requests, exactly. A request is counted on its server first and checks then whether the view it chose from
-- still holds; if not, it takes its count back and chooses again. A change does it the other way round: first the new
-- version, then a look at the counts. The dictionary's mutex puts all four into one order, so either the change sees
-- the request counted, or the request sees the change. Hence: once a drained server reads `active` 0, no request goes
-- to it any more.
---------------------------------------------------------------------------------------------------------------------

local function hold(peer)
    peer.held = peer.held + 1
    if not dict:incr(peer.active_key, 1) and not add_up(peer.active_key, 1) then
        dict_is_full("active requests are not counted")
    end
end

local function release(peer)
    peer.held = peer.held - 1
    dict:incr(peer.active_key, -1)
end

local seen_alive = {} -- TOKEN -> when, so that not every request looks into /proc

local function remember_alive(workers, now)
    for token, dead in pairs(workers.dead) do
        if dead then
            seen_alive[token] = nil
        elseif now - (seen_alive[token] or 0) >= 1 then
            seen_alive[token] = now
        end
    end
end

-- Counted first and compared then, like the version: two workers may both step back, but never both go over. A worker
-- that died keeps its counts here for a second.
local function is_over_limit(peer)
    local limit = peer.max_conns
    if limit == 0 then
        return false
    end
    local workers, now = list_workers(), ngx.now()
    for _, token in ipairs(workers) do
        if now - (seen_alive[token] or 0) < 1 then
            workers.dead[token] = false
        end
    end
    local count = count_active(workers, peer.view.name, peer.id)
    remember_alive(workers, now)
    return count > limit
end

-- A peer with a count on it, or nil when the group has none to offer.
local function choose(view, ticket)
    while true do
        local peer = pick(view, ticket)
        if peer then
            hold(peer)
        end
        if current_version(view) ~= view.version then
            if peer then
                release(peer)
            end
            refresh(view)
        elseif not peer or not is_over_limit(peer) then
            return peer
        else
            release(peer)
            exclude(ticket, peer)
        end
    end
end

---------------------------------------------------------------------------------------------------------------------
-- Tickets: what a request holds. They are found by the request's address, which stays through retries and internal
-- redirects (ngx.ctx does not) and comes back in the log phase. The table is weak and ngx.ctx keeps the ticket alive,
-- so the ticket of a request that ended without log() vanishes with the garbage: that tells how many counts are left
-- over. It happens when log_by_lua is missing or overridden in a location, and with every subrequest (nginx has no
-- log phase for those).
---------------------------------------------------------------------------------------------------------------------

local tickets = setmetatable({}, { __mode = "v" })

local SWEEP_INTERVAL = 1 -- seconds
local LONGEST_PAUSE = 60 -- sweeps

local sweep_is_due = false
local sweep_number = 0
local sweeps_to_skip, last_pause = 0, 0
local log_was_called, subrequest_was_seen, stale_ticket_was_seen = false, false, false

local function request_address()
    return tonumber(ffi_cast("intptr_t", get_request()))
end

local function total_held()
    local total = 0
    for peer in pairs(every_peer) do
        total = total + peer.held
    end
    return total
end

-- Tickets by peer, how many in all, and whether one of them has been there for more than a sweep.
local function count_tickets()
    local counts, total, has_old = {}, 0, false
    for _, ticket in pairs(tickets) do
        local peer = ticket.peer
        if peer then
            counts[peer] = (counts[peer] or 0) + 1
            total = total + 1
            has_old = has_old or ticket.sweep < sweep_number - 1
        end
    end
    return counts, total, has_old
end

local function report_missing_log()
    if not log_was_called then
        say_rarely(0, "log", ngx.ERR, "requests end without log(): add \"log_by_lua_block { require('upstream_api')",
                   ".log() }\" to http{}; until then \"active\" falls seconds late and responses are not counted")
    elseif not subrequest_was_seen then
        say_rarely(0, "hidden", ngx.ERR, "some requests end without log(): a server or location has its own ",
                   "log_by_lua*, which replaces the one of http{}; call require('upstream_api').log() there too")
    end
end

-- Takes back the counts that no ticket stands for any more.
local function drop_leftovers(counts)
    for peer in pairs(every_peer) do
        local left = peer.held - (counts[peer] or 0)
        if left > 0 then
            peer.held = peer.held - left
            dict:incr(peer.active_key, -left)
        end
        if peer.held == 0 and peer.view.peers[peer.id] ~= peer then
            every_peer[peer] = nil
        end
    end
end

-- A collection of garbage costs milliseconds, so it is forced only for requests older than a sweep, and ever more
-- seldom while it turns out that they are just slow.
local function find_leftovers(held)
    local counts, total, has_old = count_tickets()
    if total == held and has_old then
        if sweeps_to_skip > 0 then
            sweeps_to_skip = sweeps_to_skip - 1
            return nil
        end
        collectgarbage()
        counts, total = count_tickets()
        last_pause = total == held and math.min(last_pause * 2 + 1, LONGEST_PAUSE) or 0
        sweeps_to_skip = last_pause
    end
    return total < held and counts or nil
end

local sweep

local function schedule_sweep()
    sweep_is_due = ngx.timer.at(SWEEP_INTERVAL, sweep) and true or false
end

sweep = function(worker_is_leaving)
    sweep_is_due = false
    sweep_number = sweep_number + 1
    local held = total_held()
    local counts = held > 0 and not worker_is_leaving and find_leftovers(held)
    if counts then
        drop_leftovers(counts)
    end
    if counts or stale_ticket_was_seen then
        stale_ticket_was_seen = false
        report_missing_log()
    end
    if held > 0 then
        schedule_sweep()
    end
end

local function new_ticket(address)
    local ticket = {
        peer = nil,        -- the server that the request is counted on
        address = nil,     -- that server's address when it was chosen
        probe = false,     -- the server is unavailable and this request finds out whether it still is
        started = false,   -- nginx has been told how many servers it may try
        tried = nil,       -- servers not to choose again
        earlier = nil,     -- attempts that are over
        sweep = sweep_number,
    }
    tickets[address] = ticket
    ngx.ctx.upstream_api = ticket
    if not sweep_is_due then
        schedule_sweep()
    end
    if ngx.is_subrequest then
        subrequest_was_seen = true
    end
    return ticket
end

-- Ends the attempt that `ticket` holds. `state` is nginx's word on it: "failed", "next" (an answer that let it try
-- another server), or nil when the request has left the upstream in another way.
local function end_attempt(ticket, state)
    local peer = ticket.peer
    if not peer then
        return
    end
    ticket.peer = nil
    release(peer)
    exclude(ticket, peer)
    local earlier = ticket.earlier or {}
    ticket.earlier = earlier
    earlier[#earlier + 1] = { peer = peer, address = ticket.address, probe = ticket.probe, judged = state ~= nil }
    if state == "failed" then
        report_failure(peer)
    elseif state and ticket.probe then
        report_recovery(peer)
    end
end

-- The ticket of this request, without a count on it: a new one, the one of the attempt that has just failed, or
-- after an internal redirect a new one that remembers the attempts so far.
local function take_ticket()
    local address = request_address()
    local ticket = tickets[address]
    if not ticket then
        return new_ticket(address)
    end
    local state = get_last_failure()
    end_attempt(ticket, state)
    if state then
        return ticket
    end
    local again = new_ticket(address)
    if ngx.req.is_internal() then
        again.earlier = ticket.earlier
    else
        stale_ticket_was_seen = true -- another request's, at an address that is used again
    end
    return again
end

---------------------------------------------------------------------------------------------------------------------
-- What came of a request: statistics, and whether the last server failed. nginx tells the balancer only of failures
-- that lead to another attempt; the last one must be read from its variables. A server that answered has a header
-- time. Without one, 502 and 504 are nginx's own: the connection failed, timed out or brought nonsense. Anything
-- else means that the client went away first.
---------------------------------------------------------------------------------------------------------------------

local CLASSES = { "1xx", "2xx", "3xx", "4xx", "5xx" }

local function judge(peer, probe, status, answered)
    if answered then
        if probe then
            report_recovery(peer)
        end
    elseif status == 502 or status == 504 then
        report_failure(peer)
    end
end

local function count_response(peer, status, header_time, response_time, sent, received)
    local pending = peer.pending
    pending.sent = pending.sent + (sent or 0)
    pending.received = pending.received + (received or 0)
    local class = header_time and status and CLASSES[floor(status / 100)]
    if class then
        pending[class] = pending[class] + 1
        pending.headers = pending.headers + 1
        pending.header_time = pending.header_time + header_time * 1000
        pending.response_time = pending.response_time + (response_time or header_time) * 1000
        peer.codes[status] = (peer.codes[status] or 0) + 1
    end
    mark_dirty(peer)
end

-- "a, b : c" -> { "a", "b", "c" }
local function split_list(text)
    local items = {}
    for item in gmatch(text or "", "%S+") do
        if item ~= ":" then
            items[#items + 1] = match(item, "^(.-),?$")
        end
    end
    return items
end

-- Several attempts: nginx lists them all, also those on other upstreams, so they are matched by address, in order.
local function account_each(attempts)
    local addresses, statuses = split_list(var.upstream_addr), split_list(var.upstream_status)
    local header_times, response_times = split_list(var.upstream_header_time), split_list(var.upstream_response_time)
    local sent, received = split_list(var.upstream_bytes_sent), split_list(var.upstream_bytes_received)
    local at = 1
    for _, attempt in ipairs(attempts) do
        local i = at
        while addresses[i] and addresses[i] ~= attempt.address do
            i = i + 1
        end
        if addresses[i] then
            local status, header_time = tonumber(statuses[i]), tonumber(header_times[i])
            count_response(attempt.peer, status, header_time, tonumber(response_times[i]), tonumber(sent[i]),
                           tonumber(received[i]))
            if not attempt.judged then
                judge(attempt.peer, attempt.probe, status, header_time)
            end
            at = i + 1
        end
    end
end

local function account(ticket)
    local peer = ticket.peer
    local status = tonumber(var.upstream_status)
    if not ticket.earlier and (status or not find(var.upstream_status or "", " ", 1, true)) then
        if peer then
            local header_time = tonumber(var.upstream_header_time)
            count_response(peer, status, header_time, tonumber(var.upstream_response_time),
                           tonumber(var.upstream_bytes_sent), tonumber(var.upstream_bytes_received))
            judge(peer, ticket.probe, status, header_time)
        end
        return
    end
    local attempts = ticket.earlier or {}
    if peer then
        attempts[#attempts + 1] = { peer = peer, address = ticket.address, probe = ticket.probe }
    end
    account_each(attempts)
end

---------------------------------------------------------------------------------------------------------------------
-- The two hooks of every request
---------------------------------------------------------------------------------------------------------------------

-- NGX_BUSY, for which the lua module has no name: nginx says "no live upstreams" and answers 502. Its own ngx.ERROR
-- would give 500.
local BUSY = -3

local function unknown_upstream(name)
    if not settings then
        error('upstream_api.balance: call setup{} in init_by_lua_block first', 0)
    end
    error("upstream_api.balance: " .. quoted(name) .. " is not among the upstreams of setup{}", 0)
end

--- Chooses the server of a request; for balancer_by_lua_block of the upstream `name`.
function _M.balance(name)
    local view = upstreams[name] or unknown_upstream(name)
    local ticket = take_ticket()
    local peer = choose(view, ticket)
    if not peer then
        return ngx.exit(BUSY)
    end
    ticket.peer, ticket.address, ticket.probe = peer, peer.record.server, peer.unavailable_until ~= nil
    peer.pending.requests = peer.pending.requests + 1
    peer.selected = ngx.now()
    mark_dirty(peer)
    if not ticket.started then
        ticket.started = true
        if view.tries > 1 then
            set_more_tries(view.tries - 1)
        end
    end
    local ok, why = set_current_peer(peer.host, peer.port)
    if not ok then
        log_line(ngx.ERR, "upstream ", name, ": nginx refuses server ", peer.record.server, ": ", why)
        return ngx.exit(ngx.ERROR)
    end
end

--- Ends the counts of a request; for log_by_lua_block, of http{} or of each location that has one of its own.
function _M.log()
    log_was_called = true
    local address = request_address()
    local ticket = tickets[address]
    if not ticket then
        return
    end
    tickets[address] = nil
    local peer = ticket.peer
    if peer then
        release(peer)
    end
    account(ticket)
end

---------------------------------------------------------------------------------------------------------------------
-- What the API shows of an upstream
---------------------------------------------------------------------------------------------------------------------

-- `fields=a,b` as a set, or nil when all are wanted. An empty one leaves nothing: of a map only the names.
local function wanted_fields()
    local given = ngx.req.get_uri_args(100).fields
    if given == nil then
        return nil
    end
    local wanted = {}
    for _, list in ipairs(type(given) == "table" and given or { given }) do
        for name in gmatch(tostring(list), "[^,]+") do
            wanted[name] = true
        end
    end
    return wanted
end

local function only(wanted, full)
    if not wanted then
        return full
    end
    local limited = object()
    for _, name in ipairs(full.names) do
        if wanted[name] then
            put(limited, name, full.values[name])
        end
    end
    return limited
end

-- Like nginx, a server whose fail_timeout is over counts as up again, though nobody has tried it yet.
local function state_of(record, unavailable_until, now)
    if record.down then
        return "down"
    elseif record.drain then
        return "draining"
    end
    return unavailable_until > now and "unavail" or "up"
end

-- A reader of one server's statistics; absent ones are 0.
local function statistics_of(name, id)
    local stats_key = "s/" .. name .. "/" .. id .. "/"
    return function(field)
        return dict:get(stats_key .. field) or 0
    end
end

local function show_codes(statistic)
    local seen = {}
    for i = 1, MAX_CODES do
        local code = statistic("c" .. i)
        if code == 0 then
            break
        end
        seen[i] = code
    end
    sort(seen)
    local codes = object()
    for _, code in ipairs(seen) do
        put(codes, tostring(code), statistic(code))
    end
    return codes
end

local function show_responses(statistic, version)
    local responses, total = object(), 0
    for _, class in ipairs(CLASSES) do
        local count = statistic(class)
        total = total + count
        put(responses, class, count)
    end
    if version >= 7 then
        put(responses, "codes", show_codes(statistic))
    end
    return put(responses, "total", total)
end

local function show_times(shown, statistic)
    local answers = statistic("headers")
    if answers > 0 then
        put(shown, "header_time", floor(statistic("header_time") / answers + 0.5))
        put(shown, "response_time", floor(statistic("response_time") / answers + 0.5))
    end
end

-- The downtime runs until a request has shown that the server works again.
local function show_downtime(shown, statistic, has_failed, now)
    local downtime, downstart = statistic("downtime"), statistic("downstart")
    if has_failed and downstart > 0 then
        downtime = downtime + max(0, now - downstart) * 1000
    end
    put(shown, "downtime", floor(downtime))
    if downstart > 0 then
        put(shown, "downstart", iso_time(downstart))
    end
end

local function show_peer(name, record, single, workers, version)
    local statistic, now = statistics_of(name, record.id), ngx.now()
    local mark = not single and record.max_fails > 0 and dict:get("u/" .. name .. "/" .. record.id) or 0
    local shown = object()
    put(shown, "id", record.id)
    put(shown, "server", record.server)
    put(shown, "name", record.server)
    put(shown, "backup", record.backup)
    put(shown, "weight", record.weight)
    put(shown, "state", state_of(record, mark, now))
    put(shown, "active", count_active(workers, name, record.id))
    if record.max_conns > 0 then
        put(shown, "max_conns", record.max_conns)
    end
    put(shown, "requests", statistic("requests"))
    show_times(shown, statistic)
    put(shown, "responses", show_responses(statistic, version))
    put(shown, "sent", statistic("sent"))
    put(shown, "received", statistic("received"))
    put(shown, "fails", statistic("fails"))
    put(shown, "unavail", statistic("unavail"))
    put(shown, "health_checks", put(put(put(object(), "checks", 0), "fails", 0), "unhealthy", 0))
    show_downtime(shown, statistic, mark > 0, now)
    local selected = statistic("selected")
    if selected > 0 then
        put(shown, "selected", iso_time(selected))
    end
    return shown
end

local function count_zombies(workers, name, config)
    local busy = 0
    for _, id in ipairs(config.zombies) do
        if count_active(workers, name, id) > 0 then
            busy = busy + 1
        end
    end
    return busy
end

local function show_upstream(name, config, workers, version)
    local single = #config.records == 1
    local peers = array()
    for i, record in ipairs(config.records) do
        peers[i] = show_peer(name, record, single, workers, version)
    end
    local shown = put(object(), "peers", peers)
    put(shown, "keepalive", 0)
    put(shown, "zombies", count_zombies(workers, name, config))
    return put(shown, "zone", settings.dict)
end

local function show_servers(config)
    local servers = array()
    for i, record in ipairs(config.records) do
        servers[i] = show_record(record)
    end
    return servers
end

---------------------------------------------------------------------------------------------------------------------
-- Changes. Each one is made on the newest configuration with the lock held, so that none gets lost, and is complete
-- before the client hears of it.
---------------------------------------------------------------------------------------------------------------------

local function find_server(config, id)
    for i, record in ipairs(config.records) do
        if record.id == id then
            return i, record
        end
    end
    return nil, fault(404, "UpstreamServerNotFound", 'server with ID "' .. id .. '" does not exist')
end

local function delete_statistics(name, id)
    local stats_key = "s/" .. name .. "/" .. id .. "/"
    for field in pairs(new_pending()) do
        dict:delete(stats_key .. field)
    end
    dict:delete(stats_key .. "selected")
    dict:delete(stats_key .. "downtime")
    for i = 1, MAX_CODES do
        local code = dict:get(stats_key .. "c" .. i)
        if not code then
            break
        end
        dict:delete(stats_key .. code)
        dict:delete(stats_key .. "c" .. i)
    end
end

local function forget_failures(name, id)
    for _, kind in ipairs { "f/", "u/", "b/" } do
        dict:delete(kind .. name .. "/" .. id)
    end
end

local function forget_server(name, id)
    delete_statistics(name, id)
    dict:delete("s/" .. name .. "/" .. id .. "/downstart")
    forget_failures(name, id)
end

-- Removed servers whose last request is over. Requests that chose one of them before it went are counted since then,
-- so 0 is final.
local function drop_idle_zombies(name, config)
    local workers, busy = list_workers(), {}
    for _, id in ipairs(config.zombies) do
        if count_active(workers, name, id) > 0 then
            busy[#busy + 1] = id
        else
            for _, token in ipairs(workers) do
                dict:delete(active_key(token, name, id))
            end
        end
    end
    config.zombies = busy
end

local function copy_config(config)
    return { next = config.next, zombies = config.zombies, records = { unpack(config.records) } }
end

local function apply_change(name, edit)
    local config = load_config(name)
    if not config then
        return nil, fault(500, "InternalError", "upstream " .. quoted(name) .. " is gone from the shared dictionary")
    end
    config = copy_config(config)
    drop_idle_zombies(name, config)
    local result, problem = edit(config)
    if not result then
        return nil, problem
    elseif not store_config(name, config) then
        return nil, fault(400, "UpstreamOutOfMemory", "upstream " .. quoted(name) .. " memory exhausted")
    end
    save_state()
    return result
end

-- Runs `edit` on the configuration; it gives back what to answer, or nil and a fault (then nothing changes).
local function change(name, edit)
    local locked, problem = lock()
    if not locked then
        return nil, problem
    end
    local ok, result
    ok, result, problem = pcall(apply_change, name, edit)
    unlock()
    if not ok then
        error(result, 0)
    end
    return result, problem
end

-- An address that is in the group already makes a second entry, as the id is what tells servers apart. NGINX Plus
-- documents a 409 EntryExists but not when; its own state files have been seen with every server twice.
local function add_server(name, given)
    local record, problem = new_record(given)
    if not record then
        return nil, problem
    end
    return change(name, function(config)
        if not has_room() then
            return nil, fault(400, "UpstreamOutOfMemory", "upstream " .. quoted(name) .. " memory exhausted")
        end
        record.id, config.next = config.next, config.next + 1
        config.records[#config.records + 1] = record
        return show_record(record)
    end)
end

local function patch_server(name, id, given)
    return change(name, function(config)
        local i, found = find_server(config, id)
        if not i then
            return nil, found
        end
        local record, problem = patched_record(found, given)
        if not record then
            return nil, problem
        end
        if record.server ~= found.server then
            forget_failures(name, id) -- they were another server's
        end
        config.records[i] = record
        return show_record(record)
    end)
end

local function remove_server(name, id)
    local result, problem = change(name, function(config)
        local i, found = find_server(config, id)
        if not i then
            return nil, found
        end
        table.remove(config.records, i)
        config.zombies[#config.zombies + 1] = id
        return show_servers(config)
    end)
    if result then
        forget_server(name, id)
    end
    return result, problem
end

-- Workers drop what they have collected when they see the new version, so it comes before the deletion.
local function reset_statistics(name)
    add_up("e/" .. name, 1)
    add_up("v/" .. name, 1)
    local config = load_config(name)
    for _, record in ipairs(config and config.records or {}) do
        delete_statistics(name, record.id)
    end
end

---------------------------------------------------------------------------------------------------------------------
-- The same for other modules, such as upstream_conf. Each function gives back nil and a fault { status, text, code } when
-- it cannot do as it is told. Servers are as in the API, and must not be changed.
---------------------------------------------------------------------------------------------------------------------

-- The newest configuration of an upstream.
local function find_config(name)
    if not settings then
        error("upstream_api: call setup{} in init_by_lua_block first", 0)
    elseif not upstreams[name] then
        return nil, fault(404, "UpstreamNotFound", "upstream not found")
    end
    local config = load_config(name)
    if not config then
        return nil, fault(500, "InternalError", "the shared dictionary has lost this upstream, see the error log")
    end
    return config
end

--- The servers of an upstream.
function _M.servers(name)
    local config, problem = find_config(name)
    return config and config.records, problem
end

--- Adds a server with the parameters `given`; gives back its id.
function _M.add(name, given)
    local config, problem = find_config(name)
    if not config then
        return nil, problem
    end
    local shown
    shown, problem = add_server(name, given)
    return shown and shown.values.id, problem
end

--- Changes the parameters `given` of a server.
function _M.patch(name, id, given)
    local config, problem = find_config(name)
    if not config then
        return nil, problem
    end
    return patch_server(name, id, given)
end

--- Removes a server.
function _M.remove(name, id)
    local config, problem = find_config(name)
    if not config then
        return nil, problem
    end
    return remove_server(name, id)
end

---------------------------------------------------------------------------------------------------------------------
-- The API's tree. A handler gets the call { version, name, id } and gives back a status and a value, or a fault.
---------------------------------------------------------------------------------------------------------------------

local handle

do
    local VERSIONS = array { 2, 3, 4, 5, 6, 7, 8, 9 }
    local MAX_SPOOLED_BODY = 16 * 1024

    local function path_not_found()
        return nil, fault(404, "PathNotFound", "path not found")
    end

    -- The request body. What nginx wrote to a file is larger than client_body_buffer_size, for which NGINX Plus answers
    -- 413; here only beyond the 16 KB that this buffer has by default, in case somebody made it tiny.
    local function read_body()
        if not pcall(ngx.req.read_body) then
            return nil, fault(400, "BodyReadError", "reading request body failed")
        end
        local body = ngx.req.get_body_data()
        local path = not body and ngx.req.get_body_file()
        if not path then
            return body or ""
        end
        local file = io.open(path, "rb")
        if not file then
            return nil, fault(400, "BodyReadError", "reading request body failed")
        end
        body = file:read(MAX_SPOOLED_BODY + 1) or ""
        file:close()
        if #body > MAX_SPOOLED_BODY then
            return nil, fault(413, "RequestEntityTooLarge", "request body is too large")
        end
        return body
    end

    local function read_json()
        local body, problem = read_body()
        if not body then
            return nil, problem
        end
        local value, why = decode(body)
        if value == nil then
            return nil, fault(415, "JsonError", "json error: " .. why)
        end
        return value
    end

    local function answer(status, value, problem)
        if value == nil then
            return nil, problem
        end
        return status, value
    end

    local tree = {}

    function tree.root()
        return 200, array { "nginx", "http" }
    end

    function tree.http()
        return 200, array { "upstreams" }
    end

    local function nginx_version()
        local number = ngx.config.nginx_version
        return format("%d.%d.%d", floor(number / 1000000), floor(number / 1000) % 1000, number % 1000)
    end

    function tree.nginx()
        local shown = object()
        put(shown, "version", nginx_version())
        put(shown, "build", format("upstream_api-%s ngx_lua-%d", _M._VERSION, ngx.config.ngx_lua_version))
        put(shown, "address", var.server_addr)
        put(shown, "generation", settings.generation)
        put(shown, "load_timestamp", iso_time(settings.loaded))
        put(shown, "timestamp", iso_time(ngx.now()))
        put(shown, "pid", ngx.worker.pid())
        put(shown, "ppid", process.get_master_pid() or ngx.worker.pid())
        return 200, only(wanted_fields(), shown)
    end

    -- The newest configuration and the workers to count, in this order.
    local function look_at(name)
        return load_config(name), list_workers()
    end

    function tree.upstreams(call)
        flush_statistics()
        local wanted, all = wanted_fields(), object()
        for _, name in ipairs(settings.names) do
            local config, workers = look_at(name)
            if config then
                put(all, name, only(wanted, show_upstream(name, config, workers, call.version)))
            end
        end
        return 200, all
    end

    function tree.upstream(call)
        flush_statistics()
        local config, workers = look_at(call.name)
        return 200, only(wanted_fields(), show_upstream(call.name, config, workers, call.version))
    end

    function tree.reset(call)
        reset_statistics(call.name)
        return 204, ""
    end

    function tree.servers(call)
        return 200, show_servers(load_config(call.name))
    end

    function tree.add(call)
        local given, problem = read_json()
        if given == nil then
            return nil, problem
        end
        return answer(201, add_server(call.name, given))
    end

    function tree.server(call)
        local i, found = find_server(load_config(call.name), call.id)
        if not i then
            return nil, found
        end
        return 200, show_record(found)
    end

    function tree.patch(call)
        local given, problem = read_json()
        if given == nil then
            return nil, problem
        end
        return answer(200, patch_server(call.name, call.id, given))
    end

    function tree.remove(call)
        return answer(200, remove_server(call.name, call.id))
    end

    local METHODS = {
        root = { GET = tree.root },
        nginx = { GET = tree.nginx },
        http = { GET = tree.http },
        upstreams = { GET = tree.upstreams },
        upstream = { GET = tree.upstream, DELETE = tree.reset },
        servers = { GET = tree.servers, POST = tree.add },
        server = { GET = tree.server, PATCH = tree.patch, DELETE = tree.remove },
    }

    -- The node of METHODS that a path names, or nil and a fault. Fills in the call's name and id.
    local function find_node(call, parts)
        if #parts == 0 then
            return "root"
        elseif parts[1] == "nginx" and #parts == 1 then
            return "nginx"
        elseif parts[1] ~= "http" or #parts > 5 or (parts[2] or "upstreams") ~= "upstreams" then
            return path_not_found()
        elseif #parts < 3 then
            return parts[2] or "http"
        elseif (parts[4] or "servers") ~= "servers" then
            return path_not_found()
        end
        call.name = parts[3]
        local config, problem = find_config(call.name)
        if not config then
            return nil, problem
        elseif #parts < 5 then
            return parts[4] or "upstream"
        end
        call.id = match(parts[5], "^%d%d?%d?%d?%d?%d?%d?%d?%d?$") and tonumber(parts[5])
        if not call.id then
            return nil, fault(400, "UpstreamBadServerId", "invalid server id")
        end
        return "server"
    end

    -- What follows the location's prefix: "/9/http/upstreams", or nil when the URI does not have it. nginx does not
    -- tell a location its own name, so without `mount` the prefix is what comes before the first part made of digits.
    local function path_below(mount, uri)
        if not mount then
            local path = match(uri .. "/", "^.-(/%d+/.*)$")
            if path then
                return path
            elseif not match(uri, "^/api/.") then
                return ""
            end
            mount = "/api"
        end
        mount = match(mount, "^(.-)/*$")
        local path = sub(uri, #mount + 1)
        return sub(uri, 1, #mount) == mount and match(path .. "/", "^/") and path or nil
    end

    function handle(call, options)
        local path = path_below(options.mount, var.uri)
        if not path then
            return path_not_found()
        elseif match(path, "^/*$") then
            return 200, VERSIONS
        end
        local version, rest = match(path, "^/+([^/]+)(.*)$")
        call.version = match(version, "^[2-9]$") and tonumber(version)
        if not call.version then
            return nil, fault(404, "UnknownVersion", "unknown version")
        end
        local parts = {}
        for part in gmatch(rest, "[^/]+") do
            parts[#parts + 1] = part
        end
        local node, problem = find_node(call, parts)
        if not node then
            return nil, problem
        end
        local method = ngx.req.get_method()
        local handler = METHODS[node][method == "HEAD" and "GET" or method]
        if not handler or (options.write == false and handler ~= METHODS[node].GET) then
            return nil, fault(405, "MethodDisabled", "method disabled")
        end
        return handler(call)
    end
end

local HREF = "https://nginx.org/en/docs/http/ngx_http_api_module.html"

local function show_fault(problem, version)
    local inner = object()
    put(inner, "status", problem.status)
    put(inner, "text", problem.text)
    put(inner, "code", problem.code)
    local shown = object()
    if version and version < 4 then
        put(put(shown, "path", ""), "method", "")
    end
    put(shown, "error", inner)
    put(shown, "request_id", var.request_id)
    return put(shown, "href", HREF)
end

local function respond(status, text)
    ngx.status = status
    if status ~= 204 then
        ngx.header["Content-Type"] = "application/json"
        ngx.header["Content-Length"] = #text
        ngx.print(text)
    end
    return ngx.exit(ngx.OK)
end

local SERVE_OPTIONS = { mount = "string", write = "boolean" }

local function check_options(options, known, where)
    for name, value in pairs(options) do
        if not known[name] then
            error(where .. ": unknown key " .. quoted(name), 0)
        elseif not find(known[name], type(value), 1, true) then
            error(where .. ": " .. name .. " must be a " .. known[name] .. ", not a " .. type(value), 0)
        end
    end
end

--- Answers a request to the API; for content_by_lua_block of its location.
function _M.serve(options)
    options = options or {}
    check_options(options, SERVE_OPTIONS, "upstream_api.serve")
    if not settings then
        error("upstream_api.serve: call setup{} in init_by_lua_block first", 0)
    end
    local call = {}
    local status, value = handle(call, options)
    if status then
        return respond(status, value == "" and "" or encode(value))
    elseif value.status == 413 then
        return ngx.exit(413) -- nginx's own page, as NGINX Plus
    end
    return respond(value.status, encode(show_fault(value, call.version)))
end

---------------------------------------------------------------------------------------------------------------------
-- Setup, in the master process: at the start, at every reload and in `nginx -t`. Errors stop nginx with a sentence.
---------------------------------------------------------------------------------------------------------------------

local SETUP_OPTIONS = { dict = "string", upstreams = "table", state = "string" }

local function refuse(...)
    error("upstream_api.setup: " .. concat({ ... }), 0)
end

local function check_dict(name)
    if not name then
        refuse('dict is missing: the name of a lua_shared_dict')
    end
    local found = ngx.shared[name]
    if not found then
        refuse("there is no shared dictionary ", quoted(name), ": add \"lua_shared_dict ", name, " 1m;\" to http{}")
    elseif found:capacity() < SMALLEST_DICT then
        refuse("the shared dictionary ", quoted(name), " has only ", found:capacity(), " bytes: make it 64k or more, ",
               "\"lua_shared_dict ", name, " 1m;\" is right for some 200 servers")
    end
    return found
end

local function check_declaration(name, declared)
    if type(declared) ~= "table" then
        refuse("upstream ", quoted(name), " must be a table such as { servers = { ... } }, not a ", type(declared))
    end
    for key in pairs(declared) do
        if key ~= "servers" then
            refuse("upstream ", quoted(name), ": unknown key ", quoted(key), ", only servers is known")
        end
    end
    if declared.servers ~= nil and type(declared.servers) ~= "table" then
        refuse("upstream ", quoted(name), ": servers must be a list, not a ", type(declared.servers))
    end
    return declared.servers or {}
end

-- NAME -> list of servers to start from, unchecked.
local function declared_upstreams(list)
    local declared = {}
    for key, value in pairs(list) do
        local name, servers = key, nil
        if type(key) == "number" then
            name, servers = value, {}
        end
        if type(name) ~= "string" or not match(name, "^[%w_][%w_.-]*$") or #name > 255 then
            refuse("bad upstream name ", quoted(name), ": letters, digits, \".\", \"_\" and \"-\" are allowed")
        elseif declared[name] then
            refuse("upstream ", quoted(name), " is declared twice")
        end
        declared[name] = servers or check_declaration(name, value)
    end
    if next(declared) == nil then
        refuse("upstreams is empty: name at least one")
    end
    return declared
end

local function declared_records(name, servers)
    local records = {}
    for i, given in ipairs(servers) do
        local record, problem = new_record(type(given) == "string" and { server = given } or given)
        if not record then
            refuse("upstream ", quoted(name), ", server ", i, ": ", problem.text)
        end
        records[i] = record
    end
    for key in pairs(servers) do
        if type(key) ~= "number" or not records[key] then
            refuse("upstream ", quoted(name), ": servers must be a list, but it has the key ", quoted(key))
        end
    end
    return records
end

-- The records of a state file; what is wrong in it is named in the log and left out.
local function saved_records(name, saved, path)
    local servers = is_object(saved) and saved.servers
    if type(servers) ~= "table" or getmetatable(servers) ~= ARRAY then
        log_line(ngx.ERR, "state file ", quoted(path), ", upstream ", quoted(name),
                 " is not used: it has no list of servers")
        return nil
    end
    local records = {}
    for i, given in ipairs(servers) do
        local record, problem = new_record(given)
        if record then
            records[#records + 1] = record
        else
            log_line(ngx.ERR, "state file ", quoted(path), ", upstream ", quoted(name), ": server ", i,
                     " is left out: ", problem.text)
        end
    end
    return records
end

local function first_config(records)
    for i, record in ipairs(records) do
        record.id = i - 1
    end
    return { next = #records, zombies = {}, records = records }
end

-- Upstreams that the dictionary has already (after a reload) stay as they are.
local function fill_dict(name, records)
    if not load_config(name) and not store_config(name, first_config(records)) then
        refuse("the shared dictionary ", quoted(settings.dict), " is too small for the servers of ", quoted(name))
    end
    -- Reserved now, so that they can always be counted up.
    add_up("v/" .. name, 0)
    add_up("e/" .. name, 0)
end

local function check_all(options)
    if settings then
        refuse("called twice; name all upstreams in one call")
    elseif process.type() == "worker" then
        refuse("lua_code_cache must be on: workers have to remember what they count")
    elseif type(options) ~= "table" then
        refuse("expects a table: setup{ dict = \"upstreams\", upstreams = { \"website\" } }")
    end
    check_options(options, SETUP_OPTIONS, "upstream_api.setup")
    if not options.upstreams then
        refuse("upstreams is missing: a list of names")
    elseif options.state == "" then
        refuse("state is empty: name a file")
    end
    local declared = declared_upstreams(options.upstreams)
    for name, servers in pairs(declared) do
        declared[name] = declared_records(name, servers)
    end
    return declared
end

-- A relative path would mean the folder nginx was started from; as elsewhere in nginx, the prefix is meant.
local function state_path(path)
    return path and (sub(path, 1, 1) == "/" and path or ngx.config.prefix() .. path)
end

--- Declares the upstreams; for init_by_lua_block. See the head of this file.
function _M.setup(options)
    local declared = check_all(options)
    dict = check_dict(options.dict)
    settings = { dict = options.dict, state = state_path(options.state), names = {} }
    for name in pairs(declared) do
        settings.names[#settings.names + 1] = name
    end
    sort(settings.names)
    dict:flush_expired()
    add_up("generation", 1)
    ngx.update_time()
    settings.generation, settings.loaded = dict:get("generation"), ngx.now()
    local saved = settings.state and load_state(settings.state) or {}
    for _, name in ipairs(settings.names) do
        local records = saved[name] ~= nil and saved_records(name, saved[name], settings.state)
        fill_dict(name, records or declared[name])
        upstreams[name] = new_view(name)
    end
    if not dict:safe_set("names", concat(settings.names, " ")) then
        refuse("the shared dictionary ", quoted(settings.dict), " is full")
    end
end

return _M
