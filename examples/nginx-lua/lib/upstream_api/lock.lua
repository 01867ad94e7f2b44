-- upstream_api.lock: one change at a time, over all workers. The lock has no expiry: a holder that is merely slow or
-- stopped would come back and undo what others wrote meanwhile. It is broken only when its holder is dead, which the
-- token tells. Nothing yields while the lock is held, so a process never waits for itself.

local dictionary = require "upstream_api.dictionary"
local message = require "upstream_api.message"
local process = require "upstream_api.process"
local settings = require "upstream_api.settings"
local workers = require "upstream_api.workers"

local fault, log = message.fault, message.log
local sub = string.sub

local LONGEST_WAIT = 5 -- seconds

local _M = {}

local serial = 0

local function break_lock(holder)
    local dict = settings.dict
    -- Only one worker may clean up, and the dead holder deletes nothing any more.
    if workers.may_clean_up(holder) and dict:get("lock") == holder then
        for _, name in ipairs(settings.names) do
            dict:incr("v/" .. name, 1) -- its last change may be written but not announced
        end
        dict:delete("lock")
        log(ngx.WARN, "worker ", process.pid_of(holder), " died while it changed an upstream")
    end
end

-- true, or nil and the fault to answer with.
local function acquire()
    local dict = settings.dict
    serial = serial + 1
    local mine = workers.my_token() .. "/" .. serial
    local give_up = ngx.now() + LONGEST_WAIT
    local first_holder, holder
    while true do
        local added, why = dict:safe_add("lock", mine)
        if added then
            return true
        elseif why ~= "exists" then
            dictionary.report_full("nothing can be changed")
            return nil, fault(400, "UpstreamOutOfMemory", "memory exhausted")
        end
        holder = dict:get("lock")
        first_holder = first_holder or holder
        if ngx.now() > give_up then
            break
        elseif holder and not process.is_alive(sub(holder, 1, process.TOKEN_LENGTH)) then
            break_lock(holder)
        else
            ngx.sleep(0.001 + ngx.worker.pid() % 4 / 1000) -- not all workers at the same time again
        end
    end
    if holder and holder == first_holder then
        log(ngx.ERR, "worker ", process.pid_of(holder) or "unknown", " has been changing an upstream for ",
            LONGEST_WAIT, " seconds: is it stopped?")
    else
        log(ngx.WARN, "a change had no turn within ", LONGEST_WAIT, " seconds, so many others came before it")
    end
    return nil, fault(503, "UpstreamBusy", "other changes take too long, try again")
end

-- What `change(...)` returns, called with the lock held; or nil and a fault.
function _M.run(change, ...)
    local acquired, problem = acquire()
    if not acquired then
        return nil, problem
    end
    local ok, result
    ok, result, problem = pcall(change, ...)
    settings.dict:delete("lock")
    if not ok then
        error(result, 0)
    end
    return result, problem
end

return _M
