"""A small gateway in Python that the judge is tried on: what it promises is little, and it can be made to break it.

It speaks just enough of `anygate` for one judged run: HTTP and MQTT in, a journal file, Kafka and SQLite out, /readyz and
/metrics. It never fsyncs (a killed process loses nothing that was written). STANDIN_BUG puts one fault in:

    ack_before_write          answers at once and writes the journal a moment later
    cursor_before_delivery    saves the lane's place when a record is handed to the producer, not when Kafka confirmed it
    changed_byte              changes a byte of every 500th record on its way to Kafka
    wrong_partitioner         partitions by CRC32 instead of murmur2
"""

import asyncio
import json
import os
import signal
import sqlite3
import sys

from mqtt_producer import packet, take_packet

BUG = os.environ.get("STANDIN_BUG", "")


class Lane:
    """Journal and cursor files, and what was read from them or appended since: everything stays in memory."""

    def __init__(self, folder):
        os.makedirs(os.path.join(folder, "store"), exist_ok=True)
        self.cursor_path = os.path.join(folder, "cursor")
        path = os.path.join(folder, "journal")
        self.records = self.recover(path)
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.unwritten, self.waiting = [], []
        try:
            with open(self.cursor_path, encoding="ascii") as file:
                self.handed = self.confirmed = int(file.read())
        except FileNotFoundError:
            self.handed = self.confirmed = 0
        self.done = set()
        self.open_store(os.path.join(folder, "store", "events.db"))
        self.producer = None
        if os.environ["KAFKA"]:  # empty in the stage http-store
            self.connect_kafka()

    @staticmethod
    def recover(path):
        """Whole lines; a torn last one is cut off."""
        if not os.path.exists(path):
            return []
        with open(path, "rb") as file:
            data = file.read()
        whole = data.rfind(b"\n") + 1
        os.truncate(path, whole)
        return [json.loads(line) for line in data[:whole].splitlines()]

    def open_store(self, path):
        self.store = sqlite3.connect(path, isolation_level=None)
        self.store.execute("PRAGMA journal_mode=WAL")
        self.store.execute("PRAGMA synchronous=NORMAL")
        self.store.execute("CREATE TABLE IF NOT EXISTS events (position INTEGER PRIMARY KEY, id TEXT, source TEXT, type TEXT, data BLOB)")
        self.stored = self.store.execute("SELECT coalesce(max(position), -1) + 1 FROM events").fetchone()[0]

    def connect_kafka(self):
        from confluent_kafka import Producer
        self.producer = Producer({"bootstrap.servers": os.environ["KAFKA"], "enable.idempotence": True, "linger.ms": 2,
                                  "message.timeout.ms": 0, "log_level": 0,
                                  "partitioner": "consistent_random" if BUG == "wrong_partitioner" else "murmur2_random"})

    def append(self, attributes, data, answer):
        """`answer` is called when the record is in the journal (or before, with the bug)."""
        self.unwritten.append({"a": attributes, "d": data.decode()})
        if BUG == "ack_before_write":
            answer()
        else:
            self.waiting.append(answer)

    def write(self):
        if self.unwritten:
            os.write(self.file, b"".join(json.dumps(record).encode() + b"\n" for record in self.unwritten))
            self.records += self.unwritten
            waiting, self.waiting, self.unwritten = self.waiting, [], []
            for answer in waiting:
                answer()

    def deliver(self):
        """Hands over what fits, counts what came back, and fills the store."""
        if self.producer:
            self.produce()
        else:
            self.confirmed = self.stored
        if self.stored < len(self.records):
            rows = [(at, r["a"]["id"], r["a"]["source"], r["a"]["type"], r["d"].encode())
                    for at, r in enumerate(self.records[self.stored:], self.stored)]
            self.store.execute("BEGIN")
            self.store.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", rows)
            self.store.execute("COMMIT")
            self.stored = len(self.records)

    def produce(self):
        while self.handed < len(self.records) and self.handed - self.confirmed < 2000:
            record, at = self.records[self.handed], self.handed
            data = record["d"].encode()
            if BUG == "changed_byte" and at % 500 == 499:
                data = data[:-4] + bytes([data[-4] ^ 1]) + data[-3:]
            headers = {f"ce_{name}": value for name, value in record["a"].items()}
            self.producer.produce(os.environ["TOPIC"], data, record["a"]["partitionkey"], headers=headers,
                                  on_delivery=lambda error, _, at=at: self.confirm(error, at))
            self.handed += 1
        self.producer.poll(0)

    def confirm(self, error, at):
        if error is not None:
            raise RuntimeError(str(error))
        self.done.add(at)
        while self.confirmed in self.done:
            self.done.remove(self.confirmed)
            self.confirmed += 1

    def save(self):
        with open(self.cursor_path + ".new", "w", encoding="ascii") as file:
            file.write(str(self.handed if BUG == "cursor_before_delivery" else self.confirmed))
        os.replace(self.cursor_path + ".new", self.cursor_path)

    def pending(self):
        return len(self.records) + len(self.unwritten) - self.confirmed


