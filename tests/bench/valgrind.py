"""`anygate run` under one of valgrind's tools, and what the tools write: instructions (callgrind), bytes copied (DHAT)."""
import contextlib
import json
import re
import shutil
import socket
import subprocess
import time

import wire

CONFIG = """version: 1
node: {{ data_dir: {folder}/data }}
admin: {{ listen: "127.0.0.1:{admin}" }}
listeners:
  web: {{ http: {{ listen: "127.0.0.1:{http}", max_body: 8MiB }} }}
  devices: {{ mqtt: {{ listen: "127.0.0.1:{mqtt}", max_packet: 8MiB }} }}
backends: {{ away: {{ null: {{}} }} }}
routes:
  - {{ name: all, to: [away] }}
"""
# Emulated, on a slow machine: waiting is bounded, not short.
START_SECONDS, STOP_SECONDS = 180, 120


def missing():
    """The first program that is not here."""
    return next((tool for tool in ("valgrind", "callgrind_control") if not shutil.which(tool)), None)


class Gateway:
    """A gateway with an HTTP and an MQTT listener and a null backend, under `valgrind TOOL…`."""

    def __init__(self, binary, folder, *tool):
        self.folder = folder
        self.ports = {"http": wire.free_port(), "mqtt": wire.free_port(), "admin": wire.free_port()}
        config = folder / "anygate.yaml"
        config.write_text(CONFIG.format(folder=folder, **self.ports))
        command = ["valgrind", *tool, str(binary), "run", "--config", str(config)]
        self.log = (folder / "log").open("w")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        try:
            self.wait_for("http")
            self.wait_for("mqtt")
        except RuntimeError:
            self.stop()
            raise

    def wait_for(self, protocol):
        until = time.monotonic() + START_SECONDS
        while True:
            with contextlib.closing(socket.socket()) as sock:
                if sock.connect_ex(("127.0.0.1", self.ports[protocol])) == 0:
                    return
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the gateway does not listen: {(self.folder / 'log').read_text()[-600:]}")
            time.sleep(0.1)

    def connect(self, client, content_type=None):
        return client(self.ports["mqtt" if client is wire.Mqtt else "http"], content_type)

    def control(self, what):
        """Tells callgrind to zero (-z) or dump (-d) its counts."""
        subprocess.run(["callgrind_control", what, str(self.process.pid)], check=True, capture_output=True, timeout=120)

    def dumps(self):
        """callgrind's dumps, oldest first."""
        return sorted(self.folder.glob("callgrind.*"), key=lambda dump: int(dump.suffix[1:]))

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def inclusive(dump, pattern):
    """Instructions of the functions that match, with all that they called."""
    names, total, inside, call, callee_inside = {}, 0, False, False, False
    wanted = re.compile(pattern)

    def matches(text):
        # `(12) name` the first time, `(12)` from then on.
        number, _, full = text.partition(") ")
        if full:
            names[number] = bool(wanted.search(full))
        return names.get(number.rstrip(")"), names.get(number, False))

    for line in dump.open(errors="replace"):
        if line.startswith("fn="):
            inside = matches(line[3:].rstrip())
        elif line.startswith("cfn="):
            # A function that calls itself is counted once.
            callee_inside = matches(line[4:].rstrip())
        elif line.startswith("calls="):
            call = True
        elif line[:1].isdigit() or line[:1] in "+-*":
            cost = line.split()
            if inside and len(cost) > 1 and not (call and callee_inside):
                total += int(cost[1])
            call = False
    if total == 0:
        raise RuntimeError(f"callgrind saw no function like {pattern}: was it renamed or inlined?")
    return total


def copied(output):
    """Bytes that memcpy, memmove and their like copied, and the same by the call stacks that did it, most first."""
    found = json.loads(output.read_text())
    frames = found["ftbl"]
    stacks = sorted(((point["tb"], tuple(frames[frame] for frame in point["fs"])) for point in found["pps"]), reverse=True)
    return sum(size for size, _ in stacks), stacks
