"""Clients that vanish, never read, say half, or say it again."""

import os
import socket
import time

import ledger
import payload
from inject import Small
from mqtt_producer import packet, text
from scenarios import scenario
from scenarios.kafka import bring_back


def request(run, name, seq):
    data = payload.body(run, name, seq)
    head = "".join(f"ce-{key}: {value}\r\n" for key, value in payload.attributes(run, name, seq).items())
    return (f"POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
            f"ce-specversion: 1.0\r\n{head}\r\n").encode() + data


def connect_packet(r, name):
    return packet(0x10, text("MQTT") + bytes([5, 2]) + (30).to_bytes(2, "big") + b"\0" + text(f"{r.run}-{name}"))


def publish_packet(run, name, seq):
    head = text(payload.topic(run, name, seq)) + (seq + 1).to_bytes(2, "big") + b"\0"
    return packet(0x32, head + payload.body(run, name, seq))


class Client:
    """A client of the scenario's own, with a ledger: what it sent is unknown unless it learns more."""

    def __init__(self, r, name):
        self.r, self.name, self.acked = r, name, set()
        self.ledger = ledger.Writer(os.path.join(r.ledgers, f"{name}.ledger"))

    def attempt(self, seq, epoch=1):
        self.ledger.note("ATTEMPT", seq, epoch)
        self.ledger.flush()

    def note(self, what, seq, epoch=1, word=""):
        self.ledger.note(what, seq, epoch, word)
        self.ledger.flush()

    def open(self, port):
        return socket.create_connection(("127.0.0.1", self.r.ports[port]), 5)


@scenario(ci=2)
def client_vanishes(r):
    """Clients send a whole message and are gone before the answer, by a close and by a reset."""
    r.go()
    http, mqtt = Client(r, "http-gone"), Client(r, "mqtt-gone")
    for seq in range(40):
        for client, port in ((http, "http"), (mqtt, "mqtt")):
            client.attempt(seq, seq + 1)
            with client.open(port) as one:
                if port == "mqtt":
                    one.sendall(connect_packet(r, "mqtt-gone"))
                    one.recv(64)
                    one.sendall(publish_packet(r.run, "mqtt-gone", seq))
                else:
                    one.sendall(request(r.run, "http-gone", seq))
                if r.random.random() < 0.5:  # a reset instead of a good-bye
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.note("UNKNOWN", seq, seq + 1, "left")
    r.progress("beside clients that vanish")
    before = connections(r)
    r.wait(lambda: connections(r) <= before or None, "their connections are gone")


def connections(r):
    return r.metrics().sum("anygate_listener_connections")


@scenario(ci=1)
def client_never_reads(r):
    """A client sends without end and never reads an answer: it is held up, everybody else goes on."""
    r.go()
    client, sent = Client(r, "http-deaf"), 0
    with client.open("http") as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.settimeout(1.0)
        try:
            while sent < 20_000:
                client.attempt(sent)
                one.sendall(request(r.run, "http-deaf", sent))
                sent += 1
        except OSError:
            pass
        r.require(sent > 20, "requests of the deaf client")
        r.progress("beside a client that never reads", 600)
    for seq in range(sent + 1):
        client.note("UNKNOWN", seq, 1, "never read")


@scenario(ci=2)
def half_messages(r):
    """Messages that are cut anywhere: nothing of them is kept."""
    r.go()
    # Names that the judge does not know: whatever of them arrives is an invention.
    for seq in range(60):
        whole = request(r.run, "http-half", seq)
        send_half(r, "http", b"", whole[:r.random.randrange(1, len(whole))])
        whole = publish_packet(r.run, "mqtt-half", seq)
        send_half(r, "mqtt", connect_packet(r, "mqtt-half"), whole[:r.random.randrange(1, len(whole))])
    r.progress("beside half messages")


def send_half(r, port, before, part):
    with socket.create_connection(("127.0.0.1", r.ports[port]), 5) as one:
        if before:
            one.sendall(before)
            one.recv(64)
        one.sendall(part)
        if r.random.random() < 0.5:
            one.shutdown(socket.SHUT_WR)
            one.settimeout(2)
            try:
                while one.recv(4096):
                    pass
            except OSError:
                pass


@scenario(ci=1)
def resend(r):
    """With dedupe: everything is sent again, by clients that heard no answer among them, and arrives once."""
    client = loaded_with_dedupe(r)
    first = [post(client, seq, 1) for seq in range(150)]
    again = [post(client, seq, 2) for seq in range(150)]
    r.require(all(first) and all(again), "acknowledgements of both copies")
    r.progress("beside the resend")


@scenario(ci=1)
def resend_after_kill(r):
    """With dedupe: what was acknowledged before a kill is sent again after it, and is not taken in again."""
    client = loaded_with_dedupe(r)
    first = [post(client, seq, 1) for seq in range(150)]
    r.kill()
    r.restart()
    again = [post(client, seq, 2) for seq in range(150)]
    r.require(all(first) and all(again), "acknowledgements of both copies")
    r.progress("after the resend")


@scenario(ci=1)
def resend_refused(r):
    """With dedupe: messages are refused while there is no room; sent again with the same ids they are kept, once."""
    disk, broker, down = Small(r), bring_back(r), time.time()
    client = loaded_with_dedupe(r)
    broker.freeze()
    disk.fill()
    r.load.surge.value = 1
    r.wait(lambda: r.tally.look("NACK") or None, "refusals", 40)
    refused = [post(client, seq, 1) for seq in range(60)]
    r.load.surge.value = 0
    r.require(not all(refused), "refusals of messages that are sent again")
    disk.free()
    broker.thaw()
    r.caught_up()
    r.progress("with room again")
    again = [refused[seq] or post(client, seq, 2) for seq in range(60)]
    r.require(all(again), "acknowledgements of what was refused before")
    r.broker_faults.append((down, time.time()))


def loaded_with_dedupe(r):
    r.prepare(config="gateway-dedupe.yaml")
    r.go()
    r.once = ("http-again",)
    return Client(r, "http-again")


def post(client, seq, epoch):
    """One request on its own connection: True when it was acknowledged. Later copies leave only their attempt in the ledger."""
    client.attempt(seq, epoch)
    try:
        with client.open("http") as one:
            one.sendall(request(client.r.run, client.name, seq))
            status = int((one.recv(4096).split(b" ", 2) + [b"0", b"0"])[1])
    except (OSError, ValueError):
        status = 0
    if seq not in client.acked:
        client.note("ACK" if status == 202 else "NACK" if status == 503 else "UNKNOWN", seq, epoch)
    if status == 202:
        client.acked.add(seq)
    return status == 202
