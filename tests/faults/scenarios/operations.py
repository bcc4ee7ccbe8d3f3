"""What operators do under load: reload a config, the same one, another one, a broken one."""

import os
import subprocess

from rounds import Skip
from scenarios import scenario


def reload(r):
    """(exit code, what it said) of `anygate reload`."""
    done = subprocess.run([r.gateway.program, "reload", "--admin", r.gateway.admin], capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout + done.stderr


@scenario(ci=2)
def reload_under_load(r):
    """Twenty reloads under load, each with another config, and a broken one between: no connection ends, nothing is lost."""
    helped = subprocess.run([r.campaign.program, "reload", "--help"], capture_output=True, check=False)
    if helped.returncode != 0:
        raise Skip("this gateway has no reload")
    config = os.path.join(r.folder, "anygate.yaml")

    def write(old="", new=""):
        with open(os.path.join(os.path.dirname(__file__), "..", "gateway.yaml"), encoding="utf-8") as file:
            text = file.read()
        assert old in text
        with open(config, "w", encoding="utf-8") as file:
            file.write(text.replace(old, new) if old else text)
    write()
    r.prepare(config=config)
    r.go()
    for number in range(20):
        write("max_body: 1MiB", f"max_body: {512 + number % 3 * 128}KiB")
        code, said = reload(r)
        if code != 0:
            r.faults.append(f"reload {number} ended with {code}: {said[-400:]}")
        if number == 10:
            write("to: [bus, keep]", "to: [nowhere]")
            code, said = reload(r)
            if code == 0 or "nowhere" not in said:
                r.faults.append(f"a broken config was taken, or it is not said why not: {code} {said[-400:]}")
        r.pause(0, 0.1)
    r.progress("after the reloads")
    if unknown := r.tally.look("UNKNOWN"):
        r.faults.append(f"{unknown} messages lost their answer in reloads that change no address")
