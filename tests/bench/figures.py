"""Runs servers and load, and measures: rates, times, and the CPU that the server used."""
import json
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path

import contest
import kafka
import quiet
from servers import ROOT, Bench, say


def http(bench, connections, *more, rate="max"):
    return lambda server: bench.load("http", "--url", f"http://127.0.0.1:{server.ports['http']}", "--connections", connections, *more, rate=rate)


def mqtt(bench, in_flight):
    def run(server):
        address = f"mqtt://127.0.0.1:{server.ports['mqtt']}"
        return bench.load("mqtt", "--url", address, "--connections", 50, "--in-flight", in_flight, "--size", 256, "--version", "3.1.1")

    return run


def contests(bench):
    """Every figure: its name, the command that repeats it, and who is measured how."""
    ours = ("anygate", bench.gateway)
    floor, bare = ("reference", lambda: bench.floor(True)), ("bare hyper", lambda: bench.floor(False))
    broker = ("mosquitto, nothing on disk", bench.mosquitto)
    single, batch = ["--size", 1024], ["--size", 300, "--batch", 100]
    rows = [
        (f"HTTP, one 1 KiB JSON event a request, {n} connections", f"http --connections {n} --size 1024 --rate max", [ours, floor, bare], http(bench, n, *single))
        for n in (64, 512)
    ]
    rows += [
        (f"HTTP, 100 events of 300 B a request, {name}", f"http --connections 32 --batch 100 --size 300 --format {form} --rate max", [ours, floor], http(bench, 32, *batch, "--format", form))
        for name, form in (("JSON batch", "json-batch"), ("NDJSON", "ndjson"))
    ]
    rows.append(
        ("HTTP, 20,000 events/s, open loop", "http --connections 64 --size 1024 --rate 20000/s", [ours, floor], http(bench, 64, *single, rate="20000/s"))
    )
    rows += [
        (f"MQTT QoS 1, 50 clients, {n} in flight", f"mqtt --connections 50 --in-flight {n} --size 256 --version 3.1.1 --rate max", [ours, broker], mqtt(bench, n))
        for n in (20, 1)
    ]
    found = [
        (name, f"anygate bench {command} --for {bench.options.seconds:g}s", [(who, contest.served(start, load)) for who, start in servers])
        for name, command, servers, load in rows
    ]
    found += kafka.contests(bench)
    return [row for row in found if bench.options.only.lower() in row[0].lower()]


def micro(bench):
    """The benches of single crates, in their own words."""
    quick = bench.options.quick
    disk = ["--dir", bench.folder]
    benches = [
        ("journal append", "journal", "append", ["--seconds", "0.5" if quick else "1", "--rounds", "2" if quick else "5", *disk]),
        ("a lane reads the journal", "journal", "read", ["--rounds", "2" if quick else "5", *disk]),
        ("CESQL predicates", "cesql", "predicate", []),
        ("router, 10 and 10,000 routes", "gateway", "router", []),
        ("the way in without a socket", "gateway", "path", []),
    ]
    if kafka.broker():
        benches.append(("Kafka backend beside librdkafka", "backends", "kafka", []))
    for name, crate, program, more in benches:
        if bench.options.only.lower() not in name.lower():
            continue
        say(name)
        shown = " ".join(map(str, more[: -len(disk)] if disk[0] in more else more))
        row = {"name": name, "command": f"cargo bench -p {crate} --bench {program}{' -- ' if shown else ''}{shown}", "output": ""}
        try:
            done = subprocess.run([bench.program(program), *map(str, more)], cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE, timeout=240)
            yield {**row, "output": done.stdout.strip()}
        except (RuntimeError, subprocess.SubprocessError) as error:
            say(f"  ERROR: {error}")
            yield {**row, "error": str(error)}


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
        begun = time.monotonic()
        begin = {"load": os.getloadavg(), "disk": disk(bench)}
        found = []
        for name, command, contestants in contests(bench):
            say(name)
            try:
                found.append(contest.run(bench, name, command, contestants))
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
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
            "took": time.monotonic() - begun,
            "begin": begin,
            "end": end,
            "figures": found,
            "quiet": still,
            "crates": crates,
        }
