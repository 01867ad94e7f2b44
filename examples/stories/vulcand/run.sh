#!/usr/bin/env bash
# The vulcand story: blue/green and canary from v0.1.0 to v0.2.0 with `sidekick split`, which moves the keys
# that vulcand reads and, at once, the requests at an nginx. vulcand itself is not started: it follows its keys by itself.
#
# Everything listens on free ports of 127.0.0.1, lives in a temporary folder and is stopped at the end, also on Ctrl-C.
# On a fresh Debian it first installs what is missing, and says so.
set -Eeuo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

readonly PATIENCE=30 # seconds that anything here may take
readonly CLIENTS=8 # requests at a time

source examples/stories/lib/story.sh
source examples/stories/lib/services.sh

readonly SERVERS=/vulcand/backends/website/servers/ # what vulcand reads

# count FROM [HOW MANY]: what the requests behind the first FROM got, by version. In place of the one by backends.
count() {
    awk -v from="$1" -v to="$(($1 + ${2:-100000000}))" '
        NR <= from || NR > to { next }
        $1 == 200 { answered[substr($2, 1, 6)]++; next }
        { failed++ }
        END { printf "v0.1.0 %4d   v0.2.0 %4d   failed %d", answered["v0.1.0"], answered["v0.2.0"], failed }' "$folder/requests.log"
}

# traffic_for VERSION LEAST MOST: tells what the next 200 requests get; so many of them must be this version's.
traffic_for() {
    local from got
    # Those that are on their way now were sent before.
    from=$(($(answers) + CLIENTS))
    until_true '200 more answers' enough $((from + 200))
    say "the next 200 requests:   $(count "$from" 200)"
    got=$(count "$from" 200 | sed "s/.*$1 *\([0-9]*\).*/\1/")
    { [ "$got" -ge "$2" ] && [ "$got" -le "$3" ]; } || fail "$1 got $got of 200 requests instead of $2 to $3"
}

# split EXPECTED ARGUMENT...: `sidekick split website ARGUMENT...`, which must end with this exit code.
split() {
    local expected=$1 status=0
    shift
    command_line "sidekick split website $*"
    sidekick split website "$@" >"$folder/split" 2>&1 || status=$?
    sed 's/^/  /' "$folder/split"
    [ "$status" -eq "$expected" ] || fail "exit code $status instead of $expected"
}

# run_instance NAME VERSION: a backend and its announcer.
run_instance() {
    local name=$1 version=$2 what
    start_backend "$name" "$version"
    what=(sidekick announce "website/$name" "127.0.0.1:${backend_port[$name]}/$version" --probe /health)
    command_line "${what[*]} … &"
    start "announce-$name" "${what[@]}" --interval 500ms --timeout 400ms --allow-loopback
}
shown_keys() {
    command_line "etcdctl get --prefix $SERVERS"
    etcdctl get --prefix "$SERVERS" | sed 's/^/  /'
}
has_keys() { [ "$(etcdctl get --prefix --keys-only "$SERVERS" | xargs)" = "$(printf "$SERVERS%s\n" "$@" | xargs)" ]; }
has_no_weights() { sidekick status | grep -q 'vulcan .*vulcand has no weights'; }

prepare quickstart
make_folder vulcand

# ---- the story ----

chapter '1. etcd, nginx, and a pusher with two targets: the keys of vulcand, and nginx'
start_etcd
start_nginx
sed "s|http://127.0.0.1:8080/api|$api|" examples/stories/vulcand/push.toml >"$folder/push.toml"
command_line 'sidekick push --check-config --config push.toml'
sidekick push --check-config --config "$folder/push.toml" | sed 's/^/  /'
command_line 'sidekick push --config push.toml &'
start push sidekick push --config "$folder/push.toml"
until_true 'the pusher to be present in etcd' has_pusher

chapter '2. Two instances of v0.1.0'
run_instance v0.1.0-a v0.1.0
run_instance v0.1.0-b v0.1.0
until_true 'vulcand to be told of both' has_keys v0.1.0-a v0.1.0-b
until_true 'nginx to have v0.1.0-a' routed v0.1.0-a
until_true 'nginx to have v0.1.0-b' routed v0.1.0-b
shown_keys
ask "127.0.0.1:$traffic_port"
traffic_for v0.1.0 200 200

chapter '3. Two of v0.2.0 come up, and get nothing yet'
split 0 v0.1.0=100
run_instance v0.2.0-a v0.2.0
run_instance v0.2.0-b v0.2.0
command_line 'sidekick wait website --for announced --count 4'
sidekick wait website --for announced --count 4 2>/dev/null | sed 's/^/  /'
command_line 'sidekick list website'
sidekick list website | sed 's/^/  /'
has_keys v0.1.0-a v0.1.0-b || fail 'vulcand was told of v0.2.0'
traffic_for v0.2.0 0 0

chapter '4. A canary: one request in ten'
split 0 v0.1.0=90 v0.2.0=10
traffic_for v0.2.0 4 50
shown_keys
say 'vulcand has no weights: behind it all four get the same share, which sidekick says:'
until_true 'the status to say that vulcand has no weights' has_no_weights
command_line 'sidekick status'
sidekick status | sed 's/^/  /'

chapter '5. The switch'
split 0 v0.2.0=100
shown_keys
traffic_for v0.2.0 200 200

chapter '6. And back, with the same command'
split 0 v0.1.0=100
traffic_for v0.1.0 200 200

chapter '7. A split to nothing is refused'
split 1 v0.3.0=100
traffic_for v0.1.0 200 200

chapter 'Summary'
say "$(answers) requests: $(count 0)"
from=0
none_lost 'by the canary, the switch and the way back'
say 'Everything is stopped and removed now. Copy examples/stories/vulcand/push.toml to start with.'
