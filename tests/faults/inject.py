"""What makes a disk, a limit or a clock misbehave: strace, mounts, cgroups, a library of our own. Each is undone by the round's cleanup.

strace is never used with --seccomp-bpf: strace 6.1 then stops tracing at the injected signal and the process lives on.
"""

import contextlib
import os
import re
import shutil
import struct
import subprocess

from rounds import Skip

SEGMENTS = 400  # numbers of journal segments that a short round can reach
CALL = re.compile(r"^(\d+) +([a-z0-9_]+)\((.*)$")


def need(program):
    if shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None:
        missing(f"{program} is not installed (tests/setup)")


def need_root(what):
    if os.geteuid() != 0:
        missing(f"only root may {what}")


def missing(why):
    """A scenario that cannot run is skipped for people and a failure in continuous integration."""
    raise RuntimeError(why) if os.environ.get("CI") == "true" else Skip(why)


class Strace:
    """strace around the gateway, whose pid stays what it would be. `paths`: only calls on these files are counted."""

    def __init__(self, r, calls, *injections, paths=()):
        need("strace")
        self.log = os.path.join(r.logs, "strace.log")
        self.wrap = ["strace", "-D", "-f", "-y", "-qq", "-s", "0", "-o", self.log, "-e", f"trace={calls}", "-e", "signal=none"]
        for injection in injections:
            self.wrap += ["-e", f"inject={injection}"]
        for path in paths:
            self.wrap += ["-P", path]

    def lines(self):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as file:
                return file.readlines()
        except FileNotFoundError:
            return []

    def injected(self):
        """The calls that were tampered with."""
        return [line for line in self.lines() if "INJECTED" in line or "DELAYED" in line]


def segments(r):
    """The paths of the journal's segments, those to come among them."""
    return [os.path.join(r.data, "journal", f"{number:020}.seg") for number in range(SEGMENTS)]


def cursors(r):
    return [os.path.join(r.data, "lanes", str(number), "cursor") for number in range(8)]


def run(*words):
    subprocess.run(words, check=True, capture_output=True)


def unmount(folder):
    with contextlib.suppress(subprocess.CalledProcessError):
        run("umount", folder)
        return
    subprocess.run(["umount", "-l", folder], capture_output=True, check=False)


class Small:
    """A small file system for the gateway's data; `fill` takes the room that is left, `free` gives it back."""

    def __init__(self, r, size="32m", inodes=None):
        need_root("mount")
        self.folder = os.path.join(r.folder, "disk")
        os.mkdir(self.folder)
        run("mount", "-t", "tmpfs", "-o", f"size={size}" + (f",nr_inodes={inodes}" if inodes else ""), "anygate-faults", self.folder)
        r.cleanup.callback(unmount, self.folder)
        r.data = os.path.join(self.folder, "data")
        self.ballast = []

    def fill(self):
        """Until a write fails with ENOSPC."""
        path = os.path.join(self.folder, f"ballast-{len(self.ballast)}")
        self.ballast.append(path)
        with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
            for piece in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(piece))

    def fill_inodes(self):
        """Until no file can be made."""
        with contextlib.suppress(OSError):
            while True:
                path = os.path.join(self.folder, f"file-{len(self.ballast)}")
                with open(path, "xb"):
                    self.ballast.append(path)

    def free(self):
        for path in self.ballast:
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)
        self.ballast.clear()

    def room(self):
        about = os.statvfs(self.folder)
        return about.f_bavail * about.f_frsize


class Image:
    """An ext4 file system in a file: what is in the file is what a power cut leaves."""

    def __init__(self, r, size="96M"):
        need_root("mount")
        need("mkfs.ext4")
        self.folder, self.path, self.copies = os.path.join(r.folder, "disk"), os.path.join(r.folder, "disk.img"), 0
        os.mkdir(self.folder)
        run("truncate", "-s", size, self.path)
        run("/usr/sbin/mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1", self.path)
        self.mount()
        r.cleanup.callback(unmount, self.folder)  # the loop device goes with the mount
        r.data = os.path.join(self.folder, "data")

    def mount(self):
        run("mount", "-o", "loop", self.path, self.folder)

    def remount(self, how):
        run("mount", "-o", f"remount,{how}", self.folder)

    def copy(self):
        """What is on the disk now, and nothing of what waits in memory to be written."""
        copied = f"{self.path}.{self.copies}"
        self.copies += 1
        run("cp", "--sparse=always", self.path, copied)
        return copied

    def exchange(self, copied):
        """The copy instead of what was mounted."""
        run("umount", self.folder)
        os.replace(copied, self.path)
        self.mount()


@contextlib.contextmanager
def memory_cgroup(r, limit):
    """A cgroup with a memory limit: yields its folder and the command that starts a process in it."""
    need_root("make a cgroup")
    v1, v2 = "/sys/fs/cgroup/memory", "/sys/fs/cgroup"
    name = f"anygate-faults-{os.getpid()}"
    if os.path.exists(f"{v1}/memory.limit_in_bytes"):
        folder, key = f"{v1}/{name}", "memory.limit_in_bytes"
    elif os.path.exists(f"{v2}/cgroup.controllers") and "memory" in read(f"{v2}/cgroup.subtree_control"):
        folder, key = f"{v2}/{name}", "memory.max"
    else:
        raise Skip("no cgroup controls memory here")
    try:
        os.mkdir(folder)
    except OSError as error:
        raise Skip(f"no cgroup can be made: {error}") from error
    r.cleanup.callback(lambda: contextlib.suppress(OSError) and os.rmdir(folder))
    with open(f"{folder}/{key}", "w", encoding="ascii") as file:
        file.write(str(limit))
    yield folder, ["sh", "-c", f'echo $$ > {folder}/cgroup.procs; exec "$@"', "sh"]


def read(path):
    with open(path, encoding="ascii") as file:
        return file.read()


class Clock:
    """The time of day as one process sees it; `jump` moves it. See clock.c."""

    def __init__(self, folder):
        need("cc")
        self.file, library = os.path.join(folder, "clock"), os.path.join(folder, "clock.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, os.path.join(os.path.dirname(__file__), "clock.c"), "-ldl"], check=True)
        with open(self.file, "wb") as file:
            file.write(bytes(8))
        self.environment = {"LD_PRELOAD": library, "CLOCK_FILE": self.file}

    def jump(self, seconds):
        """So far from the right time. In place: the process has the file mapped."""
        with open(self.file, "r+b") as file:
            file.write(struct.pack("<q", seconds))
