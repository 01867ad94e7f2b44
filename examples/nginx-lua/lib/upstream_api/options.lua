-- upstream_api.options: checks a table of options from nginx.conf. A mistake stops nginx, or the request, with a
-- sentence.

local quoted = require("upstream_api.message").quoted

local _M = {}

-- `known` maps the name of each option to its Lua type, `where` is the function to name.
function _M.check(options, known, where)
    for name, value in pairs(options) do
        if not known[name] then
            error(where .. ": unknown key " .. quoted(name), 0)
        elseif type(value) ~= known[name] then
            error(where .. ": " .. name .. " must be a " .. known[name] .. ", not a " .. type(value), 0)
        end
    end
end

return _M
