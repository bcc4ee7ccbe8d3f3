"""The programs of a run: servers that are measured, started on free ports in temporary folders, and the load generator."""
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TICK = os.sysconf("SC_CLK_TCK")

# The crates with something to measure.
CRATES = ("gateway", "backends", "journal", "cesql")
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
        # A folder that goes with the server: journals are large.
        self.scratch = None
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
        if self.scratch:
            shutil.rmtree(self.scratch, ignore_errors=True)


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
        self.producer = target / "release" / "examples" / "producer"
        # The same generator for every contestant; another build of it only changes what is left for the servers.
        self.generator = options.generator or self.anygate

    def cargo(self, *arguments):
        environment = dict(os.environ, CARGO_TARGET_DIR=str(self.target))
        subprocess.run(["cargo", *arguments], cwd=ROOT, env=environment, check=True)

    def build(self):
        if not self.options.no_build:
            say("building (release)")
            # All in one call: with other sets of crates dependencies have other features, and would be built again.
            self.cargo("build", "--release", *(word for crate in CRATES for word in ("-p", crate)), "--bins", "--examples", "--benches")
        missing = [str(program) for program in (self.anygate, self.reference, self.producer) if not program.exists()]
        if missing:
            sys.exit(f"{', '.join(missing)} is not there: run without --no-build")

    @contextlib.contextmanager
    def scratch(self):
        """A folder for several runs, gone afterwards."""
        folder = Path(tempfile.mkdtemp(dir=self.folder, prefix="gateway."))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def program(self, name):
        """The newest build of a crate's bench."""
        found = [path for path in (self.target / "release" / "deps").glob(f"{name}-*") if not path.suffix and os.access(path, os.X_OK)]
        if not found:
            raise RuntimeError(f"the bench {name} is not built: run without --no-build")
        return max(found, key=lambda path: path.stat().st_mtime)

    def gateway(self, config=CONFIG, folder=None, **values):
        """`anygate run`, in a folder that is gone afterwards; in a given one, which stays, it finds the journal of the run before."""
        ports = {"http": free_port(), "mqtt": free_port(), "admin": free_port()}
        at = folder or Path(tempfile.mkdtemp(dir=self.folder, prefix="gateway."))
        (at / "anygate.yaml").write_text(config.format(folder=at, **ports, **values))
        server = Server([self.anygate, "run", "--config", at / "anygate.yaml"], ports["http"], at, "log")
        server.ports, server.scratch = ports, None if folder else at
        return server

    def floor(self, disk):
        port = free_port()
        folder = Path(tempfile.mkdtemp(dir=self.folder, prefix="reference."))
        more = ["--file", folder / "data"] if disk else ["--no-disk"]
        server = Server([self.reference, "--listen", f"127.0.0.1:{port}", *more], port, folder, "log")
        server.ports, server.scratch = {"http": port}, folder
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
        server.ports, server.scratch = {"mqtt": port}, folder
        return server

    def load(self, protocol, *arguments, rate="max", seconds=None):
        """`anygate bench`, whose own cost is small; the same generator for every contestant."""
        seconds = seconds or self.options.seconds
        command = [str(self.generator), "bench", protocol, *map(str, arguments), "--rate", rate, "--for", f"{seconds * 1000:.0f}ms", "--json"]
        done = subprocess.run(command, text=True, capture_output=True, timeout=seconds + 60)
        if not done.stdout.strip().startswith("{"):
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-400:]}")
        return json.loads(done.stdout)
