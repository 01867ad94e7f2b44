#!/usr/bin/env bash
# Three hosts: systemd containers on a network of their own, each with a member of etcd, a backend and
# its sidekick as units; nginx and its pusher run on the first. One host is killed and the traffic goes on; it is switched on
# again and comes back by itself; one is shut down, and no request is lost.
#
# Containers run in a docker daemon of the story's own, in a temporary folder; all is stopped at the end, also on Ctrl-C. Needs
# root. On a fresh Debian it first installs what is missing, and says so; the first run makes an image of Debian.
set -Eeuo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

readonly TTL=5 # seconds until the record of a killed sidekick expires
readonly PATIENCE=60 # seconds that anything here may take
readonly CLIENTS=8 # requests at a time
readonly BACKEND=web # web1 to web3

source examples/stories/lib/story.sh
source examples/stories/lib/docker.sh

# Ends what we started: the containers by their names in our own daemon, the rest by process id.
end_everything() {
    remove hosts h1 h2 h3
    end "${pids[@]}"
    end_dockerd
}

# in_host HOST LINE: a line of the shell in that host.
in_host() { docker exec "$1" sh -c "$2"; }
# shown HOST COMMAND...: the same, as the reader would type it.
shown() {
    local host=$1
    shift
    command_line "docker exec $host $*"
    docker exec "$host" "$@"
}
# put HOST PATH: a file of what comes in.
put() { docker exec -i "$1" sh -c "mkdir -p '${2%/*}' && cat >'$2'"; }

# ---- what is asked again and again ----

is_up() { in_host "$1" 'systemctl is-system-running | grep -qE "running|degraded"'; }
is_off() { [ "$(docker inspect --format '{{.State.Running}}' "$1")" = false ]; }
etcd_answers() { in_host "$1" 'etcdctl endpoint health'; }
servers() { in_host h1 'curl -sS http://127.0.0.1:8080/api/9/http/upstreams/website/servers'; }
routed() { servers | grep -qF "\"${address[$1]}:8001\""; }
records() { in_host h1 'etcdctl get --prefix --print-value-only /services/website/'; }
has_record() { records | grep -qF "\"${address[$1]}\""; }

# ---- preparations ----

[ "$(id -u)" -eq 0 ] || fail 'only root can run containers with a systemd: try sudo'
prepare
image=$(tests/hosts/image.sh)

make_docker_folder
start_dockerd
docker import "$image" host >/dev/null
make_network hosts
declare -A address
members='' endpoints=''
for number in 1 2 3; do
    address[h$number]=10.232.$subnet.1$number
    members+=${members:+,}h$number=http://10.232.$subnet.1$number:2380
    endpoints+=${endpoints:+,}http://10.232.$subnet.1$number:2379
done

# ---- what stands on the hosts ----

# boot HOST: a container with systemd as its first process. Its mounts are shared as on every machine, for systemd's credentials.
boot() {
    docker run --detach --name "$1" --hostname "$1" --network hosts --ip "${address[$1]}" --env container=docker \
        --cgroupns host --cap-add SYS_ADMIN --cap-add SYS_PTRACE --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
        --tmpfs /run --tmpfs /run/lock --tmpfs /tmp --volume /sys/fs/cgroup:/sys/fs/cgroup:rw \
        --volume "$programs/sidekick:/usr/local/bin/sidekick:ro" \
        --volume "$programs/examples/backend:/usr/local/bin/backend:ro" \
        host sh -c 'mount --make-rshared / && exec /sbin/init' >/dev/null
}

# The shipped units, where etcd is, and a member of it.
install_units() {
    local own=${address[$1]}
    put "$1" /etc/systemd/system/sidekick@.service <units/sidekick@.service
    put "$1" /etc/systemd/system/sidekick-push.service <units/sidekick-push.service
    put "$1" /etc/sidekick/sidekick.env <<<"ETCDCTL_ENDPOINTS=$endpoints
SIDEKICK_TTL=${TTL}s"
    put "$1" /etc/default/etcd <<<"ETCD_LISTEN_PEER_URLS=http://$own:2380
ETCD_INITIAL_ADVERTISE_PEER_URLS=http://$own:2380
ETCD_LISTEN_CLIENT_URLS=http://$own:2379,http://127.0.0.1:2379
ETCD_ADVERTISE_CLIENT_URLS=http://$own:2379
ETCD_INITIAL_CLUSTER=$members"
}

