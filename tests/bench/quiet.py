"""What the gateway costs while it does little: how soon it is ready, what it holds idle, how late answers are at a modest rate."""
import contextlib
import socket
import statistics
import time
from pathlib import Path

import kafka
from servers import free_port

CONNECTIONS = 1000
PROBE = b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
POST = b'POST /events/com.acme.idle HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}'


def rss_kib(server):
    """Resident memory."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def mqtt_connect(number):
    """CONNECT of MQTT 3.1.1 with a clean session and no keep-alive."""
    client = f"idle-{number}".encode()
    body = b"\x00\x04MQTT\x04\x02\x00\x00" + len(client).to_bytes(2, "big") + client
    return bytes([0x10, len(body)]) + body


def ready_ms(start):
    """Milliseconds from the start of the process until /readyz says yes."""
    begun = time.monotonic()
    server = start()
    try:
        while time.monotonic() - begun < 20:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.ports["admin"]), 1) as sock:
                sock.sendall(PROBE)
                if sock.recv(64).startswith(b"HTTP/1.1 200"):
                    return (time.monotonic() - begun) * 1000
            time.sleep(0.001)
        raise RuntimeError("it is not ready within 20 s")
    finally:
        server.stop()


def idle_kib(server, port, first):
    """Resident memory per connection that has spoken once and says nothing more."""
    time.sleep(0.5)
    before, open_ones = rss_kib(server), []
    try:
        for number in range(CONNECTIONS):
            sock = socket.create_connection(("127.0.0.1", port), 5)
            open_ones.append(sock)
            sock.sendall(first(number))
            sock.settimeout(10)
            if not sock.recv(1024):
                raise RuntimeError("the connection was closed")
        time.sleep(1)
        return (rss_kib(server) - before) / CONNECTIONS
    finally:
        for sock in open_ones:
            sock.close()


def row(name, values, unit, goal, peer=""):
    """One line of the report; several values are rounds of one figure."""
    return {"name": name, "value": statistics.median(values), "low": min(values), "high": max(values), "unit": unit, "goal": goal, "peer": peer}


def measure(bench):
    """All rows, each in a process of its own; as many rounds as the other figures."""
    rounds = range(bench.options.rounds)
    yield row("start until ready, empty journal", [ready_ms(bench.gateway) for _ in rounds], "ms", "≤ 100")
    with bench.scratch() as folder:
        events = kafka.fill(bench, folder)
        dead = {"brokers": f"127.0.0.1:{free_port()}", "topic": "unknown", "mode": "structured", "ack": "durable"}
        starts = [ready_ms(lambda: bench.gateway(kafka.CONFIG, folder=folder, **dead)) for _ in rounds]
        yield row(f"start until ready, {events:,} events waiting for a Kafka that is away", starts, "ms", "≤ 1000")
    idle = []
    for _ in rounds:
        server = bench.gateway()
        try:
            time.sleep(2)
            idle.append(rss_kib(server) / 1024)
        finally:
            server.stop()
    yield row("idle process, resident", idle, "MiB", "≤ 16")
    yield row("idle HTTP keep-alive connection, after one message", held(bench.gateway, "http", lambda _: POST, rounds), "KiB", "≤ 12")
    peer = ""
    if bench.has_mosquitto():
        peer = f"mosquitto {statistics.median(held(bench.mosquitto, 'mqtt', mqtt_connect, rounds)):.2f}"
    yield row("idle MQTT connection", held(bench.gateway, "mqtt", mqtt_connect, rounds), "KiB", "≤ 2", peer)


def held(start, protocol, first, rounds):
    """Rounds of `idle_kib`, each with a new process."""
    values = []
    for _ in rounds:
        server = start()
        try:
            values.append(idle_kib(server, server.ports[protocol], first))
        finally:
            server.stop()
    return values
