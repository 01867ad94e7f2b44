# What the stories on one machine share: free ports, a folder, etcd, nginx with examples/nginx-lua, backends and a pusher.
# Sourced, after story.sh.

declare -A backend backend_port # process id and port of each, by name
declare -A announcer # the process id, by the name of the backend
foundation=0 # how many processes were started first and go last: nobody is to wait for them in vain

# Ends what we started, by process id.
end_everything() {
    end "${pids[@]:foundation}"
    end "${pids[@]:0:foundation}"
}

free_ports=()
# take_port: a port that nobody listens on, in $port.
take_port() {
    # Below the ports that the kernel gives to outgoing connections.
    while :; do
        port=$((20000 + RANDOM % 10000))
        [[ " ${free_ports[*]} " == *" $port "* ]] && continue
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && continue
        free_ports+=("$port")
        return
    done
}

# listens PID PORT: whether it is this process that listens there.
listens() {
    local inode
    inode=$(awk -v port="$(printf ':%04X' "$2")" '$2 ~ port "$" && $4 == "0A" { print $10 }' /proc/net/tcp)
    [ -n "$inode" ] && find "/proc/$1/fd" -lname "socket:\[$inode\]" | grep -q .
}

# has_port NAME PORT...: whether what was started last listens on these. Not when somebody else was faster and took one:
# then it has ended, and is to be started again on others.
has_port() {
    local name=$1 port
    shift
    dismiss "$started" # it may end
    for port in "$@"; do
        until_true "$name to listen" ended_or_listens "$started" "$port"
    done
    if kill -0 "$started" 2>/dev/null; then
        running[$started]=$name
        return
    fi
    grep -qi 'address already in use' "$folder/$name.log" ||
        fail "$name has ended. The end of its log: $(tail -n 1 "$folder/$name.log")"
    return 1
}
ended_or_listens() { ! kill -0 "$1" || listens "$@"; }

# make_folder NAME: for all that is written, in $folder.
make_folder() { folder=$(mktemp -d "${TMPDIR:-/tmp}/sidekick-$1.XXXXXX"); }

# start_etcd: at 127.0.0.1:$etcd_port, which etcdctl and sidekick are told.
start_etcd() {
    local peer_port
    while :; do
        take_port && etcd_port=$port
        take_port && peer_port=$port
        start etcd etcd --data-dir "$folder/etcd" \
            --listen-client-urls "http://127.0.0.1:$etcd_port" --advertise-client-urls "http://127.0.0.1:$etcd_port" \
            --listen-peer-urls "http://127.0.0.1:$peer_port" --initial-advertise-peer-urls "http://127.0.0.1:$peer_port" \
            --initial-cluster "default=http://127.0.0.1:$peer_port"
        if has_port etcd "$etcd_port" "$peer_port"; then break; fi
        rm -rf "$folder/etcd"
    done
    foundation=${#pids[@]}
    export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=127.0.0.1:$etcd_port
    until_true 'etcd to answer' etcdctl endpoint health
}

# start_nginx: the example for everybody, with free ports in place of its own: requests at $traffic_port, the API at $api.
start_nginx() {
    local api_port conf=$folder/nginx/nginx.conf
    while :; do
        take_port && traffic_port=$port
        take_port && api_port=$port
        rm -rf "$folder/nginx"
        cp -r examples/nginx-lua "$folder/nginx"
        sed -i -e "s/listen 8000;/listen 127.0.0.1:$traffic_port;/" -e "s/listen 127.0.0.1:8080;/listen 127.0.0.1:$api_port;/" "$conf"
        # OpenResty has built in what Debian loads.
        [ -e /usr/lib/nginx/modules/ngx_http_lua_module.so ] || sed -i '/^load_module/d' "$conf"
        start nginx nginx -p "$folder/nginx" -c nginx.conf -e stderr -g 'daemon off;'
        if has_port nginx "$traffic_port" "$api_port"; then break; fi
    done
    foundation=${#pids[@]}
    api=http://127.0.0.1:$api_port/api
    until_true "nginx's API to answer" servers
}

# start_backend NAME [VERSION]: the example backend, at ${backend_port[NAME]}, the same one again when it had one.
start_backend() {
    local name=$1 again=${backend_port[$1]:-}
    while :; do
        if [ -z "$again" ]; then
            take_port && backend_port[$name]=$port
        fi
        start "$name" backend --listen "127.0.0.1:${backend_port[$name]}" --name "$name" --version "${2:-v1}" --delay 50ms
        if has_port "$name" "${backend_port[$name]}"; then break; fi
        [ -z "$again" ] || fail "port $again of $name is somebody else's now"
    done
    backend[$name]=$started
}

# start_pusher: keeps the upstream «website» of nginx.
start_pusher() {
    command_line "sidekick push --nginx $api --upstream website &"
    start push sidekick push --nginx "$api" --upstream website
    until_true 'the pusher to be present in etcd' has_pusher
}

# left_well NAME: its announcer has ended or is about to, of its own accord and as it should.
left_well() {
    local status=0
    wait "${announcer[$1]}" || status=$?
    [ "$status" -eq 0 ] || fail "the announcer of $1 left with exit code $status instead of 0"
}

# set_health NAME WHAT: how the backend answers from now on when it is asked for its health: status=500, delay=5s.
set_health() {
    command_line "curl -X PUT 'http://127.0.0.1:${backend_port[$1]}/health?$2'"
    curl -sS -X PUT "http://127.0.0.1:${backend_port[$1]}/health?$2" | sed "s/^/  $1: /"
}

# ---- what is asked again and again ----

servers() { curl -sS "$api/9/http/upstreams/website/servers"; }
routed() { servers | grep -qF "\"127.0.0.1:${backend_port[$1]}\""; }
record() { etcdctl get --print-value-only "/services/website/$1"; }
has_record() { [ -n "$(record "$1")" ]; }
has_pusher() { etcdctl get --prefix --keys-only /sidekick/pushers/ | grep -q .; }
