-- upstream_api.store: the servers of an upstream, as text in the shared dictionary. The first line holds the next free
-- id and the ids of removed servers that may still be busy; then comes one line of JSON for each server. The text is
-- padded, so that most changes overwrite it in place: a change that does not grow the group needs no memory, and a
-- reader sees the old text or the new one. Lines that are known already are not parsed again.

local dictionary = require "upstream_api.dictionary"
local json = require "upstream_api.json"
local records = require "upstream_api.record"
local settings = require "upstream_api.settings"

local concat = table.concat
local find, gmatch, rep, sub = string.find, string.gmatch, string.rep, string.sub

local _M = {}

local known_lines = {} -- name -> line -> record

local function parse_line(line)
    local given = json.decode(line)
    local id = json.is_object(given) and given.id
    if not id then
        return nil
    end
    given.id = nil
    local record = records.new(given)
    if record then
        record.id, record.line = id, line
    end
    return record
end

-- The lines of a text, without what comes behind the last one. (A pattern would search the padding for the end of a
-- line again and again.)
local function lines_of(text)
    local at = 1
    return function()
        local stop = find(text, "\n", at, true)
        if stop then
            local line = sub(text, at, stop - 1)
            at = stop + 1
            return line
        end
    end
end

local function parse(name, text)
    local lines = lines_of(text)
    local before, now = known_lines[name] or {}, {}
    local config = { records = {}, zombies = {} }
    for number in gmatch(lines(), "%d+") do
        if not config.next then
            config.next = tonumber(number)
        else
            config.zombies[#config.zombies + 1] = tonumber(number)
        end
    end
    for line in lines do
        local record = before[line] or parse_line(line)
        if not record then
            return nil
        end
        now[line] = record
        config.records[#config.records + 1] = record
    end
    known_lines[name] = now
    return config
end

local function text_of(config)
    local lines = { concat({ config.next, unpack(config.zombies) }, " ") }
    for i, record in ipairs(config.records) do
        record.line = record.line or json.encode(records.show(record))
        lines[i + 1] = record.line
    end
    lines[#lines + 1] = ""
    return concat(lines, "\n")
end

local function copy_key(name, copy)
    return "c/" .. name .. "/" .. copy
end

-- The configuration { next, records, zombies }, or nil when the dictionary has none (or has lost it).
function _M.load(name)
    local dict = settings.dict
    for _ = 1, 100 do
        local copy = dict:get("p/" .. name)
        local text = copy and dict:get(copy_key(name, copy))
        if text then
            return parse(name, text)
        elseif not copy then
            return nil
        end
        -- The text was moved between the two calls: look again.
    end
end

-- The dictionary deals out memory in powers of two and needs up to 128 bytes of each for itself.
local function room_for(length)
    local room = 2048
    while room - 128 < length do
        room = room * 2
    end
    return room - 128
end

local function padded(text, room)
    return text .. rep(" ", room - #text)
end

local function move(name, copy, text, length)
    local dict = settings.dict
    if not dict:safe_set(copy_key(name, copy + 1), padded(text, room_for(length))) then
        return false
    end
    if not dict:safe_set("p/" .. name, copy + 1) then
        dict:delete(copy_key(name, copy + 1))
        return false
    end
    dict:delete(copy_key(name, copy))
    return true
end

-- By so many bytes a server's line grows when the server is drained: there is room for that when there is none for
-- anything else.
local DRAINED = #',"drain":true'

-- Writes and announces a configuration; false when there is no memory for it, or, where it `grows` by a server, for
-- draining all of them later. Call it with the lock held.
function _M.save(name, config)
    local dict, text = settings.dict, text_of(config)
    local copy = dict:get("p/" .. name) or 0
    local room = #(dict:get(copy_key(name, copy)) or "")
    local wanted = #text + DRAINED * #config.records
    local moved = wanted > room and move(name, copy, text, wanted)
    if not moved and (#text > room or wanted > room and config.grows) then
        return false
    elseif not moved then
        dict:safe_set(copy_key(name, copy), padded(text, room))
    end
    return dictionary.add("v/" .. name, 1)
end

return _M
