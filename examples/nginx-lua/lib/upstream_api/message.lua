-- upstream_api.message: log lines, quoted text, times and errors of the API.

local raw_log = require("ngx.errlog").raw_log

local concat = table.concat
local floor = math.floor
local format, gsub, sub = string.format, string.gsub, string.sub

local _M = {}

-- ngx.log would put the name of this function before every line.
function _M.log(level, ...)
    raw_log(level, "upstream_api: " .. concat({ ... }))
end

-- Text from outside, made safe for a log line or an error message.
function _M.quoted(text)
    text = tostring(text)
    if #text > 80 then
        text = sub(text, 1, 77) .. "..."
    end
    return '"' .. gsub(text, '[^\32-\126]', "?") .. '"'
end

-- ISO 8601 in UTC, with milliseconds.
function _M.iso_time(seconds)
    local whole = floor(seconds)
    return format("%s.%03dZ", os.date("!%Y-%m-%dT%H:%M:%S", whole), floor((seconds - whole) * 1000))
end

-- An error of the API: HTTP status, the code of NGINX Plus, a sentence.
function _M.fault(status, code, text)
    return { status = status, code = code, text = text }
end

return _M
