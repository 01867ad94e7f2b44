-- upstream_api.account: what came of a request: statistics, and whether the last server failed. nginx tells the
-- balancer only of failures that lead to another attempt, so the last one is read from its variables. A server that
-- answered has a header time. Without one, 502 and 504 are nginx's own: the connection failed or timed out, or the
-- answer was no HTTP. Anything else means that the client went away first.

local failures = require "upstream_api.failures"
local statistics = require "upstream_api.statistics"

local var = ngx.var
local floor = math.floor
local find, gmatch, match = string.find, string.gmatch, string.match
local mark_dirty = statistics.mark_dirty
local CLASSES = statistics.CLASSES

local _M = {}

local function judge(peer, probe, status, answered)
    if answered then
        if probe then
            failures.report_recovery(peer)
        end
    elseif status == 502 or status == 504 then
        failures.report_failure(peer)
    end
end

local function count_response(peer, status, header_time, response_time, sent, received)
    local pending = peer.pending
    pending.sent = pending.sent + (sent or 0)
    pending.received = pending.received + (received or 0)
    local class = header_time and status and CLASSES[floor(status / 100)]
    if class then
        pending[class] = pending[class] + 1
        pending.headers = pending.headers + 1
        pending.header_time = pending.header_time + header_time * 1000
        pending.response_time = pending.response_time + (response_time or header_time) * 1000
        peer.codes[status] = (peer.codes[status] or 0) + 1
    end
    mark_dirty(peer)
end

-- "a, b : c" -> { "a", "b", "c" }
local function split_list(text)
    local items = {}
    for item in gmatch(text or "", "%S+") do
        if item ~= ":" then
            items[#items + 1] = match(item, "^(.-),?$")
        end
    end
    return items
end

-- Several attempts: nginx lists them all, also those on other upstreams, so they are matched by address, in order.
local function count_each(attempts)
    local addresses, statuses = split_list(var.upstream_addr), split_list(var.upstream_status)
    local header_times, response_times = split_list(var.upstream_header_time), split_list(var.upstream_response_time)
    local sent, received = split_list(var.upstream_bytes_sent), split_list(var.upstream_bytes_received)
    local at = 1
    for _, attempt in ipairs(attempts) do
        local i = at
        while addresses[i] and addresses[i] ~= attempt.address do
            i = i + 1
        end
        if addresses[i] then
            local status, header_time = tonumber(statuses[i]), tonumber(header_times[i])
            count_response(attempt.peer, status, header_time, tonumber(response_times[i]), tonumber(sent[i]),
                           tonumber(received[i]))
            if not attempt.judged then
                judge(attempt.peer, attempt.probe, status, header_time)
            end
            at = i + 1
        end
    end
end

-- Counts what came of the attempts on a ticket.
function _M.count(ticket)
    local peer = ticket.peer
    local status = tonumber(var.upstream_status)
    if not ticket.earlier and (status or not find(var.upstream_status or "", " ", 1, true)) then
        if peer then
            local header_time = tonumber(var.upstream_header_time)
            count_response(peer, status, header_time, tonumber(var.upstream_response_time),
                           tonumber(var.upstream_bytes_sent), tonumber(var.upstream_bytes_received))
            judge(peer, ticket.probe, status, header_time)
        end
        return
    end
    local attempts = ticket.earlier or {}
    if peer then
        attempts[#attempts + 1] = { peer = peer, address = ticket.address, probe = ticket.probe }
    end
    count_each(attempts)
end

return _M
