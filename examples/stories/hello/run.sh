#!/usr/bin/env bash
# The hello of CoreOS: a container nginx1 of version 52c7248a14 and the unit beside it that announces it.
# First as people had it, a loop that announces whatever happens; then with sidekick, through a stop, a new version and a crash.
#
# Containers run in a docker daemon of the story's own, in a temporary folder, everything else on free ports of 127.0.0.1; all
# is stopped at the end, also on Ctrl-C. Needs root. On a fresh Debian it first installs what is missing, and says so.
set -Eeuo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

readonly OLD=52c7248a14 NEW=9d3f0c61be # versions
readonly TTL=5 # seconds until a record that nobody keeps expires
readonly GRACE=6 # seconds that docker stop waits until it kills
readonly PATIENCE=30 # seconds that anything here may take
readonly CLIENTS=4 # requests at a time
readonly BACKEND=nginx BACKENDS=2 # nginx1 and nginx2

source examples/stories/lib/story.sh
source examples/stories/lib/services.sh
source examples/stories/lib/docker.sh

# Ends what we started: the containers by their names in our own daemon, the rest by process id.
end_everything() {
    remove hello nginx1 nginx2
    end "${pids[@]:foundation}"
    end "${pids[@]:0:foundation}"
    end_dockerd
}

# ---- what is asked again and again ----

runs() { [ "$(docker inspect --format '{{.State.Running}}' "$1")" = true ]; }
answers_at() { curl -sf "http://127.0.0.1:${backend_port[$1]}/"; }
revision() { etcdctl get --write-out=json /services/website/nginx1 | grep -o '"mod_revision":[0-9]*' | cut -d: -f2; }
written_since() { [ "$(revision)" -gt "$1" ]; }
has_left() { ! kill -0 "$1"; }

# ---- what stands in the containers ----

# make_image VERSION: website:VERSION, a busybox whose httpd says hello.
make_image() {
    local root=$folder/image
    mkdir -p "$root/bin" "$root/www/cgi-bin"
    cp /bin/busybox "$root/bin/"
    ln -sf busybox "$root/bin/httpd"
    cat >"$root/www/cgi-bin/index.cgi" <<END
#!/bin/busybox sh
printf 'X-Backend: %s\r\n\r\nHello from %s, version $1\n' "\$NAME" "\$NAME"
END
    chmod +x "$root/www/cgi-bin/index.cgi"
    tar -C "$root" -c . | docker import - "website:$1" >/dev/null
}

# run_container NAME VERSION: at ${backend_port[NAME]} of 127.0.0.1.
run_container() {
    while :; do
        take_port && backend_port[$1]=$port
        if docker run --detach --name "$1" --env NAME="$1" --network hello --publish "127.0.0.1:$port:80" "website:$2" \
            httpd -f -p 80 -h /www >"$folder/run.log" 2>&1; then break; fi
        grep -q 'address already in use' "$folder/run.log" || fail "docker run: $(tail -n 1 "$folder/run.log")"
        docker rm --force "$1" >/dev/null
    done
    command_line "docker run --detach --name $1 --publish 127.0.0.1:$port:80 website:$2"
    until_true "$1 to answer" answers_at "$1"
}

# announce_container NAME: until nginx sends it requests.
announce_container() {
    local what=(sidekick announce --container "$1" --probe / --ttl "${TTL}s" --allow-loopback)
    command_line "${what[*]} &"
    start "announce-$1" "${what[@]}" --interval 500ms --timeout 400ms
    announcer[$1]=$started
    until_true "$1 to be routed" routed "$1"
}

# ---- preparations ----

[ "$(id -u)" -eq 0 ] || fail 'only root can run a docker daemon: try sudo'
prepare containers
make_docker_folder
start_dockerd
make_network hello
make_image "$OLD"
make_image "$NEW"
start_etcd
start_nginx

# ---- the story ----

chapter '1. What people had: a loop beside the container'
run_container nginx1 "$OLD"
value="{\"host\":\"127.0.0.1\",\"port\":${backend_port[nginx1]},\"version\":\"$OLD\"}"
command_line "while true; do etcdctl put --lease=… /services/website/nginx1 '{…}'; sleep 1; done &"
start loop bash -c 'while :; do
    lease=$(etcdctl lease grant "$1" | cut -d " " -f 2)
    etcdctl put --lease="$lease" /services/website/nginx1 "$2"
    sleep 1
