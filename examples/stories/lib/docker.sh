# What the stories with containers share: a docker daemon of their own, and a network. Sourced, after story.sh. Needs root.

daemon='' # its process id

# make_docker_folder: for all that is written, in $folder. Names of sockets are short, and they lie in there.
make_docker_folder() {
    local place=${TMPDIR:-/tmp}
    [ ${#place} -le 30 ] || place=/tmp
    folder=$(mktemp -d "$place/skXXXXXX")
}

# start_dockerd: one that leaves firewall and forwarding of this machine alone; docker and sidekick are told where it is.
start_dockerd() {
    export DOCKER_HOST=unix://$folder/d.sock
    # Not to be interrupted with us: it is ended last, by end_dockerd. A containerd that is slow to end leaves a trace where TMPDIR is.
    start dockerd env TMPDIR="$folder" setsid dockerd --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/pid" --host "$DOCKER_HOST" \
        --bridge none --iptables=false --ip6tables=false --ip-masq=false --ip-forward=false --storage-driver overlay2
    daemon=$started
    unset 'pids[-1]'
    until_true 'dockerd to answer' docker version
}

# make_network NAME: one that no route of this machine leads to, 10.232.$subnet.0/24.
make_network() {
    for ((subnet = RANDOM % 250; ; subnet = (subnet + 1) % 250)); do
        grep -q "$(printf '\t00%02XE80A\t' "$subnet")" /proc/net/route || break
    done
    docker network create --subnet "10.232.$subnet.0/24" --opt "com.docker.network.bridge.name=sk$$" "$1" >/dev/null
}

# remove NETWORK CONTAINER...: whatever of it is there.
remove() {
    [ -n "$daemon" ] || return 0
    docker rm --force "${@:2}" >/dev/null 2>&1 || true
    docker network rm "$1" >/dev/null 2>&1 || true
}

# It takes its time, and must not be killed: its own children would stay.
end_dockerd() {
    [ -n "$daemon" ] || return 0
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
}
