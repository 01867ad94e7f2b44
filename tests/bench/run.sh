#!/usr/bin/env bash
# Measures the shipped build. On a fresh Debian it first installs what is missing. Fails when a limit is
# missed; run it on an idle machine. All of it takes half an hour; name what you want:
#
#   latency    how soon nginx follows etcd
#   footprint  what idle agents cost
#   events     how soon etcd and nginx follow what happens to a container (needs root)
#   scale      how a pusher grows with the number of records
#   fleet      what a hundred announcers cost beside a hundred containers (needs root)
#   nginx_lua  what examples/nginx-lua costs a request, beside a plain upstream; with NGINX_LUA_BEFORE=FOLDER beside
#              another version of it
#   soak       whether an announcer grows while its container is restarted 500 times (needs root)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

tests/install.sh
PATH=$PATH:/usr/sbin:/sbin:$HOME/.cargo/bin

echo 'Building what is shipped'
folder=$(tests/static.sh --release --bin sidekick)
# By itself: built together, the program would get the features that only tests and examples need.
tests/static.sh --release --example backend >/dev/null
shipped=$folder/release/sidekick

echo
echo "Machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) cores," \
    "$(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo), Linux $(uname -r)"
echo "With: $(etcd --version | head -1), $(nginx -v 2>&1), $(rustc --version)"
echo "Binary: $(stat -c %s "$shipped" | awk '{ printf "%.2f MiB", $1 / 1048576 }')"
echo

# The benchmarks themselves need no release build: what is timed runs in other processes.
failed=0
[ $# -gt 0 ] || set -- latency footprint scale events nginx_lua fleet soak
for bench in "$@"; do
    SIDEKICK_TEST_BINARY=$shipped cargo bench --locked --profile dev --quiet --bench "$bench" || failed=1
    echo
done
exit "$failed"
