"""One judged run: gateway, producers, nemesis, settling, collecting, judgement, report."""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import collect
import ledger
import producer
import verdict
from gateway import Gateway, NotReady
from http_producer import HttpStream
from mqtt_producer import MqttStream

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PARTITIONS = 6
OFFERED = 1.3          # offered load as a multiple of the acknowledged rate that is asked for
READY_LIMIT = 30.0     # seconds for the gateway to be ready, also after a kill
KINDS = {"http": HttpStream, "mqtt": MqttStream}


def arguments():
    parser = argparse.ArgumentParser(prog="tests/judge/run", description=__doc__)
    parser.add_argument("--anygate", default=os.path.join(ROOT, "target/debug/anygate"), help="the program under test")
    parser.add_argument("--seconds", type=float, default=120, help="how long the load lasts")
    parser.add_argument("--rate", type=float, default=1000,
                        help="acknowledged messages per second and protocol that are needed")
    parser.add_argument("--kills", type=int, default=20,
                        help="kill -9 of the gateway, spread over the run; with any, Kafka restarts once too")
    parser.add_argument("--ack", choices=("durable", "received", "delivered"), default="durable")
    parser.add_argument("--seed", type=int, default=None, help="decides payloads and the times of faults")
    parser.add_argument("--stage", choices=("full", "http-store"), default="full",
                        help="http-store: only HTTP into the embedded store")
    parser.add_argument("--config",
                        help="default: ../shared/acceptance/http-mqtt-to-kafka.yaml, else the copy beside this file")
    parser.add_argument("--http-streams", type=int, default=32)
    parser.add_argument("--mqtt-streams", type=int, default=8)
    parser.add_argument("--window", type=int, default=64, help="MQTT messages in flight per connection")
    parser.add_argument("--settle", type=float, default=120, help="seconds that lanes may need to empty at the end")
    parser.add_argument("--json", action="store_true", help="the report as one JSON object on stdout")
    parser.add_argument("--keep", action="store_true", help="keep the run's folder also when it passes")
    given = parser.parse_args()
    given.seed = random.SystemRandom().randrange(1 << 31) if given.seed is None else given.seed
    given.protocols = ("http",) if given.stage == "http-store" else ("http", "mqtt")
    if given.ack != "durable" and given.kills:
        parser.error(f"--ack {given.ack} promises nothing across a kill: use --kills 0")
    return given


def say(text):
    print(f"judge: {text}", file=sys.stderr, flush=True)


def config_of(given):
    if given.config:
        return os.path.abspath(given.config)
    if given.stage == "http-store":
        return os.path.join(HERE, "http-store.yaml")
    shared = os.path.join(ROOT, "..", "shared", "acceptance", "http-mqtt-to-kafka.yaml")
    if os.path.exists(shared):
        return os.path.abspath(shared)
    say("../shared/acceptance is not here: the copy in tests/judge is used")
    return os.path.join(HERE, "http-mqtt-to-kafka.yaml")


def free_ports(count):
    """Below the kernel's range for outgoing connections, so that nobody takes the port while the gateway is down."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        low = int(file.read().split()[0])
    held = []
    while len(held) < count:
        candidate = socket.socket()
        try:
            candidate.bind(("127.0.0.1", random.randrange(10240, max(low, 20000))))
            held.append(candidate)
        except OSError:
            candidate.close()
    ports = [candidate.getsockname()[1] for candidate in held]
    for candidate in held:
        candidate.close()
    return ports


# How long Kafka stays down, and how long after its death the gateway is killed: late enough that what was handed to the dead
# Kafka could have been written off (a cursor is saved every second), early enough that nothing was confirmed.
DOWN, KILL_INTO_OUTAGE = 4.5, 3.0


def around(down, times):
    """The times of kills, moved so that the first one after Kafka's death comes KILL_INTO_OUTAGE later, and none before it."""
    late = down + KILL_INTO_OUTAGE
    after = [at for at in times if at > down]
    first = [late] if after else []
    return [at for at in times if at <= down] + first + [max(at, late + 1) for at in after[1:]]


