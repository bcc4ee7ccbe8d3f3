"""The load of one round: Python producers in one process, JavaScript producers in another, each stream with its own ledger.

The Python process comes from a fork server that has no threads and no Kafka client; the JavaScript one (producer.mjs) uses
Node's HTTP client and MQTT.js. Nothing here knows what is done to the gateway meanwhile.
"""

import asyncio
import json
import multiprocessing
import os
import subprocess

import producer
from batch_producer import BatchStream
from http_producer import HttpStream
from mqtt_producer import MqttStream

HERE = os.path.dirname(os.path.abspath(__file__))
KINDS = {"http": (HttpStream, "http_port"), "httpbatch": (BatchStream, "http_port"), "mqtt": (MqttStream, "mqtt_port")}
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["load"])


def streams_of(settings, surge):
    """The Python streams that `settings["streams"]` asks for: kind -> (how many, messages per second in all)."""
    for kind, (count, rate) in settings["streams"].items():
        make, port = KINDS[kind]
        pace = producer.Pace(rate, surge)
        for number in range(count):
            yield make({**settings, "port": settings[port]}, f"{kind}-{number}", pace)


def python_main(settings, stop, surge):
    """The body of the Python producers' process."""

    async def drive():
        await producer.drive(list(streams_of(settings, surge)), stop)

    asyncio.run(drive())


class Load:
    """Producers that run until they are told to finish."""

    def __init__(self, settings, javascript):
        self.stop, self.surge = CONTEXT.Value("i", 0, lock=False), CONTEXT.Value("i", 0, lock=False)
        self.python = CONTEXT.Process(target=python_main, args=(settings, self.stop, self.surge), daemon=True)
        self.python.start()
        self.node = None
        if javascript:
            self.node = subprocess.Popen(["node", os.path.join(HERE, "producer.mjs"), json.dumps({**settings, **javascript})],
                                         stdin=subprocess.PIPE)

    def finish(self):
        """No new messages; waits for the answers to the open ones. Raises when a producer itself failed."""
        self.stop.value = 1
        if self.node is not None:
            self.node.stdin.close()
        self.python.join(producer.FINISH_LIMIT + 20)
        if self.python.exitcode != 0:
            raise RuntimeError(f"the Python producers ended with {self.python.exitcode}")
        if self.node is not None and self.node.wait(producer.FINISH_LIMIT + 20) != 0:
            raise RuntimeError(f"the JavaScript producers ended with {self.node.returncode}")

    def end(self):
        """Whatever state they are in."""
        self.python.kill()
        self.python.join()
        if self.node is not None and self.node.poll() is None:
            self.node.kill()
            self.node.wait()


class Tally:
    """How many messages the ledgers of a folder call acknowledged, refused or unknown so far; reads only what is new."""

    def __init__(self, folder):
        self.folder, self.read = folder, {}
        self.counts = {"ACK": 0, "NACK": 0, "UNKNOWN": 0}

    def look(self, what):
        for name in os.listdir(self.folder):
            with open(os.path.join(self.folder, name), "rb") as file:
                file.seek(self.read.get(name, 0))
                new = file.read()
            whole = new.rfind(b"\n") + 1
            self.read[name] = self.read.get(name, 0) + whole
            for word in self.counts:
                self.counts[word] += (b"\n" + new[:whole]).count(f"\n{word} ".encode())
        return self.counts[what]

    def acks(self):
        return self.look("ACK")
