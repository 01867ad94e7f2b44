#!/usr/bin/env bash
# Runs the tests of rights, logins and certificates against the etcd of each release of Debian, whatever this machine has, and
# prints a table. Each etcd is fetched from the archive of this machine (SIDEKICK_TEST_MIRROR=URL names another), put below
# target/etcds, and never installed.
#
#   tests/etcds.sh                 all releases: those of RELEASES
#   tests/etcds.sh sid             that one
#   tests/etcds.sh trixie -sid     both; the one behind a - may be missing in the archive
#
# TESTS='rights:: ownership' runs others: parts of the names of tests in tests/suite.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PATH:/usr/sbin:/sbin:$HOME/.cargo/bin

readonly RELEASES=(bookworm trixie sid)
read -ra tests <<<"${TESTS:-rights:: etcd_rights:: logins:: attackers:: security:: etcd_troubles::}"
folder=$PWD/target/etcds
readonly KEYS=/usr/share/keyrings/debian-archive-keyring.gpg
# Most of them wait for a token to end rather than for a core.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) * 4))}

# The archive that this machine's own release comes from.
mirror() {
    apt-get indextargets --format '$(COMPONENT) $(RELEASE) $(REPO_URI)' 'Identifier: Packages' |
        awk -v release="$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")" \
            '$1 == "main" && $2 == release { print $3; exit }'
}

# apt with a state of its own, as root or not.
apt() {
    apt-get -qq -o Dir::Etc::sourcelist="$folder/apt/sources" -o Dir::Etc::sourceparts=- -o Dir::State::Lists="$folder/apt/lists" \
        -o Dir::Cache="$folder/apt/cache" -o APT::Sandbox::User=root -o Acquire::Languages=none \
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o Acquire::Retries=2 "$@"
}

# fetch RELEASE: puts its etcd into a folder of that name. Fails where the archive has none.
fetch() {
    local into=$folder/$1
    mkdir -p "$into" "$folder/apt/lists/partial" "$folder/apt/cache/archives/partial"
    # Not every Debian trusts these keys for sources that name none.
    printf 'deb [signed-by=%s] %s %s main\n' "$KEYS" "${SIDEKICK_TEST_MIRROR:-$(mirror)}" "$1" >"$folder/apt/sources"
    apt update && (cd "$into" && rm -f ./*.deb && apt download etcd-server && dpkg-deb -x ./*.deb .)
}

# What is said of the tests that have run: `13 passed, 0 failed`.
counts() {
    sed -n 's/^test result: [^.]*\. \([0-9]* passed\); \([0-9]* failed\).*/\1, \2/p' "$1"
}

wanted=("$@")
[ $# -gt 0 ] || wanted=("${RELEASES[@]}")
rows=() failed=0
for wish in "${wanted[@]}"; do
    release=${wish#-}
    if ! fetch "$release"; then
        printf 'etcds.sh: the etcd of Debian %s cannot be fetched from %s\n' "$release" "${SIDEKICK_TEST_MIRROR:-$(mirror)}" >&2
        rows+=("| $release | not fetched | none |")
        [ "$wish" != "$release" ] || failed=1
        continue
    fi
    etcd=$folder/$release/usr/bin/etcd
    version=$("$etcd" --version | sed -n 's/^etcd Version: //p')
    printf '== etcd %s of Debian %s\n' "$version" "$release"
    SIDEKICK_TEST_ETCD=$etcd cargo test --locked --quiet --test suite -- "${tests[@]}" 2>&1 | tee "$folder/$release.log" ||
        failed=1
    rows+=("| $release | $version | $(counts "$folder/$release.log") |")
done
printf '\n| Debian | etcd | tests |\n| --- | --- | --- |\n'
printf '%s\n' "${rows[@]}"
exit "$failed"
