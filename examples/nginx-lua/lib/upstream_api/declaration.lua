-- upstream_api.declaration: checks what setup{} is given. A mistake stops nginx with a sentence.

local process = require "ngx.process"
local dictionary = require "upstream_api.dictionary"
local message = require "upstream_api.message"
local options = require "upstream_api.options"
local records = require "upstream_api.record"
local settings = require "upstream_api.settings"

local quoted = message.quoted
local concat = table.concat
local match = string.match

local OPTIONS = { dict = "string", upstreams = "table", state = "string" }

local _M = {}

function _M.refuse(...)
    error("upstream_api.setup: " .. concat({ ... }), 0)
end

local refuse = _M.refuse

-- The shared dictionary of this name.
function _M.dict(name)
    if not name then
        refuse("dict is missing: the name of a lua_shared_dict")
    end
    local found = ngx.shared[name]
    if not found then
        refuse("there is no shared dictionary ", quoted(name), ": add \"lua_shared_dict ", name, " 1m;\" to http{}")
    elseif found:capacity() < dictionary.SMALLEST then
        refuse("the shared dictionary ", quoted(name), " has only ", found:capacity(), " bytes: make it 64k or more, ",
               "\"lua_shared_dict ", name, " 1m;\" is right for some 200 servers")
    end
    return found
end

-- The list of servers in the declaration of one upstream.
local function servers_in(name, declared)
    if type(declared) ~= "table" then
        refuse("upstream ", quoted(name), " must be a table such as { servers = { ... } }, not a ", type(declared))
    end
    for key in pairs(declared) do
        if key ~= "servers" then
            refuse("upstream ", quoted(name), ": unknown key ", quoted(key), ", only servers is known")
        end
    end
    if declared.servers ~= nil and type(declared.servers) ~= "table" then
        refuse("upstream ", quoted(name), ": servers must be a list, not a ", type(declared.servers))
    end
    return declared.servers or {}
end

-- NAME -> list of servers to start from, unchecked.
local function servers_by_name(list)
    local declared = {}
    for key, value in pairs(list) do
        local name, servers = key, nil
        if type(key) == "number" then
            name, servers = value, {}
        end
        if type(name) ~= "string" or not match(name, "^[%w_][%w_.-]*$") or #name > 255 then
            refuse("bad upstream name ", quoted(name), ": letters, digits, \".\", \"_\" and \"-\" are allowed")
        elseif declared[name] then
            refuse("upstream ", quoted(name), " is declared twice")
        end
        declared[name] = servers or servers_in(name, value)
    end
    if next(declared) == nil then
        refuse("upstreams is empty: name at least one")
    end
    return declared
end

local function records_of(name, servers)
    local found = {}
    for i, given in ipairs(servers) do
        local record, problem = records.new(type(given) == "string" and { server = given } or given)
        if not record then
            refuse("upstream ", quoted(name), ", server ", i, ": ", problem.text)
        end
        found[i] = record
    end
    for key in pairs(servers) do
        if type(key) ~= "number" or not found[key] then
            refuse("upstream ", quoted(name), ": servers must be a list, but it has the key ", quoted(key))
        end
    end
    return found
end

-- NAME -> records to start from.
function _M.check(given)
    if settings.dict then
        refuse("called twice; name all upstreams in one call")
    elseif process.type() == "worker" then
        refuse("lua_code_cache must be on: workers have to remember what they count")
    elseif type(given) ~= "table" then
        refuse("expects a table: setup{ dict = \"upstreams\", upstreams = { \"website\" } }")
    end
    options.check(given, OPTIONS, "upstream_api.setup")
    if not given.upstreams then
        refuse("upstreams is missing: a list of names")
    elseif given.state == "" then
        refuse("state is empty: name a file")
    end
    local declared = servers_by_name(given.upstreams)
    for name, servers in pairs(declared) do
        declared[name] = records_of(name, servers)
    end
    return declared
end

return _M
