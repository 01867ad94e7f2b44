-- upstream_api.json: JSON values, text from values, values from text.
--
-- lua-cjson reads the text where it is installed (OpenResty has it, Debian has the package lua-cjson), else
-- json/reader.lua does. The writer is always this one: cjson puts the members of an object into any order, NGINX Plus
-- and this API into the same one every time.

local reader = require "upstream_api.json.reader"

local concat = table.concat
local byte, find, format, gsub, match = string.byte, string.find, string.format, string.gsub, string.match

local ARRAY, NULL = reader.ARRAY, ngx.null
local OBJECT = {}

local _M = { NULL = NULL }

-- An object to write. It remembers the order of its members.
function _M.object()
    return setmetatable({ names = {}, values = {} }, OBJECT)
end

function _M.put(target, name, value)
    local names = target.names
    names[#names + 1] = name
    target.values[name] = value
    return target
end

function _M.array(list)
    return setmetatable(list or {}, ARRAY)
end

function _M.is_array(value)
    return type(value) == "table" and getmetatable(value) == ARRAY
end

-- Whether a value that was read is an object. A table from nginx.conf counts as one too.
function _M.is_object(value)
    return type(value) == "table" and getmetatable(value) ~= ARRAY
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

-- The text of a string, a whole number, a boolean, an object() or an array().
function _M.encode(value)
    local out = {}
    encode_into(out, value)
    return concat(out)
end

-- cjson.decode with settings of our own, or nil where cjson is missing.
local function load_cjson()
    local cjson = require("cjson").new()
    cjson.decode_invalid_numbers(false)
    cjson.decode_max_depth(reader.MAX_DEPTH - 1) -- it counts arrays and objects, the reader counts values
    return cjson.decode
end

-- Another module of this name may lack some of it.
local has_cjson, cjson_decode = pcall(load_cjson)

_M.uses_cjson = has_cjson and type(cjson_decode) == "function"

-- Marks the arrays of a value from cjson, none of which is empty.
local function mark_arrays(value)
    if type(value) ~= "table" then
        return
    elseif value[1] ~= nil then
        setmetatable(value, ARRAY)
    end
    for _, item in pairs(value) do
        mark_arrays(item)
    end
end

-- Whether cjson reads this text as our reader would. cjson also accepts control characters in strings, "1." and "-.5",
-- and it makes the same of [] and {}. A "yes" must be right, a "no" only costs time.
local function suits_cjson(text)
    return match(text, "^[%[{][^%z\1-\31]*\n?$") and not find(text, "%[ *%]") and not find(text, "%d%.%D")
        and not find(text, "-.", 1, true)
end

-- The value of a JSON text, or nil and what is wrong. Objects are plain tables, arrays are as from array(), null is
-- NULL.
function _M.decode(text)
    if _M.uses_cjson and suits_cjson(text) then
        local ok, value = pcall(cjson_decode, text)
        if ok then
            mark_arrays(value)
            return value
        end
        -- The reader says what is wrong in the same words everywhere.
    end
    return reader.decode(text)
end

return _M