class Run:
    """The state of one run; its folder holds the gateway's data and logs, and the ledgers."""

    def __init__(self, given, folder):
        self.given, self.folder, self.run = given, folder, f"j{given.seed:x}t{int(time.time()):x}"
        self.random = random.Random(given.seed)
        self.kafka = os.environ.get("ANYGATE_TEST_KAFKA", "") if given.stage == "full" else ""
        self.topic = f"judge-{self.run}"
        self.ports = dict(zip(("admin", "http", "mqtt"), free_ports(3)))
        self.ledgers = os.path.join(folder, "ledgers")
        os.mkdir(self.ledgers)
        data = os.path.join(folder, "data")
        self.gateway = Gateway(given.anygate, config_of(given), {
            "DATA_DIR": data, "ADMIN_PORT": str(self.ports["admin"]), "HTTP_PORT": str(self.ports["http"]),
            "MQTT_PORT": str(self.ports["mqtt"]), "KAFKA": self.kafka, "TOPIC": self.topic, "ACK": given.ack, "OTLP": ""}, folder)
        self.data = data
        self.kills, self.broker_faults, self.faults, self.processes = [], [], [], []
        self.context = multiprocessing.get_context("fork")
        self.stop, self.surge = self.context.Value("i", 0, lock=False), self.context.Value("i", 0, lock=False)

    # load
    def spawn(self, protocol, names, rate, count=None, stop=None):
        """A producer process. (`stop` may be 0, which is false: a shared number is no flag to be tested with `or`.)"""
        settings = {"run": self.run, "ledgers": self.ledgers, "rate": rate, "ack": self.given.ack,
                    "window": self.given.window, "count": count}
        process = self.context.Process(target=producer.main, daemon=True, args=(
            KINDS[protocol], settings, names, self.ports[protocol], self.stop if stop is None else stop, self.surge))
        process.start()
        return process

    def start_load(self):
        for protocol in self.given.protocols:
            streams = self.given.http_streams if protocol == "http" else self.given.mqtt_streams
            names = [f"{protocol}-{number}" for number in range(streams)]
            self.processes.append(self.spawn(protocol, names, self.given.rate * OFFERED))

    def end_load(self):
        self.stop.value = 1
        for process in self.processes:
            process.join(producer.FINISH_LIMIT + 20)
            if process.exitcode != 0:
                raise RuntimeError(f"a producer process ended with {process.exitcode}")

    def probe(self):
        """One message per protocol by a fresh client after everything has settled."""
        for protocol in self.given.protocols:
            process = self.spawn(protocol, [f"{protocol}-probe"], 1000, count=1, stop=self.context.Value("i", 0, lock=False))
            process.join(20)
            if process.exitcode is None:
                process.kill()
                process.join()

    # faults
    def nemesis(self):
        """Lasts as long as the load; kills at random moments, one in each equal part of the time."""
        began, seconds, kills = time.monotonic(), self.given.seconds, self.given.kills
        broker = None
        part = seconds * 0.94 / max(kills, 1)
        times = [began + seconds * 0.03 + part * (number + self.random.uniform(0, 0.6)) for number in range(kills)]
        if kills and self.kafka:
            down = began + seconds * self.random.uniform(0.3, 0.6)
            broker = threading.Thread(target=self.restart_broker, args=(down,))
            broker.start()
            times = around(down, times)
        for at in times:
            self.watch(at)
            self.kill_once()
        self.watch(began + seconds)
        if broker is not None:
            broker.join()

    def watch(self, until):
        while (left := until - time.monotonic()) > 0:
            self.gateway.sample()
            if self.gateway.process is None:
                raise NotReady("the gateway ended by itself: " + self.gateway.unexpected[-1])
            time.sleep(min(left, 0.2))

    def kill_once(self):
        self.surge.value = 1
        time.sleep(self.random.uniform(0.05, 0.2))
        killed = self.gateway.kill()
        self.surge.value = 0
        if killed is None:
            raise NotReady("the gateway ended by itself: " + self.gateway.unexpected[-1])
        time.sleep(self.random.uniform(0, 0.3))
        self.gateway.start()
        self.gateway.wait_ready(READY_LIMIT)
        self.kills.append((killed, time.time()))
        say(f"kill {len(self.kills)}: ready again after {self.kills[-1][1] - killed:.2f} s")

    def restart_broker(self, at):
        script, folder = os.path.join(ROOT, "tests/services/kafka"), os.environ["ANYGATE_TEST_KAFKA_DIR"]
        time.sleep(max(0.0, at - time.monotonic()))
        down = time.time()
        subprocess.run([script, "kill", folder], check=True, stdout=subprocess.DEVNULL)
        time.sleep(DOWN)
        subprocess.run([script, "start", folder], check=True, stdout=subprocess.DEVNULL)
        self.broker_faults.append((down, time.time()))
        say(f"Kafka was killed and is back after {time.time() - down:.1f} s")

    # the end
    def settle(self, kafka):
        """Until the lanes are empty and Kafka has been quiet for three looks; False when that takes too long."""
        until, quiet, last, pending = time.monotonic() + self.given.settle, 0, None, None
        while time.monotonic() < until:
            pending, end = self.gateway.pending(), kafka.end() if kafka else None
            # Without the metric only the quiet counts, and it has to last longer.
            quiet = quiet + 1 if end == last and not pending else 0
            last = end
            if quiet >= (3 if pending is not None else 20):
                return True
            time.sleep(0.5)
        say(f"not settled after {self.given.settle:.0f} s: {pending} events are pending")
        return False

    def collect(self, kafka):
        """Everything that arrived. The dead letters need the running gateway, the files need it stopped."""
        # Stage http-store is judged before there are dead letters and a command that lists them.
        dead = collect.dead_letters(self.gateway, self.run) if self.given.stage == "full" else []
        code = self.gateway.terminate(20)
        if code != 0:
            self.faults.append(f"SIGTERM ended with {code}, not 0")
        sinks = {"kafka": kafka.records()} if kafka else {}
        store = collect.store_rows(self.data)
        if store is None:
            say("no SQLite table below the data folder looks like events: asking `anygate events`")
            self.gateway.start()
            self.gateway.wait_ready(READY_LIMIT)
            store = list(collect.events_by_command(self.gateway))
            self.gateway.terminate(20)
        sinks["store"] = store
        return sinks, dead

    def go(self):
        if self.kafka:
            self.create_topic()
        self.gateway.start()
        self.gateway.wait_ready(READY_LIMIT)
        self.start_load()
        say(f"load for {self.given.seconds:.0f} s, {self.given.kills} kills, ack {self.given.ack}, seed {self.given.seed}")
        came_back = True
        try:
            self.nemesis()
        except NotReady as error:
            came_back = False
            self.faults.append(str(error))
        self.end_load()
        if not came_back:
            return self.judge({}, [], False)
        kafka = collect.Kafka(self.kafka, self.topic, PARTITIONS) if self.kafka else None
        settled = self.settle(kafka)
        self.probe()
        settled = self.settle(kafka) and settled
        self.faults += self.gateway.unexpected
        sinks, dead = self.collect(kafka)
        return self.judge(sinks, dead, settled)

    def create_topic(self):
        """In a process of its own: producers are forked later, and this process must have no Kafka client then.

        Records get the broker's time, so that copies can be compared with the times of faults.
        """
        subprocess.run([os.path.join(ROOT, "tests/services/kafka"), "topic", "create", self.topic, str(PARTITIONS),
                        "message.timestamp.type=LogAppendTime"], check=True)

    def judge(self, sinks, dead, settled):
        self.faults += [f"panic: {line}" for line in self.gateway.panics()]
        needed = int(self.given.rate * self.given.seconds)
        return verdict.judge(verdict.Facts(
            run=self.run, ledgers=ledger.read_folder(self.ledgers), sinks=sinks, backends={"kafka": "bus", "store": "keep"},
            dead=dead, partitions=PARTITIONS, kills=self.kills, broker_faults=self.broker_faults,
            probes=tuple(f"{protocol}-probe" for protocol in self.given.protocols),
            required_acks={protocol: needed for protocol in self.given.protocols}, wanted_kills=self.given.kills,
            settled=settled, gateway_faults=self.faults))

    def clean(self):
        """Ends what still runs and takes the topic away."""
        for process in multiprocessing.active_children():
            process.kill()
        if self.gateway.process is not None:
            self.gateway.kill()
        if self.kafka:
            try:
                collect.delete_topic(self.kafka, self.topic)
            except Exception as error:  # the broker goes away with its folder anyway
                say(f"the topic {self.topic} stays: {error}")


