-- upstream_api.view: for each upstream the servers as this worker last saw them, ready for balancing. A view is rebuilt
-- only when the version in the dictionary has changed.

local message = require "upstream_api.message"
local peers = require "upstream_api.peer"
local settings = require "upstream_api.settings"
local store = require "upstream_api.store"

local log, quoted = message.log, message.quoted

local _M = {
    by_name = {}, -- name of an upstream -> its view
}

function _M.declare(name)
    _M.by_name[name] = {
        name = name,
        version_key = "v/" .. name,
        version = nil,    -- that of the dictionary when the view was built
        epoch = nil,      -- e/NAME of the statistics that wait to be written
        peers = {},       -- id -> peer, of the servers in the group
        all = {},         -- the same in the group's order
        primary = {},     -- those that may get requests
        backup = {},
        tries = 1,        -- servers that one request may be sent to
        single = false,   -- the only server of a group is never considered unavailable
    }
end

local function adopt(view, config)
    local before = view.peers
    view.peers, view.all, view.primary, view.backup = {}, {}, {}, {}
    view.single = #config.records == 1
    for i, record in ipairs(config.records) do
        local peer = before[record.id] or peers.new(view, record)
        peers.update(peer, record)
        view.peers[record.id], view.all[i] = peer, peer
        if not record.down and not record.drain then
            local group = record.backup and view.backup or view.primary
            group[#group + 1] = peer
        end
    end
    view.tries = view.single and 1 or #view.primary + #view.backup
    for id, peer in pairs(before) do
        if not view.peers[id] and peer.active == 0 then
            peers.all[peer] = nil
        end
    end
end

local function current_version(view)
    return settings.dict:get(view.version_key) or 0
end

-- Whether the view still shows what is in the dictionary.
function _M.is_current(view)
    return current_version(view) == view.version
end

-- What was collected before the statistics were reset must not be added to the new ones.
local function drop_reset_statistics(view)
    local epoch = settings.dict:get("e/" .. view.name) or 0
    if view.epoch and view.epoch ~= epoch then
        for _, peer in ipairs(view.all) do
            peer.pending, peer.codes, peer.selected = peers.new_pending(), {}, nil
        end
    end
    view.epoch = epoch
end

-- Brings the view up to date. The version is read first: a change that comes between is seen the next time.
function _M.refresh(view)
    local version = current_version(view)
    if version == view.version then
        return
    end
    view.version = version
    drop_reset_statistics(view)
    local config = store.load(view.name)
    if config then
        adopt(view, config)
    else
        log(ngx.ERR, "upstream ", quoted(view.name), " is gone from the shared dictionary ",
            quoted(settings.dict_name), ": does something else write to it? This worker goes on with the servers it ",
            "knows; restart nginx")
    end
end

-- Tells all workers that something about this upstream has changed.
function _M.announce(view)
    settings.dict:incr(view.version_key, 1)
end

return _M
