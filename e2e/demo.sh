#!/usr/bin/env bash
# Serves manifests/quickstart.yaml through a real Envoy until Ctrl-C; `make demo` builds what it needs and calls it.
#
#   GATEHOUSE_BIN, GATEHOUSE_ECHO, GATEHOUSE_ENVOY   the three programs
#   DEMO_PORT (8080), DEMO_BACKEND_PORT (3000)       local ports of the Gateway and of the sample backend
#   DEMO_ONCE=1                                      end after the first answer instead of waiting
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

: "${GATEHOUSE_BIN:?path of the gatehouse binary}" "${GATEHOUSE_ECHO:?path of the gatehouse-echo binary}"
: "${GATEHOUSE_ENVOY:?path of the Envoy binary}"
port=${DEMO_PORT:-8080}
backend_port=${DEMO_BACKEND_PORT:-3000}
host=www.example.com
# How many tenths of a second the route may take to answer.
patience=600

fail() {
    echo "demo: $*" >&2
    exit 1
}

# taken PORT: whether somebody listens there.
taken() {
    (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

require_free() {
    local wanted=$1 variable=$2
    if taken "$wanted"; then
        fail "port $wanted of 127.0.0.1 is taken; choose another one: make demo $variable=PORT"
    fi
}

# Where the backend's endpoint is declared: the file itself, or a copy with the port that was asked for.
endpoints_file() {
    local file=manifests/quickstart-local.yaml
    if [[ $backend_port != 3000 ]]; then
        sed "s/^\( *port:\) 3000\$/\1 $backend_port/" "$file" >"$work/quickstart-local.yaml"
        file=$work/quickstart-local.yaml
    fi
    echo "$file"
}

# The status that the Gateway answers with; empty while nothing answers. In bash, because curl may be missing.
gateway_status() {
    local protocol status rest
    {
        exec 3<>"/dev/tcp/127.0.0.1/$port" &&
            printf 'GET /get HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$host" >&3 &&
            read -r -t 5 protocol status rest <&3 && echo "$status"
    } 2>/dev/null
}

wait_until_served() {
    local try status
    for ((try = 0; try < patience; try++)); do
        kill -0 "$echo_pid" 2>/dev/null || fail "the sample backend ended; its output: $(<"$work/echo.log")"
        kill -0 "$gatehouse_pid" 2>/dev/null || fail "gatehouse ended before the route was served"
        status=$(gateway_status) || true
        [[ $status == 200 ]] && return
        sleep 0.1
    done
    fail "no answer 200 on port $port within $((patience / 10)) s (last: ${status:-none})"
}

stop() {
    trap - EXIT INT TERM
    local pid
    for pid in "$gatehouse_pid" "$echo_pid"; do
        # The backend goes last: gatehouse drains requests that are under way.
        if [[ -n $pid ]]; then
            kill "$pid" 2>/dev/null || true
            wait "$pid" 2>/dev/null || true
        fi
    done
    rm -rf "$work"
}

[[ $port =~ ^[0-9]+$ && $backend_port =~ ^[0-9]+$ ]] || fail "DEMO_PORT and DEMO_BACKEND_PORT are numbers"
[[ $port != "$backend_port" ]] || fail "DEMO_PORT and DEMO_BACKEND_PORT are the same"
require_free "$port" DEMO_PORT
require_free "$backend_port" DEMO_BACKEND_PORT

work=$(mktemp -d)
echo_pid='' gatehouse_pid=''
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

NAMESPACE=default SERVICE_NAME=backend POD_NAME=demo \
    "$GATEHOUSE_ECHO" --listen "127.0.0.1:$backend_port" >"$work/echo.log" 2>&1 &
echo_pid=$!
"$GATEHOUSE_BIN" run manifests/quickstart.yaml "$(endpoints_file)" \
    --port-map "80:$port" --admin 127.0.0.1:0 --envoy "$GATEHOUSE_ENVOY" &
gatehouse_pid=$!

wait_until_served
cat <<TEXT

The quickstart is served. Try it from another terminal:

    curl -H 'Host: $host' http://127.0.0.1:$port/get

Edit manifests/quickstart.yaml meanwhile and send the request again. Ctrl-C ends the demo.
TEXT
if [[ -z ${DEMO_ONCE:-} ]]; then
    wait -n "$echo_pid" "$gatehouse_pid" || true
    fail "a part of the demo ended by itself; its last words are above"
fi
