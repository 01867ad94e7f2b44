-- upstream_conf: the older text API of NGINX Plus (R12 and before) for the upstreams of upstream_api.lua.
--
--   location = /upstream_conf { content_by_lua_block { require("upstream_conf").serve() } }
--
-- Everything is a GET. As there, the arguments are taken as they stand: nothing in them is percent-decoded.
--   ?upstream=NAME                                          shows the servers; &id=N: one of them,
--                                                           &verbose=: with all parameters
--   ?upstream=NAME&add=&server=ADDRESS[&weight=N&backup=]   adds one, with these and all other parameters
--   ?upstream=NAME&id=N[&weight=N&down=]                    changes one; down=, up= and drain= set its state
--   ?upstream=NAME&id=N&remove=                             removes one
--
-- What differs from NGINX Plus:
--   * `up` ends draining as well.
--   * There are no stream upstreams: with `stream=` none is found.

local upstream_api = require "upstream_api"

local ngx = ngx
local concat = table.concat
local gmatch, match = string.gmatch, string.match

local _M = {}

local FLAGS = {
    backup = { backup = true },
    down = { down = true },
    up = { down = false, drain = false },
    drain = { drain = true },
}
local NUMBERS = { weight = true, max_conns = true, max_fails = true }
local TEXTS = { server = true, service = true, fail_timeout = true, slow_start = true, route = true }

-- What a line shows, in this order.
local SHOWN = { "weight", "max_conns", "max_fails", "fail_timeout", "slow_start", "route" }

local function read_arguments()
    local arguments = {}
    for name, value in gmatch(ngx.var.args or "", "([^&=]+)=?([^&]*)") do
        arguments[name] = arguments[name] or value
    end
    return arguments
end

local function refusal(status, text)
    return nil, { status = status, text = text }
end

-- The parameters among the arguments, as the REST API would be given them.
local function read_parameters(arguments)
    local given = {}
    for name, value in pairs(arguments) do
        if FLAGS[name] then
            for field, setting in pairs(FLAGS[name]) do
                given[field] = setting
            end
        elseif NUMBERS[name] then
            given[name] = match(value, "^%d+$") and tonumber(value)
            if not given[name] then
                return refusal(400, 'invalid "' .. name .. '" argument')
            end
        elseif TEXTS[name] then
            given[name] = value
        end
    end
    return given
end

local function line(server, verbose)
    local words = { "server " .. server.server }
    for _, name in ipairs(verbose and SHOWN or {}) do
        if server[name] ~= "" then
            words[#words + 1] = name .. "=" .. server[name]
        end
    end
    words[#words + 1] = server.backup and "backup" or nil
    words[#words + 1] = server.down and "down" or nil
    return concat(words, " ") .. "; # id=" .. server.id .. (server.drain and " draining" or "") .. "\n"
end

-- The lines of all servers, or of the one with this id.
local function show(name, id, verbose)
    local servers, problem = upstream_api.servers(name)
    if not servers then
        return nil, problem
    end
    local lines = {}
    for _, server in ipairs(servers) do
        if not id or server.id == id then
            lines[#lines + 1] = line(server, verbose)
        end
    end
    if id and #lines == 0 then
        return refusal(404, 'server with ID "' .. id .. '" does not exist')
    end
    return concat(lines)
end

local function handle(arguments)
    local name, verbose = arguments.upstream, arguments.verbose ~= nil
    local id = arguments.id and match(arguments.id, "^%d%d?%d?%d?%d?%d?%d?%d?%d?$")
    if not name then
        return refusal(400, 'missing "upstream" argument')
    elseif arguments.stream then
        return refusal(404, 'upstream "' .. name .. '" not found')
    elseif arguments.id and not id then
        return refusal(400, 'invalid "id" argument')
    end
    local given, problem = read_parameters(arguments)
    if not given then
        return nil, problem
    end
    id = tonumber(id)
    local done, shown_id = true, id
    if arguments.add then
        done, problem = upstream_api.add(name, given)
        shown_id = done
    elseif arguments.remove then
        if not id then
            return refusal(400, 'missing "id" argument')
        end
        done, problem = upstream_api.remove(name, id)
        shown_id = nil
    elseif id and next(given) then
        done, problem = upstream_api.patch(name, id, given)
    end
    if not done then
        return nil, problem
    end
    return show(name, shown_id, verbose)
end

--- Answers a request; for content_by_lua_block of its location.
function _M.serve()
    local text, problem
    if ngx.req.get_method() == "GET" then
        text, problem = handle(read_arguments())
    else
        text, problem = refusal(405, "only GET is allowed")
    end
    ngx.status = text and 200 or problem.status
    ngx.header["Content-Type"] = "text/plain"
    ngx.print(text or problem.text .. "\n")
    return ngx.exit(ngx.OK)
end

return _M
