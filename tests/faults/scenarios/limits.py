"""What the system gives runs out or jumps: file descriptors, memory, the clock."""

import contextlib
import http.client
import os
import socket
import time
from email.utils import parsedate_to_datetime

from inject import Clock, memory_cgroup, need, read
from scenarios import scenario
from scenarios.kafka import bring_back

DESCRIPTORS = 200
MEMORY = 256 << 20


def open_files(r):
    return len(os.listdir(f"/proc/{r.gateway.process.pid}/fd"))


def cpu_seconds(r):
    fields = read(f"/proc/{r.gateway.process.pid}/stat").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@scenario(ci=1)
def fd_limit(r):
    """More connections than file descriptors: those that are open go on, there is no busy loop, new ones come later."""
    need("prlimit")
    r.go(["prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}"])
    idle = []
    try:
        for _ in range(2 * DESCRIPTORS):
            with contextlib.suppress(OSError):  # what is turned away is what this is about
                idle.append(socket.create_connection(("127.0.0.1", r.ports["mqtt"]), 5))
        r.wait(lambda: open_files(r) >= DESCRIPTORS * 3 // 4 - 8 or None, "nearly all descriptors in use", 5)
        r.progress("without free descriptors")
    finally:
        for one in idle:
            one.close()
    r.progress("with free descriptors")


@scenario(ci=1)
def memory_limit(r):
    """256 MiB of memory and a broker that stands still: the budget holds, the process is not killed."""
    broker, down = bring_back(r), time.time()
    with memory_cgroup(r, MEMORY) as (folder, wrap):
        r.go(wrap)
        broker.freeze()
        r.load.surge.value = 1
        r.progress("in little memory", 6000)
        r.load.surge.value = 0
        used = next(int(read(f"{folder}/{name}")) for name in ("memory.max_usage_in_bytes", "memory.peak")
                    if os.path.exists(f"{folder}/{name}"))
        r.require(used > MEMORY // 8, f"memory in use ({used >> 20} MiB)")
        broker.thaw()
        r.progress("after the broker goes on")
        r.caught_up()
        r.broker_faults.append((down, time.time()))


def date_of(r):
    """The time of day that the gateway believes in: the Date header of its answers."""
    connection = http.client.HTTPConnection("127.0.0.1", r.ports["http"], timeout=5)
    try:
        connection.request("GET", "/")
        said = connection.getresponse().getheader("date")
        return parsedate_to_datetime(said).timestamp() if said else None
    except OSError:
        return None
    finally:
        connection.close()


@scenario(ci=1)
def clock_jump(r):
    """The clock jumps 400 days ahead, an hour back, and home again; a kill while it is wrong."""
    clock = Clock(r.folder)
    r.prepare(KEEP="3000d", **clock.environment)
    r.go()
    clock.jump(400 * 86400)
    r.wait(lambda: (date_of(r) or 0) - time.time() > 300 * 86400 or None, "the gateway 400 days ahead", 10)
    r.progress("400 days ahead")
    clock.jump(-3600)
    r.progress("an hour behind")
    r.kill()
    r.restart()
    r.wait(lambda: (date_of(r) or time.time()) - time.time() < -3000 or None, "the gateway an hour behind", 10)
    r.progress("an hour behind, after a kill")
    clock.jump(0)
    r.progress("at home")
