-- upstream_api.dictionary: the keys of the shared dictionary, and what to do when it is full. This is what all worker
-- processes share. NAME is an upstream, ID a server, TOKEN a worker process:
--
--   v/NAME            version: +1 with every change that a balancer must see
--   c/NAME/COPY       the servers, as text; p/NAME says which copy is valid
--   e/NAME            +1 with every reset of the statistics
--   a/TOKEN/NAME/ID   requests that this worker has on this server now
--   o/TOKEN           requests of this worker on servers for which there was no room to count them
--   w/SLOT            TOKEN of the worker that has this slot
--   t/TOKEN           somebody cleans up after the dead TOKEN
--   f/NAME/ID         failures within the running fail_timeout
--   u/NAME/ID         unavailable until this time; a negative one: recovered then
--   b/NAME/ID         one request is finding out whether an unavailable server works again
--   s/NAME/ID/FIELD   statistics
--   x/GENERATION/...  a log line that must not be repeated yet
--   names, generation, lock
--
-- A full dictionary must never evict anything. So nothing here uses a call that may evict (set and add on new keys,
-- incr with an initial value), and a reserve keeps room for what must not fail.

local message = require "upstream_api.message"
local settings = require "upstream_api.settings"

local log, quoted = message.log, message.quoted
local floor, max = math.floor, math.max

local _M = { SMALLEST = 64 * 1024 }

-- Bytes that servers and statistics leave free. The workers' counts and the failures of servers may use half of it:
-- the lock and a changed server need the rest, or nobody could drain a server any more.
local function reserve()
    return max(16 * 1024, floor(settings.dict:capacity() / 8))
end

local function has_free(bytes)
    local dict = settings.dict
    if dict:free_space() >= bytes then
        return true
    end
    dict:flush_expired()
    return dict:free_space() >= bytes
end

-- Whether there is room for what has no claim to the reserve.
function _M.has_room()
    return has_free(reserve())
end

-- Whether there is room for another count, or for the failures of another server.
function _M.has_room_to_count()
    return settings.dict:free_space() >= reserve() / 2
end

local logged = {} -- topic -> when this worker has logged it while there was no room to tell the others

-- Logs at most once in `pause` seconds (0: once) over all workers, for lines that would come with every request.
function _M.log_once(pause, topic, level, ...)
    local first, why = settings.dict:safe_add("x/" .. settings.generation .. "/" .. topic, true, pause)
    if not first and why ~= "exists" then
        local last, now = logged[topic], ngx.now()
        first = not last or pause > 0 and now - last >= pause
        logged[topic] = first and now or last
    end
    if first then
        log(level, ...)
    end
end

function _M.report_full(what)
    _M.log_once(60, "full", ngx.ERR, "shared dictionary ", quoted(settings.dict_name), " is full, ", what,
                "; give its lua_shared_dict more memory and restart nginx")
end

-- Adds to a number that may not exist yet; false when there is no memory for it.
function _M.add(key, delta)
    local dict = settings.dict
    while true do
        if dict:incr(key, delta) then
            return true
        end
        local added, why = dict:safe_add(key, delta)
        if added then
            return true
        elseif why ~= "exists" then
            return false
        end
    end
end

return _M
