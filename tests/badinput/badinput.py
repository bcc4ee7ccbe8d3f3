"""Bad input and slow clients beside good traffic, measured: calm windows and disturbed ones in turn, good traffic in all.

Parts, each with its own windows: `http` and `mqtt` (good traffic of that protocol; in the disturbed windows every row of
`anygate conform`, over and over), and `slow` (good traffic of both, half each; 2,000 clients that are silent, send half a head,
a slow body, an idle MQTT session, or never read their answers).

Asserted, whatever the machine: every good event is acknowledged at its due rate, nothing is lost, refused, answered twice or out
of order, as many reach the backend as were acknowledged, the counting laws hold; every bad row is answered exactly as alone; every
slow client is gone soon after its deadline; memory stays. Of the p99 of good answers the medians of all calm and all disturbed
windows are compared: p99 ≤ 1.5 × calm + one fdatasync p99, or with --loose (a debug build, or a machine that others use too) within
the factor said in the report. Senders of bad input run at the lowest priority: in life they are other machines.
"""
import argparse
import contextlib
import json
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT / "tests" / "judge"), str(ROOT / "tests" / "faults")]
sys.dont_write_bytecode = True
import laws  # noqa: E402
import measure  # noqa: E402
from bad import WAITING, Bad, Stalls, conform  # noqa: E402
from checks import LATE, Vacuous, holds_the_rate, judge  # noqa: E402
from gateway import Gateway  # noqa: E402
from ports import free_ports  # noqa: E402
from slow import Crowd, Visit  # noqa: E402

PARTS = ("http", "mqtt", "slow")
WARM = 2                   # seconds
SETTLE_LIMIT = 60          # seconds
FILES = 6000               # open files that the slow clients and the gateway each need
SLOW_SECONDS = 5           # seconds of a window with slow clients, at least: beyond every deadline


