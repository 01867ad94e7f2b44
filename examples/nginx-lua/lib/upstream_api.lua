-- upstream_api: the upstream part of the NGINX Plus REST API for open-source nginx.
--
-- For nginx with lua-nginx-module (Debian: libnginx-mod-http-lua) or OpenResty. It keeps the servers of http upstreams
-- in a shared dictionary, balances requests over them and serves the same REST API as NGINX Plus (versions 2 to 9), so
-- that whatever manages servers there manages them here, without a reload.
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
-- The options of setup{ } and serve{ }, what differs from NGINX Plus and where things are: see README.md of
-- examples/nginx-lua.

local api = require "upstream_api.api"
local balance = require "upstream_api.balance"
local change = require "upstream_api.change"
local declaration = require "upstream_api.declaration"
local dictionary = require "upstream_api.dictionary"
local message = require "upstream_api.message"
local settings = require "upstream_api.settings"
local state_file = require "upstream_api.state_file"
local store = require "upstream_api.store"
local view = require "upstream_api.view"

local refuse = declaration.refuse

local _M = { _VERSION = settings.VERSION }

-- A relative path starts at nginx's prefix, as elsewhere in its configuration, not in the folder it was started from.
local function state_path(path)
    return path and (string.sub(path, 1, 1) == "/" and path or ngx.config.prefix() .. path)
end

local function remember(options, declared)
    settings.dict, settings.dict_name = declaration.dict(options.dict), options.dict
    settings.state = state_path(options.state)
    settings.names, settings.known = {}, {}
    for name in pairs(declared) do
        settings.names[#settings.names + 1] = name
        settings.known[name] = true
    end
    table.sort(settings.names)
end

-- Upstreams that the dictionary has already (after a reload) stay as they are.
local function fill_dict(name, records)
    for i, record in ipairs(records) do
        record.id = i - 1
    end
    local first = { next = #records, zombies = {}, records = records }
    if not store.load(name) and not store.save(name, first) then
        refuse("the shared dictionary ", message.quoted(settings.dict_name), " is too small for the servers of ",
               message.quoted(name))
    end
    -- Reserved now, so that they can always be counted up.
    dictionary.add("v/" .. name, 0)
    dictionary.add("e/" .. name, 0)
end

--- Declares the upstreams; for init_by_lua_block. It runs in the master process at the start and at every reload;
--- `nginx -t` does not run it. See the head of this file.
function _M.setup(options)
    local declared = declaration.check(options)
    remember(options, declared)
    local dict = settings.dict
    dict:flush_expired()
    dictionary.add("generation", 1)
    ngx.update_time()
    settings.generation, settings.loaded = dict:get("generation"), ngx.now()
    local saved = settings.state and state_file.load(settings.state) or {}
    for _, name in ipairs(settings.names) do
        local records = saved[name] ~= nil and state_file.records(name, saved[name], settings.state)
        fill_dict(name, records or declared[name])
        view.declare(name)
    end
    if not dict:safe_set("names", table.concat(settings.names, " ")) then
        refuse("the shared dictionary ", message.quoted(settings.dict_name), " is full")
    end
end

--- Chooses the server of a request; for balancer_by_lua_block of the upstream with this name.
_M.balance = balance.balance

--- Ends the counts of a request; for log_by_lua_block, of http{} or of each location that has one of its own.
_M.log = balance.log

--- Answers a request to the API; for content_by_lua_block of its location.
_M.serve = api.serve

-- For other modules, such as upstream_conf. Each function gives back nil and a fault { status, text, code } when it
-- cannot do what it is told. Servers are as in the API, and must not be changed.

--- The servers of an upstream.
function _M.servers(name)
    local config, problem = change.find(name)
    return config and config.records, problem
end

--- Adds a server with the parameters `given`; gives back its id.
function _M.add(name, given)
    local shown, problem = change.add(name, given)
    return shown and shown.values.id, problem
end

--- Changes the parameters `given` of the server with this id: patch(name, id, given).
_M.patch = change.patch

--- Removes the server with this id: remove(name, id).
_M.remove = change.remove

return _M
