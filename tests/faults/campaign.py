"""Rounds in a row: which scenarios, in which order, with which seeds; the table and the report."""

import argparse
import dataclasses
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

import scenarios
import verdict
from broker import Single
from gateway import NotReady
from rounds import Round, Skip

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
WORDS = {verdict.PASS: "pass", verdict.VIOLATED: "VIOLATED", verdict.UNSETTLED: "NOT SETTLED", verdict.VACUOUS: "VACUOUS",
         verdict.HARNESS: "HARNESS FAULT"}
SEVERITY = (verdict.VIOLATED, verdict.HARNESS, verdict.UNSETTLED, verdict.VACUOUS, verdict.PASS)
CI_ROUNDS, CI_ACKS = 60, 200_000  # what a run of --ci must reach at least


def arguments():
    parser = argparse.ArgumentParser(prog="tests/faults/run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="scenarios (default with --ci and --hours: all)")
    parser.add_argument("--rounds", type=int, default=1, help="rounds of each scenario")
    parser.add_argument("--seed", type=int, default=None, help="decides payloads, moments and orders")
    parser.add_argument("--hours", type=float, help="the long mode: scenarios in random order until the time is over")
    parser.add_argument("--ci", action="store_true", help="each scenario as often as continuous integration wants it")
    parser.add_argument("--anygate", help="the program under test (default: target/debug/anygate)")
    parser.add_argument("--json", metavar="REPORT", help="a file for the report")
    parser.add_argument("--list", action="store_true", help="the scenarios")
    parser.add_argument("--keep", action="store_true", help="keep the folders of rounds that pass, too")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in scenarios.ALL]
    if unknown:
        parser.error(f"no scenario named {', '.join(unknown)} (--list)")
    if not (given.names or given.ci or given.hours or given.list):
        parser.error("name scenarios, or say --ci or --hours")
    given.seed = random.SystemRandom().randrange(1 << 31) if given.seed is None else given.seed
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    given.anygate = os.path.abspath(given.anygate or os.path.join(target, "debug/anygate"))
    return given


@dataclasses.dataclass
class Row:
    """The sums of one scenario."""

    rounds: int = 0
    skipped: str = ""
    acknowledged: int = 0
    unanswered: int = 0
    duplicates: int = 0
    lost: int = 0
    failed: int = 0
    seconds: float = 0.0

    def add(self, figures, code, seconds):
        self.rounds, self.seconds, self.failed = self.rounds + 1, self.seconds + seconds, self.failed + (code != verdict.PASS)
        self.lost += figures.get("lost", 0)
        for name, value in figures.items():
            if name.startswith("acknowledged_"):
                self.acknowledged += value
            elif name.startswith("duplicates_"):
                self.duplicates += value
        self.unanswered += figures.get("unanswered", 0)