def arguments():
    parser = argparse.ArgumentParser(prog="tests/badinput/run", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anygate", default=str(ROOT / "target/release/anygate"), help="the program under test")
    parser.add_argument("--generator", default=None, help="an anygate whose `bench` and `conform` make the traffic (default: the same)")
    parser.add_argument("--parts", default=",".join(PARTS), help="which parts, with commas between them (default: %(default)s)")
    parser.add_argument("--windows", type=int, default=6, help="windows of a part, calm and disturbed in turn; an even number")
    parser.add_argument("--seconds", type=int, default=15, help="seconds of a window")
    parser.add_argument("--rate", type=int, default=10_000, help="good events per second")
    parser.add_argument("--connections", type=int, default=64, help="good senders of each protocol")
    parser.add_argument("--slow", type=int, default=2000, help="slow clients at once")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between two passes of bad rows")
    parser.add_argument("--loose", action="store_true", help="wider bounds for times, for a debug build or a machine that others use")
    parser.add_argument("--sabotage", action="store_true",
                        help="stop the gateway for moments of each disturbed window: the run has to end with 1")
    parser.add_argument("--json", type=Path, help="write everything that was measured to this file")
    given = parser.parse_args()
    given.generator = given.generator or given.anygate
    given.parts = given.parts.split(",")
    if wrong := [part for part in given.parts if part not in PARTS]:
        parser.error(f"there is no part {wrong[0]!r}: {', '.join(PARTS)}")
    if given.windows < 2 or given.windows % 2:
        parser.error("--windows: an even number, 2 at least")
    return given


def say(text):
    print(f"badinput: {text}", file=sys.stderr, flush=True)


class Run:
    """One gateway, its parts, and what was measured."""

    def __init__(self, given, folder):
        self.given, self.folder = given, folder
        admin, http, mqtt = free_ports(3)
        self.ports = {"http": http, "mqtt": mqtt}
        environment = {"ADMIN_PORT": str(admin), "HTTP_PORT": str(http), "MQTT_PORT": str(mqtt),
                       "DATA_DIR": os.path.join(folder, "data")}
        self.gateway = Gateway(given.anygate, str(HERE / "anygate.yaml"), environment, folder)
        self.windows, self.failed, self.acked, self.syncs = [], [], 0, []

    def metrics(self):
        return laws.Metrics(self.gateway.get("/metrics")[1])

    def good(self, part, seconds):
        """The good traffic of a part: one load, or one of each protocol at half the rate."""
        protocols = ("http", "mqtt") if part == "slow" else (part,)
        given, share = self.given, len(protocols)
        return [measure.Load(given.generator, protocol, self.ports[protocol], given.rate // share, seconds,
                             connections=given.connections) for protocol in protocols]

    def window(self, part, kind, disturb):
        """Good traffic for so long, with what `disturb` does beside it. Notes everything."""
        seconds = self.given.seconds if part != "slow" or kind == "calm" else max(self.given.seconds, SLOW_SECONDS)
        loads, rss = self.good(part, seconds), 0.0
        with contextlib.ExitStack() as stack:
            noted = stack.enter_context(disturb)
            while any(load.is_running() for load in loads):
                rss = max(rss, measure.rss_mib(self.gateway.process.pid))
                time.sleep(0.1)
        rss = max(rss, measure.rss_mib(self.gateway.process.pid))
        reports = [load.report() for load in loads]
        self.acked += sum(report["acked"] for report in reports)
        window = {"part": part, "kind": kind, "good": reports, "rss_mib": rss, **noted}
        self.windows.append(window)
        say_window(window)

    def calm(self, part):
        """A window without anything else; once more when this machine did not hold the rate, and nothing else was wrong."""
        self.window(part, "calm", contextlib.nullcontext({}))
        window = self.windows[-1]
        whole = all(report["sent"] == report["acked"] for report in window["good"])
        if whole and not holds_the_rate(window, {"rate": self.given.rate, "loose": self.given.loose}):
            say("the machine stalled in a calm window: once more")
            self.windows.pop()
            self.window(part, "calm", contextlib.nullcontext({}))

    @contextlib.contextmanager
    def bad(self, suite):
        """Bad rows of this suite, and how many were answered."""
        noted, port = {}, self.ports[suite]
        waiting = [case for case in self.cases[suite] if case in WAITING[suite]]
        quick = [case for case in self.cases[suite] if case not in WAITING[suite]]
        loops = [Bad(self.given.generator, suite, port, quick, self.given.pause),
                 Bad(self.given.generator, suite, port, waiting, 0, once=True)]
        for loop in loops:
            loop.start()
        with self.sabotaged():
            yield noted
            for loop in loops:
                loop.end()
        noted["bad_rows"] = sum(loop.rows for loop in loops)
        self.failed += [{"suite": suite, **row} for loop in loops for row in loop.failed]

    @contextlib.contextmanager
    def slow(self):
        """The slow clients, and how long the last of each kind stayed."""
        noted, good = {}, 2 * self.given.connections
        visit = Visit(Crowd(self.given.slow, self.ports), LATE[self.given.loose],
                      lambda: self.metrics().sum("anygate_listener_connections") > good)
        visit.start()
        with self.sabotaged():
            yield noted
            noted.update(visit.end())

    @contextlib.contextmanager
    def sabotaged(self):
        if not self.given.sabotage:
            yield
            return
        stalls = Stalls(self.gateway.process, self.given.loose)
        stalls.start()
        try:
            yield
        finally:
            stalls.end()

    def part(self, part):
        disturb, kind = (self.slow, "slow") if part == "slow" else (lambda: self.bad(part), "bad")
        for load in self.good(part, WARM):
            self.acked += load.report()["acked"]
        for _ in range(self.given.windows // 2):
            self.calm(part)
            self.window(part, kind, disturb())

    def run(self):
        self.gateway.start()
        self.gateway.wait_ready(30)
        idle = measure.rss_mib(self.gateway.process.pid)
        self.syncs.append(measure.fdatasync_p99(self.folder))
        self.cases = {suite: self.names(suite) for suite in ("http", "mqtt") if suite in self.given.parts}
        for part in self.given.parts:
            self.part(part)
        self.settle()
        metrics = self.metrics()
        code = self.gateway.terminate(30)
        self.syncs.append(measure.fdatasync_p99(self.folder))
        return self.facts(idle, metrics, code)

    def names(self, suite):
        """All rows that apply, after one pass in quiet: what fails alone needs no company."""
        results = conform(self.given.generator, suite, self.ports[suite], [])
        if failed := [row for row in results if row["outcome"] == "failed"]:
            raise RuntimeError(f"without good traffic: {failed[0]}")
        return [row["case"] for row in results if row["outcome"] == "ok"]

    def settle(self):
        until = time.monotonic() + SETTLE_LIMIT
        while self.metrics().sum("anygate_lane_pending") > 0:
            if time.monotonic() > until:
                raise RuntimeError("the lanes did not settle")
            time.sleep(0.1)

    def facts(self, idle, metrics, code):
        """Everything that is judged."""
        return {"windows": self.windows, "failed": self.failed, "acked": self.acked, "idle_mib": idle, "syncs_ms": self.syncs,
                "delivered": metrics.sum("anygate_lane_delivered_total", anygate_backend="good"), "laws": laws.broken(metrics),
                "panics": self.gateway.panics(), "exit": code, "given": {"rate": self.given.rate, "loose": self.given.loose}}

    def close(self):
        if self.gateway.process is not None:
            self.gateway.process.send_signal(signal.SIGCONT)
            self.gateway.process.kill()
            self.gateway.process.wait()


def say_window(window):
    good = ", ".join(f"{report['protocol']} {report['acked_per_second']:.0f}/s p50 {report['ms']['p50']:.2f} p99 {report['ms']['p99']:.2f} ms"
                     for report in window["good"])
    more = f", {window['bad_rows']} bad rows" if "bad_rows" in window else ""
    if "slow" in window:
        late = [kind["late"] for kind in window["slow"].values()]
        more = f", slow clients gone {'-' if None in late else format(max(late), '.1f')} s after their deadline"
    say(f"{window['part']} {window['kind']}: {good}, {window['rss_mib']:.0f} MiB{more}")


def enough_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES:
        if hard != resource.RLIM_INFINITY and hard < FILES:
            raise Vacuous(f"{hard} open files at most, and {FILES} are needed for --slow")
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))


def measured(given, folder):
    run = Run(given, folder)
    try:
        return run.run()
    except Exception:
        say(f"the gateway's log ends:\n{run.gateway.log_end() if run.gateway.starts else ''}")
        raise
    finally:
        run.close()


def main():
    given = arguments()
    try:
        enough_files()
        with tempfile.TemporaryDirectory(prefix="anygate-badinput.") as folder:
            facts = measured(given, folder)
        if given.json:
            given.json.write_text(json.dumps(facts, indent=1) + "\n")
        rows = judge(facts)
    except Vacuous as why:
        say(f"proves nothing: {why}")
        return 3
    except Exception as fault:
        say(f"the harness failed: {fault}")
        return 4
    for law in facts["laws"]:
        say(law)
    for row in facts["failed"][:10]:
        say(f"{row['suite']} {row['case']}: expected {row['expected']}, seen {row['seen']}")
    return 0 if measure.print_checks(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
