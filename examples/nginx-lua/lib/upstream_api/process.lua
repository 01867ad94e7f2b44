-- upstream_api.process: whether a worker process is still alive. A process is known by its TOKEN, the process id and
-- the start time, because process ids come back.

local ffi = require "ffi"

local format, gmatch, match = string.format, string.gmatch, string.match

ffi.cdef [[
int upstream_api_kill(int pid, int sig) __asm__("kill");
]]

local C = ffi.C
local NO_SUCH_FILE, NO_SUCH_PROCESS = 2, 3

local _M = { TOKEN_LENGTH = 31 }

-- State letter and start time (in clock ticks since boot, as text) of a process; nil and an error number otherwise.
local function read_stat(pid)
    local file, _, number = io.open("/proc/" .. pid .. "/stat")
    if not file then
        return nil, number
    end
    local line
    line, _, number = file:read("*l")
    file:close()
    if not line then
        return nil, number
    end
    -- The command's name is in brackets and may hold anything, so start behind the last one.
    local fields = {}
    for field in gmatch(match(line, "^.*%)(.*)$") or "", "%S+") do
        fields[#fields + 1] = field
    end
    return fields[1], fields[20]
end

-- Of fixed length, so that the dictionary can overwrite one token with another. Start 0: there is no /proc.
function _M.token(pid)
    local state, started = read_stat(pid)
    return format("%010d.%020.0f", pid, state and tonumber(started) or 0)
end

-- The process id in a token, or in a longer text that starts with one; nil when there is none.
function _M.pid_of(token)
    return tonumber(string.sub(token, 1, 10))
end

-- An error other than "no such process", such as too many open files, must not make a live process dead: its requests
-- would not be counted any more.
function _M.is_alive(token)
    local pid, started = match(token, "^0*(%d+)%.0*(%d*)$")
    if started == "" then
        return C.upstream_api_kill(tonumber(pid), 0) == 0 or ffi.errno() ~= NO_SUCH_PROCESS
    end
    local state, seen = read_stat(pid)
    if not state then
        return seen ~= NO_SUCH_FILE and seen ~= NO_SUCH_PROCESS
    end
    return seen == started and state ~= "Z" and state ~= "X"
end

return _M
