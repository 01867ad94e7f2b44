#!/usr/bin/env bash
# Makes the root file system of a host: a small Debian with systemd, etcd, nginx with lua and podman, whatever runs outside.
# Prints the path of the tar archive, which is made once and kept beside what cargo builds.
#
# The archive of packages is that of this machine; SIDEKICK_TEST_MIRROR=URL names another. Needs root.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly RELEASE=trixie
readonly PACKAGES=(
    systemd systemd-sysv dbus         # what is tested against
    etcd-server etcd-client           # as units
    nginx-light libnginx-mod-http-lua # the same
    podman nftables                   # runs Quadlet's units, with ports that are published
    curl procps
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

# make ARCHIVE: through a folder beside it.
make() {
    local archive=$1 from path
    [ "$(id -u)" -eq 0 ] || fail 'only root can make the image of a host'
    command -v debootstrap >/dev/null || fail 'debootstrap is missing: run tests/install.sh, or apt-get install debootstrap'
    from=${SIDEKICK_TEST_MIRROR:-$(mirror)}
    [ -n "$from" ] ||
        fail "the sources of apt on this machine name no archive of Debian: SIDEKICK_TEST_MIRROR=URL can, which must have $RELEASE"
    # Also what was interrupted.
    clean_up
    trap clean_up EXIT
    mkdir "$root"
    printf 'Making the image of a host from %s; it takes a minute or two, once.\n' "$from" >&2
    # Root has tools in sbin that are not on everybody's PATH.
    PATH=$PATH:/usr/sbin:/sbin debootstrap --variant=minbase --include="$(IFS=,; printf '%s' "${PACKAGES[*]}")" \
        "$RELEASE" "$root" "$from" >"$folder/debootstrap.log" 2>&1 ||
        fail "debootstrap cannot make $RELEASE from $from (is there a network, and has that archive $RELEASE?). Its last words: $(
            tail -n 3 "$folder/debootstrap.log"
        )"
    chroot "$root" systemctl --quiet disable "${DISABLED[@]}" 2>>"$folder/debootstrap.log" || true
    # As where docker is installed.
    chroot "$root" groupadd --system docker
    # Every host gets an id of its own when it starts.
    : >"$root/etc/machine-id"
    for path in "${UNUSED[@]}"; do
        rm -rf --one-file-system "${root:?}/$path"
    done
    tar -C "$root" -cf "$folder/part" .
    mv "$folder/part" "$archive"
}

folder=$(realpath -m "${CARGO_TARGET_DIR:-target}")/hosts
root=$folder/root
mkdir -p "$folder"
# Another list of packages is another archive.
archive=$folder/$RELEASE-$(sha256sum <"tests/hosts/image.sh" | cut -c 1-12).tar
exec 8>"$folder/lock"
flock 8
[ -e "$archive" ] || (make "$archive") 8>&-
printf '%s\n' "$archive"
