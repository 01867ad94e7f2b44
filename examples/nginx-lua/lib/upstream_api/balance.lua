-- upstream_api.balance: the two hooks of every request.

local account = require "upstream_api.account"
local active = require "upstream_api.active"
local message = require "upstream_api.message"
local selection = require "upstream_api.select"
local settings = require "upstream_api.settings"
local statistics = require "upstream_api.statistics"
local sweep = require "upstream_api.sweep"
local tickets = require "upstream_api.ticket"
local views = require "upstream_api.view"

local ngx_now = ngx.now
local balancer = require "ngx.balancer"
local set_current_peer, set_more_tries = balancer.set_current_peer, balancer.set_more_tries
local add_active, subtract_active, is_over_limit = active.add, active.subtract, active.is_over_limit
local exclude, pick = selection.exclude, selection.pick
local mark_dirty = statistics.mark_dirty
local take_ticket, finish_ticket = tickets.take, tickets.finish
local by_name, is_current, refresh = views.by_name, views.is_current, views.refresh

-- NGX_BUSY, for which the lua module has no name: nginx says "no live upstreams" and answers 502. Its own ngx.ERROR
-- would give 500.
local BUSY = -3

local _M = {}

-- A peer that counts the request, or nil when the group has none to offer. See active.lua for the order.
local function choose(view, ticket)
    while true do
        local peer = pick(view, ticket)
        if peer then
            add_active(peer)
        end
        if not is_current(view) then
            if peer then
                subtract_active(peer, 1)
            end
            refresh(view)
        elseif not peer or not is_over_limit(peer) then
            return peer
        else
            subtract_active(peer, 1)
            exclude(ticket, peer)
        end
    end
end

local function unknown_upstream(name)
    if not settings.dict then
        error("upstream_api.balance: call setup{} in init_by_lua_block first", 0)
    end
    error("upstream_api.balance: " .. message.quoted(name) .. " is not among the upstreams of setup{}", 0)
end

-- Chooses the server of a request; for balancer_by_lua_block of the upstream `name`.
function _M.balance(name)
    local view = by_name[name] or unknown_upstream(name)
    local ticket = take_ticket()
    local peer = choose(view, ticket)
    if not peer then
        return ngx.exit(BUSY)
    end
    ticket.peer, ticket.address, ticket.probe = peer, peer.record.server, peer.unavailable_until ~= nil
    peer.pending.requests = peer.pending.requests + 1
    peer.selected = ngx_now()
    mark_dirty(peer)
    if not ticket.started then
        ticket.started = true
        if view.tries > 1 then
            set_more_tries(view.tries - 1)
        end
    end
    local ok, why = set_current_peer(peer.host, peer.port)
    if not ok then
        message.log(ngx.ERR, "upstream ", name, ": nginx refuses server ", peer.record.server, ": ", why)
        return ngx.exit(ngx.ERROR)
    end
end

-- Ends the counts of a request; for log_by_lua_block.
function _M.log()
    sweep.log_was_called = true
    local ticket = finish_ticket()
    if ticket then
        account.count(ticket)
    end
end

return _M
