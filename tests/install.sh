#!/usr/bin/env bash
# Installs the Debian packages that are missing for building, testing and showing sidekick, after saying which and what
# for. Does nothing, and needs no network, where all of them are there.
#
# With the argument `quickstart`, only what the quickstart needs; with `containers`, what stories with containers do.
set -euo pipefail

fail() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit 69
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# Whether nginx has a module: built in (as OpenResty has lua), or as a file (as Debian has it).
have_module() {
    local modules built
    built=$(nginx -V 2>&1) || return 1
    modules=$(grep -o -- '--modules-path=[^ ]*' <<<"$built" | cut -d= -f2)
    grep -qE -- "$1" <<<"$built" || [ -e "${modules:-/usr/lib/nginx/modules}/$2" ]
}
have_lua() { have_module ngx_lua ngx_http_lua_module.so; }
have_cjson() { ls /usr/lib/*/lua/5.1/cjson.so /usr/local/openresty/lualib/cjson.so 2>/dev/null | grep -q .; }
have_stream() { have_module '--with-stream( |$)' ngx_stream_module.so; }

packages=()
reasons=()
need() {
    reasons+=("$1")
    shift
    packages+=("$@")
}

# Debian keeps nginx and etcd in sbin, which is not on everybody's PATH.
PATH=$PATH:/usr/sbin:/sbin

[ -e /usr/include/stdio.h ] && have cc || need 'a C compiler, to link Rust programs and build the TLS library' gcc libc6-dev
[ -e /usr/include/google/protobuf/any.proto ] && have protoc || need 'protoc, to build the etcd client' protobuf-compiler libprotobuf-dev
have etcd || need 'etcd, which keeps the records' etcd-server
have etcdctl || need 'etcdctl, to look into it' etcd-client
have nginx || need 'nginx, which takes the requests' nginx
have nginx && have_lua || need "nginx's lua module, whose upstreams change without a reload" libnginx-mod-http-lua
if [ "${1:-}" != quickstart ]; then
    have dockerd && have docker || need 'docker, whose containers are announced' docker.io
    have iptables || need 'iptables, which docker looks for and podman uses' iptables
    [ -x /bin/busybox ] && ! ldd /bin/busybox >/dev/null 2>&1 || need 'a static busybox, the one program in the containers' busybox-static
fi
if [ $# -eq 0 ]; then
    have nginx && have_stream || need "nginx's stream module, for connections that are no requests" libnginx-mod-stream
    have_cjson || need 'lua-cjson, which the lua example uses where it is there' lua-cjson
    have wrk || need 'wrk, which measures nginx for the benchmarks' wrk
    have openssl || need 'openssl, to make certificates for the tests' openssl
    have systemd-analyze || need 'systemd-analyze, to check the units' systemd
    have groff && have preconv || need 'groff, to render the manual' groff-base
    have script || need 'script, to see what is shown on a terminal' bsdutils
    have podman || need 'podman, the same by another daemon' podman
    ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || need 'libfaketime, to let clocks jump' libfaketime
    have debootstrap || need 'debootstrap, to make hosts with a systemd of their own' debootstrap
fi
have curl || need 'curl, to ask nginx and the backends' curl ca-certificates

# Of Rust, rustup's own folder counts too, which is not on the PATH of a shell that was open before.
PATH=$PATH:$HOME/.cargo/bin
have_rust() { cargo --version >/dev/null 2>&1; }
have_rust || reasons+=('Rust, to build sidekick: rustup, where Debian has it (13 and later)')

if [ ${#reasons[@]} -gt 0 ]; then
    echo 'Missing here:'
    printf '  - %s\n' "${reasons[@]}"
    [ ${#packages[@]} -eq 0 ] || echo "Installing the packages: ${packages[*]}"
    echo '(Debian may start nginx, etcd and docker as services when it installs them. None of these is used here.)'
    have apt-get ||
        fail "there is no apt-get on this machine: install what is missing, which Debian calls ${packages[*]:-rustup}"
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        have sudo || fail "only root can install packages and there is no sudo. As root: apt-get install ${packages[*]:-rustup}"
        as_root=(sudo)
    fi
    apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq)
    "${apt[@]}" update || fail 'apt-get cannot read the package lists: is there a network, and is /etc/apt right?'
    # From Debian 13 on, docker's command is not in the package of its daemon.
    if [[ " ${packages[*]} " == *' docker.io '* ]] && apt-cache show docker-cli >/dev/null 2>&1; then
        packages+=(docker-cli)
    fi
    if ! have_rust && ! have rustup && apt-cache show rustup >/dev/null 2>&1; then
        packages+=(rustup)
    fi
    if [ ${#packages[@]} -gt 0 ]; then
        "${apt[@]}" install --no-install-recommends -y "${packages[@]}" </dev/null ||
            fail "apt-get cannot install ${packages[*]}: its own message is above"
    fi
fi

if ! have_rust && have rustup; then
    echo 'Installing Rust for this user, by rustup'
    rustup --quiet default stable || fail 'rustup cannot install Rust: its own message is above'
fi
have_rust || fail 'Rust is missing: get it from https://rustup.rs'
