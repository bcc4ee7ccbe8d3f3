"""The Kafka backend in a whole gateway, beside librdkafka's own producer with the same records and the same broker.

Needs a broker (tests/services/with-services). Every measurement has a topic of its own, deleted right after it.
"""
import contextlib
import json
import os
import shutil
import subprocess
import threading
import time
import urllib.request
import uuid
from pathlib import Path

import contest
from servers import ROOT, Skipped, free_port, say

SERVICE = ROOT / "tests" / "services" / "kafka"
PARTITIONS = 3
CONNECTIONS, BATCH, SIZE = 32, 100, 300
BATCHES = ["--connections", CONNECTIONS, "--batch", BATCH, "--size", SIZE]
IN_FLIGHT = 64
# How long a lane may take to empty what a few seconds of load have left in it.
DRAIN_SECONDS = 60
SHALLOW = ["--in-flight", IN_FLIGHT, "--linger-ms", 0]
# The queue that librdkafka's producer has by default, and the linger of the Kafka backend.
DEEP = ["--in-flight", 100_000, "--linger-ms", 0.5]
SAMPLE = 1000

CONFIG = """version: 1
node: {{ data_dir: {folder}/data, drain_timeout: 1s }}
admin: {{ listen: "127.0.0.1:{admin}" }}
listeners:
  web: {{ http: {{ listen: "127.0.0.1:{http}" }} }}
  devices: {{ mqtt: {{ listen: "127.0.0.1:{mqtt}" }} }}
backends:
  bus: {{ kafka: {{ brokers: ["{brokers}"], topic: "{topic}", mode: {mode} }} }}
routes:
  - {{ name: all, to: [bus], ack: {ack} }}
"""


def broker():
    return os.environ.get("ANYGATE_TEST_KAFKA")


@contextlib.contextmanager
def topic():
    name = f"bench-{uuid.uuid4().hex[:12]}"
    control("create", name, str(PARTITIONS), "file.delete.delay.ms=100")
    try:
        yield name
    finally:
        control("delete", name)


def control(*arguments):
    done = subprocess.run([SERVICE, "topic", *arguments], text=True, capture_output=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"kafka topic {' '.join(arguments)}: {done.stderr.strip()[-300:]}")


def lane(server):
    """Events that wait in the lane, and events that Kafka confirmed, since the start."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.ports['admin']}/metrics", timeout=10) as answer:
        lines = [line.split() for line in answer.read().decode().splitlines() if 'backend="bus"' in line]

    def figure(name):
        return sum(float(line[-1]) for line in lines if line[0].startswith(name))

    return figure("anygate_lane_pending{"), figure("anygate_lane_delivered_total{")


def wait_until_delivered(server, events):
    until = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < until:
        pending, delivered = lane(server)
        if pending == 0 and delivered >= events:
            return
        time.sleep(0.02)
    raise RuntimeError(f"the lane is not empty after {DRAIN_SECONDS} s: {pending:.0f} of {events} events wait")


class Lag:
    """How many events wait in the lane while it is under load."""

    def __init__(self, server):
        self.server, self.seen, self.over = server, [], threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def watch(self):
        while not self.over.wait(0.1):
            self.seen.append(lane(self.server)[0])

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def at(self, part):
        return self.seen[min(int(len(self.seen) * part), len(self.seen) - 1)] if self.seen else 0.0


def load_batches(bench, server, seconds=None):
    url = f"http://127.0.0.1:{server.ports['http']}"
    return bench.load("http", "--url", url, *BATCHES, seconds=seconds)


def send_one(server):
    """A connection to the broker and the topic's partitions are known after it."""
    url = f"http://127.0.0.1:{server.ports['http']}/events/com.acme.first"
    with urllib.request.urlopen(urllib.request.Request(url, data=b"{}", headers={"content-type": "application/json"}), timeout=30):
        wait_until_delivered(server, 1)


@contextlib.contextmanager
def gateway(bench, **more):
    server = bench.gateway(CONFIG, **more)
    try:
        yield server
    finally:
        server.stop()


def through(bench, mode):
    """Durable batches into the gateway and on into Kafka. The rate is that of all events from the first request until the lane is
    empty: one that is accepted faster than it is delivered counts for nothing."""

    def once():
        with topic() as name, gateway(bench, brokers=broker(), topic=name, mode=mode, ack="durable") as server:
            send_one(server)
            before, begun = server.cpu(), time.monotonic()
            with Lag(server) as lag:
                result = load_batches(bench, server)
            wait_until_delivered(server, result["acked"] + 1)
            took = time.monotonic() - begun
            user, system = (after - was for after, was in zip(server.cpu(), before))
        accepted = {"accepted": result["acked_per_second"]}
        lags = {"lag_half": lag.at(0.5), "lag_most": lag.at(0.75), "lag_end": lag.at(1.0)}
        return {"rate": result["acked"] / took, **contest.costs(result, user, system), **accepted, **lags}

    return once


