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
readonly BACKEND=nginx # nginx1 to nginx3

source examples/story.sh

# Ends what we started, by process id.
end_everything() {
    # etcd and nginx were started first and go last: nobody is to wait for them in vain.
    end "${pids[@]:2}"
    end "${pids[@]:0:2}"
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

# ---- what is asked again and again ----

servers() { curl -sS "$api/9/http/upstreams/website/servers"; }
routed() { servers | grep -qF "\"127.0.0.1:${backend_port[$1]}\""; }
record() { etcdctl get --print-value-only "/services/website/$1"; }
has_record() { [ -n "$(record "$1")" ]; }
has_pusher() { etcdctl get --prefix --keys-only /sidekick/pushers/ | grep -q .; }
generation() { curl -sS "$api/9/nginx" | grep -o '"generation":[0-9]*' | cut -d: -f2; }

# ---- preparations ----

tests/install.sh quickstart
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


# The example for everybody, with free ports in place of its own.
configure_nginx() {
    cp -r examples/nginx-lua "$folder/nginx"
    sed -i -e "s/listen 8000;/listen 127.0.0.1:$traffic_port;/" -e "s/listen 127.0.0.1:8080;/listen 127.0.0.1:$api_port;/" \
        "$folder/nginx/nginx.conf"
    # OpenResty has built in what Debian loads.
    [ -e /usr/lib/nginx/modules/ngx_http_lua_module.so ] || sed -i '/^load_module/d' "$folder/nginx/nginx.conf"
}

# run_announcer NAME: the announcer of one backend, as its unit would start it.
run_announcer() {
    local name=$1 what pace
    what=(sidekick announce "website/$name" "127.0.0.1:${backend_port[$name]}/v1" --probe /health)
    pace=(--interval 500ms --timeout 400ms --ttl "${TTL}s" --allow-loopback)
    if [ "$name" = nginx1 ]; then
        command_line "${what[*]} \\"
        continued "${pace[*]} &"
    else
        command_line "${what[*]} …"
    fi
    start "announce-$name" "${what[@]}" "${pace[@]}"
    announcer[$name]=$started
}

# ---- the story ----

chapter '1. etcd, nginx and three backends'
start etcd etcd --data-dir "$folder/etcd" \
    --listen-client-urls "http://127.0.0.1:$etcd_port" --advertise-client-urls "http://127.0.0.1:$etcd_port" \
    --listen-peer-urls "http://127.0.0.1:$peer_port" --initial-advertise-peer-urls "http://127.0.0.1:$peer_port" \
    --initial-cluster "default=http://127.0.0.1:$peer_port"
configure_nginx
start nginx nginx -p "$folder/nginx" -c nginx.conf -e stderr -g 'daemon off;'
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
# Somebody else may have taken a port meanwhile and have answered instead.
all_run
say "etcd     127.0.0.1:$etcd_port"
say "nginx    http://127.0.0.1:$traffic_port/, its API at $api"
for name in nginx1 nginx2 nginx3; do
    say "$name   http://127.0.0.1:${backend_port[$name]}/, answers after 50 ms, dies at once when it is stopped"
done
command_line "curl $api/9/http/upstreams/website/servers"
say "$(servers)   no server yet"
generation_before=$(generation)

chapter '2. The pusher beside nginx: keeps the upstream equal to the records in etcd'
command_line "export ETCDCTL_ENDPOINTS=$ETCDCTL_ENDPOINTS"
command_line "sidekick push --nginx $api --upstream website &"
start push sidekick push --nginx "$api" --upstream website
until_true 'the pusher to be present in etcd' has_pusher
good 'present in etcd: announcers can ask it how far it is'

chapter '3. An announcer beside each backend: keeps its record while it passes its probe'
began=$EPOCHREALTIME
for name in nginx1 nginx2 nginx3; do
    run_announcer "$name"
done
for name in nginx1 nginx2 nginx3; do
    until_true "$name to be routed" routed "$name"
done
good "all three routed $(since "$began") s after the first announcer was started"
command_line 'etcdctl get --prefix /services/website/'
etcdctl get --prefix /services/website/ | sed 's/^/  /'
ask "127.0.0.1:$traffic_port"
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

chapter '5. nginx3 is stopped: its announcer first, which drains it, then the backend, which dies at once'
from=$(answers)
command_line "kill ${announcer[nginx3]}   # the announcer, as systemctl stop does it"
began=$EPOCHREALTIME
dismiss "${announcer[nginx3]}" "${backend[nginx3]}"
kill "${announcer[nginx3]}"
status=0
wait "${announcer[nginx3]}" || status=$?
[ "$status" -eq 0 ] || fail "the announcer of nginx3 left with exit code $status instead of 0"
good "it has left after $(since "$began") s: nginx sends nothing new and the last request is answered"
command_line "kill ${backend[nginx3]}   # the backend"
kill "${backend[nginx3]}"
traffic
lost=$(failed "$from")
[ "$lost" -eq 0 ] || fail "$lost requests were lost while nginx3 was stopped"
good 'requests lost by stopping nginx3: 0'

chapter '6. nginx2 and its announcer are killed: nobody says goodbye, and the record expires'
from=$(answers)
command_line "kill -9 ${backend[nginx2]} ${announcer[nginx2]}"
began=$EPOCHREALTIME
dismiss "${backend[nginx2]}" "${announcer[nginx2]}"
# Waiting for them silences the shell's own word about it.
{
    kill -9 "${backend[nginx2]}" "${announcer[nginx2]}"
    wait "${backend[nginx2]}" "${announcer[nginx2]}" || true
} 2>/dev/null
until_true 'the record of nginx2 to expire' not has_record nginx2
good "the record has expired after $(since "$began") s (--ttl ${TTL}s)"
until_true 'nginx2 to be gone from nginx' not routed nginx2
good "and nginx has forgotten it after $(since "$began") s"
say "requests lost: $(failed "$from"), those that nginx2 was answering when it was killed"
traffic
command_line "curl $api/9/http/upstreams/website/servers"
say "$(servers)"

chapter 'In sum'
generation_after=$(generation)
[ "$generation_after" = "$generation_before" ] || fail 'nginx was reloaded, which nothing here should do'
say "$(answers) requests: $(count 0)"
good "nginx was never reloaded: configuration number $generation_before at the start, $generation_after now"
say 'Everything is ended and removed now. Next: the smallest real setup, in README.md.'
