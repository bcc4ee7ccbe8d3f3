"""The judge judged: a made-up run that is right passes, and each fault put into it makes exactly the right figure red.

    selftest.py      prints one line per case; exit 1 when one is wrong

Also here: murmur2 against librdkafka's own (known values), the ledger's reader, and the shape of payloads.
"""

import copy
import json
import os
import sqlite3
import sys
import tempfile

import collect
import ledger
import payload
import verdict
from collect import Dead, Found
from murmur2 import murmur2, partition

RUN = "jtest"
PARTITIONS = 6
COUNT = 60
FAULT = (1000.0, 1001.0)
NAMES = ("http-0", "http-1", "mqtt-0", "mqtt-1")


def kafka_copy(producer, seq, order, at=500.0):
    key = payload.key(RUN, producer, seq).encode()
    return Found(partition(key, PARTITIONS), order, payload.body(RUN, producer, seq),
                 dict(payload.attributes(RUN, producer, seq)), key, at, "a" * 32)


def store_copy(producer, seq, order):
    return Found(0, order, payload.body(RUN, producer, seq), dict(payload.attributes(RUN, producer, seq)), trace="a" * 32)


def clean():
    """A run that is right: two protocols, one kill that met 120 unanswered messages, resends, duplicates, probes."""
    facts = verdict.Facts(run=RUN, ledgers={}, sinks={"kafka": [], "store": []}, backends={"kafka": "bus", "store": "keep"},
                          partitions=PARTITIONS, kills=[FAULT], probes=("http-probe", "mqtt-probe"),
                          required_acks={"http": 2 * COUNT, "mqtt": COUNT}, wanted_kills=1)
    order = 0
    for producer in (*NAMES, *facts.probes):
        lines, count = [], 1 if producer.endswith("probe") else COUNT
        for seq in range(count):
            lines.append(f"ATTEMPT {seq} 1 999.0 \n")
            # The kill met the second half of each stream: HTTP sends again, MQTT leaves it unknown.
            if seq >= COUNT // 2:
                lines.append(f"UNKNOWN {seq} 1 1000.1 reset\n")
                if producer.startswith("http"):
                    lines += [f"ATTEMPT {seq} 2 1002.0 \n", f"ACK {seq} 2 1002.1 \n"]
            else:
                lines.append(f"ACK {seq} 1 999.5 \n")
            order += 1
            facts.sinks["kafka"].append(kafka_copy(producer, seq, order))
            facts.sinks["store"].append(store_copy(producer, seq, order))
        facts.ledgers[producer] = ledger.read(lines)
    for seq in (10, 11, 12):  # delivered again after the kill
        order += 1
        facts.sinks["kafka"].append(kafka_copy("http-0", seq, order, 1001.5))
    facts.required_acks["mqtt"] = COUNT
    return facts


def position(facts, sink, producer, seq):
    wanted = payload.body(RUN, producer, seq)
    return next(at for at, found in enumerate(facts.sinks[sink]) if found.data == wanted)


# Faults: each takes a clean run and breaks it.
def missing_in_kafka(facts):
    del facts.sinks["kafka"][position(facts, "kafka", "mqtt-0", 5)]


def missing_in_store(facts):
    del facts.sinks["store"][position(facts, "store", "http-0", 5)]


def dead_letter_of_another_backend(facts):
    missing_in_kafka(facts)
    facts.dead.append(Dead((RUN, "mqtt-0", 5), "keep", "too_large"))


def changed_byte(facts):
    found = facts.sinks["kafka"][position(facts, "kafka", "http-1", 7)]
    found.data = found.data[:-5] + bytes([found.data[-5] ^ 1]) + found.data[-4:]
    facts.sinks["kafka"].append(kafka_copy("http-1", 7, 9000, 1000.5))  # not lost, only one copy is bad


def changed_byte_in_store(facts):
    at = position(facts, "store", "http-1", 7)
    facts.sinks["store"].insert(at, copy.deepcopy(facts.sinks["store"][at]))
    facts.sinks["store"][at].data = facts.sinks["store"][at].data.replace(b'"pad":"', b'"pad":"0')


