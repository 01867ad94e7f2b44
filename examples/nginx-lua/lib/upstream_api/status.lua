-- upstream_api.status: what the API shows of an upstream and its servers.

local drain = require "upstream_api.drain"
local failures = require "upstream_api.failures"
local json = require "upstream_api.json"
local message = require "upstream_api.message"
local settings = require "upstream_api.settings"
local statistics = require "upstream_api.statistics"
local workers = require "upstream_api.workers"

local object, put, array = json.object, json.put, json.array
local iso_time = message.iso_time
local floor, max = math.floor, math.max

local _M = {}

-- Like nginx, a server whose fail_timeout is over counts as up again, though nobody has tried it yet.
local function state_of(record, unavailable_until, now)
    if record.down then
        return "down"
    elseif record.drain then
        return "draining"
    end
    return unavailable_until > now and "unavail" or "up"
end

local function show_codes(statistic)
    local codes = object()
    for _, code in ipairs(statistics.codes(statistic)) do
        put(codes, tostring(code), statistic(code))
    end
    return codes
end

local function show_responses(statistic, version)
    local responses, total = object(), 0
    for _, class in ipairs(statistics.CLASSES) do
        local count = statistic(class)
        total = total + count
        put(responses, class, count)
    end
    if version >= 7 then
        put(responses, "codes", show_codes(statistic))
    end
    return put(responses, "total", total)
end

-- Averages, in milliseconds.
local function show_times(shown, statistic)
    local answers = statistic("headers")
    if answers > 0 then
        put(shown, "header_time", floor(statistic("header_time") / answers + 0.5))
        put(shown, "response_time", floor(statistic("response_time") / answers + 0.5))
    end
end

-- The downtime ends when a request has shown that the server works again.
local function show_downtime(shown, statistic, has_failed, now)
    local downtime, downstart = statistic("downtime"), statistic("downstart")
    if has_failed and downstart > 0 then
        downtime = downtime + max(0, now - downstart) * 1000
    end
    put(shown, "downtime", floor(downtime))
    if downstart > 0 then
        put(shown, "downstart", iso_time(downstart))
    end
end

local function show_peer(name, record, single, list, version)
    local statistic, now = statistics.reader(name, record.id), ngx.now()
    local mark = not single and record.max_fails > 0 and failures.unavailable_until(name, record.id) or 0
    local shown = object()
    put(shown, "id", record.id)
    put(shown, "server", record.server)
    put(shown, "name", record.server)
    put(shown, "backup", record.backup)
    put(shown, "weight", record.weight)
    put(shown, "state", state_of(record, mark, now))
    put(shown, "active", workers.count_active(list, name, record.id))
    if record.max_conns > 0 then
        put(shown, "max_conns", record.max_conns)
    end
    put(shown, "requests", statistic("requests"))
    show_times(shown, statistic)
    put(shown, "responses", show_responses(statistic, version))
    for _, field in ipairs { "sent", "received", "fails", "unavail" } do
        put(shown, field, statistic(field))
    end
    put(shown, "health_checks", put(put(put(object(), "checks", 0), "fails", 0), "unhealthy", 0))
    show_downtime(shown, statistic, mark > 0, now)
    local selected = statistic("selected")
    if selected > 0 then
        put(shown, "selected", iso_time(selected))
    end
    return shown
end

-- `list` are the workers to count, listed after `config` was loaded; `version` is that of the API.
function _M.show(name, config, list, version)
    local single = #config.records == 1
    local peers = array()
    for i, record in ipairs(config.records) do
        peers[i] = show_peer(name, record, single, list, version)
    end
    local shown = put(object(), "peers", peers)
    put(shown, "keepalive", 0)
    put(shown, "zombies", drain.count_busy(list, name, config))
    return put(shown, "zone", settings.dict_name)
end

return _M
