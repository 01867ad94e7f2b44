-- upstream_api.change: reads and changes the servers of an upstream. Each change is made on the newest configuration
-- with the lock held, so that none gets lost, and is complete before the client hears of it. Each function gives back
-- nil and a fault { status, text, code } when it cannot do what it is told.

local dictionary = require "upstream_api.dictionary"
local drain = require "upstream_api.drain"
local failures = require "upstream_api.failures"
local json = require "upstream_api.json"
local lock = require "upstream_api.lock"
local message = require "upstream_api.message"
local records = require "upstream_api.record"
local settings = require "upstream_api.settings"
local state_file = require "upstream_api.state_file"
local statistics = require "upstream_api.statistics"
local store = require "upstream_api.store"

local fault, quoted = message.fault, message.quoted

local _M = {}

local function check_name(name)
    if not settings.dict then
        error("upstream_api: call setup{} in init_by_lua_block first", 0)
    elseif not settings.known[name] then
        return nil, fault(404, "UpstreamNotFound", "upstream not found")
    end
    return true
end

-- The newest configuration of an upstream.
function _M.find(name)
    local known, problem = check_name(name)
    if not known then
        return nil, problem
    end
    local config = store.load(name)
    if not config then
        return nil, fault(500, "InternalError", "the shared dictionary has lost this upstream, see the error log")
    end
    return config
end

-- The place of a server in its group, and its record.
function _M.find_server(config, id)
    for i, record in ipairs(config.records) do
        if record.id == id then
            return i, record
        end
    end
    return nil, fault(404, "UpstreamServerNotFound", 'server with ID "' .. id .. '" does not exist')
end

-- The list of servers, as the API shows it.
function _M.show(config)
    local servers = json.array()
    for i, record in ipairs(config.records) do
        servers[i] = records.show(record)
    end
    return servers
end

local function out_of_memory(name)
    return fault(400, "UpstreamOutOfMemory", "upstream " .. quoted(name) .. " memory exhausted")
end

local function apply(name, edit)
    local found, problem = _M.find(name)
    if not found then
        return nil, problem
    end
    local config = { next = found.next, zombies = found.zombies, records = { unpack(found.records) } }
    drain.drop_idle(name, config)
    local result
    result, problem = edit(config)
    if not result then
        return nil, problem
    elseif not store.save(name, config) then
        return nil, out_of_memory(name)
    end
    state_file.save()
    return result
end

-- Runs `edit` on a copy of the configuration; it gives back what to answer, or nil and a fault (then nothing changes).
local function change(name, edit)
    local known, problem = check_name(name)
    if not known then
        return nil, problem
    end
    return lock.run(apply, name, edit)
end

-- Adds a server with the parameters `given`. An address that is in the group already makes a second entry: the id is
-- what tells servers apart. NGINX Plus documents a 409 EntryExists but not when; its own state files have been seen
-- with every server twice.
function _M.add(name, given)
    local known, problem = check_name(name)
    local record
    if known then
        record, problem = records.new(given)
    end
    if not record then
        return nil, problem
    end
    return change(name, function(config)
        if not dictionary.has_room() then
            return nil, out_of_memory(name)
        end
        record.id, config.next = config.next, config.next + 1
        config.records[#config.records + 1] = record
        config.grows = true
        return records.show(record)
    end)
end

-- Changes the parameters `given` of a server.
function _M.patch(name, id, given)
    return change(name, function(config)
        local i, found = _M.find_server(config, id)
        if not i then
            return nil, found
        end
        local record, problem = records.patched(found, given)
        if not record then
            return nil, problem
        end
        if record.server ~= found.server then
            failures.forget(name, id) -- they were another server's
        end
        config.records[i] = record
        return records.show(record)
    end)
end

-- Removes a server; gives back those that are left.
function _M.remove(name, id)
    local result, problem = change(name, function(config)
        local i, found = _M.find_server(config, id)
        if not i then
            return nil, found
        end
        table.remove(config.records, i)
        config.zombies[#config.zombies + 1] = id
        return _M.show(config)
    end)
    if result then
        statistics.forget(name, id)
        failures.forget(name, id)
    end
    return result, problem
end

-- Sets the statistics of all servers to 0. Workers drop what they have collected when they see the new version, so it
-- comes before the deletion.
function _M.reset(name)
    dictionary.add("e/" .. name, 1)
    dictionary.add("v/" .. name, 1)
    local config = store.load(name)
    for _, record in ipairs(config and config.records or {}) do
        statistics.delete(name, record.id)
    end
end

return _M