def unreadable(facts):
    facts.sinks["kafka"].append(Found(0, 9000, b"\xff\x00", {}, b"k", 500.0))


def invented(facts):
    facts.sinks["kafka"].append(kafka_copy("http-0", COUNT + 5, 9000))


def changed_identity(facts):
    """The flipped byte turns the payload's number into one that was never sent."""
    at = position(facts, "kafka", "http-1", COUNT - 1)
    facts.sinks["kafka"].append(copy.deepcopy(facts.sinks["kafka"][at]))
    facts.sinks["kafka"][at].data = facts.sinks["kafka"][at].data.replace(b'"seq":59', b'"seq":99')


def of_another_run(facts):
    found = store_copy("http-0", 1, 9000)
    found.data, found.attributes["id"] = payload.body("jother", "http-0", 1), payload.identifier("jother", "http-0", 1)
    facts.sinks["store"].append(found)


def reordered(facts):
    """Two acknowledged messages of one key change places."""
    of_key = [seq for seq in range(COUNT // 2) if payload.key(RUN, "mqtt-0", seq) == payload.key(RUN, "mqtt-0", 0)]
    first, second = (facts.sinks["kafka"][position(facts, "kafka", "mqtt-0", seq)] for seq in of_key[:2])
    first.order, second.order = second.order, first.order


def reordered_unacknowledged(facts):
    """Two messages that one connection sent and that were never answered change places."""
    rest = range(COUNT // 2, COUNT)
    of_key = [seq for seq in rest if payload.key(RUN, "mqtt-0", seq) == payload.key(RUN, "mqtt-0", COUNT // 2)]
    first, second = (facts.sinks["kafka"][position(facts, "kafka", "mqtt-0", seq)] for seq in of_key[:2])
    first.order, second.order = second.order, first.order


def wrong_partition(facts):
    """Another partitioner, the same for all: every key moves to the next partition."""
    for found in facts.sinks["kafka"]:
        found.place = (found.place + 1) % PARTITIONS


def one_key_in_two_partitions(facts):
    found = facts.sinks["kafka"][position(facts, "kafka", "http-0", COUNT - 1)]
    found.place = (found.place + 1) % PARTITIONS


def mislabelled_type(facts):
    facts.sinks["kafka"][3].attributes["type"] = "com.acme.other"


def mislabelled_key(facts):
    found = facts.sinks["kafka"][3]
    found.key = b"other"
    found.place = partition(b"other", PARTITIONS)


def refused_but_found(facts):
    entry = facts.ledgers["mqtt-1"].entries[COUNT - 1]
    entry.unknown, entry.nacks = [], ["0x99"]


def duplicate_far_from_faults(facts):
    facts.sinks["kafka"].append(kafka_copy("mqtt-1", 3, 9000, 600.0))


def acknowledged_twice(facts):
    facts.ledgers["mqtt-1"].faults.append("3: acknowledged twice")


def gateway_ended(facts):
    facts.gateway_faults.append("incarnation 1 ended by itself with 101")


def few_unanswered(facts):
    for entries in (facts.ledgers[name].entries for name in NAMES):
        for entry in entries.values():
            entry.unknown = [(at - 100, why) for at, why in entry.unknown]


def nothing_retried(facts):
    """No second attempt, and no second copy."""
    for name in NAMES:
        for entry in facts.ledgers[name].entries.values():
            entry.attempts = entry.attempts[:1]
    del facts.sinks["kafka"][-3:]


def too_few_kills(facts):
    facts.wanted_kills = 2


def probe_not_acknowledged(facts):
    facts.ledgers["http-probe"].entries[0].acked = None


def probe_missing(facts):
    del facts.ledgers["mqtt-probe"]
    for sink in facts.sinks:
        del facts.sinks[sink][position(facts, sink, "mqtt-probe", 0)]


def too_few_acks(facts):
    facts.required_acks["mqtt"] = COUNT + 2  # there are COUNT and the probe


def broken_law(facts):
    facts.broken_laws.append("lane law of bus: 3 entered, 2 delivered")


def doubted(facts):
    """Something that a scenario waited for was never seen."""
    facts.doubts.append("not seen: an injected EIO")


def taken_in_again_in_spite_of_dedupe(facts):
    """10, 11 and 12 came twice around a kill, which excuses it, but one of them was taken in twice."""
    facts.once = ("http-0",)
    facts.sinks["kafka"][-1].trace = "b" * 32


def copies_without_a_trace(facts):
    """With dedupe nothing shows that they come from one acceptance each."""
    facts.once = ("http-0",)
    facts.sinks["kafka"][-1].trace = None


def delivered_again_with_dedupe(facts):
    """The same, all from one acceptance each."""
    facts.once = ("http-0",)


def second_copy_without_a_fault(facts):
    """With dedupe a sender that sends again excuses no second copy."""
    facts.once = ("http-0",)
    facts.sinks["kafka"].append(kafka_copy("http-0", COUNT - 1, 10_000, 900.0))
    facts.sinks["kafka"][position(facts, "kafka", "http-0", COUNT - 1)].at = 800.0


def lost_but_told(facts):
    missing_in_kafka(facts)
    facts.told_lost = 1


def more_lost_than_told(facts):
    missing_in_kafka(facts)
    missing_in_store(facts)
    facts.told_lost = 1


def only_for_the_store(facts):
    """A message that is not meant for Kafka need not be there."""
    missing_in_kafka(facts)
    facts.required_sinks = lambda producer: ("store",) if producer == "mqtt-0" else ("kafka", "store")


def excused_by_another_cause(facts):
    duplicate_far_from_faults(facts)
    facts.causes.append(("cut", 550.0, 590.0))


def not_settled(facts):
    facts.settled = False


def excused_by_dead_letter(facts):
    missing_in_kafka(facts)
    facts.dead.append(Dead((RUN, "mqtt-0", 5), "bus", "too_large"))


def nothing(_):
    pass


# (fault, exit code, the only figure that may be red)
CASES = [
    (nothing, verdict.PASS, None),
    (excused_by_dead_letter, verdict.PASS, None),
    (missing_in_kafka, verdict.VIOLATED, "lost"),
    (missing_in_store, verdict.VIOLATED, "lost"),
    (dead_letter_of_another_backend, verdict.VIOLATED, "lost"),
    (changed_byte, verdict.VIOLATED, "corrupt"),
    (changed_byte_in_store, verdict.VIOLATED, "corrupt"),
    (changed_identity, verdict.VIOLATED, "corrupt"),
    (unreadable, verdict.VIOLATED, "corrupt"),
    (invented, verdict.VIOLATED, "invented"),
    (of_another_run, verdict.VIOLATED, "invented"),
    (reordered, verdict.VIOLATED, "out_of_order"),
    (reordered_unacknowledged, verdict.VIOLATED, "out_of_order"),
    (wrong_partition, verdict.VIOLATED, "wrong_partition"),
    (one_key_in_two_partitions, verdict.VIOLATED, "wrong_partition"),
    (mislabelled_type, verdict.VIOLATED, "mislabelled"),
    (mislabelled_key, verdict.VIOLATED, "mislabelled"),
    (refused_but_found, verdict.VIOLATED, "refused_but_found"),
    (duplicate_far_from_faults, verdict.VIOLATED, "unexcused_duplicates"),
    (acknowledged_twice, verdict.VIOLATED, "wrong_answers"),
    (gateway_ended, verdict.VIOLATED, "gateway_faults"),
    (broken_law, verdict.VIOLATED, "broken_laws"),
    (taken_in_again_in_spite_of_dedupe, verdict.VIOLATED, "unexcused_duplicates"),
    (second_copy_without_a_fault, verdict.VIOLATED, "unexcused_duplicates"),
    (delivered_again_with_dedupe, verdict.PASS, None),
    (more_lost_than_told, verdict.VIOLATED, "lost"),
    (lost_but_told, verdict.PASS, None),
    (only_for_the_store, verdict.PASS, None),
    (excused_by_another_cause, verdict.PASS, None),
    (doubted, verdict.VACUOUS, None),
    (copies_without_a_trace, verdict.VACUOUS, None),
    (not_settled, verdict.UNSETTLED, None),
    (few_unanswered, verdict.VACUOUS, None),
    (nothing_retried, verdict.VACUOUS, None),
    (too_few_kills, verdict.VACUOUS, None),
    (probe_not_acknowledged, verdict.VACUOUS, None),
    (probe_missing, verdict.VACUOUS, None),
    (too_few_acks, verdict.VACUOUS, None),
]
MAY_ALSO = {wrong_partition: {"out_of_order"}, one_key_in_two_partitions: {"out_of_order"}, unreadable: {"wrong_partition"},
            mislabelled_key: {"wrong_partition", "out_of_order"}, changed_byte: {"out_of_order"}}


def check(name, right, detail=""):
    print(f"{'ok    ' if right else 'FAILED'}  {name}{'' if right else ': ' + detail}")
    return right


def check_case(fault, code, figure):
    facts = clean()
    fault(facts)
    report = verdict.judge(facts)
    red = {name for name in verdict.VIOLATIONS if report.figures[name]}
    wanted = {figure} if figure else set()
    right = report.code() == code and wanted <= red <= wanted | MAY_ALSO.get(fault, set())
    return check(f"judge: {fault.__name__}", right, f"code {report.code()}, red {red}, vacuous {report.vacuous}, {dict(report.examples)}")


def check_murmur2():
    """The values of the test of Kafka's own Java client (UtilsTest.testMurmur2)."""
    known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536,
             b"a-little-bit-longer-string": -1486304829, b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
             b"abc": 479470107}
    wrong = [data for data, value in known.items() if murmur2(data) != value & 0xFFFFFFFF]
    return check("murmur2 as Kafka's Java client", not wrong, str(wrong))


def check_payload():
    data = payload.body(RUN, "mqtt-0", 3)
    same = json.dumps(json.loads(data), separators=(",", ":")).encode() == data
    return check("payload: compact, readable, its own", same and payload.identity(data) == (RUN, "mqtt-0", 3)
                 and data != payload.body(RUN, "mqtt-0", 4))


def check_ledger():
    read = ledger.read(["ATTEMPT 0 1 1.0 \n", "ACK 0 1 1.1 \n", "ACK 0 1 1.2 \n", "ATTEMPT 1 1 1.3 \n", "NACK 1 1 1.4 422 malformed\n",
                        "ATTEMPT 2 1 1.5"])
    return check("ledger: double answer, refusal, cut line", read.faults == ["0: acknowledged twice"] and read.acks() == 1
                 and read.entries[1].refused() and not read.entries[0].refused() and 2 not in read.entries)


def check_store():
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.path.join(folder, "store"))
        database = sqlite3.connect(os.path.join(folder, "store", "events.db"))
        database.execute("CREATE TABLE meta (name TEXT)")
        database.execute("CREATE TABLE events (position INTEGER PRIMARY KEY, id TEXT, source TEXT, type TEXT, data BLOB)")
        database.execute("INSERT INTO events VALUES (7, 'i', '/s', 't', ?)", (payload.body(RUN, "http-0", 1),))
        database.commit()
        database.close()
        rows = collect.store_rows(folder)
    return check("store: rows read from SQLite", rows is not None and len(rows) == 1 and rows[0].attributes["id"] == "i"
                 and payload.identity(rows[0].data) == (RUN, "http-0", 1))


def check_config():
    """The copy of the pinned config is the pinned config, where that can be seen."""
    here = os.path.dirname(os.path.abspath(__file__))
    pinned = os.path.join(here, "../../../shared/acceptance/http-mqtt-to-kafka.yaml")
    if not os.path.exists(pinned):
        print("SKIPPED config: ../shared/acceptance is not here")
        return True
    with open(pinned, "rb") as one, open(os.path.join(here, "http-mqtt-to-kafka.yaml"), "rb") as other:
        return check("config: the copy is the pinned one", one.read() == other.read())


def main():
    results = [check_murmur2(), check_payload(), check_ledger(), check_store(), check_config()]
    results += [check_case(*case) for case in CASES]
    print(f"{sum(results)} of {len(results)} right")
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
