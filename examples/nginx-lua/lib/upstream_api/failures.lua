-- upstream_api.failures: unavailable servers. After max_fails failures within fail_timeout a server gets no requests
-- for fail_timeout; then one request at a time may find out whether it works again. All workers share this. As in
-- nginx, the rest of the group takes over at once, by the rules of proxy_next_upstream.

local dictionary = require "upstream_api.dictionary"
local message = require "upstream_api.message"
local peers = require "upstream_api.peer"
local settings = require "upstream_api.settings"
local statistics = require "upstream_api.statistics"
local view = require "upstream_api.view"

local _M = {}

local function set_unavailable(peer, now)
    local dict = settings.dict
    local until_now = dict:get(peer.unavail_key)
    local was_available = not until_now or until_now < 0
    local has_room = until_now or dictionary.has_room_to_count()
    if not has_room or not dict:safe_set(peer.unavail_key, now + peer.fail_timeout) then
        dictionary.report_full("failures are not remembered")
        return
    end
    dict:delete(peer.probe_key)
    if was_available then
        peer.pending.unavail = peer.pending.unavail + 1
        if dictionary.has_room() or dict:get(peer.stats_key .. "downstart") then
            dict:safe_set(peer.stats_key .. "downstart", now)
        end
        message.log(ngx.WARN, "upstream ", peer.view.name, ": server ", peer.record.server, " is unavailable for ",
                    peer.record.fail_timeout, " after ", peer.record.max_fails, " failure(s)")
    end
    view.announce(peer.view)
end

-- An attempt on this server has failed.
function _M.report_failure(peer)
    local dict = settings.dict
    peer.pending.fails = peer.pending.fails + 1
    statistics.mark_dirty(peer)
    if not peers.can_be_unavailable(peer) then
        return
    end
    local now = ngx.now()
    if peer.unavailable_until then
        return set_unavailable(peer, now)
    end
    local failures = dict:incr(peer.fails_key, 1)
    if not failures then
        -- The first failure opens the window: the count expires with it.
        dict:safe_add(peer.fails_key, 0, peer.fail_timeout)
        failures = dict:incr(peer.fails_key, 1)
    end
    if failures and failures >= peer.max_fails then
        set_unavailable(peer, now)
    end
end

-- The request that probed an unavailable server has succeeded.
function _M.report_recovery(peer)
    local dict = settings.dict
    local mark = dict:get(peer.unavail_key)
    if not mark or mark < 0 then
        return
    end
    local now = ngx.now()
    dict:delete(peer.fails_key)
    dict:delete(peer.probe_key)
    if peer.slow_start > 0 then
        dict:safe_set(peer.unavail_key, -now)
    else
        dict:delete(peer.unavail_key)
    end
    local since = dict:get(peer.stats_key .. "downstart")
    if since and now > since then
        dictionary.add(peer.stats_key .. "downtime", (now - since) * 1000)
    end
    view.announce(peer.view)
end

-- Whether this request may probe an unavailable server whose time is over: one of all workers may.
function _M.may_probe(peer)
    local added, why = settings.dict:safe_add(peer.probe_key, true, peer.fail_timeout)
    return added or why ~= "exists"
end

-- When a server stops being unavailable, in seconds since 1970; negative: when it recovered; nil: it has not failed.
function _M.unavailable_until(name, id)
    return settings.dict:get("u/" .. name .. "/" .. id)
end

function _M.forget(name, id)
    for _, kind in ipairs { "f/", "u/", "b/" } do
        settings.dict:delete(kind .. name .. "/" .. id)
    end
end

return _M
