"""What arrived, read from each place by a reader that is not the gateway's: Kafka, the store's file, the dead letters."""

import glob
import json
import os
import sqlite3
import time
from dataclasses import dataclass

import payload

READ_LIMIT = 15.0  # seconds without a record, while some are missing


@dataclass
class Found:
    """One copy of an event in a sink. `order` sorts copies within `place` (a partition, or the store)."""

    place: int
    order: int
    data: bytes
    attributes: dict
    key: bytes | None = None
    at: float | None = None  # seconds since 1970; None when the sink does not say
    trace: str | None = None  # the trace that the gateway took it in with: the same for all copies of one acceptance


@dataclass
class Dead:
    """A dead letter: whose it is (None: unreadable), and the backend it could not reach (None: stopped at the door)."""

    who: tuple | None
    backend: str | None
    failure: str


def delete_topic(brokers, topic):
    from confluent_kafka.admin import AdminClient
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 2})
    admin.delete_topics([topic], operation_timeout=20)[topic].result(30)


class Kafka:
    """Reads a topic; `end` says how much is in it, `records` gives all of it."""

    def __init__(self, brokers, topic, partitions):
        from confluent_kafka import Consumer, TopicPartition
        self.topic, self.partitions, self.position = topic, partitions, TopicPartition
        # read_uncommitted: a record that is there counts, whatever a transaction says.
        self.consumer = Consumer({"bootstrap.servers": brokers, "group.id": "judge", "enable.auto.commit": False,
                                  "isolation.level": "read_uncommitted", "auto.offset.reset": "earliest",
                                  "check.crcs": True, "log_level": 2})

    def end(self):
        return [self.consumer.get_watermark_offsets(self.position(self.topic, number), timeout=20)[1]
                for number in range(self.partitions)]

    def records(self):
        ends, found = self.end(), []
        self.consumer.assign([self.position(self.topic, number, 0) for number in range(self.partitions)])
        reached = [0] * self.partitions
        quiet_since = time.monotonic()
        while any(at < end for at, end in zip(reached, ends)):
            # Short, because `consume` waits until it has all it was asked for, or the time is over.
            messages = self.consumer.consume(1000, timeout=0.05)
            if messages:
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > READ_LIMIT:
                raise RuntimeError(f"Kafka gave nothing for {READ_LIMIT:.0f} s at {reached} of {ends}")
            for message in messages:
                if message.error():
                    raise RuntimeError(f"Kafka: {message.error()}")
                headers = message.headers() or []
                given = {name: value.decode(errors="replace") for name, value in headers if value is not None}
                attributes = {name[3:]: value.decode(errors="replace") for name, value in headers if name.startswith("ce_")}
                reached[message.partition()] = message.offset() + 1
                found.append(Found(message.partition(), message.offset(), message.value() or b"", attributes,
                                   message.key(), message.timestamp()[1] / 1000, given.get("traceparent", "")[3:35] or None))
        self.consumer.close()
        return found


def store_rows(data_dir):
    """Every row of the embedded store, read from its SQLite file; None when no table looks like one of events.

    A table of events has the columns id, source and type, and one for the data.
    """
    for file in sorted(glob.glob(os.path.join(data_dir, "**", "*"), recursive=True)):
        if not file.endswith((".db", ".sqlite", ".sqlite3")):
            continue
        database = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=20)
        try:
            for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                columns = [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')]
                data = next((name for name in ("data", "payload", "body", "value") if name in columns), None)
                if data and {"id", "source", "type"} <= set(columns):
                    rows = list(read_table(database, table, columns, data))
                    # A store that keeps its data in another form than bytes has to be asked in another way.
                    if not rows or any(payload.identity(row.data) for row in rows[:1000]):
                        return rows
        finally:
            database.close()
    return None


def read_table(database, table, columns, data):
    wanted = [name for name in ("id", "source", "type", "subject") if name in columns]
    trace = '"trace_id"' if "trace_id" in columns else "NULL"
    listed = ", ".join([trace, *(f'"{name}"' for name in [data, *wanted])])
    for number, row in enumerate(database.execute(f'SELECT {listed} FROM "{table}" ORDER BY rowid')):
        taken, row = row[0], row[1:]
        value = row[0] if isinstance(row[0], bytes) else str(row[0] if row[0] is not None else "").encode()
        yield Found(0, number, value, {name: value for name, value in zip(wanted, row[1:]) if value is not None}, trace=taken)


def events_by_command(gateway):
    """The same through `anygate events --json`. JSON data comes back parsed; ours is compact, so it can be made again."""
    for number, event in enumerate(gateway.command("events", "--json", "--since", "24h", "--limit", "100000000")):
        value = event.get("data")
        if "data_base64" in event:
            import base64
            data = base64.b64decode(event["data_base64"])
        else:
            data = value.encode() if isinstance(value, str) else json.dumps(value, separators=(",", ":")).encode()
        yield Found(0, number, data, {name: str(value) for name, value in event.items() if name != "data"})


def dead_letters(gateway, run):
    """Every dead letter, and whose message it was: by its id, else by the payload that `dlq show` gives."""
    letters = []
    for letter in gateway.command("dlq", "list", "--json"):
        who, parts = None, str(letter.get("id") or "").rsplit("-", 1)
        if letter.get("id", "") and parts[0].startswith(f"{run}-") and parts[-1].isdigit():
            who = (run, parts[0].removeprefix(f"{run}-"), int(parts[-1]))
        elif len(letters) < 2000:
            shown = gateway.command("dlq", "show", str(letter["lsn"]), "--json")
            data = (shown[0].get("event") or {}).get("data") if shown else None
            who = payload.identity(json.dumps(data)) if data is not None else None
        letters.append(Dead(who, letter.get("backend"), str(letter.get("failure"))))
    return letters