# install_backend HOST NAME: its unit and what its sidekick must know.
install_backend() {
    put "$1" "/etc/systemd/system/$2.service" <<<"[Service]
ExecStart=/usr/local/bin/backend --listen ${address[$1]}:8001 --name $2 --version v1 --delay 50ms
Restart=always
[Install]
WantedBy=multi-user.target"
    put "$1" "/etc/sidekick/$2.env" <<<"SIDEKICK_INSTANCE=website/$2
SIDEKICK_ADDRESS=${address[$1]}:8001/v1
SIDEKICK_PROBE=/health
SIDEKICK_INTERVAL=500ms
SIDEKICK_TIMEOUT=400ms"
    # The backend is a program, not a container.
    put "$1" "/etc/systemd/system/sidekick@$2.service.d/address.conf" <<<"[Service]
ExecStart=
ExecStart=/usr/local/bin/sidekick announce"
}

# The example for everybody, in Debian's own nginx as it says.
install_nginx() {
    tar -C examples/nginx-lua/lib -c . | docker exec -i h1 sh -c 'mkdir -p /etc/nginx/lua && tar -C /etc/nginx/lua -x'
    sed -n '/^http {/,/^}/p' examples/nginx-lua/nginx.conf | sed -e '1d;$d' -e 's|\$prefix/lib/?.lua|/etc/nginx/lua/?.lua|' |
        put h1 /etc/nginx/conf.d/upstream_api.conf
    put h1 /etc/sidekick/push.env <<<'SIDEKICK_NGINX=http://127.0.0.1:8080/api
SIDEKICK_UPSTREAM=website'
}

# ---- the story ----

chapter '1. Three hosts with systemd, and a member of etcd on each'
for host in h1 h2 h3; do
    boot "$host"
done
for host in h1 h2 h3; do
    until_true "$host to be up" is_up "$host"
    install_units "$host"
    say "$host   ${address[$host]}"
done
for host in h1 h2 h3; do
    shown "$host" systemctl enable --quiet --now --no-block etcd
done
for host in h1 h2 h3; do
    until_true "etcd on $host to answer" etcd_answers "$host"
done
good 'etcd answers on all three'

chapter '2. nginx and its pusher on h1'
install_nginx
shown h1 systemctl enable --quiet --now nginx sidekick-push
good "nginx takes requests at http://${address[h1]}:8000/, and announcers know that its pusher is there"

chapter '3. A backend and its sidekick on each host'
began=$EPOCHREALTIME
for number in 1 2 3; do
    install_backend "h$number" "web$number"
    shown "h$number" systemctl enable --quiet "web$number" "sidekick@web$number"
    shown "h$number" systemctl start "web$number"
done
for host in h1 h2 h3; do
    until_true "the backend of $host to be routed" routed "$host"
done
good "all three routed after $(since "$began") s"
records | sed 's/^/  /'
ask "${address[h1]}:8000"
traffic

chapter '4. h3 is killed, with all that runs on it: no withdrawal notice'
from=$(answers)
command_line 'docker kill h3'
began=$EPOCHREALTIME
docker kill h3 >/dev/null
until_true 'the record of web3 to expire' not has_record h3
good "its record has expired after $(since "$began") s (SIDEKICK_TTL=${TTL}s)"
until_true 'nginx to forget h3' not routed h3
good "and nginx has forgotten it after $(since "$began") s"
lost=$(failed "$from")
[ "$lost" -le "$CLIENTS" ] || fail "$lost requests were lost, and no more than $CLIENTS can have been on their way"
say "requests lost: $lost, of those that h3 was answering when it was killed ($CLIENTS at most)"
from=$(answers)
traffic
good 'two members of etcd and two backends go on'
none_lost 'since'

chapter '5. h3 is switched on again'
from=$(answers)
command_line 'docker start h3'
began=$EPOCHREALTIME
docker start h3 >/dev/null
until_true 'the backend of h3 to be routed' routed h3
good "booted, a member of etcd again, and routed after $(since "$began") s, by its units alone"
traffic
none_lost 'by its coming back'

chapter '6. h2 is shut down, as for a new kernel: its sidekick drains first'
from=$(answers)
began=$EPOCHREALTIME
shown h2 systemctl poweroff
until_true 'h2 to be off' is_off h2
good "off after $(since "$began") s"
not routed h2 || fail 'h2 is off and nginx still sends requests there'
traffic
none_lost 'by shutting down h2'

chapter 'Summary'
say "$(answers) requests: $(count 0)"
say 'Everything is stopped and removed now. The units are those in units/.'
