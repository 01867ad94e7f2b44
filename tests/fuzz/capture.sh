#!/usr/bin/env bash
# Captures the events in corpus/docker_event from a real daemon, one of each kind: capture.sh KIND, where KIND is docker or
# podman and DOCKER_HOST names the socket of a daemon that is there for this alone. Needs the docker client, curl, jq and
# busybox-static.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/corpus/docker_event"

kind=$1
socket=${DOCKER_HOST#unix://}
network=events-$kind
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir "$work/bin"
cp "$(command -v busybox)" "$work/bin/"
for name in sh httpd sleep true; do ln -s busybox "$work/bin/$name"; done

curl -fsSN --unix-socket "$socket" http://daemon/events >"$work/events" &
follower=$!
tar -C "$work" -c . | docker import - shop/web:1.2 >/dev/null
docker network create --subnet 10.231.23.0/24 "$network" >/dev/null
docker network create --subnet 10.231.24.0/24 "$network-2" >/dev/null
trap 'kill "$follower"; rm -rf "$work"; docker network rm "$network" "$network-2" >/dev/null' EXIT

run() {
    docker run -d --network "$network" -l maker=tests --name "$@" >/dev/null
}
for health in true 'exit 1'; do
    run web1 --health-cmd "$health" --health-interval 1s --health-retries 1 shop/web:1.2 httpd -f -p 80
    [ "$health" = true ] && word=healthy || word=unhealthy
    until [ "$(docker inspect -f '{{.State.Health.Status}}' web1)" = $word ]; do
        # Podman has a timer of systemd run the check; without systemd somebody must.
        podman --root "${PODMAN_ROOT:-}" --runroot "${PODMAN_RUN:-}" healthcheck run web1 >/dev/null 2>&1 || true
        sleep 0.2 # between two looks at the condition
    done
    docker rm -f web1 >/dev/null
done
run web1 shop/web:1.2 httpd -f -p 80
docker exec web1 true
docker network connect "$network-2" web1
docker network disconnect "$network-2" web1
docker pause web1 >/dev/null
docker unpause web1 >/dev/null
docker kill -s HUP web1 >/dev/null
docker restart -t 1 web1 >/dev/null
docker rename web1 web2
docker stop -t 1 web2 >/dev/null
docker rm web2 >/dev/null

until grep -qE '"(destroy|remove)".*"web2"' "$work/events"; do
    sleep 0.1 # between two looks at the condition
done
rm -f "$kind"-*
while read -r event; do
    # Of a command only that there was one, of a check how it ended.
    what=$(jq -r '"\(.Type)-\(.Action)" | if test("health") then . else sub(":.*"; "") end' <<<"$event")
    what=${what//[^a-z0-9-]/-}
    what=${what//--/-}
    [ -e "$kind-$what" ] || printf '%s\n' "$event" >"$kind-$what"
done <"$work/events"
