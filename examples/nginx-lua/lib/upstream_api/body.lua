-- upstream_api.body: the JSON in the body of a request.

local json = require "upstream_api.json"
local fault = require("upstream_api.message").fault

local MAX_SPOOLED = 16 * 1024

local _M = {}

-- What nginx wrote to a file is larger than client_body_buffer_size, for which NGINX Plus answers 413. Here that comes
-- only beyond the default of 16 KB, in case somebody made the buffer tiny.
local function read()
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
    body = file:read(MAX_SPOOLED + 1) or ""
    file:close()
    if #body > MAX_SPOOLED then
        return nil, fault(413, "RequestEntityTooLarge", "request body is too large")
    end
    return body
end

-- The value in the body, or nil and a fault.
function _M.read_json()
    local body, problem = read()
    if not body then
        return nil, problem
    end
    local value, why = json.decode(body)
    if value == nil then
        return nil, fault(415, "JsonError", "json error: " .. why)
    end
    return value
end

return _M
