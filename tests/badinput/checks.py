"""What must hold of a run, judged from what was measured, and nothing else: no process, no socket, no clock."""

import statistics

import measure
from slow import KINDS

STRICT, LOOSE = (1.5, 0.0), (4.0, 400.0)  # factor and milliseconds more, for the p99
RSS_MORE_MIB = 64                # above idle and the byte budget
ROOM_MIB = 64                    # anygate.yaml
LATE = {False: 2.0, True: 10.0}  # seconds after its deadline until a slow client is gone, strict and loose
# What a window's end may cut off of its good events: a share of them, strict; loose, so many seconds of them, because a machine
# that others use stalls for moments.
BEHIND = {False: 0.002, True: 1.0}
ROWS_LEAST = {False: 200, True: 20}  # bad rows of a window, strict and loose: a debug build answers fewer


class Vacuous(Exception):
    """What should have been measured did not happen."""


def judge(facts):
    """Everything that must hold, as rows of measure.py. Raises Vacuous when what should disturb did not."""
    windows, given = facts["windows"], facts["given"]
    check_disturbed(windows, given)
    reports = [report for window in windows for report in window["good"]]
    rows = [
        measure.at_most("good events sent and not acknowledged", sum(r["sent"] - r["acked"] for r in reports), 0),
        measure.at_most(f"good events not sent at their rate, {'s' if given['loose'] else 'share'}",
                        max(behind(window, given) for window in windows), BEHIND[given["loose"]]),
        measure.at_most("good events refused, lost or unknown", sum(r["refused"] + r["lost"] + r["unknown"] for r in reports), 0),
        measure.at_most("good answers twice or out of order", sum(r["duplicated"] + r["out_of_order"] for r in reports), 0),
        measure.at_most("good events delivered and acknowledged, difference", abs(facts["delivered"] - facts["acked"]), 0),
        measure.at_most("counting laws broken", len(facts["laws"]), 0),
        measure.at_most("bad rows answered otherwise than alone", len(facts["failed"]), 0),
    ]
    for part in dict.fromkeys(window["part"] for window in windows):
        rows += judge_part(part, [window for window in windows if window["part"] == part], facts)
    return [*rows, measure.at_most("panics", len(facts["panics"]), 0), measure.at_most("exit code", facts["exit"], 0)]


def behind(window, given):
    """The good events that were due and not sent when the window ended, as BEHIND counts them; a stall in its last moment makes it so."""
    late = sum(report["behind"] for report in window["good"])
    if given["loose"]:
        return late / given["rate"]
    return late / max(1, late + sum(report["sent"] for report in window["good"]))


def holds_the_rate(window, given):
    """Whether the good events of a window were sent when they were due."""
    return behind(window, given) <= BEHIND[given["loose"]]


def check_disturbed(windows, given):
    """Raises Vacuous unless every disturbed window was disturbed, and the machine held the rate in the calm ones."""
    for window in windows:
        if window["kind"] == "calm" and not holds_the_rate(window, given):
            late = f"{behind(window, given):.3f} {'s' if given['loose'] else 'of all'}"
            raise Vacuous(f"{late} not sent in time in a calm window: this machine does not hold the rate")
        if window["kind"] == "bad" and window["bad_rows"] < ROWS_LEAST[given["loose"]]:
            raise Vacuous(f"only {window['bad_rows']} bad rows in a window of {window['part']}")
        if window["kind"] == "slow":
            slow = window["slow"]
            if window["greeted"] != slow["idle MQTT"]["clients"]:
                raise Vacuous(f"{window['greeted']} of {slow['idle MQTT']['clients']} MQTT clients were let in")
            if window["unanswered"]:
                raise Vacuous(f"{window['unanswered']} clients that never read had nothing to read")


def judge_part(part, windows, facts):
    """The times of good answers, memory, and the slow clients' ends."""
    loose, sync = facts["given"]["loose"], max(facts["syncs_ms"])
    factor, slack = LOOSE if loose else STRICT
    calm = [window for window in windows if window["kind"] == "calm"]
    other = [window for window in windows if window["kind"] != "calm"]
    rows = []
    for number, report in enumerate(calm[0]["good"]):
        p99 = [statistics.median(w["good"][number]["ms"]["p99"] for w in kind) for kind in (calm, other)]
        rows.append(measure.at_most(f"{part}: p99 of good {report['protocol']} answers, disturbed, ms", p99[1],
                                    factor * p99[0] + sync + slack))
    room = ROOM_MIB if part == "slow" else 0
    base = facts["idle_mib"] if part == "slow" else max(window["rss_mib"] for window in calm)
    what = "idle" if part == "slow" else "calm"
    rows.append(measure.at_most(f"{part}: RSS above {what}, MiB", max(w["rss_mib"] for w in other) - base, room + RSS_MORE_MIB))
    for kind in KINDS if part == "slow" else ():
        stays = [window["slow"][kind]["late"] for window in other]
        rows.append(measure.at_most(f"slow: {kind}, gone after its deadline, s", None if None in stays else max(stays), LATE[loose]))
    return rows
