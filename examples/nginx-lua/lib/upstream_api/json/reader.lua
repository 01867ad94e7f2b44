-- upstream_api.json.reader: reads JSON in plain Lua, by the letter of RFC 8259. The text may come from anybody, so the
-- depth is limited.

local concat = table.concat
local floor = math.floor
local byte, char, find, match, sub = string.byte, string.char, string.find, string.match, string.sub

local _M = {
    ARRAY = {}, -- metatable of arrays: [] and {} are both empty tables
    MAX_DEPTH = 16,
}

local ARRAY, MAX_DEPTH = _M.ARRAY, _M.MAX_DEPTH
local LITERALS = { ["true"] = true, ["false"] = false, null = ngx.null }
local UNESCAPES = {
    ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t",
}
local QUOTE, COMMA, COLON = byte('"'), byte(","), byte(":")
local OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT = byte("["), byte("]"), byte("{"), byte("}")

local function fail(at, what)
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

-- The character of a \u escape whose first hex digit is at `at`, and where the escape ends.
local function read_unicode(text, at)
    local high = tonumber(match(text, "^%x%x%x%x", at) or fail(at, "bad \\u escape"), 16)
    if high < 0xD800 or high > 0xDFFF then
        return utf8(high), at + 4
    end
    local low = tonumber(match(text, "^\\u(%x%x%x%x)", at + 4) or "0", 16)
    if high > 0xDBFF or low < 0xDC00 or low > 0xDFFF then
        fail(at, "lone surrogate")
    end
    return utf8(0x10000 + (high - 0xD800) * 1024 + (low - 0xDC00)), at + 10
end

-- The string whose opening quote is at `at`, and where it ends.
local function read_string(text, at)
    local parts, from = {}, at + 1
    while true do
        local stop = find(text, '[%z\1-\31"\\]', from) or fail(at, "unfinished string")
        parts[#parts + 1] = sub(text, from, stop - 1)
        local c = sub(text, stop, stop)
        if c == '"' then
            return concat(parts), stop + 1
        elseif c ~= "\\" then
            fail(stop, "control character in a string")
        end
        local escaped = sub(text, stop + 1, stop + 1)
        if escaped == "u" then
            parts[#parts + 1], from = read_unicode(text, stop + 2)
        else
            parts[#parts + 1], from = UNESCAPES[escaped] or fail(stop, "unknown escape"), stop + 2
        end
    end
end

local function read_number(text, at)
    local whole, stop = match(text, "^-?(%d+)()", at)
    if not whole or (#whole > 1 and sub(whole, 1, 1) == "0") then
        fail(at, "unexpected character")
    end
    stop = match(text, "^%.%d+()", stop) or stop
    stop = match(text, "^[eE][+-]?%d+()", stop) or stop
    return tonumber(sub(text, at, stop - 1)), stop
end

local read_value

-- Where the next item starts, or nil and where the array or object ends.
local function next_item(text, at, close, expected)
    at = skip_space(text, at)
    local c = byte(text, at)
    if c == close then
        return nil, at + 1
    elseif c ~= COMMA then
        fail(at, expected)
    end
    return at + 1
end

local function read_array(text, at, depth)
    local list = setmetatable({}, ARRAY)
    at = skip_space(text, at + 1)
    if byte(text, at) == CLOSE_ARRAY then
        return list, at + 1
    end
    local stop
    repeat
        list[#list + 1], at = read_value(text, at, depth + 1)
        at, stop = next_item(text, at, CLOSE_ARRAY, "expected , or ]")
    until not at
    return list, stop
end

local function read_object(text, at, depth)
    local members = {}
    at = skip_space(text, at + 1)
    if byte(text, at) == CLOSE_OBJECT then
        return members, at + 1
    end
    local name, stop
    repeat
        at = skip_space(text, at)
        if byte(text, at) ~= QUOTE then
            fail(at, "expected a name")
        end
        name, at = read_string(text, at)
        at = skip_space(text, at)
        if byte(text, at) ~= COLON then
            fail(at, "expected :")
        end
        members[name], at = read_value(text, at + 1, depth + 1)
        at, stop = next_item(text, at, CLOSE_OBJECT, "expected , or }")
    until not at
    return members, stop
end

read_value = function(text, at, depth)
    if depth > MAX_DEPTH then
        fail(at, "nested too deeply")
    end
    at = skip_space(text, at)
    local c = byte(text, at)
    if c == OPEN_OBJECT then
        return read_object(text, at, depth)
    elseif c == OPEN_ARRAY then
        return read_array(text, at, depth)
    elseif c == QUOTE then
        return read_string(text, at)
    end
    local word, stop = match(text, "^(%l+)()", at)
    if word and LITERALS[word] ~= nil then
        return LITERALS[word], stop
    end
    return read_number(text, at)
end

local function read_document(text)
    local value, at = read_value(text, 1, 1)
    at = skip_space(text, at)
    if at <= #text then
        fail(at, "text after the end")
    end
    return value
end

-- The value of a JSON text, or nil and what is wrong and where.
function _M.decode(text)
    local ok, value = pcall(read_document, text)
    if ok then
        return value
    end
    return nil, value
end

return _M
