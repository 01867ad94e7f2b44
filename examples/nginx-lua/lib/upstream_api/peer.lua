-- upstream_api.peer: a server as one worker process sees it, with what this worker counts on it. Peers keep their
-- identity over changes; the record in them is exchanged.

local parameters = require "upstream_api.parameters"
local settings = require "upstream_api.settings"
local workers = require "upstream_api.workers"

local _M = {
    all = {}, -- peer -> true, also of removed servers while this worker has requests on them
}

-- Statistics that wait to be written.
function _M.new_pending()
    return {
        requests = 0, sent = 0, received = 0, fails = 0, unavail = 0,
        ["1xx"] = 0, ["2xx"] = 0, ["3xx"] = 0, ["4xx"] = 0, ["5xx"] = 0,
        headers = 0, header_time = 0, response_time = 0,
    }
end

-- Where a peer starts in the round-robin. If all workers began with the same server, it would get the first request of
-- each. (math.random gives the same numbers in all workers, which inherit its seed.)
local function first_place(id, weight)
    return ((ngx.worker.pid() * 7919 + id * 104729) % 1000 / 1000 - 0.5) * weight
end

function _M.new(view, record)
    local id = record.id
    local tail = view.name .. "/" .. id
    local peer = {
        view = view,
        id = id,
        current = first_place(id, record.weight), -- account of the smooth weighted round-robin
        active = 0,       -- requests of this worker on this server
        uncounted = 0,    -- those of them that are not counted under active_key
        dirty = false,    -- statistics wait to be written
        selected = nil,   -- time of the last selection, if not yet written
        pending = _M.new_pending(),
        codes = {},       -- status -> responses not yet written
        active_key = workers.active_key(workers.my_token(), view.name, id),
        fails_key = "f/" .. tail,
        unavail_key = "u/" .. tail,
        probe_key = "b/" .. tail,
        stats_key = "s/" .. tail .. "/",
    }
    _M.all[peer] = true
    return peer
end

-- Whether failures make the server unavailable at all.
function _M.can_be_unavailable(peer)
    return peer.max_fails > 0 and peer.fail_timeout > 0 and not peer.view.single
end

local function seconds(text)
    return parameters.parse_time(text) or 0
end

-- Takes over the record, and what the other workers know about the server's failures.
function _M.update(peer, record)
    if peer.record ~= record then
        peer.record = record
        peer.host, peer.port = record.host, record.port
        peer.weight = record.weight
        peer.max_conns = record.max_conns
        peer.max_fails = record.max_fails
        peer.fail_timeout = seconds(record.fail_timeout)
        peer.slow_start = seconds(record.slow_start)
    end
    peer.unavailable_until, peer.recovered_at = nil, nil
    local mark = _M.can_be_unavailable(peer) and settings.dict:get(peer.unavail_key)
    if mark and mark > 0 then
        peer.unavailable_until = mark
    elseif mark and peer.slow_start > 0 then
        peer.recovered_at = -mark
    end
end

return _M