done' loop "$TTL" "$value"
loop=$started
until_true 'the loop to announce' has_record nginx1
record nginx1 | sed 's/^/  /'
command_line 'docker kill nginx1'
docker kill nginx1 >/dev/null
not runs nginx1 || fail 'nginx1 runs on'
not answers_at nginx1 >/dev/null || fail 'nginx1 answers although it is killed'
before=$(revision)
until_true 'the loop to go on' written_since "$before"
say 'nginx1 is dead, and the loop has just announced it again:'
record nginx1 | sed 's/^/  /'
say 'A unit with BindsTo= would end the loop with the container. But no loop sees a backend that hangs or fails, none tells'
say 'nginx before the container stops, and the version is the one that somebody typed into the loop.'
dismiss "$loop"
end "$loop"
docker rm nginx1 >/dev/null
until_true "the loop's last record to expire" not has_record nginx1

chapter '2. With sidekick: address and version come from the container, and nginx follows'
start_pusher
# An instance is called as its host and its container: the same container on two hosts is two of them.
command_line 'export SIDEKICK_HOST_NAME=host1'
export SIDEKICK_HOST_NAME=host1
record() { etcdctl get --print-value-only "/services/website/host1:$1"; }
for name in nginx1 nginx2; do
    run_container "$name" "$OLD"
    announce_container "$name"
done
command_line 'etcdctl get /services/website/host1:nginx1'
etcdctl get /services/website/host1:nginx1 | sed 's/^/  /'
[[ $(record nginx1) == *"\"version\":\"$OLD\""* ]] || fail "its record does not have the version $OLD"
lease=$(printf %x "$(etcdctl get --write-out=json /services/website/host1:nginx1 | grep -o '"lease":[0-9]*' | cut -d: -f2)")
command_line "etcdctl lease timetolive $lease"
etcdctl lease timetolive "$lease" | sed 's/^/  /'
command_line "curl http://127.0.0.1:$traffic_port/"
curl -sS "http://127.0.0.1:$traffic_port/" | sed 's/^/  /'
ask "127.0.0.1:$traffic_port"
traffic

chapter '3. docker stop: nginx lets go first'
from=$(answers)
dismiss "${announcer[nginx1]}"
command_line "docker stop --time $GRACE nginx1   # its httpd ignores SIGTERM: docker kills it after $GRACE s"
began=$EPOCHREALTIME
start stop docker stop --time "$GRACE" nginx1
stop=$started
dismiss "$stop"
until_true 'the record of nginx1 to be gone' not has_record nginx1
not routed nginx1 || fail 'the record of nginx1 is gone, and nginx still sends requests there'
runs nginx1 || fail 'nginx1 was stopped before its record was gone'
good "after $(since "$began") s the record is gone, nginx has let go, and nginx1 still runs"
until_true 'docker stop to end' has_left "$stop"
wait "$stop"
good "stopped after $(since "$began") s"
left_well nginx1
traffic
none_lost 'by stopping nginx1'

chapter '4. A new version of it'
docker rm nginx1 >/dev/null
from=$(answers)
run_container nginx1 "$NEW"
announce_container nginx1
record nginx1 | sed 's/^/  /'
[[ $(record nginx1) == *"\"version\":\"$NEW\""* ]] || fail "its record does not have the version $NEW"
traffic
none_lost "by starting $NEW"

chapter '5. A crash of nginx2'
from=$(answers)
dismiss "${announcer[nginx2]}"
command_line 'docker kill nginx2'
began=$EPOCHREALTIME
docker kill nginx2 >/dev/null
until_true 'the record of nginx2 to be gone' not has_record nginx2
until_true 'nginx to let go of nginx2' not routed nginx2
good "after $(since "$began") s the record is gone and nginx has let go: nobody waits for a TTL"
left_well nginx2
traffic
say "requests lost: $(failed "$from"), of those that went to nginx2 when it was killed"
from=$(answers)
until_true '200 more answers' enough $((from + 200))
none_lost 'since'
command_line 'sidekick list website'
sidekick list website | sed 's/^/  /'

chapter 'Summary'
say "$(answers) requests: $(count 0)"
say 'Everything is stopped and removed now. As units: README.md, Set it up.'
