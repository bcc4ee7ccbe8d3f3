"""What disturbs the gateway: passes of bad rows beside its good traffic, and, to see the checks go red, a gateway that stands still."""

import json
import signal
import subprocess
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent  # mosquitto's byte sequences are found from here
# Rows that wait for a deadline of the gateway, or for 1,000 answers one after the other: once per window, so that they do not slow
# the others down.
WAITING = {"http": ("H25", "H28", "H29", "H30", "H31", "G10"), "mqtt": ("M03", "M08.5", "M08.3")}
PASS_LIMIT = 120  # seconds of one pass
STALL = {False: (0.06, 0.25), True: (1.0, 2.0)}  # seconds that the gateway stands still, and from one to the next, strict and loose


def conform(program, suite, port, cases):
    """One pass of these rows, or of all: a result per row."""
    chosen = [word for case in cases for word in ("--case", case)]
    target = f"{suite}://127.0.0.1:{port}"
    done = subprocess.run(["nice", "-n", "19", program, "conform", suite, "--target", target, "--patience", "30", "--json", *chosen],
                          capture_output=True, text=True, timeout=PASS_LIMIT, check=False, cwd=ROOT)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"conform {suite} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return [row for row in map(json.loads, done.stdout.splitlines()) if "case" in row]


class Bad(threading.Thread):
    """Passes of bad rows until told to stop, or a single one."""

    def __init__(self, program, suite, port, cases, pause, once=False):
        super().__init__(daemon=True)
        self.what, self.pause, self.once = (program, suite, port, cases), pause, once
        self.stop, self.rows, self.failed, self.fault = threading.Event(), 0, [], None

    def run(self):
        try:
            while not self.stop.is_set():
                results = conform(*self.what)
                self.rows += sum(row["outcome"] != "not_applicable" for row in results)
                self.failed += [row for row in results if row["outcome"] == "failed"]
                if self.once:
                    return
                self.stop.wait(self.pause)
        except Exception as fault:  # for the thread that waits for this one
            self.fault = fault

    def end(self):
        self.stop.set()
        self.join(PASS_LIMIT + 10)
        if self.fault:
            raise self.fault


class Stalls(threading.Thread):
    """Stops the gateway for moments, again and again: a disturbance that the checks have to see."""

    def __init__(self, process, loose):
        super().__init__(daemon=True)
        self.process, self.over, self.times = process, threading.Event(), STALL[loose]

    def run(self):
        still, every = self.times
        while not self.over.wait(every - still):
            self.process.send_signal(signal.SIGSTOP)
            time.sleep(still)
            self.process.send_signal(signal.SIGCONT)

    def end(self):
        self.over.set()
        self.join()
