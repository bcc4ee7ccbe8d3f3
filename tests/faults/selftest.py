"""The parts of the fault rounds, judged by themselves: the counting laws go red, the proxy does what it says, the tally counts.

    selftest.py      prints one line per case; exit 1 when one is wrong
"""

import importlib.util
import os
import re
import socket
import sys
import tempfile
import threading

import laws
import scenarios
from load import Tally
from ports import free_ports
from proxy import Proxy

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
RIGHT = """anygate_events_received_total{anygate_listener="web"} 10
anygate_events_kept_total{anygate_listener="web"} 8
anygate_events_refused_total{anygate_listener="web",word="malformed"} 2
anygate_events_targeted_total 8
anygate_lane_entered_total{anygate_backend="bus"} 8
anygate_lane_recovered_total{anygate_backend="bus"} 1
anygate_lane_delivered_total{anygate_backend="bus"} 7
anygate_lane_pending{anygate_backend="bus"} 2
"""


def check(name, right, detail=""):
    print(f"{'ok    ' if right else 'FAILED'}  {name}{'' if right else f': {detail}'}")
    return right


def check_laws():
    broken = {"none": RIGHT, "door": RIGHT.replace("} 10", "} 11"), "lane": RIGHT.replace("} 7", "} 6"),
              "between": RIGHT.replace("total 8", "total 9"), "/metrics": ""}
    found = {name: laws.broken(laws.Metrics(text)) for name, text in broken.items()}
    return check("laws", not found.pop("none") and all(any(name in law for law in said) for name, said in found.items()), found)


def check_tally():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "http-0.ledger")
        with open(path, "w", encoding="ascii") as file:
            file.write("ACK 0 1 1.0 \nNACK 1 1 1.0 503\nACK 2 1 1.")
        tally = Tally(folder)
        first = tally.acks()
        with open(path, "a", encoding="ascii") as file:
            file.write("0 \nUNKNOWN 3 1 1.0 closed\n")
        return check("tally", (first, tally.acks(), tally.look("NACK"), tally.look("UNKNOWN")) == (1, 2, 1, 1), tally.counts)


def echo(server):
    while True:
        try:
            one, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=lambda one=one: [one.sendall(data) for data in iter(lambda: one.recv(100), b"")], daemon=True).start()


def ask(port):
    """What comes back for a word through the proxy: the word, nothing, or an error."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as one:
            one.settimeout(0.5)
            one.sendall(b"word")
            return one.recv(100)
    except TimeoutError:
        return None
    except OSError:
        return b"reset"


def check_proxy():
    port = free_ports(1)[0]
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=echo, args=(server,), daemon=True).start()
        proxy = Proxy(f"127.0.0.1:{port}", f"127.0.0.1:{server.getsockname()[1]}")
        said = [ask(port)]
        proxy.cut()
        said.append(ask(port) in (b"reset", b""))
        proxy.heal()
        said.append(ask(port))
        proxy.swallow_down = True
        said.append(ask(port))
        proxy.heal()
        said.append(ask(port))
        proxy.close()
    return check("proxy", said == [b"word", True, b"word", None, b"word"], said)


def check_catalogue():
    count = sum(found.ci for found in scenarios.ALL.values())
    return check("catalogue: enough rounds, each described", count >= 60 and all(found.about for found in scenarios.ALL.values()), count)


def unfit(edits):
    """Of the edits of one seeded bug (file, old text), those whose old text is not in its file exactly once."""
    def count(file, old):
        with open(os.path.join(ROOT, file), encoding="utf-8") as source:
            return len(re.findall(r"\s+".join(map(re.escape, old.split())), source.read()))
    return [file for file, old in edits if count(file, old) != 1]


def check_bugs():
    """The seeded bugs follow the code: a bug that does not fit is noticed now, not when somebody asks who catches it."""
    def load(name, path):
        spec = importlib.util.spec_from_file_location(name, os.path.join(ROOT, path))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.BUGS
    ours = [(bug.name, [(file, old) for file, old, _ in bug.edits]) for bug in load("catalogue", "tests/faults/bugs/catalogue.py")]
    others = [(name, [(file, old) for file, old, _ in edits])
              for name, _, edits in load("bugs", "gateway/tests/simulation/mutants/bugs.py")]
    wrong = {name: unfit(edits) for name, edits in ours + others if unfit(edits)}
    return check(f"all {len(ours)} + {len(others)} seeded bugs fit the code", len(ours) >= 20 and len(others) >= 8 and not wrong, wrong)


def main():
    results = [check_laws(), check_tally(), check_proxy(), check_catalogue(), check_bugs()]
    print(f"{sum(results)} of {len(results)} right")
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
