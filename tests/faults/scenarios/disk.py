"""The disk fails, lies, is slow, full, read-only, gone, or belongs to somebody else."""

import fcntl
import os
import re
import signal
import struct
import time

from inject import Image, Small, Strace, need, need_root, segments
from scenarios import scenario
from scenarios.kafka import bring_back

EXIT_DISK = 74
CALLS = "pwrite64,fdatasync,rename,unlink,ftruncate"


def killed_at_call(r, calls, call, number, paths=()):
    """The gateway under strace, which kills it when one of its threads makes the call for the `number`th time."""
    trace = Strace(r, calls, f"{call}:signal=SIGKILL:when={number}", paths=paths)
    r.prepare()
    r.start(trace.wrap, ready=False)
    r.start_load()
    code = r.wait(lambda: r.gateway.process.poll(), f"{call} number {number}", 12)
    r.killed_at = time.time()
    if code is None:
        r.gateway.kill()
    else:
        r.gateway.process = None
        if code != -signal.SIGKILL:
            r.faults.append(f"ended with {code} before {call} number {number}: {r.gateway.log_end()[-500:]}")
    r.min_unanswered = 0  # many calls come before the first message
    return trace


# Calls that a round surely reaches, by name: pwrite64 makes the ring ready before anything else.
REACHED = {"pwrite64": 160, "fdatasync": 60, "rename": 9, "unlink": 0, "ftruncate": 2}


@scenario(ci=10)
def crash_ordinal(r):
    """kill -9 at the Kth pwrite64, fdatasync, rename, unlink or ftruncate of any thread."""
    call, number = r.campaign.ordinal(r.random, {name: most for name, most in REACHED.items() if most})
    r.notes.append(f"{call} number {number}")
    killed_at_call(r, CALLS, call, number)
    r.restart()
    r.progress("after the crash", 1000)


@scenario(ci=3)
def torn_tail(r):
    """kill -9 between a group's write and its sync, and the end of what was written is torn off.

    (A byte that changed in the middle costs one event and keeps those behind it, which nobody was told of: sent again, the
    one comes after them. The journal's own damage tests hold that case; here it would look like a wrong order.)
    """
    trace = killed_at_call(r, "pwrite64,fdatasync", "fdatasync", r.random.randint(12, 40), segments(r))
    wrote = [re.search(r"pwrite64\(\d+<(.*?)>, .*, (\d+), (\d+)", line) for line in trace.lines()]
    last = [found for found in wrote if found][-1:]
    r.require(last, "a group that was written and not synced")
    if last:
        path, length, offset = last[0].group(1), int(last[0].group(2)), int(last[0].group(3))
        with open(path, "r+b") as file:
            at = offset + r.random.randrange(length)
            file.seek(at)
            file.write(bytes(offset + length - at))
    r.restart()
    r.progress("after the torn tail", 600)


@scenario(ci=4)
def power_cut(r):
    """The power goes: the machine comes back with what was on the disk (a copy of the image before any sync)."""
    image = Image(r)
    r.go()
    for _ in range(2):
        r.surge(0.1, 0.5)
        r.gateway.process.send_signal(signal.SIGSTOP)
        copied = image.copy()
        r.killed_at = r.gateway.kill()
        r.load.surge.value = 0
        image.exchange(copied)
        r.restart()
        r.progress("after the power cut")


@scenario(ci=1)
def disk_gone(r):
    """The file system shuts down under load (every write fails from then on): exit 74; it comes back as after a power cut."""
    image = Image(r)
    r.go()
    r.surge(0.1, 0.3)
    folder = os.open(image.folder, os.O_RDONLY)
    # EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH: what is not on the disk yet never will be.
    fcntl.ioctl(folder, 0x8004587D, struct.pack("I", 2))
    os.close(folder)
    r.await_end((EXIT_DISK,), "")
    r.load.surge.value = 0
    image.exchange(image.copy())
    r.restart()
    r.progress("after the disk is back")


def fails_once(r, call, error, paths):
    """One call on the journal fails: exit 74, nobody is told yes or no, and that file is not written or synced again."""
    trace = Strace(r, "pwrite64,fdatasync", f"{call}:error={error}:when={r.random.randint(15, 60)}", paths=paths)
    r.prepare()
    r.go(trace.wrap, acks=50)
    r.surge(0, 0.05)
    r.await_end((EXIT_DISK,), "")
    r.load.surge.value = 0
    lines = trace.lines()
    bad = next((at for at, line in enumerate(lines) if "INJECTED" in line), None)
    r.require(bad is not None, f"an injected {error}")
    if bad is not None:
        file = re.search(r"\((\d+<.*?>)", lines[bad]).group(1)
        again = [line for line in lines[bad + 1:] if f"({file}" in line]
        if again:
            r.faults.append(f"after {lines[bad].strip()} the same file was used again: {again[0].strip()}")
    r.restart()
    r.progress("after the restart")


@scenario(ci=2)
def fsync_eio(r):
    """One fdatasync of the journal fails with EIO: exit 74, no second try, waiters do not know."""
    fails_once(r, "fdatasync", "EIO", segments(r))


