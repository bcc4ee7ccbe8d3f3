"""Runs servers and load, and measures: rates, times, and the CPU that the server used."""
import contextlib
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import quiet

ROOT = Path(__file__).resolve().parents[2]
TICK = os.sysconf("SC_CLK_TCK")

CONFIG = """version: 1
node: {{ data_dir: {folder}/data }}
admin: {{ listen: "127.0.0.1:{admin}" }}
listeners:
  web: {{ http: {{ listen: "127.0.0.1:{http}" }} }}
  devices: {{ mqtt: {{ listen: "127.0.0.1:{mqtt}" }} }}
backends: {{ away: {{ null: {{}} }} }}
routes:
  - {{ name: all, to: [away] }}
"""


def say(text):
    print(text, file=sys.stderr, flush=True)


def free_port():
    with contextlib.closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Skipped(Exception):
    """Something from outside is missing; the report says what."""


class Server:
    """One process that is measured."""

    def __init__(self, command, port, folder, log):
        self.command = [str(part) for part in command]
        self.port = port
        self.log = (folder / log).open("w")
        self.process = subprocess.Popen(self.command, cwd=folder, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended at once: {(folder / log).read_text()[-500:]}")
            with contextlib.closing(socket.socket()) as sock:
                sock.settimeout(1)
                if sock.connect_ex(("127.0.0.1", port)) == 0:
                    return
            if time.monotonic() > until:
                self.stop()
                raise RuntimeError(f"{command[0]} does not listen on {port}")
            time.sleep(0.002)

    def cpu(self):
        """User and system seconds so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) / TICK, int(fields[12]) / TICK

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def mosquitto_program():
    return shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")


class Bench:
    """The programs of one run, and its temporary folder."""

    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        target = options.target or Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        self.target = target
        self.anygate = target / "release" / "anygate"
        self.reference = target / "release" / "examples" / "reference"
        # The same generator for every contestant; another build of it only changes what is left for the servers.
        self.generator = options.generator or self.anygate

    def cargo(self, *arguments):
        environment = dict(os.environ, CARGO_TARGET_DIR=str(self.target))
        return subprocess.run(["cargo", *arguments], cwd=ROOT, env=environment, check=True, text=True, stdout=subprocess.PIPE).stdout

    def build(self):
        if not self.options.no_build:
            say("building (release)")
            self.cargo("build", "--release", "-p", "gateway", "--bins", "--example", "reference")
        missing = [str(program) for program in (self.anygate, self.reference) if not program.exists()]
        if missing:
            sys.exit(f"{', '.join(missing)} is not there: run without --no-build")

    def gateway(self):
        ports = {"http": free_port(), "mqtt": free_port(), "admin": free_port()}
        folder = Path(tempfile.mkdtemp(dir=self.folder, prefix="gateway."))
        (folder / "anygate.yaml").write_text(CONFIG.format(folder=folder, **ports))
        server = Server([self.anygate, "run", "--config", folder / "anygate.yaml"], ports["http"], folder, "log")
        server.ports = ports
        return server

    def floor(self, disk):
        port = free_port()
        folder = Path(tempfile.mkdtemp(dir=self.folder, prefix="reference."))
        more = ["--file", folder / "data"] if disk else ["--no-disk"]
        server = Server([self.reference, "--listen", f"127.0.0.1:{port}", *more], port, folder, "log")
        server.ports = {"http": port}
        return server

    def has_mosquitto(self):
        return bool(mosquitto_program())

    def mosquitto(self):
        program = mosquitto_program()
        if not program:
            raise Skipped("mosquitto is not installed")
        port = free_port()
        folder = Path(tempfile.mkdtemp(dir=self.folder, prefix="mosquitto."))
        lines = [f"listener {port} 127.0.0.1", "allow_anonymous true", "persistence false", "max_queued_messages 0", "user root"]
        (folder / "conf").write_text("\n".join(lines) + "\n")
        server = Server([program, "-c", folder / "conf"], port, folder, "log")
        server.ports = {"mqtt": port}
        return server

    def load(self, protocol, *arguments, rate="max"):
        """`anygate bench`, whose own cost is small; the same generator for every contestant."""
        command = [str(self.generator), "bench", protocol, *map(str, arguments), "--rate", rate, "--for", f"{self.options.seconds:g}s", "--json"]
        done = subprocess.run(command, text=True, capture_output=True, timeout=self.options.seconds + 60)
        if not done.stdout.strip().startswith("{"):
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-400:]}")
        return json.loads(done.stdout)


def measured(server, load):
    """One measurement of one server."""
    before = server.cpu()
    result = load()
    user, system = (after - was for after, was in zip(server.cpu(), before))
    events = max(result["acked"], 1)
    if result["acked"] == 0 or result["refused"] or result["lost"]:
        raise RuntimeError(f"not a measurement: {json.dumps(result)[:400]}")
    times = result["ms"]
    return {
        "rate": result["acked_per_second"],
        "cpu_us": (user + system) / events * 1e6,
        "user_us": user / events * 1e6,
        "p50_ms": times["p50"],
        "p99_ms": times["p99"],
    }


def summary(samples):
    """Medians, and the spread of the rates."""
    rates = [sample["rate"] for sample in samples]
    middle = {key: statistics.median(sample[key] for sample in samples) for key in samples[0]}
    return {**middle, "low": min(rates), "high": max(rates), "samples": samples}


def http(bench, connections, *more, rate="max"):
    return lambda server: bench.load("http", "--url", f"http://127.0.0.1:{server.ports['http']}", "--connections", connections, *more, rate=rate)


def mqtt(bench, in_flight):
    def run(server):
        address = f"mqtt://127.0.0.1:{server.ports['mqtt']}"
        return bench.load("mqtt", "--url", address, "--connections", 50, "--in-flight", in_flight, "--size", 256, "--version", "3.1.1")

    return run


def contests(bench):
    """Every figure: its name, what is sent (as a command), who is measured, and how load is made."""
    ours = ("anygate", bench.gateway)
    floor, bare = ("reference", lambda: bench.floor(True)), ("bare hyper", lambda: bench.floor(False))
    broker = ("mosquitto, nothing on disk", bench.mosquitto)
    single, batch = ["--size", 1024], ["--size", 300, "--batch", 100]
    rows = [
        (f"HTTP, one 1 KiB JSON event a request, {n} connections", f"http --connections {n} --size 1024", [ours, floor, bare], http(bench, n, *single))
        for n in (64, 512)
    ]
    rows += [
        (f"HTTP, 100 events of 300 B a request, {name}", f"http --connections 32 --batch 100 --size 300 --format {form}", [ours, floor], http(bench, 32, *batch, "--format", form))
        for name, form in (("JSON batch", "json-batch"), ("NDJSON", "ndjson"))
    ]
    rows.append(
        ("HTTP, 20,000 events/s, open loop", "http --connections 64 --size 1024 --rate 20000/s", [ours, floor], http(bench, 64, *single, rate="20000/s"))
    )
    rows += [
        (f"MQTT QoS 1, 50 clients, {n} in flight", f"mqtt --connections 50 --in-flight {n} --size 256 --version 3.1.1", [ours, broker], mqtt(bench, n))
        for n in (20, 1)
    ]
    return [row for row in rows if bench.options.only.lower() in row[0].lower()]


def contest(bench, name, command, servers, load):
    """All rounds of one figure, the contestants in turn."""
    samples, notes = {}, []
    for number in range(bench.options.rounds):
        # Each round begins with another contestant.
        turn = number % len(servers)
        for who, start in servers[turn:] + servers[:turn]:
            if any(note.startswith(who) for note in notes):
                continue
            try:
                server = start()
            except Skipped as why:
                say(f"SKIPPED: {who}: {why}")
                notes.append(f"{who}: {why}")
                continue
            try:
                result = measured(server, lambda: load(server))
            finally:
                server.stop()
            say(f"  {who}: {result['rate']:,.0f}/s, {result['cpu_us']:.2f} µs CPU each, p99 {result['p99_ms']:.2f} ms")
            samples.setdefault(who, []).append(result)
    found = {who: summary(samples[who]) for who, _ in servers if who in samples}
    rate = "" if "--rate" in command else " --rate max"
    return {"name": name, "command": f"anygate bench {command}{rate} --for {bench.options.seconds:g}s", "servers": found, "notes": notes}


def micro(bench):
    """The benches of single crates, in their own words."""
    quick = ["--seconds", "0.5", "--rounds", "2"] if bench.options.quick else ["--seconds", "1", "--rounds", "5"]
    benches = [
        ("journal append", ["bench", "-q", "-p", "journal", "--bench", "append", "--", *quick, "--dir", str(bench.folder)]),
        ("CESQL predicates", ["bench", "-q", "-p", "cesql", "--bench", "predicate"]),
        ("router, 10 and 10,000 routes", ["bench", "-q", "-p", "gateway", "--bench", "router"]),
        ("the way in without a socket", ["bench", "-q", "-p", "gateway", "--bench", "path"]),
    ]
    if os.environ.get("ANYGATE_TEST_KAFKA"):
        benches.append(("Kafka backend beside librdkafka", ["bench", "-q", "-p", "backends", "--bench", "kafka"]))
    else:
        say("SKIPPED: Kafka: ANYGATE_TEST_KAFKA names no broker; run tests/services/with-services tests/bench/run")
    for name, command in benches:
        if bench.options.only.lower() not in name.lower():
            continue
        say(name)
        shown = " ".join(part for part in command if part not in ("-q", "--dir", str(bench.folder)))
        try:
            yield {"name": name, "command": f"cargo {shown}", "output": bench.cargo(*command).strip()}
        except subprocess.CalledProcessError as error:
            yield {"name": name, "command": f"cargo {shown}", "output": "", "error": f"it ended with {error.returncode}"}


def resting(bench):
    """Start, idle memory; an error ends them and is said."""
    if bench.options.only and bench.options.only.lower() not in "start idle":
        return
    say("start and idle memory")
    try:
        for row in quiet.measure(bench):
            say(f"  {row['name']}: {row['value']:.2f} {row['unit']}")
            yield row
    except (RuntimeError, OSError) as error:
        say(f"  ERROR: {error}")
        yield {"name": "start and idle", "error": str(error)}


def text_of(*command):
    try:
        return subprocess.run(command, cwd=ROOT, text=True, capture_output=True).stdout.strip().partition("\n")[0]
    except OSError:
        return ""


def machine(folder):
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), platform.machine())
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "filesystem": text_of("findmnt", "-n", "-o", "FSTYPE", "-T", str(folder)),
        "commit": text_of("git", "rev-parse", "--short=12", "HEAD"),
        "changed": bool(text_of("git", "status", "--porcelain", "--untracked-files=no")),
        "rustc": text_of("rustc", "--version"),
        "mosquitto": text_of("mosquitto", "-h").replace(" version", ""),
        "date": time.strftime("%Y-%m-%d"),
    }


def disk(bench):
    """fdatasync of one page at a time, on the same disk."""
    file = bench.folder / "disk"
    done = subprocess.run([bench.reference, "--measure-disk", "1", "--file", file], check=True, text=True, capture_output=True)
    file.unlink()
    return json.loads(done.stdout)["fdatasync_us"]


def measure(options):
    """Everything. The folder is on the disk that TMPDIR names: durable figures are that disk's."""
    with tempfile.TemporaryDirectory(prefix="anygate-bench.") as folder:
        bench = Bench(options, Path(folder))
        bench.build()
        begin = {"load": os.getloadavg(), "disk": disk(bench)}
        found = []
        for name, command, servers, load in contests(bench):
            say(name)
            try:
                found.append(contest(bench, name, command, servers, load))
            except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                say(f"  ERROR: {error}")
                found.append({"name": name, "command": command, "servers": {}, "notes": [], "error": str(error)})
        still = list(resting(bench))
        crates = list(micro(bench))
        end = {"load": os.getloadavg(), "disk": disk(bench)}
        return {
            "machine": machine(folder),
            "built": not options.no_build,
            "rounds": options.rounds,
            "seconds": options.seconds,
            "begin": begin,
            "end": end,
            "figures": found,
            "quiet": still,
            "crates": crates,
        }
