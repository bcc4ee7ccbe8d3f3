# Shared by the scripts of this folder (sourced, not run): where the tools are, free ports, and processes ended by pid.
#
# A service keeps everything below the DIR it was given: data, log, `pid`, and `env` with its addresses as NAME=value lines.
# `start` on a DIR that was used before takes the same ports and data again, so a restart looks like one to its clients.

services=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$services/../.." && pwd)
tools=$repository/.test-tools
# tests/setup puts Node into .test-tools/bin where the system's is missing or too old; mosquitto is in /usr/sbin, which is
# not on everybody's PATH.
export PATH=$tools/bin:$PATH:/usr/sbin

fail() { printf '%s: error: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

need() { [ -e "$1" ] || fail "$1 is not here: run tests/setup first"; }

# free_ports N: N different free TCP ports on 127.0.0.1, one per line. Taken from below the range that the kernel uses for
# outgoing connections: a service that is killed and started again must find its port free, and a client that reconnects to
# a dead port inside that range can even be given the port itself and then talks to itself.
free_ports() {
    python3 - "$1" <<'PY'
import random, socket, sys
low = int(open("/proc/sys/net/ipv4/ip_local_port_range").read().split()[0])
held = []
while len(held) < int(sys.argv[1]):
    candidate = socket.socket()
    try:
        candidate.bind(("127.0.0.1", random.randrange(10240, max(low, 20000))))
        held.append(candidate)
    except OSError:
        candidate.close()
print(*(s.getsockname()[1] for s in held), sep="\n")
PY
}

# alive DIR: does the process that DIR/pid names still run? (A zombie does not.)
alive() {
    [ -s "$1/pid" ] || return 1
    local state
    state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$(cat "$1/pid")/status" 2>/dev/null) || return 1
    [ -n "$state" ] && [ "$state" != Z ]
}

# launch DIR COMMAND…: starts COMMAND detached from this terminal, its output appended to DIR/log, its pid in DIR/pid.
launch() {
    local dir=$1
    shift
    setsid "$@" >>"$dir/log" 2>&1 </dev/null 9>&- &
    echo $! >"$dir/pid"
}

# wait_ready DIR SECONDS COMMAND…: until COMMAND succeeds; fails with the log when the process is gone or time is up.
wait_ready() {
    local dir=$1 until=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        alive "$dir" || { tail -n 20 "$dir/log" >&2; fail "ended while starting; its whole log: $dir/log"; }
        [ "$SECONDS" -lt "$until" ] || { tail -n 20 "$dir/log" >&2; fail "not ready in time; its whole log: $dir/log"; }
        sleep 0.1
    done
}

# port_open PORT: does something accept on 127.0.0.1:PORT?
port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# end DIR SIGNAL SECONDS: sends SIGNAL to the pid of DIR, waits, and kills it when SECONDS have passed.
end() {
    local pid waited=0
    alive "$1" || { rm -f "$1/pid"; return 0; }
    pid=$(cat "$1/pid")
    kill "-$2" "$pid" 2>/dev/null || true
    while alive "$1"; do
        sleep 0.1
        waited=$((waited + 1))
        [ "$waited" -lt $(($3 * 10)) ] || kill -KILL "$pid" 2>/dev/null || true
        [ "$waited" -lt $(($3 * 10 + 50)) ] || fail "process $pid cannot be ended"
    done
    rm -f "$1/pid"
}

# The second JIT compiler would take the processor from the gateway under test for half a minute.
java_options=(-Xmx512m -XX:+UseSerialGC -Xshare:auto -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.showDateTime=true)

# kafka_id: a random id, as Kafka wants it.
kafka_id() { head -c 16 /dev/urandom | base64 | tr '+/' 'ab' | tr -d '='; }

# kafka_format DIR CLUSTER: makes the data folder that DIR/server.properties names.
kafka_format() {
    java "${java_options[@]}" -cp "$tools/kafka/lib/*" kafka.tools.StorageTool format -t "$2" \
        -c "$1/server.properties" >"$1/format.log" 2>&1 || { cat "$1/format.log" >&2; fail "format failed"; }
}

kafka_launch() { LOG_DIR=$1 launch "$1" java "${java_options[@]}" -cp "$tools/kafka/lib/*" kafka.Kafka "$1/server.properties"; }

# kafka_has BROKERS N: does the cluster say that it has N brokers?
kafka_has() { kcat -b "$1" -L -m 1 | grep -q " $2 brokers:"; }
