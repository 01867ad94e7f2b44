-- upstream_api.drain: removed servers that still answer requests ("zombies"). Requests that chose one of them before it
-- was removed are counted since then, so once the count is 0 it stays 0.

local settings = require "upstream_api.settings"
local workers = require "upstream_api.workers"

local _M = {}

-- How many removed servers of a configuration are still busy.
function _M.count_busy(list, name, config)
    local busy = 0
    for _, id in ipairs(config.zombies) do
        if workers.count_active(list, name, id) > 0 then
            busy = busy + 1
        end
    end
    return busy
end

-- Drops those whose last request is over from the configuration, and their counts from the dictionary.
function _M.drop_idle(name, config)
    local list, busy = workers.list(), {}
    for _, id in ipairs(config.zombies) do
        if workers.count_active(list, name, id) > 0 then
            busy[#busy + 1] = id
        else
            for _, token in ipairs(list) do
                settings.dict:delete(workers.active_key(token, name, id))
            end
        end
    end
    config.zombies = busy
end

return _M