WORDS = {verdict.PASS: "PASS", verdict.VIOLATED: "VIOLATED", verdict.UNSETTLED: "DID NOT SETTLE", verdict.VACUOUS: "VACUOUS"}


def show(report, given, extra):
    """The report: one JSON object, or a table."""
    code = report.code()
    if given.json:
        print(json.dumps({"verdict": WORDS[code], "seed": given.seed, "ack": given.ack, "figures": {**report.figures, **extra},
                          "vacuous": report.vacuous, "examples": report.examples}))
        return
    print(f"\n{WORDS[code]}   (ack {given.ack}, seed {given.seed}, {given.seconds:.0f} s)\n")
    for name, value in {**report.figures, **extra}.items():
        must = "must be 0" if name in verdict.VIOLATIONS else ""
        print(f"  {name:24} {value:>10}   {must}{'  <-- BROKEN' if must and value else ''}".rstrip())
    for name, examples in report.examples.items():
        print(f"\n  {name}:")
        for example in examples:
            print(f"    {example}")
    for reason in report.vacuous:
        print(f"\n  proves nothing: {reason}")


def main():
    given = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(verdict.HARNESS))  # so that `finally` cleans up
    folder = tempfile.mkdtemp(prefix="anygate-judge.")
    code, run, interrupted = verdict.HARNESS, None, False
    try:
        run = Run(given, folder)
        report = run.go()
        rss = run.gateway.peak_rss_kib // 1024
        show(report, given, {"peak_rss_mib": rss, "starts": run.gateway.starts})
        code = report.code()
    except (SystemExit, KeyboardInterrupt):
        interrupted = True
    except NotReady as error:
        say(f"harness fault: {error}")
    except Exception:
        say("harness fault:\n" + traceback.format_exc())
    finally:
        if run is not None:
            run.clean()
        if (code == verdict.PASS or interrupted) and not given.keep:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            say(f"ledgers, logs and data stay in {folder}")
    sys.exit(code)


if __name__ == "__main__":
    main()
