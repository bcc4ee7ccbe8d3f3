"""One round: a gateway of its own, load, a fault, settling, collecting, judgement.

A scenario is a function of a `Round`: it starts the gateway and the load, does what it does, and returns when the fault is
over. What happened is noted here (kills, causes of copies, doubts), and the judge decides (tests/judge/verdict.py).
"""

import asyncio
import contextlib
import json
import multiprocessing.sharedctypes
import os
import random
import shutil
import time

import collect
import laws
import ledger
import producer
import verdict
from broker import Topic
from gateway import Gateway, NotReady
from load import KINDS, Load, Tally
from ports import free_ports

HERE = os.path.dirname(os.path.abspath(__file__))
READY_LIMIT = 30.0   # seconds for the gateway to be ready again
SETTLE_LIMIT = 60.0  # seconds for the lanes to empty
WAIT_LIMIT = 30.0    # seconds for what a scenario waits for
STREAMS = {"http": (6, 250), "httpbatch": (2, 1800), "mqtt": (4, 500)}
JAVASCRIPT = {"http_rate": 400, "mqtt_rate": 150}
MIN_ACKS = 100       # per protocol, below which a round proves nothing


class Skip(Exception):
    """This machine cannot do what the scenario needs; the text says what."""


class Round:
    """What a scenario works with. Everything it leaves behind is taken away by `clean`, whatever happened."""

    def __init__(self, campaign, scenario, seed, folder):
        self.campaign, self.scenario, self.seed, self.folder = campaign, scenario, seed, folder
        self.random = random.Random(seed)
        self.run = f"r{seed:x}t{time.time_ns() // 1000:x}"
        self.cleanup = contextlib.ExitStack()
        self.ledgers, self.logs = os.path.join(folder, "ledgers"), os.path.join(folder, "logs")
        os.mkdir(self.ledgers)
        os.mkdir(self.logs)
        self.data = os.path.join(folder, "data")
        self.ports = dict(zip(("admin", "http", "mqtt"), free_ports(3)))
        self.tally = Tally(self.ledgers)
        self.began = time.monotonic()
        self.load, self.gateway, self.topic = None, None, None
        self.kills, self.broker_faults, self.causes, self.faults, self.doubts, self.notes = [], [], [], [], [], []
        self.min_unanswered, self.min_acks, self.acks_needed = 3, MIN_ACKS, ("http", "httpbatch", "mqtt")
        self.required_sinks, self.sinks, self.told_lost = None, ("kafka", "store"), 0
        self.once = ()  # producers whose every message is taken in once, however often it is sent
        self.read_ledgers = {}

    # the gateway
    def prepare(self, kafka=None, config="gateway.yaml", topic=None, **environment):
        """The topic and the gateway's settings; `start` does it when a scenario has no wishes. `kafka`: what the gateway is told."""
        self.topic = topic or Topic(self.campaign.kafka, f"faults-{self.run}", self.cleanup)
        config = config if os.path.isabs(config) else os.path.join(HERE, config)
        self.gateway = Gateway(self.campaign.program, config, {
            "DATA_DIR": self.data, "ADMIN_PORT": str(self.ports["admin"]), "HTTP_PORT": str(self.ports["http"]),
            "MQTT_PORT": str(self.ports["mqtt"]), "KAFKA": kafka or self.topic.brokers, "TOPIC": self.topic.name,
            **environment}, self.logs)
        self.cleanup.callback(self.gateway.kill)

    def start(self, wrap=(), ready=True):
        """Starts the gateway, inside `wrap` if that is given, and waits until it is ready."""
        if self.gateway is None:
            self.prepare()
        self.gateway.wrap = list(wrap)
        self.gateway.start()
        if ready:
            self.gateway.wait_ready(READY_LIMIT)

    def kill(self):
        """kill -9 with full windows; `restart` ends what it began."""
        self.surge(0.05, 0.15)
        self.killed_at = self.gateway.kill()
        self.load.surge.value = 0
        if self.killed_at is None:
            raise NotReady("the gateway ended by itself: " + self.gateway.unexpected[-1])

    def restart(self, wrap=()):
        """After `kill`, or after an end that was meant: up again, and noted as a cause of copies and of open messages."""
        self.start(wrap)
        self.kills.append((self.killed_at, time.time()))

    def await_end(self, codes, what):
        """The gateway ends by itself with one of `codes`, and says `what` in its log."""
        code = self.wait(lambda: self.gateway.process.poll(), f"the gateway ends by itself ({what})")
        self.killed_at = time.time()
        if code is not None:
            self.gateway.process = None
            log = self.gateway.log_end()
            if code not in codes:
                self.faults.append(f"ended with {code}, not {codes}: {log[-600:]}")
            elif what and what not in log:
                self.faults.append(f"ended with {code}, and its log does not say {what!r}: {log[-600:]}")
        else:
            self.faults.append(f"did not end by itself, with one of {codes}")
            self.gateway.kill()
        return code

    def stop(self, codes=(0,), seconds=30):
        """SIGTERM, and the code that must follow."""
        code = self.gateway.terminate(seconds)
        if code not in codes:
            self.faults.append(f"SIGTERM ended with {code}, not {codes}: {self.gateway.log_end()[-600:]}")

    # load
    def start_load(self, streams=None, javascript=JAVASCRIPT, **settings):
        self.load = Load({"run": self.run, "ledgers": self.ledgers, "ack": "durable", "window": 64, "http_port": self.ports["http"],
                          "mqtt_port": self.ports["mqtt"], "streams": STREAMS if streams is None else streams, **settings}, javascript)
        self.cleanup.callback(self.load.end)

    def surge(self, low, high):
        """The pace is off for a moment, so that windows are full."""
        self.load.surge.value = 1
        self.pause(low, high)

    def go(self, wrap=(), acks=None):
        """Starts the gateway and the load, and waits for the first acknowledgements."""
        self.start(wrap)
        self.start_load()
        self.progress("before the fault", acks or 600)

    def pause(self, low, high=None):
        """Lets the load run on for a time that the seed decides."""
        time.sleep(low if high is None else self.random.uniform(low, high))

    def progress(self, when, acks=200, seconds=WAIT_LIMIT):
        """So many more acknowledgements come; otherwise the round proves nothing."""
        before = self.tally.acks()
        self.wait(lambda: self.tally.acks() - before >= acks or None, f"{acks} acknowledgements {when}", seconds)

    def wait(self, look, what, seconds=WAIT_LIMIT):
        """Until `look` gives something that is not None; a doubt when it never does."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if (found := look()) is not None:
                return found
            time.sleep(0.02)
        self.doubts.append(f"within {seconds:.0f} s not seen: {what}")
        return None

    def require(self, happened, what):
        """Without this the round proves nothing."""
        if not happened:
            self.doubts.append(f"not seen: {what}")

    @contextlib.contextmanager
    def cause(self, name):
        """While this lasts (and a moment longer) copies are the consequence of `name`."""
        began = time.time()
        try:
            yield
        finally:
            self.causes.append((name, began, time.time()))

    def metrics(self):
        return laws.Metrics(self.gateway.get("/metrics")[1])

    def trouble(self, backend="bus"):
        """True when the gateway says that a backend is not well; None when it does not (for `wait`)."""
        try:
            return self.metrics().sum("anygate_backend_up", anygate_backend=backend) == 0 or None
        except OSError:
            return None

    def delivered(self, backend="bus"):
        return self.metrics().sum("anygate_lane_delivered_total", anygate_backend=backend)

    def caught_up(self, backend="bus"):
        """The lane has delivered all that waited when this was called."""
        metrics = self.metrics()
        aim = metrics.sum("anygate_lane_pending", anygate_backend=backend) + metrics.sum("anygate_lane_delivered_total", anygate_backend=backend)
        self.wait(lambda: self.delivered(backend) >= aim or None, "the backlog is delivered", SETTLE_LIMIT)

    # the end
    def probe(self):
        """One message per protocol by a fresh client."""
        flag = multiprocessing.sharedctypes.RawValue("i", 0)
        settings = {"run": self.run, "ledgers": self.ledgers, "ack": "durable", "window": 64, "count": 1}
        streams = []
        for kind in ("http", "mqtt"):
            make, port = KINDS[kind]
            port = self.ports[port.removesuffix("_port")]
            streams.append(make({**settings, "port": port}, f"{kind}-probe", producer.Pace(1000, flag)))
        asyncio.run(asyncio.wait_for(producer.drive(streams, flag), 20))

    def settle(self, reader):
        """Until the lanes are empty and Kafka has been quiet for three looks; False when that takes too long."""
        until, quiet, last = time.monotonic() + SETTLE_LIMIT, 0, None
        while time.monotonic() < until:
            metrics, end = self.metrics(), reader.end()
            # Of the backends only: dead letters wait for people.
            pending = sum(metrics.sum("anygate_lane_pending", anygate_backend=name) for name in ("bus", "keep"))
            quiet = quiet + 1 if end == last and pending == 0 else 0
            last = end
            if quiet >= 3:
                return True
            time.sleep(0.1)
        self.notes.append(f"not settled: {pending} pending; {self.gateway.get('/readyz?verbose')[1][-1500:]}")
        return False

    def finish(self):
        """The load ends, everything settles, what arrived is read and judged."""
        if self.load is not None:
            self.load.finish()
        self.gateway.sample()
        self.faults += self.gateway.unexpected
        if self.gateway.process is None:
            raise NotReady("the gateway does not run at the end of its round")
        self.probe()
        reader = self.topic.reader()
        settled = self.settle(reader)
        broken = laws.broken(self.metrics()) if settled else []
        dead = collect.dead_letters(self.gateway, self.run)
        self.stop()
        sinks = {"kafka": reader.records()}
        if "store" in self.sinks:
            sinks["store"] = collect.store_rows(self.data) or []
        return self.judge(sinks, dead, settled, broken)

    def judge(self, sinks, dead, settled, broken):
        self.faults += [f"panic: {line}" for line in self.gateway.panics()]
        self.read_ledgers = ledger.read_folder(self.ledgers)
        facts = verdict.Facts(
            run=self.run, ledgers=self.read_ledgers, sinks=sinks, backends={"kafka": "bus", "store": "keep"},
            dead=dead, partitions=self.topic.partitions, kills=self.kills, broker_faults=self.broker_faults, causes=self.causes,
            probes=("http-probe", "mqtt-probe"), required_acks={kind: self.min_acks for kind in self.acks_needed},
            wanted_kills=1 if self.kills and self.min_unanswered else 0, settled=settled, gateway_faults=self.faults, broken_laws=broken,
            doubts=self.doubts, min_unanswered=self.min_unanswered, required_sinks=self.required_sinks, told_lost=self.told_lost, once=self.once)
        return verdict.judge(facts)

    def clean(self):
        self.cleanup.close()

    def save(self, report):
        """What a round that did not pass leaves for people: the report beside the logs and ledgers."""
        with open(os.path.join(self.folder, "report.json"), "w", encoding="utf-8") as file:
            json.dump({"scenario": self.scenario, "seed": self.seed, "figures": report.figures, "examples": report.examples,
                       "doubts": report.vacuous, "notes": self.notes, "causes": self.causes, "kills": self.kills}, file, indent=1)

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)
