-- upstream_api.ticket: what a request holds. A ticket is found by the address of the request in nginx's memory, which
-- stays the same through retries and internal redirects (ngx.ctx does not) and in the log phase.

local active = require "upstream_api.active"
local failures = require "upstream_api.failures"
local selection = require "upstream_api.select"
local sweep = require "upstream_api.sweep"

local ffi_cast = require("ffi").cast
local get_request = require("resty.core.base").get_request
local get_last_failure = require("ngx.balancer").get_last_failure

local tickets = sweep.tickets

local _M = {}

local function request_address()
    return tonumber(ffi_cast("intptr_t", get_request()))
end

local function new(address)
    local ticket = {
        peer = nil,        -- the server that the request is counted on
        address = nil,     -- that server's address when it was chosen
        probe = false,     -- the server is unavailable and this request finds out whether it still is
        started = false,   -- nginx has been told how many servers it may try
        tried = nil,       -- servers not to choose again
        earlier = nil,     -- attempts that are over
        sweep = sweep.number,
    }
    tickets[address] = ticket
    ngx.ctx.upstream_api = ticket
    sweep.schedule()
    if ngx.is_subrequest then
        sweep.saw_subrequest = true
    end
    return ticket
end

-- Ends the attempt that `ticket` holds. `state` is what nginx says of it: "failed", "next" (an answer that let it try
-- another server), or nil when the request has left the upstream in another way.
local function end_attempt(ticket, state)
    local peer = ticket.peer
    if not peer then
        return
    end
    ticket.peer = nil
    active.subtract(peer, 1)
    selection.exclude(ticket, peer)
    local earlier = ticket.earlier or {}
    ticket.earlier = earlier
    earlier[#earlier + 1] = { peer = peer, address = ticket.address, probe = ticket.probe, judged = state ~= nil }
    if state == "failed" then
        failures.report_failure(peer)
    elseif state and ticket.probe then
        failures.report_recovery(peer)
    end
end

-- The ticket of this request, without a count on it: a new one, the one of the attempt that has just failed, or after
-- an internal redirect a new one that remembers the attempts so far.
function _M.take()
    local address = request_address()
    local ticket = tickets[address]
    if not ticket then
        return new(address)
    end
    local state = get_last_failure()
    end_attempt(ticket, state)
    if state then
        return ticket
    end
    local again = new(address)
    if ngx.req.is_internal() then
        again.earlier = ticket.earlier
    else
        sweep.saw_stale_ticket = true -- another request's, at an address that is used again
    end
    return again
end

-- Takes the ticket of this request away, at its end. The request is not active any more; the ticket still names the
-- server of the last attempt. Gives back nil when the request has none.
function _M.finish()
    local address = request_address()
    local ticket = tickets[address]
    if ticket then
        tickets[address] = nil
        if ticket.peer then
            active.subtract(ticket.peer, 1)
        end
    end
    return ticket
end

return _M