def fill(bench, folder, mode="structured", topic_name="unknown"):
    """A journal with events that wait for a broker which is not there; how many."""
    with gateway(bench, folder=folder, brokers=f"127.0.0.1:{free_port()}", topic=topic_name, mode=mode, ack="durable") as server:
        return load_batches(bench, server, bench.options.seconds / 2)["acked"]


def backlog(bench, mode):
    """The lane alone: what an earlier run left in the journal goes to Kafka. CPU is everything since the process began."""

    def once():
        with topic() as name, bench.scratch() as folder:
            events = fill(bench, folder, mode, name)
            with gateway(bench, folder=folder, brokers=broker(), topic=name, mode=mode, ack="durable") as server:
                begun = time.monotonic()
                wait_until_delivered(server, events)
                took = time.monotonic() - begun
                user, system = server.cpu()
        return {"rate": events / took, "cpu_us": (user + system) / events * 1e6, "user_us": user / events * 1e6}

    return once


def delivered(bench, protocol, *load):
    """One event a message, answered when Kafka has it."""

    def once():
        with topic() as name, gateway(bench, brokers=broker(), topic=name, mode="binary", ack="delivered") as server:
            url = f"{protocol}://127.0.0.1:{server.ports[protocol]}"
            # The first one also finds the partitions.
            bench.load(protocol, "--url", url, *load, rate="100/s", seconds=1)
            return contest.measured(server, lambda: bench.load(protocol, "--url", url, *load))

    return once


class Records:
    """The records that the gateway makes of the load's events, taken back from Kafka once for each mode."""

    def __init__(self, bench):
        self.bench, self.files = bench, {}

    def of(self, mode):
        if mode not in self.files:
            self.files[mode] = self.take(mode)
        return self.files[mode]

    def take(self, mode):
        if not shutil.which("kcat"):
            raise Skipped("kcat is not installed (tests/setup)")
        file = Path(self.bench.folder) / f"records.{mode}"
        with topic() as name:
            with gateway(self.bench, brokers=broker(), topic=name, mode=mode, ack="durable") as server:
                result = load_batches(self.bench, server, 0.5)
                wait_until_delivered(server, result["acked"])
            command = ["kcat", "-C", "-q", "-b", broker(), "-t", name, "-o", "beginning", "-c", str(SAMPLE), "-J"]
            file.write_bytes(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=60).stdout)
        return file


def producer(bench, records, mode, settings):
    """librdkafka's own producer, in a process that does nothing else."""

    def once():
        with topic() as name:
            command = [bench.producer, "--brokers", broker(), "--topic", name, "--records", records.of(mode), "--seconds", bench.options.seconds, *settings]
            done = subprocess.run([str(part) for part in command], text=True, capture_output=True, timeout=bench.options.seconds + 90)
            if done.returncode:
                raise RuntimeError(f"producer: {done.stderr.strip()[-400:]}")
            found = json.loads(done.stdout)
        # How long a record waits in a queue of a hundred thousand says nothing.
        return found if settings != DEEP else {key: value for key, value in found.items() if not key.endswith("_ms")}

    return once


def contests(bench):
    """All figures with Kafka; none without a broker."""
    if not broker():
        say("SKIPPED: Kafka: ANYGATE_TEST_KAFKA names no broker; run tests/services/with-services tests/bench/run")
        return []
    records, again = Records(bench), "tests/services/with-services tests/bench/run --only"
    rows = []
    alone = ("librdkafka alone, 64 in flight, no linger", producer(bench, records, "binary", SHALLOW))
    rows.append((
        "Kafka, single events of 300 B, ack: delivered, 64 in flight",
        f"{again} delivered",
        [
            ("anygate", delivered(bench, "http", "--connections", IN_FLIGHT, "--size", SIZE)),
            ("anygate, MQTT on one connection", delivered(bench, "mqtt", "--connections", 1, "--in-flight", IN_FLIGHT, "--size", SIZE)),
            alone,
        ],
    ))
    for mode in ("structured", "binary"):
        rows.append((f"Kafka lane, HTTP batches of 100 × 300 B, {mode}", f"{again} lane", [("anygate", through(bench, mode))]))
        rows.append((
            f"Kafka lane alone, from the journal, {mode}",
            f"{again} lane",
            [("anygate", backlog(bench, mode)), ("librdkafka alone, same records", producer(bench, records, mode, DEEP))],
        ))
    return rows
