"""What runs that measure a gateway from outside share: the load generator, memory, the disk's sync time, the table of checks.

It judges nothing by itself: a check is a row (what, value, bound, holds) that the run fills.
"""

import json
import os
import statistics
import subprocess
import time


def fdatasync_p99(folder):
    """Milliseconds of one page and an fdatasync, on the disk that the journal is on."""
    times, path = [], os.path.join(folder, "page")
    file = os.open(path, os.O_CREAT | os.O_WRONLY)
    for number in range(300):
        os.pwrite(file, b"x" * 4096, number * 4096)
        began = time.perf_counter()
        os.fdatasync(file)
        times.append((time.perf_counter() - began) * 1000)
    os.close(file)
    os.remove(path)
    return statistics.quantiles(times, n=100)[98]


def rss_mib(pid):
    """Resident size of a process."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))


class Load:
    """One `anygate bench`: open loop, for so many seconds. `rate` is in events per second."""

    def __init__(self, program, protocol, port, rate, seconds, connections=16, size=256):
        url = f"http://127.0.0.1:{port}/events" if protocol == "http" else f"mqtt://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [program, "bench", protocol, "--url", url, "--rate", f"{rate}/s", "--connections", str(connections),
             "--size", str(size), "--for", f"{seconds}s", "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def is_running(self):
        return self.process.poll() is None

    def report(self):
        """What it measured, after its end. Raises RuntimeError when it measured nothing."""
        out, error = self.process.communicate()
        if not out.strip():
            raise RuntimeError(f"the load generator ended with {self.process.returncode}: {error.strip()[-500:]}")
        return json.loads(out)

    def stop(self):
        """Ends it early; what it measured is lost."""
        self.process.terminate()
        self.process.communicate()


def unanswered(report):
    """Events of a load's report that were due and not acknowledged."""
    return report["sent"] + report["behind"] - report["acked"]


def at_most(what, value, bound):
    return (what, value, f"≤ {bound:.6g}", value is not None and value <= bound)


def at_least(what, value, bound):
    return (what, value, f"≥ {bound:.6g}", value is not None and value >= bound)


def print_checks(rows):
    """Prints the table; returns whether everything holds."""
    for what, value, bound, holds in rows:
        shown = "-" if value is None else f"{value:.6g}"
        print(f"{'ok    ' if holds else 'FAILED'} {what:<56} {shown:>12}   {bound}")
    return all(row[3] for row in rows)