class Campaign:
    """Shared by all rounds: the program and Kafka."""

    def __init__(self, given):
        self.given, self.program, self.broker = given, given.anygate, Single()
        self.kafka, self.rows, self.bad, self.began = self.broker.brokers, {}, [], time.monotonic()
        self.folder = tempfile.mkdtemp(prefix="anygate-faults.")
        self.long, self.shared, self.ordinals = given.hours is not None, {}, -1

    def ordinal(self, chance, most):
        """A system call and its number for crash-ordinal: drawn, or in the long mode one after the other."""
        if not self.long:
            call = chance.choice(sorted(most))
            return call, chance.randint(1, most[call])
        every = [(call, number) for call in sorted(most) for number in range(1, most[call] + 1)]
        self.ordinals = (self.ordinals + 1) % len(every)
        return every[self.ordinals]

    def order(self):
        """(scenario, seed) of each round, one after the other."""
        chance, names = random.Random(self.given.seed), self.given.names or list(scenarios.ALL)
        if self.long:
            until = self.began + self.given.hours * 3600
            while time.monotonic() < until:
                yield scenarios.ALL[chance.choice(names)], chance.randrange(1 << 31)
            return
        for name in names:
            found = scenarios.ALL[name]
            for _ in range(found.ci if self.given.ci else self.given.rounds):
                yield found, chance.randrange(1 << 31)

    def run(self):
        try:
            for scenario, seed in self.order():
                self.one(scenario, seed)
        finally:
            for thing in self.shared.values():
                thing.close()
            if not os.listdir(self.folder):
                os.rmdir(self.folder)

    def one(self, scenario, seed, again=True):
        """One round, whatever happens in it; its line and its sums. In --ci a round that proved nothing is repeated once."""
        row = self.rows.setdefault(scenario.name, Row())
        if row.skipped:
            return
        folder = os.path.join(self.folder, f"{scenario.name}-{seed}")
        os.mkdir(folder)
        began, this, report, code, why = time.monotonic(), None, None, verdict.HARNESS, ""
        try:
            this = Round(self, scenario.name, seed, folder)
            report, code = attempt(this, scenario)
        except Skip as skip:
            row.skipped = str(skip)
        except Exception:
            why = traceback.format_exc()
        finally:
            if this is not None:
                this.clean()
        seconds = time.monotonic() - began
        if row.skipped:
            say(f"{scenario.name:22} SKIPPED: {row.skipped}")
            shutil.rmtree(folder, ignore_errors=True)
            return
        if code == verdict.VACUOUS and self.given.ci and again:
            say(f"{scenario.name:22} proved nothing with seed {seed} ({'; '.join(report.vacuous)[:200]}): once more")
            shutil.rmtree(folder, ignore_errors=True)
            self.one(scenario, seed + 1, again=False)
            return
        row.add(report.figures if report else {}, code, seconds)
        self.tell(scenario, seed, this, report, code, why, seconds)
        if code == verdict.PASS and not self.given.keep:
            shutil.rmtree(folder, ignore_errors=True)

    def tell(self, scenario, seed, this, report, code, why, seconds):
        figures = report.figures if report else {}
        acks = sum(value for name, value in figures.items() if name.startswith("acknowledged_"))
        copies = sum(value for name, value in figures.items() if name.startswith("duplicates_"))
        say(f"{scenario.name:22} {WORDS[code]:8} seed {seed:<10} {acks:6} acknowledged {figures.get('unanswered', 0):5} unanswered "
            f"{copies:5} duplicates {seconds:5.1f} s")
        if code == verdict.PASS:
            return
        reasons = [f"{name}: {len(examples)}+ such as {examples[0]}" for name, examples in report.examples.items()] if report else [why]
        reasons += report.vacuous if report else []
        reasons += this.notes if this else []
        for reason in reasons:
            say("    " + reason.strip().replace("\n", "\n    "))
        say(f"    ledgers, logs and the report stay in {this.folder if this else self.folder}")
        if this and report:
            this.save(report)
        self.bad.append({"scenario": scenario.name, "seed": seed, "verdict": WORDS[code], "code": code, "reasons": reasons})

    def code(self):
        """The worst of all rounds; a run for continuous integration that is too small proves nothing."""
        codes = {entry["code"] for entry in self.bad}
        total = self.total()
        if self.given.ci and not codes and not self.given.names and (total.rounds < CI_ROUNDS or total.acknowledged < CI_ACKS):
            say(f"{total.rounds} rounds and {total.acknowledged} acknowledged: {CI_ROUNDS} and {CI_ACKS} are needed")
            return verdict.VACUOUS
        if not total.rounds:
            return verdict.VACUOUS
        return next(code for code in SEVERITY if code in codes or code == verdict.PASS)

    def total(self):
        total = Row()
        for row in self.rows.values():
            for field in ("rounds", "acknowledged", "unanswered", "duplicates", "lost", "failed", "seconds"):
                setattr(total, field, getattr(total, field) + getattr(row, field))
        return total

    def table(self):
        print(f"\n{'scenario':22} {'rounds':>6} {'acknowledged':>12} {'unanswered':>10} {'duplicates':>10} {'lost':>5} {'failed':>6} {'seconds':>8}")
        for name, row in [*self.rows.items(), ("total", self.total())]:
            if row.skipped:
                print(f"{name:22} SKIPPED: {row.skipped}")
                continue
            print(f"{name:22} {row.rounds:6} {row.acknowledged:12} {row.unanswered:10} {row.duplicates:10} {row.lost:5} {row.failed:6} "
                  f"{row.seconds:8.1f}")
        total = self.total()
        print(f"\n{total.rounds} fault rounds, {total.acknowledged} messages acknowledged, {total.lost} lost, {total.failed} rounds "
              f"failed, {time.monotonic() - self.began:.0f} s, seed {self.given.seed}")

    def report(self):
        """The long mode's file: enough to repeat every round that failed."""
        version = subprocess.run([self.program, "--version"], capture_output=True, text=True, check=False).stdout.strip()
        with open(self.given.json, "w", encoding="utf-8") as file:
            json.dump({"program": version, "machine": f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
                       "seed": self.given.seed, "seconds": round(time.monotonic() - self.began),
                       "total": dataclasses.asdict(self.total()), "failed": self.bad,
                       "scenarios": {name: dataclasses.asdict(row) for name, row in self.rows.items()}}, file, indent=1)
            file.write("\n")


def attempt(this, scenario):
    """The scenario, and the judgement of what it left."""
    try:
        scenario.act(this)
        report = this.finish()
    except NotReady as error:
        this.faults.append(str(error))
        report = this.judge({}, [], False, [])
    report.figures["unanswered"] = sum(bool(entry.unknown) for found in this.read_ledgers.values() for entry in found.entries.values())
    return report, report.code()


def say(text):
    print(text, flush=True)


def main():
    given = arguments()
    if given.list:
        for name, scenario in scenarios.ALL.items():
            print(f"{name:22} {scenario.about}")
        return verdict.PASS
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(verdict.HARNESS))  # so that `finally` cleans up
    campaign = Campaign(given)
    try:
        campaign.run()
    finally:
        campaign.table()
        if given.json:
            campaign.report()
    return campaign.code()


if __name__ == "__main__":
    sys.exit(main())
