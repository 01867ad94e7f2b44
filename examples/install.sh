#!/usr/bin/env bash
# Installs sidekick: the program, its units, manual pages and completions, and examples of its settings.
#
#     examples/install.sh [BINARY]      the newest release build below target/ when none is named
#     examples/install.sh --nginx-lua   installs examples/nginx-lua/lib into /etc/nginx/lua, over an older version too
#     examples/install.sh --uninstall   removes what was installed, and leaves /etc/sidekick and /etc/nginx alone
#
# PREFIX=/usr/local is where; the units name that place. DESTDIR=FOLDER installs below another root, for a package or an image,
# and touches nothing of this host. Settings that are there already stay as they are.
set -euo pipefail
export LC_ALL=C
umask 022

root=$(dirname "$(dirname "$(realpath "${BASH_SOURCE[0]}")")")
destination=${DESTDIR:-}
prefix=${PREFIX:-/usr/local}

case ${1:-} in
-h | --help)
    sed -n '2,/^set /{/^#/{s/^# \{0,1\}//;p}}' "$0"
    exit
    ;;
esac

fail() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit "${2:-64}"
}

# Where systemd looks for what an administrator installs, wherever the program is.
case $prefix in
/usr | /usr/local) system=$prefix/lib ;;
*) system=/etc ;;
esac
units=$system/systemd/system
documents=$prefix/share/doc/sidekick
manual=$prefix/share/man
# What is installed, a path a line.
list=$documents/installed
# For  lua_package_path "/etc/nginx/lua/?.lua;;";  in nginx's configuration.
lua=/etc/nginx/lua

# put MODE PATH: a file of what comes in, whole at any time, also while the one before runs.
put() {
    local path=$destination$2
    mkdir -p "${path%/*}"
    cat >"$path.new"
    chmod "$1" "$path.new"
    mv -f "$path.new" "$path"
    printf '%s\n' "$2" >>"$new_list"
}

# unit FILE PATH: with the place of this program in it.
unit() { sed "s|/usr/local/bin/sidekick|$prefix/bin/sidekick|g" "$root/units/$1" | put 644 "$2"; }

# setting FILE NAME: in /etc/sidekick, unless there is one.
setting() {
    local path=$destination/etc/sidekick/$2
    if [ ! -e "$path" ]; then
        install -D -m 644 "$1" "$path"
        echo "For you to edit: $path"
    fi
}

# On this very host, and not for another.
is_here() { [ -z "$destination" ] && [ -d /run/systemd/system ]; }

reload_systemd() { ! is_here || systemctl daemon-reload; }

# remove_listed LIST [BUT]: the files of a list that are not in another, and folders that are of no use without them.
remove_listed() {
    local path
    while IFS= read -r path; do
        case $path in
        "$prefix"/* | "$system"/*) ;;
        *) fail "$1: $path lies neither in $prefix nor in $system: nothing of it is removed" ;;
        esac
        grep -qxF -- "$path" "${2:-/dev/null}" || rm -f -- "$destination$path"
    done <"$1"
    for path in "$units/sidekick@.service.d" "$documents/quadlet" "$documents"; do
        [ ! -d "$destination$path" ] || rmdir --ignore-fail-on-non-empty "$destination$path"
    done
}

uninstall() {
    [ -e "$destination$list" ] || fail "nothing is installed: there is no $destination$list" 1
    local running=
    ! is_here || running=$(systemctl list-units --plain --no-legend --state active 'sidekick@*' sidekick-push.service | cut -d ' ' -f 1)
    cp "$destination$list" "$new_list"
    remove_listed "$new_list"
    reload_systemd
    echo 'Removed. What is in /etc/sidekick and /etc/nginx stays.'
    [ -z "$running" ] || printf 'These run on until they are stopped:\n%s\n' "$running"
}

# The newest build, or the one that was named.
find_binary() {
    local found=${1:-} candidate
    if [ -z "$found" ]; then
        for candidate in "${CARGO_TARGET_DIR:-$root/target}"/{,*/}release/sidekick; do
            [ ! -x "$candidate" ] || [ "$candidate" -ot "$found" ] || found=$candidate
        done
        [ -n "$found" ] || fail 'there is no build of sidekick: run cargo build --release first, or name the file of one' 69
    fi
    version=$("$found" --version 2>/dev/null) && [[ $version == 'sidekick '* ]] || fail "$found is no sidekick that runs here"
    binary=$found
}

