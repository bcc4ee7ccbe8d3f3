"""HTTP/1.1 producers of batches: one request of many events at a time, CloudEvents JSON batches, acknowledged as a whole.

A batch without an answer is sent again with the same ids before any other of its stream; a refused one is given up.
"""

import json
import time

import payload
from http_producer import REFUSED_PAUSE, HttpStream


class BatchStream(HttpStream):
    """`open` is the first number of the batch that has no final answer yet; its events follow one another."""

    def __init__(self, settings, name, pace):
        super().__init__(settings, name, pace)
        self.size = settings.get("batch", 50)

    def pump(self):
        if self.transport is None or self.waiting or time.monotonic() < self.not_before:
            return
        if self.open is None:
            if not self.may_start_another():
                return
            self.open, self.next = self.next, self.next + self.size
        for seq in self.numbers():
            self.ledger.note("ATTEMPT", seq, self.epoch)
        self.ledger.flush()
        self.waiting = True
        self.transport.write(self.request(self.open))

    def numbers(self):
        return range(self.open, self.open + self.size)

    def may_start_another(self):
        """The pace counts events: one batch costs as many."""
        if self.finishing or self.left == 0 or not self.pace.take():
            return False
        if not self.pace.surge.value:
            self.pace.sent += self.size - 1
        return True

    def request(self, seq):
        events = b",".join(self.event(number) for number in self.numbers())
        data = b"[" + events + b"]"
        return (f"POST /events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/cloudevents-batch+json\r\n"
                f"Content-Length: {len(data)}\r\n\r\n").encode() + data

    def event(self, seq):
        head = {"specversion": "1.0", "datacontenttype": "application/json", **payload.attributes(self.run, self.name, seq)}
        return json.dumps(head)[:-1].encode() + b',"data":' + payload.body(self.run, self.name, seq) + b"}"

    def lost(self, why):
        if self.waiting:
            self.note_all("UNKNOWN", why)
        self.waiting = False

    def note_all(self, what, word=""):
        for seq in self.numbers():
            self.ledger.note(what, seq, self.epoch, word)

    def settle(self, status, data):
        self.waiting = False
        try:
            said = json.loads(data)
        except ValueError:
            said = {}
        if status in (200, 202):
            wanted = [(payload.identifier(self.run, self.name, seq), self.settings["ack"]) for seq in self.numbers()]
            if [(item.get("id"), item.get("ack")) for item in said.get("results", [])] != wanted:
                self.ledger.note("FAULT", self.open, self.epoch, f"answer {data[:300]!r} to a batch")
            self.note_all("ACK")
            self.open = None
        elif said.get("outcome") == "unknown":
            self.note_all("UNKNOWN", f"{status} {said.get('failure')}")
            self.not_before = time.monotonic() + REFUSED_PAUSE
        else:
            self.note_all("NACK", f"{status} {said.get('failure')}")
            self.not_before = time.monotonic() + REFUSED_PAUSE
            self.open = None
