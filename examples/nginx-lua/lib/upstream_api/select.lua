-- upstream_api.select: which server comes next. Each worker runs a smooth weighted round-robin of its own, so the
-- shares hold in each and therefore over all.

local failures = require "upstream_api.failures"

local ngx_now = ngx.now
local max = math.max
local may_probe = failures.may_probe

local _M = {}

local function was_tried(ticket, peer)
    local tried = ticket.tried
    if tried then
        for i = 1, #tried do
            if tried[i] == peer then
                return true
            end
        end
    end
    return false
end

-- The weight that counts now: less while a recovered server is in its slow start.
local function weight_now(peer, now)
    local recovered = peer.recovered_at
    if recovered then
        local share = (now - recovered) / peer.slow_start
        if share < 1 then
            return peer.weight * max(share, 0.01)
        end
        peer.recovered_at = nil
    end
    return peer.weight
end

local function pick_from(peers, ticket, now)
    local best, total = nil, 0
    for i = 1, #peers do
        local peer = peers[i]
        local away = peer.unavailable_until
        if not (away and now < away) and not was_tried(ticket, peer) then
            local weight = weight_now(peer, now)
            local current = peer.current + weight
            peer.current = current
            total = total + weight
            if not best or current > best.current then
                best = peer
            end
        end
    end
    if best then
        best.current = best.current - total
    end
    return best
end

-- This request does not go to that peer again.
local function exclude(ticket, peer)
    local tried = ticket.tried
    if not tried then
        tried = {}
        ticket.tried = tried
    end
    tried[#tried + 1] = peer
end

_M.exclude = exclude

-- The peer whose turn it is, or nil when the group has none to offer. Backups come when no other server is left.
function _M.pick(view, ticket)
    local now = ngx_now()
    while true do
        local peer = pick_from(view.primary, ticket, now) or pick_from(view.backup, ticket, now)
        if not peer or not peer.unavailable_until or may_probe(peer) then
            return peer
        end
        exclude(ticket, peer)
    end
end

return _M
