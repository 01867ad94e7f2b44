#!/usr/bin/env bash
# The confd story: plain records that confd and any other old reader understand, a template, and a reload of
# an nginx without any module. A bad record harms only itself, and what fails is tried again until it works.
#
# Everything listens on free ports of 127.0.0.1, lives in a temporary folder and is stopped at the end, also on Ctrl-C.
# On a fresh Debian it first installs what is missing, and says so.
set -Eeuo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

readonly PATIENCE=30 # seconds that anything here may take
readonly CLIENTS=8 # requests at a time
readonly BACKEND=web # web1 to web3

source examples/stories/lib/story.sh
source examples/stories/lib/services.sh

readonly RECORDS=/test/website/ # what lies below

values() { etcdctl get --prefix --print-value-only "$RECORDS"; }
has_values() { [ "$(values | wc -l)" -eq "$1" ]; }
# as_confd: what confd's {{range getvs "/website/*"}} server {{.}}; {{end}} makes of the records.
as_confd() { values | sed 's/.*/    server &;/'; }
# answered NAME FROM: one of the requests behind the first FROM was answered by this backend.
answered() { tail -n "+$(($2 + 1))" "$folder/requests.log" | grep -qx "200 $1"; }
# said WORDS: in the pusher's log.
said() { grep -qF "$1" "$folder/push.log"; }

