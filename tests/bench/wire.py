"""One connection of a client over HTTP/1.1 or MQTT 3.1.1, as plain as can be: a message, its whole answer, the next message."""
import contextlib
import socket


def free_port():
    with contextlib.closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def event(number, size):
    """A CloudEvent in JSON of exactly `size` bytes."""
    head = f'{{"specversion":"1.0","id":"{number:08}","source":"/plant/7","type":"com.example.reading","data":{{"text":"'
    return head + "x" * (size - len(head) - 3) + '"}}'


def plain(size):
    """A JSON text of exactly `size` bytes that is no CloudEvent."""
    return '{"n":"' + "x" * (size - 8) + '"}'


class Http:
    """POST /events with one content type."""

    def __init__(self, port, content_type):
        self.content_type, self.port = content_type, port
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.settimeout(120)
        self.stream = self.sock.makefile("rwb")

    def send(self, body):
        """One request and its whole answer.

        Head and body are one write; a large one arrives in as many pieces as the sockets make of it."""
        head = f"POST /events HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\ncontent-type: {self.content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
        self.sock.sendall((head + body).encode())
        status = self.stream.readline()
        if not status.startswith(b"HTTP/1.1 202"):
            raise RuntimeError(f"not kept: {status!r} {self.stream.read1(300)!r}")
        length = 0
        while (line := self.stream.readline()) not in (b"\r\n", b""):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        self.stream.read(length)

    def close(self):
        self.stream.close()
        self.sock.close()


class Mqtt:
    """PUBLISH with QoS 1 to one topic."""

    CONNECT = b"\x10\x13\x00\x04MQTT\x04\x02\x00\x00\x00\x07counted"
    TOPIC = b"plant/7/reading"

    def __init__(self, port, _content_type=None):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.settimeout(120)
        self.stream = self.sock.makefile("rb")
        self.sock.sendall(self.CONNECT)
        if self.stream.read(4) != b"\x20\x02\x00\x00":
            raise RuntimeError("CONNECT was refused")
        self.packet = 0

    def send(self, body):
        """One PUBLISH and its PUBACK."""
        self.packet = self.packet % 60_000 + 1
        number = self.packet.to_bytes(2, "big")
        rest = len(self.TOPIC).to_bytes(2, "big") + self.TOPIC + number + body.encode()
        self.sock.sendall(b"\x32" + remaining_length(len(rest)) + rest)
        if (answer := self.stream.read(4)) != b"\x40\x02" + number:
            raise RuntimeError(f"no PUBACK: {answer!r}")

    def close(self):
        self.sock.sendall(b"\xe0\x00")
        self.stream.close()
        self.sock.close()


def remaining_length(length):
    """MQTT 3.1.1, section 2.2.3: seven bits a byte."""
    out = bytearray()
    while True:
        length, low = divmod(length, 128)
        out.append(low | (0x80 if length else 0))
        if not length:
            return bytes(out)
