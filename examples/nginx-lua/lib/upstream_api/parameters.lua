-- upstream_api.parameters: the parameters of a server, their defaults and their checks.

local message = require "upstream_api.message"

local fault, quoted = message.fault, message.quoted
local floor = math.floor
local find, format, match = string.find, string.format, string.match

local MAX_INTEGER = 2147483647

-- Unit -> its place in the order that nginx demands, and its length in seconds. A number without unit comes last.
local TIME_UNITS = {
    y = { 1, 31536000 }, M = { 2, 2592000 }, w = { 3, 604800 }, d = { 4, 86400 }, h = { 5, 3600 }, m = { 6, 60 },
    s = { 7, 1 }, ms = { 8, 0.001 }, [""] = { 9, 1 },
}

local _M = {}

-- Seconds of a time as nginx writes them ("10s", "1h 30m", "500ms", "10"), or nil.
function _M.parse_time(text)
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

-- Times stay as they were written: clients compare them as text with what they want.
local function check_time(allows_milliseconds)
    return function(value)
        if type(value) == "number" then
            value = format("%.0fs", value)
        end
        if find(value, "ms", 1, true) and not allows_milliseconds then
            return nil
        end
        return _M.parse_time(value) and value
    end
end

local function check_route(value)
    return #value <= 32 and not find(value, "[^\33-\126]") and value or nil
end

local function check_boolean(value)
    return value
end

-- In the order of NGINX Plus's own output. `number`, `string` and `boolean` are the JSON types that it takes, `code` is
-- the error for a right type with a wrong value. A `fixed` one is set when the server is added and cannot be changed.
_M.LIST = {
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

_M.BY_NAME = {}
for _, parameter in ipairs(_M.LIST) do
    _M.BY_NAME[parameter.name] = parameter
end

-- The fault for a body of the wrong shape.
function _M.format_fault(text)
    return fault(400, "UpstreamConfFormatError", text)
end

-- The value to keep, or nil and a fault.
function _M.check(parameter, value)
    local kind = type(value)
    if kind == "table" then
        return nil, _M.format_fault("nested object or list")
    elseif not parameter[kind] or (kind == "number" and (value ~= floor(value) or value - value ~= 0)) then
        return nil, _M.format_fault("invalid " .. quoted(parameter.name) .. " value")
    end
    local checked = parameter.check(value)
    if checked == nil then
        return nil, fault(400, parameter.code, "invalid " .. quoted(parameter.name))
    end
    return checked
end

return _M
