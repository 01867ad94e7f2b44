-- upstream_api.record: one server of an upstream. A record is made from a POST, a state file, setup{} or the
-- dictionary, all by the same checks, and never changes once it is made.

local address = require "upstream_api.address"
local json = require "upstream_api.json"
local message = require "upstream_api.message"
local parameters = require "upstream_api.parameters"

local object, put, is_object = json.object, json.put, json.is_object
local fault, quoted = message.fault, message.quoted
local format_fault = parameters.format_fault
local PARAMETERS, BY_NAME = parameters.LIST, parameters.BY_NAME
local sort = table.sort
local match = string.match

local _M = {}

-- `service` asks for SRV records, which take a resolver even if everything else is right.
local function refuse_service(given)
    local service, server = given.service, given.server
    if type(service) ~= "string" then
        return format_fault('invalid "service" value')
    elseif service == "" then
        return fault(400, "UpstreamBadService", '"service" is empty')
    end
    local host, port = address.split_port(server)
    if port ~= nil then
        return fault(400, "UpstreamBadAddress", "service upstream " .. quoted(host) .. " may not have port")
    elseif match(host, "^[%d.]+$") or not address.is_host_name(host) then
        return fault(400, "UpstreamBadAddress", "service upstream " .. quoted(host) .. " requires domain name")
    end
    return fault(400, "UpstreamConfNoResolver", "no resolver defined to resolve " .. quoted(host))
end

-- Sets the address of `record` from `given.server`, which must be there. Gives back true, or nil and a fault.
local function apply_server(record, given)
    local server = given.server
    if type(server) == "table" then
        return nil, format_fault("nested object or list")
    elseif type(server) ~= "string" then
        return nil, format_fault('invalid "server" value')
    elseif given.service ~= nil then
        return nil, refuse_service(given)
    end
    local found, problem = address.parse(server)
    if not found then
        return nil, problem
    end
    record.server, record.host, record.port = found.server, found.host, found.port
    return true
end

-- Sets every parameter of `given` in `record`. `is_new` tells a POST from a PATCH. Gives back true, or nil and a fault.
local function apply_parameters(record, given, is_new)
    local names = {}
    for name in pairs(given) do
        names[#names + 1] = tostring(name) -- in setup{} it may be a number
    end
    sort(names) -- so that the same wrong body always gets the same answer
    for _, name in ipairs(names) do
        local parameter = BY_NAME[name]
        if parameter then
            local checked, problem = parameters.check(parameter, given[name])
            if checked == nil then
                return nil, problem
            elseif parameter.fixed and not is_new and checked ~= record[name] then
                return nil, format_fault(quoted(name) .. " cannot be changed")
            end
            record[name] = checked
        elseif name ~= "server" and not (name == "service" and is_new) then
            return nil, format_fault("unknown parameter " .. quoted(name))
        end
    end
    return true
end

-- A record without id, or nil and a fault.
function _M.new(given)
    if not is_object(given) then
        return nil, format_fault("a server must be an object")
    elseif given.server == nil then
        return nil, format_fault('missing "server" argument')
    end
    local record = {}
    for _, parameter in ipairs(PARAMETERS) do
        record[parameter.name] = parameter.default
    end
    local ok, problem = apply_parameters(record, given, true)
    if ok then
        ok, problem = apply_server(record, given)
    end
    return ok and record or nil, problem
end

-- A copy of `record` with the changes of a PATCH, or nil and a fault.
function _M.patched(record, given)
    if not is_object(given) then
        return nil, format_fault("a server must be an object")
    end
    local changed = { id = record.id, server = record.server, host = record.host, port = record.port }
    for _, parameter in ipairs(PARAMETERS) do
        changed[parameter.name] = record[parameter.name]
    end
    local ok, problem = apply_parameters(changed, given, false)
    if ok and given.server ~= nil then
        ok, problem = apply_server(changed, given)
    end
    return ok and changed or nil, problem
end

-- The server object of the API. NGINX Plus leaves out `drain` when it is false. The state file has no ids.
function _M.show(record, without_id)
    local shown = object()
    if not without_id then
        put(shown, "id", record.id)
    end
    put(shown, "server", record.server)
    for _, parameter in ipairs(PARAMETERS) do
        local name = parameter.name
        if name ~= "drain" or record.drain then
            put(shown, name, record[name])
        end
    end
    return shown
end

return _M
