-- upstream_api.active: the exact number of active requests on a server.
--
-- A request is counted on its server first and checks then whether the view it chose from is still current; if not, it
-- takes its count back and chooses again. A change does it the other way round: it writes the new version first and
-- looks at the counts then. The dictionary's mutex puts all four steps into one order, so either the change sees the
-- request counted, or the request sees the change. So no new request goes to a drained server once its `active`
-- reads 0.

local dictionary = require "upstream_api.dictionary"
local settings = require "upstream_api.settings"
local workers = require "upstream_api.workers"

local min = math.min

local _M = {}

-- Counts a request of this worker. Where there is no room for the server's count, it is counted for all servers: none
-- is said to be idle then, and nobody stops a server under its requests.
function _M.add(peer)
    peer.active = peer.active + 1
    if settings.dict:incr(peer.active_key, 1)
        or dictionary.has_room_to_count() and dictionary.add(peer.active_key, 1) then
        return
    end
    peer.uncounted = peer.uncounted + 1
    settings.dict:incr(workers.uncounted_key(workers.my_token()), 1)
    dictionary.report_full("and the active requests of a server count for every server")
end

-- Takes back as many.
function _M.subtract(peer, count)
    peer.active = peer.active - count
    local uncounted = min(count, peer.uncounted)
    if uncounted > 0 then
        peer.uncounted = peer.uncounted - uncounted
        settings.dict:incr(workers.uncounted_key(workers.my_token()), -uncounted)
    end
    if count > uncounted then
        settings.dict:incr(peer.active_key, uncounted - count)
    end
end

local seen_alive = {} -- TOKEN -> when, so that not every request looks into /proc

local function remember_alive(list, now)
    for token, dead in pairs(list.dead) do
        if dead then
            seen_alive[token] = nil
        elseif now - (seen_alive[token] or 0) >= 1 then
            seen_alive[token] = now
        end
    end
end

-- Whether the server has more than max_conns, the request that asks included. It is counted first and compared then:
-- two workers may both step back, but never both go over. For up to a second, a dead worker's requests still count
-- here.
function _M.is_over_limit(peer)
    local limit = peer.max_conns
    if limit == 0 then
        return false
    end
    local list, now = workers.list(), ngx.now()
    for _, token in ipairs(list) do
        if now - (seen_alive[token] or 0) < 1 then
            list.dead[token] = false
        end
    end
    local count = workers.count_on(list, peer.view.name, peer.id)
    remember_alive(list, now)
    return count > limit
end

return _M
