"""The checks of tests/badinput/run go red on every fault that they are for, and say when nothing was proven.

    selftest.py      prints one line per case; exit 1 when one is wrong
"""

import copy
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "judge"))
from checks import Vacuous, judge  # noqa: E402
from slow import KINDS, mixed  # noqa: E402


def report(p99):
    return {"protocol": "http", "sent": 100, "behind": 0, "acked": 100, "refused": 0, "lost": 0, "unknown": 0, "duplicated": 0,
            "out_of_order": 0, "ms": {"p50": 1.0, "p99": p99}}


def window(part, kind, **more):
    return {"part": part, "kind": kind, "good": [report(10.0)], "rss_mib": 40.0, **more}


SLOW = {kind: {"clients": 10, "late": 0.1} for kind in KINDS}
RIGHT = {
    "windows": [window("http", "calm"), window("http", "bad", bad_rows=1000), window("slow", "calm"),
                window("slow", "slow", slow=SLOW, greeted=10, unanswered=0)],
    "failed": [], "acked": 400, "delivered": 400.0, "idle_mib": 20.0, "syncs_ms": [0.5, 1.0], "laws": [], "panics": [], "exit": 0,
    "given": {"rate": 100, "loose": False}}

# What is broken: how, and the words of the row that has to go red.
BROKEN = {
    "one good event without an answer": (lambda f: f["windows"][1]["good"][0].update(acked=99), "not acknowledged"),
    "one of a hundred that was due and not sent": (lambda f: f["windows"][1]["good"][0].update(behind=1), "not sent"),
    "one refused": (lambda f: f["windows"][1]["good"][0].update(refused=1), "refused, lost"),
    "one answered twice": (lambda f: f["windows"][3]["good"][0].update(duplicated=1), "twice"),
    "one acknowledged and not delivered": (lambda f: f.update(delivered=399.0), "delivered"),
    "one delivered and not acknowledged": (lambda f: f.update(delivered=401.0), "delivered"),
    "a broken law": (lambda f: f["laws"].append("door law"), "laws"),
    "a bad row answered otherwise": (lambda f: f["failed"].append({}), "bad rows"),
    "slow answers beside bad input": (lambda f: f["windows"][1]["good"][0]["ms"].update(p99=16.1), "http: p99"),
    "slow answers beside slow clients": (lambda f: f["windows"][3]["good"][0]["ms"].update(p99=16.1), "slow: p99"),
    "memory beside bad input": (lambda f: f["windows"][1].update(rss_mib=104.5), "http: RSS"),
    "memory beside slow clients": (lambda f: f["windows"][3].update(rss_mib=148.5), "slow: RSS"),
    "a slow client that stays too long": (lambda f: f["windows"][3]["slow"]["silent"].update(late=2.1), "silent"),
    "a slow client that stays": (lambda f: f["windows"][3]["slow"]["never reads"].update(late=None), "never reads"),
    "a panic": (lambda f: f["panics"].append("panicked at"), "panics"),
    "an exit by a signal": (lambda f: f.update(exit=None), "exit code"),
}
# What did not happen.
VACUOUS = {
    "a machine that is too slow": lambda f: f["windows"][0]["good"][0].update(behind=1),
    "no bad rows": lambda f: f["windows"][1].update(bad_rows=3),
    "no MQTT session": lambda f: f["windows"][3].update(greeted=9),
    "no answer to leave unread": lambda f: f["windows"][3].update(unanswered=1),
}


def check(name, right, detail=""):
    print(f"{'ok    ' if right else 'FAILED'}  {name}{'' if right else f': {detail}'}")
    return right


def red(change):
    """The rows that go red after this change; None: nothing was proven."""
    facts = copy.deepcopy(RIGHT)
    change(facts)
    try:
        return [row[0] for row in judge(facts) if not row[3]]
    except Vacuous:
        return None


def late(facts, events):
    """So many good events of a disturbed window were not sent in time, on a machine that others use."""
    facts.update(given={"rate": 100, "loose": True})
    facts["windows"][1]["good"][0].update(behind=events)


def main():
    results = [check("nothing broken", red(lambda facts: None) == [], red(lambda facts: None))]
    for name, (change, words) in BROKEN.items():
        found = red(change)
        results.append(check(name, found is not None and len(found) == 1 and words in found[0], found))
    results += [check(name, red(change) is None) for name, change in VACUOUS.items()]
    results += [check("a second's stall, loose", red(lambda facts: late(facts, 100)) == []),
                check("more than a second's, loose", red(lambda facts: late(facts, 101)) == ["good events not sent at their rate, s"])]
    kinds = mixed(2000)
    shares = {kind: kinds.count(kind) for kind in KINDS}
    results.append(check("2,000 slow clients of every kind", len(kinds) == 2000 and min(shares.values()) == 100, shares))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
