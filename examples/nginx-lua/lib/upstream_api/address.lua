-- upstream_api.address: addresses of servers, spelled as nginx itself prints them, so that clients can compare them as
-- text.

local message = require "upstream_api.message"

local fault, quoted = message.fault, message.quoted
local concat = table.concat
local floor = math.floor
local byte, find, format, gmatch, match, sub = string.byte, string.find, string.format, string.gmatch, string.match,
    string.sub

local _M = {}

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

function _M.is_host_name(text)
    return #text <= 253 and match(text, "^[%w_][%w_.-]*$") ~= nil and not find(text, "..", 1, true)
end

local function bad_address(text, why)
    return nil, fault(400, "UpstreamBadAddress", why .. " while parsing " .. quoted(text))
end

-- Splits "host", "host:port", "[v6]" and "[v6]:port". The port is nil when there is none, false when it is wrong.
function _M.split_port(text)
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
function _M.parse(text)
    if sub(text, 1, 5) == "unix:" then
        return parse_unix(text)
    end
    local host, port = _M.split_port(text)
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
    elseif _M.is_host_name(host) then
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

return _M
