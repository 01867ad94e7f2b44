-- upstream_api.state_file: the file that keeps the servers over a restart of nginx:
-- {"format":1,"upstreams":{NAME:{"servers":[...]}}}. It is written beside and renamed, so a reader finds the old one or
-- the new one. There is no fsync: it would stop every request of the worker for as long as the disk takes, and a file
-- lost with the machine is repaired by whoever manages the servers. What is read back is trusted no more than a
-- request: everything goes through the checks of a POST.

local ffi = require "ffi"
local json = require "upstream_api.json"
local lock = require "upstream_api.lock"
local message = require "upstream_api.message"
local records = require "upstream_api.record"
local settings = require "upstream_api.settings"
local store = require "upstream_api.store"

local object, put, array = json.object, json.put, json.array
local is_object, is_array = json.is_object, json.is_array
local log, quoted = message.log, message.quoted
local concat = table.concat
local gmatch = string.gmatch

ffi.cdef [[
int upstream_api_open(const char *path, int flags, ...) __asm__("open");
ssize_t upstream_api_read(int fd, void *to, size_t size) __asm__("read");
int upstream_api_close(int fd) __asm__("close");
char *upstream_api_strerror(int number) __asm__("strerror");
]]

local C = ffi.C
local NO_SUCH_FILE = 2
local MAX_BYTES = 16 * 1024 * 1024

-- O_RDONLY|O_NONBLOCK, so that a pipe in the file's place cannot stop nginx from starting.
local OPEN_FLAGS = ffi.os == "Linux" and 0x800 or 0x4

local _M = {}

local function system_error()
    return ffi.string(C.upstream_api_strerror(ffi.errno()))
end

local function read_all(fd)
    local size = 65536
    local buffer, parts, total = ffi.new("char[?]", size), {}, 0
    while true do
        local got = tonumber(C.upstream_api_read(fd, buffer, size))
        if got < 0 then
            return nil, system_error()
        elseif got == 0 then
            return concat(parts)
        end
        parts[#parts + 1], total = ffi.string(buffer, got), total + got
        if total > MAX_BYTES then
            return nil, "larger than 16 MB"
        end
    end
end

-- The text of the file; nil when there is none; nil and the reason when it cannot be read.
local function read_file(path)
    local fd = C.upstream_api_open(path, OPEN_FLAGS)
    if fd < 0 then
        if ffi.errno() == NO_SUCH_FILE then
            return nil
        end
        return nil, system_error()
    end
    local text, why = read_all(fd)
    C.upstream_api_close(fd)
    return text, why
end

local function parse(text)
    local document, why = json.decode(text)
    if document == nil then
        return nil, why
    elseif not is_object(document) or not is_object(document.upstreams) then
        return nil, "it is not a state file"
    elseif document.format ~= 1 then
        return nil, "its format is not 1"
    end
    return document.upstreams
end

-- NAME -> { servers = ... } as the file says, unchecked; empty when there is no file or none that makes sense.
function _M.load(path)
    local text, why = read_file(path)
    if text then
        local saved
        saved, why = parse(text)
        if saved then
            return saved
        end
    end
    if why then
        log(ngx.ERR, "state file ", quoted(path), " is not used: ", why,
            "; the upstreams start with the servers of setup{}, the next change replaces the file")
    end
    return {}
end

-- The records of one upstream in load()'s result, or nil. What is wrong is named in the log and left out.
function _M.records(name, saved, path)
    local servers = is_object(saved) and saved.servers
    if not is_array(servers) then
        log(ngx.ERR, "state file ", quoted(path), ", upstream ", quoted(name),
            " is not used: it has no list of servers")
        return nil
    end
    local found = {}
    for i, given in ipairs(servers) do
        local record, problem = records.new(given)
        if record then
            found[#found + 1] = record
        else
            log(ngx.ERR, "state file ", quoted(path), ", upstream ", quoted(name), ": server ", i,
                " is left out: ", problem.text)
        end
    end
    return found
end

local function state_text()
    local all = object()
    for name in gmatch(settings.dict:get("names") or "", "%S+") do
        local config = store.load(name)
        local servers = array()
        for i, record in ipairs(config and config.records or {}) do
            servers[i] = records.show(record, true)
        end
        put(all, name, put(object(), "servers", servers))
    end
    return json.encode(put(put(object(), "format", 1), "upstreams", all)) .. "\n"
end

local function write(path)
    local beside = path .. ".new"
    local file, why = io.open(beside, "wb")
    if not file then
        return nil, why
    end
    local ok
    ok, why = file:write(state_text())
    local closed, why_closed = file:close()
    if not ok or not closed then
        os.remove(beside)
        return nil, beside .. ": " .. tostring(why or why_closed)
    end
    return os.rename(beside, path)
end

local RETRY = 5 -- seconds

local is_retrying = false

local function retry(worker_is_leaving)
    is_retrying = false
    if not worker_is_leaving then
        lock.run(_M.save)
    end
end

-- To be called with the lock held. A file that cannot be written neither undoes the change nor makes it an error for
-- the client: the servers are in use, and only the next restart would lose them. NGINX Plus is not known to do
-- otherwise.
function _M.save()
    if not settings.state then
        return
    end
    local ok, why = write(settings.state)
    if not ok and not is_retrying then
        is_retrying = ngx.timer.at(RETRY, retry) and true or false
        log(ngx.ERR, "the state file cannot be written, a restart of nginx would lose the last changes: ", why,
            "; it is tried again; the worker processes need the right to create files in its folder")
    end
end

return _M