class Peer(asyncio.Protocol):
    def __init__(self, lane):
        self.lane, self.buffer, self.transport = lane, b"", None

    def connection_made(self, transport):
        self.transport = transport

    def send(self, data):
        if not self.transport.is_closing():
            self.transport.write(data)


class Http(Peer):
    """POST /events in binary mode; GET /readyz and /metrics."""

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            first, *lines = self.buffer[:end].decode().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            length = int(headers.get("content-length", 0))
            if len(self.buffer) < end + 4 + length:
                return
            body, self.buffer = self.buffer[end + 4:end + 4 + length], self.buffer[end + 4 + length:]
            if first.startswith("GET"):
                self.answer(200, f'anygate_lane_pending{{anygate_backend="bus"}} {self.lane.pending()}\n')
                continue
            attributes = {name[3:]: value for name, value in headers.items() if name.startswith("ce-")}
            said = json.dumps({"id": attributes["id"], "ack": os.environ["ACK"], "trace_id": "0" * 32})
            self.lane.append(attributes, body, lambda said=said: self.answer(202, said))

    def answer(self, status, text):
        self.send(f"HTTP/1.1 {status} OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())


class Mqtt(Peer):
    """CONNECT, PUBLISH with QoS 1, PINGREQ; the topic becomes the attributes that the judged config sets."""

    v5 = False

    def data_received(self, data):
        self.buffer += data
        while (found := take_packet(self.buffer)) is not None:
            first, body, self.buffer = found
            if first >> 4 == 1:
                self.v5 = body[6] == 5
                self.send(packet(0x20, b"\0\0\x03\x21\0\x20" if self.v5 else b"\0\0"))
            elif first >> 4 == 3:
                self.publish(body)
            elif first >> 4 == 12:
                self.send(b"\xd0\0")

    def publish(self, body):
        end = 2 + int.from_bytes(body[:2], "big")
        _, site, device, kind = body[2:end].decode().split("/")
        number, data = body[end:end + 2], body[end + (3 if self.v5 else 2):]
        attributes = {"specversion": "1.0", "id": os.urandom(8).hex(), "type": f"com.acme.sensor.{kind}", "subject": device,
                      "source": f"/sites/{site}/devices/{device}", "partitionkey": device}
        self.lane.append(attributes, data, lambda: self.send(packet(0x40, number)))


async def serve():
    lane, loop, stop = Lane(os.environ["DATA_DIR"]), asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    for kind, port in ((Http, "HTTP_PORT"), (Mqtt, "MQTT_PORT"), (Http, "ADMIN_PORT")):
        await loop.create_server(lambda kind=kind: kind(lane), "127.0.0.1", int(os.environ[port]))
    ticks = 0
    while not stop.is_set():
        await asyncio.sleep(0.003)
        ticks += 1
        if BUG != "ack_before_write" or ticks % 30 == 0:
            lane.write()
        lane.deliver()
        if ticks % 100 == 0 or BUG == "cursor_before_delivery":
            lane.save()
    lane.write()
    lane.deliver()
    if lane.producer:
        lane.producer.flush(5)
    lane.save()


if __name__ == "__main__":
    if sys.argv[1] == "run":
        asyncio.run(serve())
    # Any other command (`dlq list`) has nothing to say.