copy() { put "$1" "$3" <"$2"; }

install_all() {
    local command shell
    find_binary "${1:-}"
    copy 755 "$binary" "$prefix/bin/sidekick"
    for command in sidekick@.service sidekick-push.service; do
        unit "$command" "$units/$command"
    done
    for command in sidekick-fleet@.service backend-with-hooks.service podman.conf quadlet/backend{,-sidekick}.container; do
        unit "$command" "$documents/$command"
    done
    for command in README.md CHANGELOG.md LICENSE examples/push.toml; do
        copy 644 "$root/$command" "$documents/${command##*/}"
    done
    "$binary" man | put 644 "$manual/man1/sidekick.1"
    for command in $("$binary" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z-]*\).*/\1/p'); do
        [ "$command" = help ] || "$binary" man "$command" | put 644 "$manual/man1/sidekick-$command.1"
    done
    for command in push.toml records; do
        "$binary" man "$command" | put 644 "$manual/man5/sidekick-$command.5"
    done
    "$binary" completions bash | put 644 "$prefix/share/bash-completion/completions/sidekick"
    "$binary" completions zsh | put 644 "$prefix/share/zsh/site-functions/_sidekick"
    "$binary" completions fish | put 644 "$prefix/share/fish/vendor_completions.d/sidekick.fish"
    setting "$root/examples/sidekick.env" sidekick.env
    setting "$root/examples/push.toml" push.toml
    setting <(echo 'SIDEKICK_CONFIG=/etc/sidekick/push.toml') push.env
    # Without Docker, its group is what nobody can be in.
    if is_here && ! getent group docker >/dev/null; then
        if command -v podman >/dev/null; then
            unit podman.conf "$units/sidekick@.service.d/podman.conf"
            echo "There is no group docker here, but Podman: its containers are what sidekick@.service looks for"
        else
            echo "There is no group docker here, which sidekick@.service asks for: see $documents/podman.conf"
        fi
    fi
    # What an older version had, and this one has no more.
    [ ! -e "$destination$list" ] || remove_listed "$destination$list" "$new_list"
    printf '%s\n' "$list" >>"$new_list"
    copy 644 "$new_list" "$list"
    reload_systemd
    echo "Installed: $destination$prefix/bin/sidekick ($version)"
}

# An older version was the one file upstream_api.lua. It is replaced last: until then it works without the new modules.
install_nginx_lua() {
    local path
    for path in $(cd "$root/examples/nginx-lua/lib" && find upstream_api -name '*.lua' | sort) upstream_{conf,api}.lua; do
        copy 644 "$root/examples/nginx-lua/lib/$path" "$lua/$path"
    done
    # Modules that an older version had, and this one has no more.
    find "$destination$lua/upstream_api" -name '*.lua' | while IFS= read -r path; do
        grep -qxF -- "${path#"$destination"}" "$new_list" || rm -f -- "$path"
    done
    echo "Installed: $destination$lua/upstream_api.lua and its modules. nginx uses them after a reload: systemctl reload nginx"
    grep -qrsF "$lua/?.lua" "$destination/etc/nginx/nginx.conf" "$destination/etc/nginx/conf.d" ||
        echo "To find them, nginx needs  lua_package_path \"$lua/?.lua;;\";  and the rest of examples/nginx-lua/nginx.conf"
}

for path in "$prefix" ${destination:+"$destination"}; do
    [[ $path == /* && $path != */ ]] || fail "\"$path\": expected an absolute path without / at its end (PREFIX, DESTDIR)"
done
[[ $prefix =~ ^[A-Za-z0-9/._+-]+$ ]] || fail "PREFIX \"$prefix\": letters, digits and /._+- are what a unit can name"
[ -n "$destination" ] || [ "$(id -u)" -eq 0 ] || fail 'only root can install on this host: try sudo, or DESTDIR=FOLDER' 69
new_list=$(mktemp)
trap 'rm -f "$new_list"' EXIT
[ $# -le 1 ] || fail "\"$2\": one argument at most is expected"
case ${1:-} in
--nginx-lua) install_nginx_lua ;;
--uninstall) uninstall ;;
-*) fail "\"$1\": expected the file of a build, --nginx-lua or --uninstall" ;;
*) install_all "$@" ;;
esac
