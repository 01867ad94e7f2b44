-- upstream_api.sweep: takes back the counts of requests that ended without log(). That happens when log_by_lua is
-- missing or overridden in a location, and with every subrequest (nginx has no log phase for those).
--
-- The table of tickets is weak, and ngx.ctx keeps the ticket of a running request alive. The ticket of a request that
-- ended without log() goes with the garbage, so tickets tell how many counts are left over.

local active = require "upstream_api.active"
local log_once = require("upstream_api.dictionary").log_once
local peers = require "upstream_api.peer"

local INTERVAL = 1 -- seconds
local LONGEST_PAUSE = 60 -- sweeps

local _M = {
    tickets = setmetatable({}, { __mode = "v" }), -- address of a request -> its ticket
    number = 0, -- sweeps so far
    log_was_called = false,
    saw_subrequest = false,
    saw_stale_ticket = false,
}

local is_due = false
local sweeps_to_skip, last_pause = 0, 0

local function total_active()
    local total = 0
    for peer in pairs(peers.all) do
        total = total + peer.active
    end
    return total
end

-- Tickets by peer, how many in all, and whether one of them is older than a sweep.
local function count_tickets()
    local counts, total, has_old = {}, 0, false
    for _, ticket in pairs(_M.tickets) do
        local peer = ticket.peer
        if peer then
            counts[peer] = (counts[peer] or 0) + 1
            total = total + 1
            has_old = has_old or ticket.sweep < _M.number - 1
        end
    end
    return counts, total, has_old
end

local function report_missing_log()
    if not _M.log_was_called then
        log_once(0, "log", ngx.ERR, "requests end without log(): add \"log_by_lua_block { require('upstream_api')",
                 ".log() }\" to http{}; until then \"active\" falls seconds late and responses are not counted")
    elseif not _M.saw_subrequest then
        log_once(0, "hidden", ngx.ERR, "some requests end without log(): a server or location has its own ",
                 "log_by_lua*, which replaces the one of http{}; call require('upstream_api').log() there too")
    end
end

-- Takes back the counts that have no ticket any more.
local function drop_leftovers(counts)
    for peer in pairs(peers.all) do
        local left = peer.active - (counts[peer] or 0)
        if left > 0 then
            active.subtract(peer, left)
        end
        if peer.active == 0 and peer.view.peers[peer.id] ~= peer then
            peers.all[peer] = nil
        end
    end
end

-- The tickets by peer when there are fewer of them than counts, else nil. A garbage collection costs milliseconds, so
-- it is forced only for requests older than a sweep, and ever more seldom while they turn out to be just slow.
local function find_leftovers(active_now)
    local counts, total, has_old = count_tickets()
    if total == active_now and has_old then
        if sweeps_to_skip > 0 then
            sweeps_to_skip = sweeps_to_skip - 1
            return nil
        end
        collectgarbage()
        counts, total = count_tickets()
        last_pause = total == active_now and math.min(last_pause * 2 + 1, LONGEST_PAUSE) or 0
        sweeps_to_skip = last_pause
    end
    return total < active_now and counts or nil
end

local sweep

-- Sees to it that a sweep comes within a second.
function _M.schedule()
    if not is_due then
        is_due = ngx.timer.at(INTERVAL, sweep) and true or false
    end
end

sweep = function(worker_is_leaving)
    is_due = false
    _M.number = _M.number + 1
    local active_now = total_active()
    local counts = active_now > 0 and not worker_is_leaving and find_leftovers(active_now)
    if counts then
        drop_leftovers(counts)
    end
    if counts or _M.saw_stale_ticket then
        _M.saw_stale_ticket = false
        report_missing_log()
    end
    if active_now > 0 then
        _M.schedule()
    end
end

return _M
