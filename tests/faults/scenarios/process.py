"""The process is killed, stopped, frozen, started twice."""

import os
import signal
import subprocess
import time

from scenarios import scenario


@scenario(ci=5)
def kill_random(r):
    """kill -9 at a random moment under load, three times."""
    r.go()
    for _ in range(3):
        r.pause(0.1, 0.6)
        r.kill()
        r.pause(0, 0.2)
        r.restart()
        r.progress("after a kill", 100)


@scenario(ci=2)
def kill_storm(r):
    """Eight kills 30 to 400 ms apart, most of them while the gateway recovers."""
    r.go()
    r.kill()
    began = r.killed_at
    for _ in range(7):
        r.start(ready=False)
        r.pause(0.03, 0.4)
        r.killed_at = r.gateway.kill() or r.killed_at
    r.killed_at = began
    r.restart()
    r.progress("after the storm")


@scenario(ci=3)
def drain(r):
    """SIGTERM under load: every answer that was given is true, nothing is delivered twice, exit 0."""
    r.go()
    r.surge(0.05, 0.3)
    began = time.monotonic()
    r.stop()
    took, r.killed_at = time.monotonic() - began, time.time()
    if took > 5 + 10:
        r.faults.append(f"a drain of at most 5 s took {took:.1f} s")
    r.load.surge.value = 0
    r.start()
    r.progress("after the restart")


@scenario(ci=2)
def drain_kill(r):
    """SIGTERM, and kill -9 in the middle of the drain."""
    r.go()
    r.surge(0.05, 0.2)
    r.gateway.process.terminate()
    r.pause(0, 0.15)
    r.gateway.process.kill()
    r.gateway.process.wait()
    r.gateway.process, r.killed_at = None, time.time()
    r.load.surge.value = 0
    r.restart()
    r.progress("after the restart")


@scenario(ci=2)
def freeze(r):
    """SIGSTOP for a second or two, SIGCONT."""
    r.go()
    r.gateway.process.send_signal(signal.SIGSTOP)
    before = r.tally.acks()
    r.pause(0.3)
    still = r.tally.acks()
    r.pause(1.0, 2.0)
    r.require(r.tally.acks() - still == 0 and still >= before, "no answers while the process is stopped")
    r.gateway.process.send_signal(signal.SIGCONT)
    r.progress("after the thaw")


@scenario(ci=1)
def second_gateway(r):
    """A second gateway on the same folder: it refuses and says who holds it; the first goes on."""
    r.go()
    second = subprocess.Popen([r.gateway.program, "run", "--config", r.gateway.config], stderr=subprocess.PIPE, text=True,
                              env={**r.gateway.environment, "ADMIN_PORT": "0", "HTTP_PORT": "0", "MQTT_PORT": "0"})
    r.cleanup.callback(second.kill)
    try:
        said = second.communicate(timeout=20)[1]
    except subprocess.TimeoutExpired:
        second.kill()
        said = second.communicate()[1]
        r.faults.append("a second gateway ran on the same folder")
    if second.returncode == 0 or str(r.gateway.process.pid) not in said:
        r.faults.append(f"a second gateway ended with {second.returncode} and said {said[-500:]!r}")
    r.require(os.path.exists(os.path.join(r.data, "LOCK")), "the lock file")
    r.progress("beside the second gateway")
