-- upstream_api.tree: the nodes of the API. A handler gets the call { version, name, id } and gives back a status and a
-- value to show, or nil and a fault.

local process = require "ngx.process"
local body = require "upstream_api.body"
local change = require "upstream_api.change"
local json = require "upstream_api.json"
local message = require "upstream_api.message"
local records = require "upstream_api.record"
local settings = require "upstream_api.settings"
local statistics = require "upstream_api.statistics"
local status = require "upstream_api.status"
local workers = require "upstream_api.workers"

local object, put, array = json.object, json.put, json.array
local iso_time = message.iso_time
local floor = math.floor
local format, gmatch = string.format, string.gmatch

local handlers = {}

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

local function answer(status_code, value, problem)
    if value == nil then
        return nil, problem
    end
    return status_code, value
end

function handlers.root()
    return 200, array { "nginx", "http" }
end

function handlers.http()
    return 200, array { "upstreams" }
end

local function nginx_version()
    local number = ngx.config.nginx_version
    return format("%d.%d.%d", floor(number / 1000000), floor(number / 1000) % 1000, number % 1000)
end

function handlers.nginx()
    local shown = object()
    put(shown, "version", nginx_version())
    put(shown, "build", format("upstream_api-%s ngx_lua-%d", settings.VERSION, ngx.config.ngx_lua_version))
    put(shown, "address", ngx.var.server_addr)
    put(shown, "generation", settings.generation)
    put(shown, "load_timestamp", iso_time(settings.loaded))
    put(shown, "timestamp", iso_time(ngx.now()))
    put(shown, "pid", ngx.worker.pid())
    put(shown, "ppid", process.get_master_pid() or ngx.worker.pid())
    return 200, only(wanted_fields(), shown)
end

-- The status of an upstream; nil and a fault when it is not there.
local function show_upstream(name, version, wanted)
    local config, problem = change.find(name)
    if not config then
        return nil, problem
    end
    -- The workers are listed after the configuration was read: see workers.count_active.
    return only(wanted, status.show(name, config, workers.list(), version))
end

function handlers.upstreams(call)
    statistics.flush()
    local wanted, all = wanted_fields(), object()
    for _, name in ipairs(settings.names) do
        local shown = show_upstream(name, call.version, wanted)
        if shown then
            put(all, name, shown)
        end
    end
    return 200, all
end

function handlers.upstream(call)
    statistics.flush()
    return answer(200, show_upstream(call.name, call.version, wanted_fields()))
end

function handlers.reset(call)
    change.reset(call.name)
    return 204, ""
end

function handlers.servers(call)
    local config, problem = change.find(call.name)
    return answer(200, config and change.show(config), problem)
end

function handlers.add(call)
    local given, problem = body.read_json()
    if given == nil then
        return nil, problem
    end
    return answer(201, change.add(call.name, given))
end

function handlers.server(call)
    local config, problem = change.find(call.name)
    if not config then
        return nil, problem
    end
    local i, found = change.find_server(config, call.id)
    if not i then
        return nil, found
    end
    return 200, records.show(found)
end

function handlers.patch(call)
    local given, problem = body.read_json()
    if given == nil then
        return nil, problem
    end
    return answer(200, change.patch(call.name, call.id, given))
end

function handlers.remove(call)
    return answer(200, change.remove(call.name, call.id))
end

-- Node -> method -> handler.
return {
    root = { GET = handlers.root },
    nginx = { GET = handlers.nginx },
    http = { GET = handlers.http },
    upstreams = { GET = handlers.upstreams },
    upstream = { GET = handlers.upstream, DELETE = handlers.reset },
    servers = { GET = handlers.servers, POST = handlers.add },
    server = { GET = handlers.server, PATCH = handlers.patch, DELETE = handlers.remove },
}
