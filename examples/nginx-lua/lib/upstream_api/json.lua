-- upstream_api.json: JSON values, text from values, values from text.

local reader = require "upstream_api.json.reader"

local concat = table.concat
local byte, format, gsub = string.byte, string.format, string.gsub

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

_M.decode = reader.decode

return _M
