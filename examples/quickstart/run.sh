#!/usr/bin/env bash
# The main job of sidekick, told on the terminal: three backends announced into a real etcd and routed by a real nginx
# without a reload; one fails its health check, one is stopped without losing a request, one is killed and expires.
#
# Everything listens on free ports of 127.0.0.1, lives in a temporary folder and is ended at the end, also on Ctrl-C.
# On a fresh Debian with Rust it first installs what is missing, and says so.
set -Eeuo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly TTL=5 # seconds until the record of a killed announcer expires
readonly PATIENCE=30 # seconds that anything here may take
readonly CLIENTS=8 # requests at a time

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
else
    bold='' dim='' green='' red='' plain=''
fi

chapter() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
say() { printf '  %s\n' "$*"; }
good() { printf '  %s✓%s %s\n' "$green" "$plain" "$*"; }

# The command as the reader would type it.
command_line() { printf '  %s$ %s%s\n' "$dim" "$*" "$plain"; }

folder=''
pids=()

# Ends what we started, by process id: at the end, on errors and on Ctrl-C.
clean_up() {
    local status=$?
    trap - EXIT ERR INT TERM
    # The youngest first, so that nobody sees the ground go before it goes itself.
    local index
    for ((index = ${#pids[@]} - 1; index >= 0; index--)); do
        end "${pids[index]}"
    done
    if [ "$status" -eq 0 ] || [ "$status" -ge 128 ]; then
        [ -z "$folder" ] || rm -rf "$folder"
    fi
    exit "$status"
}

end() {
    local tries
    kill "$1" 2>/dev/null || return 0
    for ((tries = 0; tries < 60; tries++)); do
        kill -0 "$1" 2>/dev/null || break
        sleep 0.05 # until it has ended; there is nothing else to ask
    done
    kill -9 "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

fail() {
    printf '\n%sFailed:%s %s\n' "$red" "$plain" "$*" >&2
    if [ -n "$folder" ]; then
        printf 'What everybody said is in %s\n' "$folder"/*.log >&2
    fi
    exit 1
}

interrupted() {
    printf '\nInterrupted: everything that was started is ended and removed.\n' >&2
    exit 130
}

trap clean_up EXIT
trap 'fail "the command «$BASH_COMMAND» in line $LINENO of $0"' ERR
trap interrupted INT TERM

# start NAME COMMAND...: runs in the background, its words in NAME.log, its process id in $started.
start() {
    local name=$1
    shift
    "$@" >>"$folder/$name.log" 2>&1 &
    started=$!
    pids+=("$started")
}

# until_true WHAT COMMAND...: looks until the command succeeds.
until_true() {
    local what=$1 deadline=$((SECONDS + PATIENCE))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || fail "waited $PATIENCE s in vain for $what"
        sleep 0.02 # between two looks at the condition
    done
}

not() { ! "$@"; }

# Seconds since $1, with one digit.
since() { awk -v from="$1" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.1f", to - from }'; }

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

# ---- what is asked again and again ----

servers() { curl -sS "$api/9/http/upstreams/website/servers"; }
routed() { servers | grep -qF "\"127.0.0.1:${backend_port[$1]}\""; }
record() { etcdctl get --print-value-only "/services/website/$1"; }
has_record() { [ -n "$(record "$1")" ]; }
has_companion() { etcdctl get --prefix --keys-only /sidekick/pushers/ | grep -q .; }
generation() { curl -sS "$api/9/nginx" | grep -o '"generation":[0-9]*' | cut -d: -f2; }

answers() { wc -l <"$folder/requests.log"; }

# count FROM: what clients got since line FROM of their log.
count() {
    tail -n "+$(($1 + 1))" "$folder/requests.log" | awk '
        /^nginx[0-9]/ { answered[$1]++ }
        /<title>|^curl:/ { failed++ }
        END {
            for (i = 1; i <= 3; i++) printf "nginx%d %4d   ", i, answered["nginx" i]
            printf "failed %d", failed
        }'
}
failed() { count "$1" | sed 's/.*failed //'; }

# traffic: what the next 200 requests get.
traffic() {
    local from
    from=$(answers)
    until_true '200 more answers' enough $((from + 200))
    say "the next 200 requests:   $(count "$from")"
}
enough() { [ "$(answers)" -ge "$1" ]; }

# ---- preparations ----

tests/install.sh
PATH=$PATH:/usr/sbin:/sbin:$HOME/.cargo/bin
echo 'Building sidekick and the example backend; the first time takes a few minutes.'
cargo build --locked --bin sidekick --example backend
target=$(realpath "${CARGO_TARGET_DIR:-target}")
PATH=$target/debug:$target/debug/examples:$PATH
# Nothing that is set for real work may reach what we start.
unset "${!ETCD_@}" "${!ETCDCTL_@}" "${!SIDEKICK_@}"

folder=$(mktemp -d "${TMPDIR:-/tmp}/sidekick-quickstart.XXXXXX")
take_port && etcd_port=$port
take_port && peer_port=$port
take_port && traffic_port=$port
take_port && api_port=$port
declare -A backend_port backend announcer
for name in nginx1 nginx2 nginx3; do
    take_port && backend_port[$name]=$port
done
api=http://127.0.0.1:$api_port/api


# The configuration of examples/nginx-lua/, cut down to what the story needs.
nginx_conf() {
    local modules module
    modules=$(nginx -V 2>&1 | grep -o -- '--modules-path=[^ ]*' | cut -d= -f2)
    for module in ndk_http_module ngx_http_lua_module; do
        [ ! -e "$modules/$module.so" ] || echo "load_module $modules/$module.so;"
    done
    # Started by root, nginx would give the files of our folder to nobody.
    [ "$(id -u)" -ne 0 ] || echo 'user root;'
    cat <<CONF
daemon off;
worker_processes 2;
pid $folder/nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path $folder/nginx-body;
    proxy_temp_path $folder/nginx-proxy;
    fastcgi_temp_path $folder/nginx-fastcgi;
    uwsgi_temp_path $folder/nginx-uwsgi;
    scgi_temp_path $folder/nginx-scgi;

    lua_package_path "$PWD/examples/nginx-lua/?.lua;;";
    lua_shared_dict upstreams 1m;
    init_by_lua_block { require("upstream_api").setup{ dict = "upstreams", upstreams = { "website" } } }
    log_by_lua_block { require("upstream_api").log() }

    upstream website {
        server 0.0.0.1; # never used: the next line decides
        balancer_by_lua_block { require("upstream_api").balance("website") }
        keepalive 32;
    }
    server {
        listen 127.0.0.1:$traffic_port;
        location / {
            proxy_pass http://website;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
    }
    server {
        listen 127.0.0.1:$api_port;
        location /api { content_by_lua_block { require("upstream_api").serve() } }
    }
}
CONF
}

# run_announcer NAME: the agent of one backend, as its unit would start it.
run_announcer() {
    local name=$1 command
    command=(sidekick announce "website/$name" "127.0.0.1:${backend_port[$name]}/v1" --probe /health
        --interval 500ms --timeout 400ms --ttl "${TTL}s" --allow-loopback)
    command_line "${command[*]} &"
    start "announce-$name" "${command[@]}"
    announcer[$name]=$started
}

# ---- the story ----

chapter '1. etcd, nginx and three backends'
start etcd etcd --data-dir "$folder/etcd" \
    --listen-client-urls "http://127.0.0.1:$etcd_port" --advertise-client-urls "http://127.0.0.1:$etcd_port" \
    --listen-peer-urls "http://127.0.0.1:$peer_port" --initial-advertise-peer-urls "http://127.0.0.1:$peer_port" \
    --initial-cluster "default=http://127.0.0.1:$peer_port"
etcd=$started
nginx_conf >"$folder/nginx.conf"
start nginx nginx -p "$folder" -e stderr -c "$folder/nginx.conf"
nginx=$started
for name in nginx1 nginx2 nginx3; do
    start "$name" backend --listen "127.0.0.1:${backend_port[$name]}" --name "$name" --version v1 --delay 50ms
    backend[$name]=$started
done
export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=127.0.0.1:$etcd_port
until_true 'etcd to answer' etcdctl endpoint health
until_true "nginx's API to answer" servers
for name in nginx1 nginx2 nginx3; do
    until_true "$name to answer" curl -sf "http://127.0.0.1:${backend_port[$name]}/health"
done
for process in "$etcd" "$nginx" "${backend[@]}"; do
    # Somebody else may have taken its port and answered in its place.
    kill -0 "$process" 2>/dev/null || fail 'one of them ended, most likely because its port was taken meanwhile'
done
say "etcd     127.0.0.1:$etcd_port"
say "nginx    http://127.0.0.1:$traffic_port/, its API at $api"
for name in nginx1 nginx2 nginx3; do
    say "$name   http://127.0.0.1:${backend_port[$name]}/, answers after 50 ms, dies at once when it is stopped"
done
say "nginx's upstream «website» is empty: $(servers)"
generation_before=$(generation)

chapter '2. The companion of nginx: keeps its upstream equal to the records in etcd'
command_line "export ETCDCTL_ENDPOINTS=$ETCDCTL_ENDPOINTS"
command_line "sidekick push --nginx $api --upstream website &"
start push sidekick push --nginx "$api" --upstream website
until_true 'the companion to be present in etcd' has_companion
good 'present in etcd, so that announcers can ask it how far it is'

chapter '3. One agent beside each backend: announces it while it passes its probe'
began=$EPOCHREALTIME
for name in nginx1 nginx2 nginx3; do
    run_announcer "$name"
done
for name in nginx1 nginx2 nginx3; do
    until_true "$name to be routed" routed "$name"
done
good "all three routed $(since "$began") s after the first agent was started"
command_line 'etcdctl get --prefix /services/website/'
etcdctl get --prefix /services/website/ | sed 's/^/  /'
# From here on clients send POST requests, which nginx does not repeat, and never stop.
start requests stdbuf -oL curl -sSZ --no-progress-meter --parallel-immediate --parallel-max "$CLIENTS" -d order=1 \
    "http://127.0.0.1:$traffic_port/?[1-100000000]"
traffic

chapter '4. nginx2 fails its health check, leaves the rotation and comes back'
from=$(answers)
command_line "curl -X PUT 'http://127.0.0.1:${backend_port[nginx2]}/health?status=500'"
began=$EPOCHREALTIME
curl -sS -X PUT "http://127.0.0.1:${backend_port[nginx2]}/health?status=500" | sed 's/^/  nginx2: /'
until_true 'nginx2 to leave the rotation' not routed nginx2
good "out of the rotation after $(since "$began") s (three failed probes, 500 ms apart); requests lost: $(failed "$from")"
traffic
command_line "curl -X PUT 'http://127.0.0.1:${backend_port[nginx2]}/health?status=200'"
began=$EPOCHREALTIME
curl -sS -X PUT "http://127.0.0.1:${backend_port[nginx2]}/health?status=200" | sed 's/^/  nginx2: /'
until_true 'nginx2 to be back' routed nginx2
good "back after $(since "$began") s (two good probes)"
traffic

chapter '5. nginx3 is stopped: the agent first, which drains it, then the backend, which dies at once'
from=$(answers)
command_line "kill ${announcer[nginx3]}   # the agent, as systemctl stop does it"
began=$EPOCHREALTIME
kill "${announcer[nginx3]}"
status=0
wait "${announcer[nginx3]}" || status=$?
[ "$status" -eq 0 ] || fail "the agent of nginx3 left with exit code $status instead of 0"
good "the agent has left after $(since "$began") s: nginx sends nothing new and the last request is answered"
command_line "kill ${backend[nginx3]}   # the backend"
kill "${backend[nginx3]}"
traffic
lost=$(failed "$from")
[ "$lost" -eq 0 ] || fail "$lost requests were lost while nginx3 was stopped"
good 'requests lost by stopping nginx3: 0'

chapter '6. nginx2 and its agent are killed: nobody says goodbye, and the record expires'
from=$(answers)
command_line "kill -9 ${backend[nginx2]} ${announcer[nginx2]}"
began=$EPOCHREALTIME
kill -9 "${backend[nginx2]}" "${announcer[nginx2]}"
until_true 'the record of nginx2 to expire' not has_record nginx2
good "the record has expired after $(since "$began") s (--ttl ${TTL}s)"
until_true 'nginx2 to be gone from nginx' not routed nginx2
good "and nginx has forgotten it after $(since "$began") s"
say "requests lost: $(failed "$from"), those that nginx2 was answering when it was killed"
traffic
say "the upstream now: $(servers)"

chapter 'In sum'
[ "$(generation)" = "$generation_before" ] || fail 'nginx was reloaded, which nothing here should do'
say "$(answers) requests: $(count 0)"
good 'announced, checked, drained and expired, and nginx was never reloaded'
say 'Everything is ended and removed now. The next step is the smallest real setup in README.md.'
