#!/usr/bin/env bash
# The main job of sidekick: three backends announced into a real etcd and routed by a real nginx
# without a reload; one fails its health check, one is stopped without losing a request, one is killed and expires.
#
# Everything listens on free ports of 127.0.0.1, lives in a temporary folder and is stopped at the end, also on Ctrl-C.
# On a fresh Debian it first installs what is missing, and says so.
set -Eeuo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

readonly TTL=5 # seconds until the record of a killed announcer expires
readonly PATIENCE=30 # seconds that anything here may take
readonly CLIENTS=8 # requests at a time
readonly BACKEND=nginx # nginx1 to nginx3

source examples/stories/lib/story.sh
source examples/stories/lib/services.sh

generation() { curl -sS "$api/9/nginx" | grep -o '"generation":[0-9]*' | cut -d: -f2; }

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

prepare quickstart
make_folder quickstart

# ---- the story ----

chapter '1. etcd, nginx and three backends'
start_etcd
start_nginx
for name in nginx1 nginx2 nginx3; do
    start_backend "$name"
done
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
start_pusher
good 'its status is in etcd: announcers can see what it has applied'

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
began=$EPOCHREALTIME
set_health nginx2 status=500
until_true 'nginx2 to leave the rotation' not routed nginx2
good "out of the rotation after $(since "$began") s (three failed probes, 500 ms apart); requests lost: $(failed "$from")"
traffic
began=$EPOCHREALTIME
set_health nginx2 status=200
until_true 'nginx2 to be back' routed nginx2
good "back after $(since "$began") s (two good probes)"
traffic

chapter '5. nginx3 is stopped: its announcer first, which drains it, then the backend, which dies at once'
from=$(answers)
command_line "kill ${announcer[nginx3]}   # the announcer, as systemctl stop does it"
began=$EPOCHREALTIME
dismiss "${announcer[nginx3]}" "${backend[nginx3]}"
kill "${announcer[nginx3]}"
left_well nginx3
good "it has left after $(since "$began") s: nginx sends nothing new and the last request is answered"
command_line "kill ${backend[nginx3]}   # the backend"
kill "${backend[nginx3]}"
traffic
none_lost 'by stopping nginx3'

chapter '6. nginx2 and its announcer are killed: no withdrawal notice, and the record expires'
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

chapter 'Summary'
generation_after=$(generation)
[ "$generation_after" = "$generation_before" ] || fail 'nginx was reloaded, which nothing here should do'
say "$(answers) requests: $(count 0)"
good "nginx was never reloaded: configuration number $generation_before at the start, $generation_after now"
say 'Everything is stopped and removed now. Next: README.md, Set it up.'
