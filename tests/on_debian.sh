#!/usr/bin/env bash
# Runs tests/suite on another Debian: with its etcd, nginx, docker, podman, systemd and tools, in a file system, a network and
# processes of its own. `tests/on_debian.sh sid docker::` runs the tests whose names have `docker::` in them; further
# arguments are for the test program too. tests/hosts runs there by SIDEKICK_TEST_DEBIAN=sid cargo test --test hosts.
#
# The releases are those of tests/hosts/image.sh. Needs root and what tests/install.sh installs.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PATH:/usr/sbin:/sbin:$HOME/.cargo/bin

# What the machine in there has: files of devices, and the ends of its one interface.
readonly DEVICES=(null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0 fuse:10:229)
readonly ADDRESS=10.99.0.2/24 ROUTER=10.99.0.1

fail() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit 69
}

# The mounts, as the first process of the new namespaces: all are new ones, and end with them.
mounts() {
    local device name major minor
    # What runs in there looks for the mount that its folders are on.
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount -t sysfs sysfs "$root/sys"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    # A group with processes gives no controllers to those below.
    mkdir -p "$root/sys/fs/cgroup/tests"
    echo $$ >"$root/sys/fs/cgroup/tests/cgroup.procs"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    for device in "${DEVICES[@]}"; do
        IFS=: read -r name major minor <<<"$device"
        mknod -m 666 "$root/dev/$name" c "$major" "$minor"
    done
    mkdir "$root/dev/pts" "$root/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
    mount -t tmpfs tmpfs "$root/dev/shm"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    ln -s /proc/self/fd/1 "$root/dev/stdout"
    ln -s /proc/self/fd/2 "$root/dev/stderr"
}

# A host with an address and a default route, though nobody is there.
network() {
    hostname debian
    ip link set lo up
    ip link add eth0 type veth peer name router
    ip link set router up
    ip link set eth0 up
    ip address add "$ADDRESS" dev eth0
    ip route add default via "$ROUTER"
}

# In the namespaces: this is process 1, which takes what has lost its parent.
if [ "${1:-}" = --inside ]; then
    root=$2
    shift 2
    mounts
    network
    folder=$PWD
    cd "$root"
    pivot_root . .
    umount --lazy .
    cd /
    code=0
    # As Docker 29 has it; what is older may know nothing of it.
    env -i -C "$folder" HOME=/root USER=root LC_ALL=C.UTF-8 TERM=xterm RUST_BACKTRACE=0 \
        DOCKER_MIN_API_VERSION=1.44 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@" || code=$?
    exit "$code"
fi

[ $# -gt 0 ] || fail 'which Debian? tests/on_debian.sh trixie|bookworm|sid|experimental [TEST…]'
[ "$(id -u)" -eq 0 ] || fail 'only root can make namespaces'
export SIDEKICK_TEST_DEBIAN=$1
shift
cargo build --locked --example backend
suite=$(cargo test --locked --no-run --test suite 2>&1 | tee /dev/stderr | sed -n 's/.*Executable .*(\(.*\))$/\1/p')
target=$(realpath "$(dirname "$suite")/../..")
suite=$(realpath "$suite")
image=$(tests/hosts/image.sh --whole)
tests/hosts/image.sh --whole --versions

# Cgroups of version 2, wherever this machine has them.
cgroups=$(findmnt --noheadings --first-only --output TARGET --types cgroup2) || fail 'this machine has no cgroups of version 2'
group=$cgroups/sidekick-tests-$$
root=$(mktemp -d "$target/hosts/on.XXXXXX")
clean_up() {
    # The mounts in there have ended with their namespace.
    rm -rf --one-file-system "$root"
    find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
}
trap clean_up EXIT
tar -C "$root" -xf "$image"
mkdir -p "$root$PWD" "$root$target/debug/examples" "$root$target/debug/deps"
tar --exclude ./target --exclude ./.git -cf - . | tar -C "$root$PWD" -xf -
cp "$target/debug/sidekick" "$root$target/debug/"
cp "$target/debug/examples/backend" "$root$target/debug/examples/"
cp "$suite" "$root$suite"
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost\n%s debian\n' "${ADDRESS%/*}" >"$root/etc/hosts"

mkdir "$group"
# Put there before its namespace begins, so that the namespace begins there.
bash -c 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"' - "$group" \
    unshare --mount --propagation private --cgroup --net --ipc --uts --pid --fork --kill-child \
    bash tests/on_debian.sh --inside "$root" "$suite" "$@"
