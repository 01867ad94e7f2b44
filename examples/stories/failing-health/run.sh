#!/usr/bin/env bash
# A backend that fails: under load, it answers its health checks with 500, or answers them too late, or is
# only marked as down. It leaves the rotation each time, comes back, and no request is lost.
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

# ---- what is asked again and again ----

# nginx may know it, and yet send it nothing.
takes_requests() { servers | grep -o "{[^}]*127.0.0.1:${backend_port[$1]}\"[^}]*}" | grep -qF "\"down\":false"; }
is_marked() { [[ $(record "$1") == *'"state":"down"'* ]]; }
# saw NAME EVENTS: what the one who watches was told of a backend, in this order.
saw() { [ "$(awk -v of="website/$1" '$2 == of { printf "%s %s, ", $1, $4 }' "$folder/watch.log")" = "$2" ]; }
readonly WITHDRAWN='added up, changed down, removed down, added up, '
readonly MARKED='added up, changed down, changed up, '

# run_announcer NAME [OPTION...]: the announcer of one backend.
run_announcer() {
    local what=(sidekick announce "website/$1" "127.0.0.1:${backend_port[$1]}" --probe /health "${@:2}")
    command_line "${what[*]} … &"
    start "announce-$1" "${what[@]}" --interval 500ms --timeout 400ms --allow-loopback
}

# reason NAME PART: the line in which the announcer says why.
reason() {
    until_true "the announcer of $1 to say why" grep -qF "$2" "$folder/announce-$1.log"
    say "$1's announcer: $(grep -F "$2" "$folder/announce-$1.log" | tail -n 1 | sed 's/^[^ ]* *//')"
}

list() {
    command_line 'sidekick list website'
    sidekick list website | sed 's/^/  /'
}

# ---- preparations ----

prepare quickstart
make_folder failing-health

# ---- the story ----

chapter '1. Three backends behind nginx, and sidekick watch'
start_etcd
start_nginx
for name in web1 web2 web3; do
    start_backend "$name"
done
start_pusher
command_line 'sidekick watch website --output plain &'
start watch sidekick watch website --output plain
run_announcer web1
run_announcer web2
run_announcer web3 --on-failure mark
for name in web1 web2 web3; do
    until_true "$name to be routed" routed "$name"
done
ask "127.0.0.1:$traffic_port"
traffic

chapter '2. web2 answers its health checks with 500'
from=$(answers)
began=$EPOCHREALTIME
set_health web2 status=500
until_true 'web2 to leave the rotation' not routed web2
good "out of the rotation after $(since "$began") s"
reason web2 'HTTP 500'
traffic
list
began=$EPOCHREALTIME
set_health web2 status=200
until_true 'web2 to be back' routed web2
good "back after $(since "$began") s"
traffic
none_lost 'by leaving and coming back'

chapter '3. web1 answers its health checks too late, and everything else in time'
from=$(answers)
began=$EPOCHREALTIME
set_health web1 delay=5s
until_true 'web1 to leave the rotation' not routed web1
good "out of the rotation after $(since "$began") s"
reason web1 'in a row'
traffic
began=$EPOCHREALTIME
set_health web1 delay=0s
until_true 'web1 to be back' routed web1
good "back after $(since "$began") s"
none_lost 'by leaving and coming back'

chapter '4. web3 fails too, and its record stays, marked: --on-failure mark'
from=$(answers)
began=$EPOCHREALTIME
set_health web3 status=503
until_true 'the record of web3 to be marked' is_marked web3
until_true 'web3 to leave the rotation' not takes_requests web3
good "marked and out of the rotation after $(since "$began") s"
reason web3 'HTTP 503'
traffic
list
began=$EPOCHREALTIME
set_health web3 status=200
until_true 'web3 to be back' takes_requests web3
good "back after $(since "$began") s"
traffic
none_lost 'by being marked'

chapter '5. All of it, as sidekick watch shows it'
until_true 'all to be told of web1' saw web1 "$WITHDRAWN"
until_true 'all to be told of web2' saw web2 "$WITHDRAWN"
until_true 'all to be told of web3' saw web3 "$MARKED"
command_line 'sidekick watch website --output plain'
grep website/ "$folder/watch.log" | sed 's/^/  /'

chapter 'Summary'
from=0
say "$(answers) requests: $(count 0)"
none_lost 'in all'
say 'Everything is stopped and removed now. Checks of other kinds: sidekick announce --help.'