# A small nginx without modules, which includes conf.d as Debian's does.
configure_nginx() {
    mkdir -p "$folder/nginx/conf.d"
    cat >"$folder/nginx/nginx.conf" <<'END'
pid nginx.pid;
error_log error.log;
worker_processes 2;
events { worker_connections 1024; }
http {
    client_body_temp_path body_temp;
    proxy_temp_path proxy_temp;
    fastcgi_temp_path fastcgi_temp;
    uwsgi_temp_path uwsgi_temp;
    scgi_temp_path scgi_temp;
    access_log off;
    # A reload closes connections that are kept alive, also when a request is on its way; since 1.27.4 keepalive_min_timeout spares them.
    keepalive_timeout 0;
    include conf.d/*.conf;
}
END
}

# The files for everybody, with a free port and the folder in place of their own.
configure_sidekick() {
    mkdir "$folder/sidekick"
    sed "s/listen 8000;/listen 127.0.0.1:$traffic_port;/" examples/stories/confd/website.conf.jinja >"$folder/sidekick/website.conf.jinja"
    sed -e "s|/etc/sidekick/|$folder/sidekick/|" -e "s|/etc/nginx/|$folder/nginx/|" -e "s|/run/|$folder/nginx/|" \
        -e "s|\"nginx |\"${nginx[*]} |" examples/stories/confd/push.toml >"$folder/sidekick/push.toml"
}

run_announcer() {
    local name=$1 what
    what=(sidekick announce "website/$name" "127.0.0.1:${backend_port[$name]}" --probe /health
        --prefix /test --format plain --linger 1s)
    command_line "${what[*]} … &"
    start "announce-$name" "${what[@]}" --interval 500ms --timeout 400ms --allow-loopback
    announcer[$name]=$started
}

prepare quickstart
make_folder confd
take_port && traffic_port=$port
nginx=(nginx -p "$folder/nginx" -c nginx.conf -e stderr)
site=$folder/nginx/conf.d/website.conf

# ---- the story ----

chapter '1. etcd, a plain nginx that serves nothing yet, and three backends'
start_etcd
configure_nginx
configure_sidekick
start nginx "${nginx[@]}" -g 'daemon off;'
foundation=${#pids[@]}
until_true 'nginx to run' test -s "$folder/nginx/nginx.pid"
for name in web1 web2 web3; do
    start_backend "$name"
    say "$name   http://127.0.0.1:${backend_port[$name]}/, dies at once when it is stopped"
done

chapter '2. Announcers write what confd reads'
run_announcer web1
run_announcer web2
until_true 'both to be announced' has_values 2
command_line "etcdctl get --prefix $RECORDS"
etcdctl get --prefix "$RECORDS" | sed 's/^/  /'
say 'A * of confd stands for one part of a key, so with prefix = "/test" these are getvs "/website/*",'
say 'and of  {{range getvs "/website/*"}} server {{.}}; {{end}}  becomes:'
as_confd | sed 's/^/  /'

chapter '3. The pusher makes the file with a template, has nginx check it, and reloads nginx'
command_line 'sidekick push --config push.toml &'
start push sidekick push --config "$folder/sidekick/push.toml"
until_true 'nginx to serve both' curl -sf "http://127.0.0.1:$traffic_port/"
command_line 'cat conf.d/website.conf'
sed 's/^/  /' "$site"
ask "127.0.0.1:$traffic_port"
traffic

chapter '4. web3 comes, and web2 is stopped: its announcer first, then the backend'
from=$(answers)
run_announcer web3
until_true 'web3 to get requests' answered web3 "$from"
traffic
command_line "kill ${announcer[web2]}   # the announcer, as systemctl stop does it"
began=$EPOCHREALTIME
dismiss "${announcer[web2]}" "${backend[web2]}"
kill "${announcer[web2]}"
left_well web2
good "it has left after $(since "$began") s: nginx has the file without it, and --linger 1s is over"
command_line "kill ${backend[web2]}   # the backend"
kill "${backend[web2]}"
traffic
none_lost 'by this'

chapter '5. Somebody writes a bad record'
from=$(answers)
command_line "etcdctl put ${RECORDS}web4 '127.0.0.1:1; } evil {'"
etcdctl put "${RECORDS}web4" '127.0.0.1:1; } evil {' | sed 's/^/  /'
{
    printf 'events {}\nhttp {\nupstream website {\n'
    as_confd
    printf '}\n}\n'
} >"$folder/confd.conf"
if nginx -t -e stderr -c "$folder/confd.conf" 2>"$folder/confd.log"; then
    fail 'nginx takes what confd would have made of it'
fi
say "confd's template would put it into the file as it stands. nginx -t says of that:"
say "$(grep -o '\[emerg\].*' "$folder/confd.log" | head -n 1 | sed 's/[0-9]*#[0-9]*: //')"
until_true 'the pusher to name it' said "key=${RECORDS}web4"
say "The pusher says:"
say "$(grep -F "key=${RECORDS}web4" "$folder/push.log" | sed 's/^[^ ]* *//')"
command_line 'sidekick list --prefix /test'
sidekick list --prefix /test | sed 's/^/  /'
traffic
none_lost 'by it'
good 'the record is left out, and nginx was not reloaded'

chapter '6. nginx refuses its own configuration just when web2 comes back'
from=$(answers)
command_line "echo 'nonsense;' >conf.d/foreign.conf"
echo 'nonsense;' >"$folder/nginx/conf.d/foreign.conf"
start_backend web2
run_announcer web2
until_true 'the pusher to be refused' said 'unknown directive "nonsense"'
command_line 'sidekick status'
sidekick status --prefix /test | sed 's/^/  /'
traffic
if answered web2 "$from"; then
    fail 'web2 gets requests although nginx cannot have been reloaded'
fi
good 'nginx goes on as it is, and the file is as it was before'
command_line 'rm conf.d/foreign.conf'
began=$EPOCHREALTIME
from=$(answers)
rm "$folder/nginx/conf.d/foreign.conf"
until_true 'web2 to get requests' answered web2 "$from"
good "tried again until it worked: web2 gets requests $(since "$began") s later"
say 'confd does not try again when a reload has failed: by then its file is as it should be.'
traffic
none_lost 'by this'

chapter 'Summary'
say "$(answers) requests: $(count 0), and $(grep -c 'nginx has the file' "$folder/push.log") reloads"
from=0
none_lost 'from the beginning to the end'
say 'Everything is stopped and removed now. Copy examples/stories/confd/push.toml and its template to start with.'
