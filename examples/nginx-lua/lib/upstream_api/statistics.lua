-- upstream_api.statistics: what is counted on each server. A worker collects, and adds to the dictionary ten times a
-- second while there is something to add.

local dictionary = require "upstream_api.dictionary"
local peers = require "upstream_api.peer"
local settings = require "upstream_api.settings"
local view = require "upstream_api.view"

local sort = table.sort

local FLUSH_INTERVAL = 0.1 -- seconds
local MAX_CODES = 500

local _M = {
    CLASSES = { "1xx", "2xx", "3xx", "4xx", "5xx" },
}

local dirty_peers = {}
local flush_is_due = false

local function prefix(name, id)
    return "s/" .. name .. "/" .. id .. "/"
end

-- Numbers the status codes seen on a server: s/NAME/ID/c1, c2, ... hold the codes, without gaps.
local function register_code(peer, code)
    local dict = settings.dict
    for i = 1, MAX_CODES do
        local key = peer.stats_key .. "c" .. i
        local known = dict:get(key)
        if not known then
            local added, why = dict:safe_add(key, code)
            if added or why ~= "exists" then
                return added
            end
            known = dict:get(key)
        end
        if known == code then
            return true
        end
    end
end

local function add_codes(peer)
    for code, count in pairs(peer.codes) do
        local key = peer.stats_key .. code
        if not settings.dict:incr(key, count) and dictionary.has_room() and register_code(peer, code) then
            dictionary.add(key, count)
        end
    end
end

local function add_pending(peer)
    local dict = settings.dict
    for field, count in pairs(peer.pending) do
        local key = peer.stats_key .. field
        if count > 0 and not dict:incr(key, count)
            and not (dictionary.has_room() and dictionary.add(key, count)) then
            dictionary.report_full("statistics are incomplete")
        end
    end
    local selected = peer.stats_key .. "selected"
    if peer.selected and (dict:get(selected) or dictionary.has_room()) then
        dict:safe_set(selected, peer.selected)
    end
    add_codes(peer)
end

-- Writes what this worker has collected.
function _M.flush()
    flush_is_due = false
    local dirty = dirty_peers
    dirty_peers = {}
    for _, peer in ipairs(dirty) do
        view.refresh(peer.view)
        if peer.view.peers[peer.id] == peer then
            add_pending(peer)
        end
        peer.pending, peer.codes, peer.selected, peer.dirty = peers.new_pending(), {}, nil, false
    end
end

-- Has the peer's statistics written soon.
function _M.mark_dirty(peer)
    if peer.dirty then
        return
    end
    peer.dirty = true
    dirty_peers[#dirty_peers + 1] = peer
    if not flush_is_due then
        flush_is_due = true
        if not ngx.timer.at(FLUSH_INTERVAL, _M.flush) then
            _M.flush() -- the worker is shutting down and takes no timers
        end
    end
end

-- A function from the name of a statistic of this server to its value; absent ones are 0.
function _M.reader(name, id)
    local stats_key = prefix(name, id)
    return function(field)
        return settings.dict:get(stats_key .. field) or 0
    end
end

-- The status codes that a server has answered with, in order.
function _M.codes(statistic)
    local codes = {}
    for i = 1, MAX_CODES do
        local code = statistic("c" .. i)
        if code == 0 then
            break
        end
        codes[i] = code
    end
    sort(codes)
    return codes
end

-- Deletes the statistics of a server. When it became unavailable stays: the downtime goes on.
function _M.delete(name, id)
    local dict, stats_key = settings.dict, prefix(name, id)
    local codes = _M.codes(_M.reader(name, id))
    for field in pairs(peers.new_pending()) do
        dict:delete(stats_key .. field)
    end
    dict:delete(stats_key .. "selected")
    dict:delete(stats_key .. "downtime")
    for i, code in ipairs(codes) do
        dict:delete(stats_key .. code)
        dict:delete(stats_key .. "c" .. i)
    end
end

-- Deletes all that is known of a removed server.
function _M.forget(name, id)
    _M.delete(name, id)
    settings.dict:delete(prefix(name, id) .. "downstart")
end

return _M
