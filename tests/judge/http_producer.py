"""HTTP/1.1 producers: one request at a time per connection, CloudEvents binary mode, written and read by hand.

A message whose connection broke, or whose outcome the gateway calls unknown, is sent again with the same id before any
other of this stream. A definite refusal is noted and not sent again: it must be found nowhere.
"""

import json
import time

import payload
from producer import Stream

REFUSED_PAUSE = 0.05  # seconds before the next message after a refusal


class HttpStream(Stream):
    """`open` is the number of the message that has no final answer yet; `waiting` whether a request is on its way."""

    def __init__(self, settings, name, pace):
        super().__init__(settings, name, pace)
        self.open, self.waiting, self.not_before = None, False, 0.0

    def idle(self):
        return self.open is None

    def pump(self):
        if self.transport is None or self.waiting or time.monotonic() < self.not_before:
            return
        if self.open is None:
            if not self.may_start_another():
                return
            self.open, self.next = self.next, self.next + 1
        self.ledger.note("ATTEMPT", self.open, self.epoch)
        self.ledger.flush()
        self.waiting = True
        self.transport.write(self.request(self.open))

    def request(self, seq):
        data = payload.body(self.run, self.name, seq)
        attributes = payload.attributes(self.run, self.name, seq)
        head = "".join(f"ce-{name}: {value}\r\n" for name, value in attributes.items())
        return (f"POST /events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(data)}\r\nce-specversion: 1.0\r\n{head}\r\n").encode() + data

    def lost(self, why):
        if self.waiting:
            self.ledger.note("UNKNOWN", self.open, self.epoch, why)
        self.waiting = False

    def received(self):
        while (answer := self.whole_answer()) is not None:
            if not self.waiting:
                self.ledger.note("FAULT", self.open or 0, self.epoch, f"answer {answer[0]} without a request")
                continue
            self.settle(*answer)

    def whole_answer(self):
        """(status, body) of the first whole answer in the buffer, taken out of it."""
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        lines = self.buffer[:end].decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        length = int(headers.get("content-length", 0))
        if len(self.buffer) < end + 4 + length:
            return None
        data, self.buffer = self.buffer[end + 4:end + 4 + length], self.buffer[end + 4 + length:]
        return int(lines[0].split(" ", 2)[1]), data

    def settle(self, status, data):
        """Notes what the answer says, and whether the message stays open."""
        self.waiting, seq = False, self.open
        try:
            said = json.loads(data)
        except ValueError:
            said = {}
        if status in (200, 202):
            wanted = payload.identifier(self.run, self.name, seq)
            if said.get("id") != wanted or said.get("ack") != self.settings["ack"]:
                self.ledger.note("FAULT", seq, self.epoch, f"answer {data[:200]!r}, not id {wanted} ack {self.settings['ack']}")
            self.ledger.note("ACK", seq, self.epoch)
            self.open = None
        elif said.get("outcome") == "unknown":
            self.ledger.note("UNKNOWN", seq, self.epoch, f"{status} {said.get('failure')}")
            self.not_before = time.monotonic() + REFUSED_PAUSE
        else:
            self.ledger.note("NACK", seq, self.epoch, f"{status} {said.get('failure')}")
            self.not_before = time.monotonic() + REFUSED_PAUSE
            self.open = None
