"""MQTT producers: a window of QoS 1 messages in flight, MQTT 5 on even and 3.1.1 on odd streams, bytes made by hand.

A message without an answer when the connection ends becomes UNKNOWN and is not sent again (the session is clean).
PUBACKs must come in the order of the PUBLISHes [MQTT-4.6.0-2]; one that does not is a FAULT.
"""

import time
from collections import deque

import payload
from producer import Stream

PING_EVERY = 10.0
# CONNACK properties and how long their values are; None: a string, "pair": two strings
PROPERTY_LENGTHS = {0x11: 4, 0x21: 2, 0x24: 1, 0x25: 1, 0x27: 4, 0x12: None, 0x22: 2, 0x1F: None, 0x26: "pair", 0x28: 1,
                    0x29: 1, 0x2A: 1, 0x13: 2, 0x1A: None, 0x1C: None, 0x15: None, 0x16: None}


def text(value):
    data = value.encode()
    return len(data).to_bytes(2, "big") + data


def packet(first, body):
    """Fixed header with the variable length, and the body."""
    length, size = bytearray(), len(body)
    while True:
        length.append((size & 0x7F) | (0x80 if size > 0x7F else 0))
        size >>= 7
        if not size:
            return bytes([first]) + bytes(length) + body


def take_packet(buffer):
    """(first byte, body, rest), or None while it is incomplete."""
    size = shift = 0
    for at in range(1, min(len(buffer), 5)):
        size |= (buffer[at] & 0x7F) << shift
        shift += 7
        if buffer[at] < 0x80:
            end = at + 1 + size
            return None if len(buffer) < end else (buffer[0], buffer[at + 1:end], buffer[end:])
    return None


def receive_maximum(properties):
    """Receive Maximum (0x21) among the properties of a CONNACK; 65535 when it is not given."""
    at = 0
    while at < len(properties):
        name, at = properties[at], at + 1
        length = PROPERTY_LENGTHS[name]
        if name == 0x21:
            return int.from_bytes(properties[at:at + 2], "big")
        for _ in range(2 if length == "pair" else 1):
            at += length if isinstance(length, int) else 2 + int.from_bytes(properties[at:at + 2], "big")
    return 65535


class MqttStream(Stream):
    """`flight`: (packet id, number) of the unanswered messages, in order."""

    def __init__(self, settings, name, pace):
        super().__init__(settings, name, pace)
        number = name.rsplit("-", 1)[1]
        self.v5 = not number.isdigit() or int(number) % 2 == 0
        self.flight, self.packet_id, self.window, self.pinged = deque(), 0, 0, 0.0

    def idle(self):
        return not self.flight

    def opened(self):
        self.window, self.pinged = 0, time.monotonic()
        level, properties = (5, b"\0") if self.v5 else (4, b"")
        self.transport.write(packet(0x10, text("MQTT") + bytes([level, 2]) + (30).to_bytes(2, "big") + properties
                                    + text(f"judge-{self.run}-{self.name}")))

    def lost(self, why):
        for _, seq in self.flight:
            self.ledger.note("UNKNOWN", seq, self.epoch, why)
        self.flight.clear()
        self.window = 0

    def pump(self):
        if self.transport is None or not self.window:
            return
        packets = []
        while len(self.flight) < self.window and self.may_start_another():
            packets.append(self.publish())
        if time.monotonic() - self.pinged > PING_EVERY:
            self.pinged = time.monotonic()
            packets.append(b"\xc0\0")
        if packets:
            self.ledger.flush()
            self.transport.write(b"".join(packets))

    def publish(self):
        seq, self.next = self.next, self.next + 1
        self.packet_id = self.packet_id % 65535 + 1
        self.flight.append((self.packet_id, seq))
        self.ledger.note("ATTEMPT", seq, self.epoch)
        head = text(payload.topic(self.run, self.name, seq)) + self.packet_id.to_bytes(2, "big")
        return packet(0x32, head + (b"\0" if self.v5 else b"") + payload.body(self.run, self.name, seq))

    def received(self):
        while (found := take_packet(self.buffer)) is not None:
            first, body, self.buffer = found
            kind = first >> 4
            if kind == 2:
                self.connack(body)
            elif kind == 4:
                self.puback(int.from_bytes(body[:2], "big"), body[2] if len(body) > 2 else 0)
            elif kind == 14:
                self.transport.abort()  # DISCONNECT: the open messages become UNKNOWN
                return
            elif kind != 13:
                self.ledger.note("FAULT", self.next, self.epoch, f"a packet of type {kind} from the server")

    def connack(self, body):
        if body[1] != 0:
            self.transport.abort()
            return
        allowed = receive_maximum(body[3:]) if self.v5 else 65535  # body[2]: their length, one byte is enough here
        self.window = min(self.settings["window"], allowed)

    def puback(self, packet_id, reason):
        place = next((at for at, (known, _) in enumerate(self.flight) if known == packet_id), None)
        if place is None:
            self.ledger.note("FAULT", self.next, self.epoch, f"PUBACK {packet_id} that answers nothing")
            return
        seq = self.flight[place][1]
        if place:
            self.ledger.note("FAULT", seq, self.epoch, f"PUBACK overtook {place} others")
        del self.flight[place]
        self.ledger.note("ACK" if reason < 0x80 else "NACK", seq, self.epoch, "" if reason < 0x80 else f"{reason:#04x}")