@scenario(ci=1)
def write_eio(r):
    """One write of the journal fails with EIO."""
    fails_once(r, "pwrite64", "EIO", segments(r))


@scenario(ci=1)
def enospc_write(r):
    """One write into the journal's preallocated room fails with ENOSPC."""
    fails_once(r, "pwrite64", "ENOSPC", segments(r))


@scenario(ci=1)
def write_eintr(r):
    """Writes of the journal are interrupted, again and again: they are repeated."""
    trace = Strace(r, "pwrite64", "pwrite64:error=EINTR:when=4+3", paths=segments(r))
    r.prepare()
    r.go(trace.wrap)
    r.wait(lambda: len(trace.injected()) > 20 or None, "interrupted writes")
    r.progress("with interrupted writes")


@scenario(ci=1)
def lying_write(r):
    """The disk says that it wrote 100 bytes of a group and did not: what is lost is lost by the disk, and the gateway says so."""
    trace = Strace(r, "pwrite64", "pwrite64:retval=100:when=30", paths=segments(r))
    r.prepare()
    r.go(trace.wrap)
    r.wait(lambda: trace.injected() or None, "a lying write")
    r.wait(lambda: told(r) or None, "the gateway says what is damaged")
    r.progress("after the lie")
    r.caught_up("keep")
    r.caught_up()
    r.told_lost = told(r)


def told(r):
    """Events that the gateway itself calls lost, in its log: once for each backend that they were acknowledged for."""
    with open(r.gateway.log(r.gateway.starts), encoding="utf-8", errors="replace") as log:
        text = log.read()
    return sum(int(count) for count in re.findall(r"what was acknowledged for this backend is gone .* events=(\d+)", text))


@scenario(ci=1)
def slow_fsync(r):
    """Each fdatasync of the journal takes 300 ms for a while: answers are slow and true."""
    trace = Strace(r, "fdatasync", "fdatasync:delay_enter=300000:when=10..25", paths=segments(r))
    r.prepare()
    r.go(trace.wrap, acks=100)
    r.wait(lambda: len(trace.injected()) >= 4 or None, "slow syncs")
    r.progress("with slow syncs", 100)


def refusals(r):
    return r.wait(lambda: r.tally.look("NACK") or None, "refusals", 40)


@scenario(ci=1)
def disk_full(r):
    """The disk is full: refusals, no answer that is not so; room again: all goes on by itself."""
    disk = Small(r, size="128m")
    r.go()
    disk.fill()
    r.require(disk.room() == 0, "no byte free")
    refusals(r)
    r.pause(0.2, 0.6)
    disk.free()
    r.progress("with room again")
    r.caught_up("keep")


@scenario(ci=1)
def disk_full_draining(r):
    """Kafka stands still until the journal is full, the disk is full, Kafka goes on: the lane drains with no byte free."""
    disk, broker, down = Small(r), bring_back(r), time.time()
    r.prepare(config="gateway-kafka.yaml")
    r.sinks = ("kafka",)
    r.go()
    broker.freeze()
    disk.fill()
    r.load.surge.value = 1
    refusals(r)
    r.load.surge.value = 0
    disk.fill()
    r.require(disk.room() == 0, "no byte free")
    broker.thaw()
    r.caught_up()
    r.progress("with no byte free")
    disk.free()
    r.broker_faults.append((down, time.time()))


@scenario(ci=1)
def inodes(r):
    """No file can be made any more, under load; after a kill the gateway starts, or says why it does not."""
    disk = Small(r, size="64m", inodes=400)
    r.go()
    disk.fill_inodes()
    r.require(os.statvfs(disk.folder).f_favail == 0, "no inode free")
    r.progress("without inodes", 1500)
    r.kill()
    killed_at = r.killed_at
    r.start(ready=False)
    r.wait(lambda: r.gateway.process.poll() if r.gateway.process.poll() is not None else serves(r), "it starts or refuses to")
    if r.gateway.process.poll() is None:
        r.gateway.kill()
    else:
        r.await_end((EXIT_DISK,), "No space left")
    r.killed_at = killed_at
    disk.free()
    r.restart()
    r.progress("with inodes again")


def serves(r):
    """The code of the admin address when it answers at all; None when it does not."""
    try:
        return r.gateway.get("/livez")[0]
    except OSError:
        return None


@scenario(ci=1)
def readonly(r):
    """After a kill the file system is read-only: the start is refused and says why; writable again, nothing is lost."""
    image = Image(r)
    r.go()
    r.kill()
    image.remount("ro")
    refused_start(r, "")
    image.remount("rw")
    r.restart()
    r.progress("writable again")


@scenario(ci=1)
def permissions(r):
    """After a kill the folder belongs to somebody else: the start is refused and names the path; given back, nothing is lost."""
    need_root("become somebody else")
    need("setpriv")
    r.go()
    r.kill()
    os.chmod(r.data, 0o700)
    refused_start(r, "ermission denied", ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
    r.restart()
    r.progress("with the folder back")


def refused_start(r, says, wrap=()):
    """A start that must fail with a message that names the data folder."""
    killed_at = r.killed_at
    r.start(wrap, ready=False)
    r.await_end((1, 2, EXIT_DISK), says or r.data)
    r.killed_at = killed_at
