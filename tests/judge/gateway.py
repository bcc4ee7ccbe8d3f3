"""The gateway under test as a process: started, killed, asked. Only what its users see is used: ports, HTTP, the CLI."""

import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request


class NotReady(Exception):
    """The gateway did not come up; the text says what its log ends with."""


class Gateway:
    """One data folder, one set of ports, many incarnations; each writes its own log below `folder`."""

    def __init__(self, program, config, environment, folder):
        self.program, self.config, self.folder = program, config, folder
        self.environment = {**os.environ, **environment}
        self.admin = f"http://127.0.0.1:{environment['ADMIN_PORT']}"
        self.process, self.starts, self.peak_rss_kib, self.unexpected = None, 0, 0, []
        self.wrap = []  # a command that becomes the gateway: `strace -D …`, `prlimit …`

    def start(self):
        self.starts += 1
        with open(self.log(self.starts), "wb") as log:
            self.process = subprocess.Popen([*self.wrap, self.program, "run", "--config", self.config], env=self.environment,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def log(self, number):
        return os.path.join(self.folder, f"gateway-{number}.log")

    def log_end(self):
        with open(self.log(self.starts), encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-15:])

    def wait_ready(self, seconds):
        """Until /readyz says 200. Raises NotReady when it does not, or the process ends."""
        until, last = time.monotonic() + seconds, "no answer"
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise NotReady(f"the gateway ended with {self.process.returncode} while starting:\n{self.log_end()}")
            try:
                status, body = self.get("/readyz")
                if status == 200:
                    return
                last = f"{status} {body[:300]}"
            except OSError as error:
                last = str(error)
            time.sleep(0.02)
        raise NotReady(f"/readyz said {last!r} for {seconds} s; the log ends:\n{self.log_end()}")

    def get(self, path):
        """(status, text) of a GET on the admin address; OSError when there is no answer."""
        try:
            with urllib.request.urlopen(self.admin + path, timeout=5) as answer:
                return answer.status, answer.read().decode(errors="replace")
        except urllib.error.HTTPError as answer:
            return answer.code, answer.read().decode(errors="replace")

    def sample(self):
        """Notes the highest resident size so far, and an end that nobody asked for."""
        if self.process is None:
            return
        code = self.process.poll()
        if code is not None:
            self.unexpected.append(f"incarnation {self.starts} ended by itself with {code}:\n{self.log_end()}")
            self.process = None
            return
        try:
            with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
                found = re.search(r"VmHWM:\s+(\d+)", status.read())
        except OSError:
            return
        self.peak_rss_kib = max(self.peak_rss_kib, int(found.group(1)) if found else 0)

    def kill(self):
        """SIGKILL; returns the time, or None when it was gone already (which is noted)."""
        self.sample()
        if self.process is None:
            return None
        at = time.time()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None
        return at

    def terminate(self, seconds):
        """SIGTERM as an operator would; returns the exit code, or None when it had to be killed."""
        self.sample()
        if self.process is None:
            return None
        process, self.process = self.process, None
        process.terminate()
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return None

    def pending(self):
        """Events that lanes still have to deliver by /metrics, or None when it does not say."""
        try:
            status, text = self.get("/metrics")
        except OSError:
            return None
        values = re.findall(r"^anygate_lane_pending(?:\{[^}]*\})? ([0-9.e+]+)", text, re.MULTILINE)
        return sum(float(value) for value in values) if status == 200 and values else None

    def command(self, *arguments):
        """The output lines of `anygate ARGUMENTS` against this gateway, parsed as JSON lines."""
        done = subprocess.run([self.program, *arguments, "--admin", self.admin], capture_output=True, text=True,
                              timeout=300, check=False)
        if done.returncode:
            raise RuntimeError(f"anygate {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
        return [json.loads(line) for line in done.stdout.splitlines() if line.strip()]

    def panics(self):
        """Lines of all logs that speak of a panic."""
        found = []
        for number in range(1, self.starts + 1):
            with open(self.log(number), encoding="utf-8", errors="replace") as log:
                found += [f"gateway-{number}.log: {line.strip()}" for line in log if "panicked at" in line]
        return found
