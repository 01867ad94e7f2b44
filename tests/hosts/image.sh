#!/usr/bin/env bash
# Makes the root file system of a host: a small Debian with systemd, etcd, nginx with lua and podman, whatever runs outside.
# Prints the path of the tar archive, which is made once and kept beside what cargo builds; `--versions` prints what is in it.
#
# SIDEKICK_TEST_DEBIAN=NAME takes another release than trixie: bookworm, sid, or experimental (sid, and what is newer there).
# `--whole` adds what tests/suite needs to run in there (tests/on_debian.sh).
# The archive of packages is that of this machine; SIDEKICK_TEST_MIRROR=URL names another. Needs root.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly DEBIAN=${SIDEKICK_TEST_DEBIAN:-trixie}
# What sid and experimental are made of.
readonly RELEASE=${DEBIAN/experimental/sid}
readonly PACKAGES=(
    systemd systemd-sysv dbus         # what is tested against
    etcd-server etcd-client           # as units
    nginx-light libnginx-mod-http-lua # the same
    podman netavark nftables          # runs Quadlet's units, with ports that are published
    curl procps iproute2
)
# For tests/suite besides.
readonly WHOLE=(
    docker.io iptables busybox-static ca-certificates openssl groff-base man-db bsdutils socat
    libnginx-mod-stream lua-cjson aardvark-dns
)
# Of experimental, where it is newer than sid.
readonly NEWER=(etcd-server etcd-client nginx-light libnginx-mod-http-lua podman netavark crun systemd)
# Whose versions count.
readonly SHOWN=(
    systemd etcd-server nginx libnginx-mod-http-lua libluajit-5.1-2 podman netavark crun runc docker.io containerd libc6
)
# What nobody reads or starts in there.
readonly UNUSED=(
    usr/share/doc usr/share/man usr/share/info usr/share/locale usr/share/i18n var/cache/apt var/lib/apt/lists
    var/log/bootstrap.log
)
# What a test starts itself, once it has said how, or what only costs time.
readonly DISABLED=(
    etcd.service nginx.service netavark-dhcp-proxy.service netavark-dhcp-proxy.socket netavark-firewalld-reload.service
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer systemd-pstore.service getty@tty1.service
)

fail() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit 69
}

# The archive that this machine's own release comes from.
mirror() {
    local codename release component uri
    codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
    while read -r release component uri; do
        if [ "$release" = "$codename" ] && [ "$component" = main ]; then
            printf '%s' "$uri"
            return
        fi
    done < <(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Identifier: Packages' 2>/dev/null)
}

# A mount that debootstrap has left behind must not be emptied.
clean_up() {
    umount --lazy "$root/proc" "$root/sys" 2>/dev/null || true
    rm -rf --one-file-system "$root"
}

# inside COMMAND…: in the image, where nothing is to be started yet.
inside() {
    chroot "$root" env DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@" >>"$log" 2>&1
}

# add PACKAGE…: also from experimental, where that is what is wanted.
add() {
    local from
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod +x "$root/usr/sbin/policy-rc.d"
    printf 'deb %s %s main\n' "$mirror" "$RELEASE" >"$root/etc/apt/sources.list"
    [ "$DEBIAN" = "$RELEASE" ] || printf 'deb %s %s main\n' "$mirror" "$DEBIAN" >>"$root/etc/apt/sources.list"
    cp --remove-destination /etc/resolv.conf "$root/etc/resolv.conf"
    # A copy of sid is often older than its archive wants it to be.
    inside apt-get -q -o Acquire::Check-Valid-Until=false update && inside apt-get -qy --no-install-recommends --target-release "$DEBIAN" install "$@" ||
        fail "apt-get cannot install $* of $DEBIAN from $mirror: see $log"
    rm "$root/usr/sbin/policy-rc.d"
}

# In the order of SHOWN, one a line.
versions() {
    # It also fails for what is not there.
    { chroot "$root" dpkg-query --show --showformat '${Package} ${Version}\n' "${SHOWN[@]}" 2>/dev/null || true; } |
        grep ' .'
}

# bootstrap: from nothing.
bootstrap() {
    command -v debootstrap >/dev/null || fail 'debootstrap is missing: run tests/install.sh, or apt-get install debootstrap'
    printf 'Making the image of a host from %s; it takes a minute or two, once.\n' "$mirror" >&2
    # Root has tools in sbin that are not on everybody's PATH.
    PATH=$PATH:/usr/sbin:/sbin debootstrap --variant=minbase --include="$(IFS=,; printf '%s' "${PACKAGES[*]}")" \
        "$RELEASE" "$root" "$mirror" >"$log" 2>&1 ||
        fail "debootstrap cannot make $RELEASE from $mirror (is there a network, and has that archive $RELEASE?). Its last words: $(
            tail -n 3 "$log"
        )"
    [ "$DEBIAN" = "$RELEASE" ] || add "${NEWER[@]}"
    chroot "$root" systemctl --quiet disable "${DISABLED[@]}" 2>>"$log" || true
    # As where docker is installed.
    chroot "$root" groupadd --system docker
    # Every host gets an id of its own when it starts.
    : >"$root/etc/machine-id"
}

# make ARCHIVE: through a folder beside it.
make() {
    local archive=$1 path
    [ "$(id -u)" -eq 0 ] || fail 'only root can make the image of a host'
    mirror=${SIDEKICK_TEST_MIRROR:-$(mirror)}
    [ -n "$mirror" ] ||
        fail "the sources of apt on this machine name no archive of Debian: SIDEKICK_TEST_MIRROR=URL can, which must have $RELEASE"
    # Also what was interrupted.
    clean_up
    trap clean_up EXIT
    mkdir "$root"
    if [ "$archive" = "$small" ]; then
        bootstrap
    else
        tar -C "$root" -xf "$small"
        add "${WHOLE[@]}"
    fi
    for path in "${UNUSED[@]}"; do
        rm -rf --one-file-system "${root:?}/$path"
    done
    versions >"$archive.versions"
    tar -C "$root" -cf "$folder/part" .
    mv "$folder/part" "$archive"
    clean_up
}

folder=$(realpath -m "${CARGO_TARGET_DIR:-target}")/hosts
root=$folder/root
log=$folder/debootstrap.log
mkdir -p "$folder"
# Another list of packages is another archive.
small=$folder/$DEBIAN-$(sha256sum <"tests/hosts/image.sh" | cut -c 1-12).tar
whole=${small%.tar}-whole.tar
wanted=$small
[[ " $* " != *' --whole '* ]] || wanted=$whole
exec 8>"$folder/lock"
flock 8
[ -e "$small" ] || (make "$small") 8>&-
[ -e "$wanted" ] || (make "$wanted") 8>&-
if [[ " $* " == *' --versions '* ]]; then
    cat "$wanted.versions"
else
    printf '%s\n' "$wanted"
fi
