"""Slow clients, thousands at once from one thread: what each sends, and how long the gateway lets it stay.

None of them is ever told to go by this side: a client ends when the gateway ends it, and that is what is measured.
"""

import errno
import select
import socket
import threading
import time

HALF_HEAD = b"POST /events HTTP/1.1\r\nHost: x\r\nX-Half: "
DRIPPING = b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 8000\r\n\r\n{"
CONNECT = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x02\x00\x00"  # keep alive 2 s, no client identifier
CONNACK = b"\x20\x02\x00\x00"
DRIP_EVERY = 0.5  # seconds
RAMP = 1000       # new clients per second


def never_read():
    """Batches of bad events: their answers are long, and fill the buffers of both sides."""
    lines = b"x\n" * 100
    head = b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n" % len(lines)
    return (head + lines) * 32


# name: share of all, protocol, what it sends first, seconds that it may stay (the deadlines of anygate.yaml).
KINDS = {
    "silent": (0.30, "http", b"", 3.0),
    "half a head": (0.25, "http", HALF_HEAD, 3.0),
    "slow body": (0.20, "http", DRIPPING, 3.0),
    "idle MQTT": (0.20, "mqtt", CONNECT, 3.0),
    "never reads": (0.05, "http", never_read(), 3.0),
}
READ = 64 * 1024


class Client:
    """One slow client."""

    def __init__(self, kind, ports):
        self.kind, self.got = kind, b""
        _, protocol, first, self.limit = KINDS[kind]
        self.socket = socket.socket()
        if kind == "never reads":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            # The segments of a real network: with those of a loopback the kernel keeps megabytes for the peer.
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", ports[protocol]))
        self.began, self.ended = time.monotonic(), None
        self.socket.setblocking(False)
        self.unsent = first
        self.send(b"")

    def send(self, more):
        """Sends what goes: whoever was closed, or is full, takes no more."""
        self.unsent += more
        try:
            while self.unsent:
                self.unsent = self.unsent[self.socket.send(self.unsent):]
        except OSError:
            pass

    def read(self):
        """Reads what came; returns whether the gateway has ended the connection."""
        try:
            while came := self.socket.recv(READ):
                self.got = (self.got + came)[:64]
        except OSError as error:
            return error.errno != errno.EAGAIN
        return True


class Crowd:
    """Slow clients in the shares of KINDS."""

    def __init__(self, count, ports):
        self.ports, self.clients, self.epoll = ports, {}, select.epoll()
        self.kinds = mixed(count)
        self.dripped = 0.0

    def begin(self):
        """All of them connect, not all in one moment."""
        began = time.monotonic()
        for number, kind in enumerate(self.kinds):
            client = Client(kind, self.ports)
            self.clients[client.socket.fileno()] = client
            if kind != "never reads":
                self.epoll.register(client.socket, select.EPOLLIN)
            while time.monotonic() < began + number / RAMP:
                self.step(0.001)

    def step(self, wait):
        """Notes who was ended, and drips."""
        for number, _ in self.epoll.poll(wait):
            client = self.clients[number]
            if client.ended is None and client.read():
                client.ended = time.monotonic()
                self.epoll.unregister(number)
        if time.monotonic() >= self.dripped + DRIP_EVERY:
            self.dripped = time.monotonic()
            for client in self.clients.values():
                if client.kind == "slow body" and client.ended is None:
                    client.send(b" ")

    def readers(self):
        """Those that would see their end, and have not."""
        return sum(client.ended is None and client.kind != "never reads" for client in self.clients.values())

    def wait_for_readers(self, limit):
        """Until the gateway has ended everyone but those that never read, or the time is over."""
        until = time.monotonic() + limit
        while self.readers() and time.monotonic() < until:
            self.step(0.05)

    def read_the_rest(self, limit):
        """The gateway says that it has ended those that never read: they see it when they read."""
        until = time.monotonic() + limit
        waiting = [client for client in self.clients.values() if client.ended is None and client.kind == "never reads"]
        while waiting and time.monotonic() < until:
            for client in waiting:
                if client.read():
                    client.ended = time.monotonic()
            waiting = [client for client in waiting if client.ended is None]
            time.sleep(0.01)

    def longest(self):
        """Kind → (clients, seconds by which its last one outstayed its deadline); None: one is still there."""
        found = {}
        for kind in KINDS:
            stays = [client.ended and client.ended - client.began - client.limit for client in self.clients.values() if client.kind == kind]
            found[kind] = (len(stays), None if None in stays else max(stays, default=None))
        return found

    def greeted(self):
        """MQTT clients that were let in."""
        return sum(client.got.startswith(CONNACK) for client in self.clients.values() if client.kind == "idle MQTT")

    def unanswered(self):
        """Clients that never read and found no refusal when they did in the end: nothing was written for them."""
        never = [client for client in self.clients.values() if client.kind == "never reads"]
        return sum(not client.got.startswith(b"HTTP/1.1 4") for client in never)

    def close(self):
        for client in self.clients.values():
            client.socket.close()
        self.epoll.close()


class Visit(threading.Thread):
    """A crowd that comes and is ended, and what was seen of it. `others`: whether the gateway counts more than the good clients."""

    def __init__(self, crowd, late, others):
        super().__init__(daemon=True)
        self.crowd, self.late, self.others, self.noted, self.fault = crowd, late, others, None, None

    def run(self):
        try:
            self.noted = self.visit()
        except Exception as fault:  # for the thread that waits for this one
            self.fault = fault
        finally:
            self.crowd.close()

    def visit(self):
        crowd = self.crowd
        crowd.begin()
        crowd.wait_for_readers(max(limit for *_, limit in KINDS.values()) + self.late)
        # Those that never read cannot see their end, and would put it off by reading.
        until = time.monotonic() + self.late
        while self.others() and time.monotonic() < until:
            time.sleep(0.1)
        crowd.read_the_rest(1.0)
        slow = {kind: {"clients": count, "late": stay} for kind, (count, stay) in crowd.longest().items()}
        return {"slow": slow, "greeted": crowd.greeted(), "unanswered": crowd.unanswered()}

    def end(self):
        self.join()
        if self.fault:
            raise self.fault
        return self.noted


def mixed(count):
    """`count` kinds in their shares, well mixed."""
    kinds = [kind for kind, (share, *_) in KINDS.items() for _ in range(round(share * count))]
    # A stride without a common factor visits every place once.
    stride = next(step for step in range(len(kinds) // 3 + 1, 2 * len(kinds) + 2) if _coprime(step, len(kinds)))
    return [kinds[number * stride % len(kinds)] for number in range(len(kinds))]


def _coprime(left, right):
    while right:
        left, right = right, left % right
    return left == 1
