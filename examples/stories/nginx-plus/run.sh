#!/usr/bin/env bash
# The NGINX Plus story: an nginx whose upstreams are changed over its API. sidekick says what it would do,
# does it, repairs what others change there, and fills an nginx that was started again and has forgotten everything.
#
# NGINX Plus itself is commercial. Here its API is served by examples/nginx-lua in open-source nginx.
#
# Everything listens on free ports of 127.0.0.1, lives in a temporary folder and is stopped at the end, also on Ctrl-C.
# On a fresh Debian it first installs what is missing, and says so.
set -Eeuo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

readonly PATIENCE=30 # seconds that anything here may take
readonly CLIENTS=8 # requests at a time
readonly BACKEND=web # web1 to web3

source examples/stories/lib/story.sh
source examples/stories/lib/services.sh

# call_api METHOD PATH BODY: one call below the upstream's servers, told with its answer.
call_api() {
    local url=$api/9/http/upstreams/website/servers$2
    command_line "curl -X $1 $url -d '$3'"
    say "$(curl -sS --fail-with-body -X "$1" "$url" -d "$3")"
}
# one_a_line: the servers, for people.
one_a_line() { servers | sed 's/},{/},\n{/g'; }
shown_servers() {
    command_line "curl $api/9/http/upstreams/website/servers"
    say "$(one_a_line | sed '2,$s/^/  /')"
}
server_id() { one_a_line | grep -F "\"127.0.0.1:${backend_port[$1]}\"" | head -n 1 | sed 's/.*"id":\([0-9]*\).*/\1/'; }
addresses() { servers | grep -o '"server":"[^"]*"' | cut -d'"' -f4 | sort; }
wanted() { printf '127.0.0.1:%s\n' "${backend_port[@]}" | sort; }
# is_right: exactly the three, once each, and none of them drains.
is_right() { [ "$(addresses)" = "$(wanted)" ] && ! servers | grep -q '"drain":true'; }

# dry_run EXPECTED: which must end with this exit code.
dry_run() {
    local status=0
    command_line "sidekick push --nginx $api --upstream website --dry-run"
    sidekick push --nginx "$api" --upstream website --dry-run >"$folder/dry-run" 2>"$folder/dry-run.log" || status=$?
    sed 's/^/  /' "$folder/dry-run"
    [ "$status" -eq "$1" ] || fail "exit code $status instead of $1: $(tail -n 1 "$folder/dry-run.log")"
}

# run_nginx: with the configuration that start_nginx has left.
run_nginx() {
    start nginx nginx -p "$folder/nginx" -c nginx.conf -e stderr -g 'daemon off;'
    nginx=$started
}

prepare quickstart
make_folder nginx-plus

# ---- the story ----

chapter '1. An nginx with the API of NGINX Plus, etcd, and three announced backends'
start_etcd
start_nginx
nginx=$started
say 'NGINX Plus is commercial: this is open-source nginx with examples/nginx-lua, which serves the same API.'
for name in web1 web2 web3; do
    start_backend "$name"
    start "announce-$name" sidekick announce "website/$name" "127.0.0.1:${backend_port[$name]}/v1" --probe /health \
        --interval 500ms --timeout 400ms --allow-loopback
done
for name in web1 web2 web3; do
    until_true "$name to be announced" has_record "$name"
done
command_line 'sidekick list'
sidekick list | sed 's/^/  /'
shown_servers

chapter '2. What would sidekick change?'
dry_run 2
[ "$(servers)" = '[]' ] || fail 'a dry run has changed something'
good 'exit code 2: there is a difference, and nothing was changed'

chapter '3. The pusher keeps the upstream equal to the records'
command_line "sidekick push --nginx $api --upstream website --resync 1s &"
start push sidekick push --nginx "$api" --upstream website --resync 1s
until_true 'all three to be there' is_right
shown_servers
ask "127.0.0.1:$traffic_port"
requests=$started
traffic

chapter '4. Others change the upstream: a stranger is added, web1 a second time, and web2 is drained'
from=$(answers)
take_port # where nobody listens
id=$(server_id web2)
call_api POST '' "{\"server\":\"127.0.0.1:$port\"}"
call_api POST '' "{\"server\":\"127.0.0.1:${backend_port[web1]}\"}"
call_api PATCH "/$id" '{"drain":true}'
began=$EPOCHREALTIME
until_true 'the upstream to be right again' is_right
good "all of it repaired after $(since "$began") s (--resync 1s; 30s as shipped). The pusher says:"
grep -E ' (remove|change) ' "$folder/push.log" | sed 's/^[^ ]* *INFO \(.*\) target=.*/  \1/'
shown_servers
traffic
none_lost 'by these changes and by the repair'

chapter '5. nginx is stopped, and started again with nothing in it'
dismiss "$requests" "$nginx"
kill "$requests"
wait "$requests" || true
from=0
none_lost 'until the clients go home'
command_line "kill $nginx   # nginx"
kill "$nginx"
wait "$nginx" || true
command_line 'nginx -p … &'
began=$EPOCHREALTIME
run_nginx
until_true 'nginx to be filled' is_right
good "all three are back $(since "$began") s after nginx was started"
ask "127.0.0.1:$traffic_port"
traffic
none_lost 'since then'
dry_run 0
good 'exit code 0: nothing to do'
command_line 'sidekick status'
sidekick status | sed 's/^/  /'

chapter 'Summary'
say 'The same commands work with NGINX Plus, which needs a zone in the upstream and this for the API:'
say '    location /api { api write=on; allow 127.0.0.1; deny all; }'
say 'Everything is stopped and removed now.'
