-- upstream_api.workers: the worker processes, and how many active requests each has on a server. Each process counts
-- its own, so that the requests of a killed process can be recognized and left out.

local dictionary = require "upstream_api.dictionary"
local process = require "upstream_api.process"
local settings = require "upstream_api.settings"
local store = require "upstream_api.store"

local is_alive = process.is_alive

local _M = {}

-- Where a worker counts its requests on a server.
function _M.active_key(token, name, id)
    return "a/" .. token .. "/" .. name .. "/" .. id
end

local active_key = _M.active_key

-- Where it counts those for which there is no room there.
function _M.uncounted_key(token)
    return "o/" .. token
end

local uncounted_key = _M.uncounted_key

-- Only to free memory: nobody reads the counts of a process that has no slot.
local function forget_counts(token)
    settings.dict:delete(uncounted_key(token))
    for _, name in ipairs(settings.names) do
        local config = store.load(name)
        for _, record in ipairs(config and config.records or {}) do
            settings.dict:delete(active_key(token, name, record.id))
        end
        for _, id in ipairs(config and config.zombies or {}) do
            settings.dict:delete(active_key(token, name, id))
        end
    end
end

-- Whether this process cleans up after a dead one. Of several that ask, one gets a yes.
function _M.may_clean_up(token)
    return settings.dict:safe_add("t/" .. token, true, 3600)
end

-- Slots are numbered without gaps, so that a reader finds them all. The slot of a dead process goes to the next one
-- that asks for a slot.
local function claim_slot(token)
    local dict = settings.dict
    for slot = 1, math.huge do
        local key = "w/" .. slot
        local added, why = dict:safe_add(key, token)
        if added then
            return true
        elseif why ~= "exists" then
            return false
        end
        local owner = dict:get(key)
        if owner and not is_alive(owner) and _M.may_clean_up(owner) and dict:get(key) == owner then
            dict:safe_set(key, token)
            forget_counts(owner)
            return true
        end
    end
end

local me = {}

-- This process's token. The first call registers the process, so it comes before the first count.
function _M.my_token()
    local pid = ngx.worker.pid()
    if me.pid ~= pid then
        me.pid, me.token = pid, process.token(pid)
        if not (dictionary.add(uncounted_key(me.token), 0) and claim_slot(me.token)) then
            dictionary.report_full("the requests of worker " .. pid .. " are not counted")
        end
    end
    return me.token
end

-- The processes that may have active requests: their tokens, and in `dead` what is known of them (token -> boolean).
function _M.list()
    local workers = { dead = {} }
    for slot = 1, math.huge do
        local token = settings.dict:get("w/" .. slot)
        if not token then
            return workers
        end
        workers[slot] = token
    end
end

-- The sum of a number of each live worker.
local function sum(workers, key_of)
    local total = 0
    for _, token in ipairs(workers) do
        local count = settings.dict:get(key_of(token))
        if count and count > 0 then
            if workers.dead[token] == nil then
                workers.dead[token] = not is_alive(token)
            end
            if not workers.dead[token] then
                total = total + count
            end
        end
    end
    return total
end

-- Active requests of all live workers on a server, as far as they are counted there.
function _M.count_on(workers, name, id)
    return sum(workers, function(token)
        return active_key(token, name, id)
    end)
end

-- Active requests of all live workers on a server, and those that may be there. Call list() after the change whose
-- effect is in question.
function _M.count_active(workers, name, id)
    workers.uncounted = workers.uncounted or sum(workers, uncounted_key)
    return _M.count_on(workers, name, id) + workers.uncounted
end

return _M
