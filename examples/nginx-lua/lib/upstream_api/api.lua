-- upstream_api.api: answers a request to the API: from the path to a node of the tree, from its value to the response.

local change = require "upstream_api.change"
local json = require "upstream_api.json"
local message = require "upstream_api.message"
local options = require "upstream_api.options"
local settings = require "upstream_api.settings"
local tree = require "upstream_api.tree"

local object, put = json.object, json.put
local fault = message.fault
local gmatch, match, sub = string.gmatch, string.match, string.sub

local VERSIONS = json.array { 2, 3, 4, 5, 6, 7, 8, 9 }
local HREF = "https://nginx.org/en/docs/http/ngx_http_api_module.html"
local OPTIONS = { mount = "string", write = "boolean" }

local _M = {}

local function path_not_found()
    return nil, fault(404, "PathNotFound", "path not found")
end

-- The node of the tree that a path names, or nil and a fault. Fills in the call's name and id.
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
    local config, problem = change.find(call.name)
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

-- What follows the location's prefix: "/9/http/upstreams", or nil when the URI does not have it. nginx does not tell a
-- location its own name, so without `mount` the prefix is what comes before the first part made of digits.
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

-- A status and a value to show, or nil and a fault.
local function handle(call, given)
    local path = path_below(given.mount, ngx.var.uri)
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
    local handler = tree[node][method == "HEAD" and "GET" or method]
    if not handler or (given.write == false and handler ~= tree[node].GET) then
        return nil, fault(405, "MethodDisabled", "method disabled")
    end
    return handler(call)
end

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
    put(shown, "request_id", ngx.var.request_id)
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

-- Answers a request to the API; for content_by_lua_block of its location.
function _M.serve(given)
    given = given or {}
    options.check(given, OPTIONS, "upstream_api.serve")
    if not settings.dict then
        error("upstream_api.serve: call setup{} in init_by_lua_block first", 0)
    end
    local call = {}
    local status, value = handle(call, given)
    if status then
        return respond(status, value == "" and "" or json.encode(value))
    elseif value.status == 413 then
        return ngx.exit(413) -- nginx's own page, as NGINX Plus
    end
    return respond(value.status, json.encode(show_fault(value, call.version)))
end

return _M
