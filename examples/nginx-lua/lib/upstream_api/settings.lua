-- upstream_api.settings: what setup{} was told, for all other modules. Until then only VERSION is here.

return {
    VERSION = "0.1.0",
    dict = nil,       -- the shared dictionary itself
    dict_name = nil,
    state = nil,      -- path of the state file, if there is one
    names = nil,      -- names of all upstreams, sorted
    known = nil,      -- name -> true
    generation = nil, -- +1 with every load of nginx's configuration
    loaded = nil,     -- when the configuration was loaded
}
