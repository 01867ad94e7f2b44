# What the stories of the examples share: telling, starting and ending processes, waiting, and counting requests. Sourced.
#
# The stories on one machine have more in common, which is in services.sh, and those with containers, in docker.sh.
#
# A story sets PATIENCE (seconds that anything may take), CLIENTS (requests at a time), BACKEND (what its backends are called
# before their number) and BACKENDS (how many, 3 where it does not say), and has a function end_everything.

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
else
    bold='' dim='' green='' red='' plain=''
fi

chapter() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
say() { printf '  %s\n' "$*"; }
good() { printf '  %s✓%s %s\n' "$green" "$plain" "$*"; }

# The command as the reader would type it.
command_line() { printf '  %s$ %s%s\n' "$dim" "$*" "$plain"; }
continued() { printf '  %s    %s%s\n' "$dim" "$*" "$plain"; }

folder=''
pids=()
declare -A running # names by process id, of those that must not end by themselves

# Our own standard error, also while a command's is sent elsewhere.
exec 9>&2

# Runs end_everything, which each story has, at the end, on errors and on Ctrl-C.
clean_up() {
    local status=$?
    trap - EXIT ERR INT TERM
    end_everything
    if [ "$status" -eq 0 ] || [ "$status" -ge 128 ]; then
        [ -z "$folder" ] || rm -rf "$folder"
    fi
    exit "$status"
}

# end PID...: asks all of them at once, and kills those that still run after three seconds.
end() {
    local pid tries
    [ $# -gt 0 ] || return 0
    kill "$@" 2>/dev/null || true
    for ((tries = 0; tries < 60; tries++)); do
        kill -0 "$@" 2>/dev/null || break
        sleep 0.05 # until all have ended; there is nothing else to ask
    done
    for pid in "$@"; do
        kill -9 "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
}

fail() {
    printf '\n%sFailed:%s %s\n' "$red" "$plain" "$*" >&9
    if [ -n "$folder" ]; then
        printf 'The logs are in %s\n' "$folder" >&9
    fi
    exit 1
}

# A part of a command says nothing: the command itself fails next.
unexpected() {
    [ "$BASHPID" = "$$" ] || exit 1
    fail "«$1» in line $2 of $3"
}

interrupted() {
    printf '\nInterrupted: everything that was started is ended and removed.\n' >&9
    exit 130
}

trap clean_up EXIT
trap 'unexpected "$BASH_COMMAND" "$LINENO" "${BASH_SOURCE[0]}"' ERR
trap interrupted INT TERM

# prepare [ARGUMENT]: installs what is missing (the argument is for tests/install.sh) and builds; the programs are in
# $programs then.
prepare() {
    tests/install.sh "$@"
    PATH=$PATH:/usr/sbin:/sbin:$HOME/.cargo/bin
    echo 'Building sidekick and the example backend; the first time takes a few minutes.'
    cargo build --locked --bin sidekick --example backend
    programs=$(realpath "${CARGO_TARGET_DIR:-target}")/debug
    PATH=$programs:$programs/examples:$PATH
    # Nothing that is set for real work may reach what we start.
    unset "${!DOCKER_@}" "${!CONTAINER_@}" "${!ETCD_@}" "${!ETCDCTL_@}" "${!SIDEKICK_@}"
}

# start NAME COMMAND...: runs in the background, its words in NAME.log, its process id in $started.
start() {
    local name=$1
    shift
    : >"$folder/$name.log"
    "$@" >>"$folder/$name.log" 2>&1 9>&- &
    started=$!
    pids+=("$started")
    running[$started]=$name
}

# dismiss PID...: these are about to be ended.
dismiss() {
    local pid
    for pid in "$@"; do
        unset "running[$pid]"
    done
}

all_run() {
    local pid
    for pid in "${!running[@]}"; do
        kill -0 "$pid" 2>/dev/null ||
            fail "${running[$pid]} has ended. The end of its log: $(tail -n 1 "$folder/${running[$pid]}.log")"
    done
}

# until_true WHAT COMMAND...: looks until the command succeeds.
until_true() {
    local what=$1 deadline=$((SECONDS + PATIENCE))
    shift
    until "$@" >/dev/null 2>&1; do
        all_run
        ((SECONDS < deadline)) || fail "waited $PATIENCE s for $what"
        sleep 0.02 # between two looks at the condition
    done
}

not() { ! "$@"; }

# Seconds since $1, with one digit.
since() { awk -v from="$1" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.1f", to - from }'; }

answers() { wc -l <"$folder/requests.log"; }

# ask ADDRESS: clients that never stop sending POST requests, which nginx does not repeat, and write down every answer.
ask() {
    say "From here on $CLIENTS clients never stop sending POST requests, which nginx does not repeat."
    start requests stdbuf -oL curl -sZ --no-progress-meter --parallel-immediate --parallel-max "$CLIENTS" -d order=1 \
        -o /dev/null -w '%{http_code} %header{x-backend}\n' "http://$1/?[1-100000000]"
}

# count FROM [HOW MANY]: what the requests behind the first FROM got.
count() {
    awk -v name="$BACKEND" -v many="${BACKENDS:-3}" -v from="$1" -v to="$(($1 + ${2:-100000000}))" '
        NR <= from || NR > to { next }
        $1 == 200 { answered[$2]++; next }
        { failed++ }
        END {
            for (i = 1; i <= many; i++) printf "%s%d %4d   ", name, i, answered[name i]
            printf "failed %d", failed
        }' "$folder/requests.log"
}
failed() { count "$1" | sed 's/.*failed //'; }

# none_lost WHEN: of the requests behind the first $from.
none_lost() {
    local lost
    lost=$(failed "$from")
    [ "$lost" -eq 0 ] || fail "$lost requests were lost $1"
    good "requests lost $1: 0"
}

# traffic: what the next 200 requests get.
traffic() {
    local from
    # What was under way is answered first, wherever that went.
    from=$(($(answers) + 12 * CLIENTS))
    until_true '200 more answers' enough $((from + 200))
    say "the next 200 requests:   $(count "$from" 200)"
}
enough() { [ "$(answers)" -ge "$1" ]; }
