"""The judgement: what the senders were told against what arrived. Pure: no files, no network, no clock.

    lost                 acknowledged, and missing in a required sink, without a dead letter for that sink
    invented             found, and never attempted
    corrupt              found, and not the bytes that its identity stands for
    mislabelled          found with other attributes than it was sent with, or another key
    refused_but_found    every attempt was definitely refused, and yet it is there
    out_of_order         first copies of one key in another order than their acknowledgements (or than one connection sent them)
    wrong_partition      not the partition that murmur2 gives for the key, or one key in two partitions
    unexcused_duplicates a second copy with no fault between the two, and no sender that sent it twice
    wrong_answers        a second answer, one out of order, one about something else
    gateway_faults       ended by itself, panicked, did not come back, did not stop cleanly, or said what is not so
    broken_laws          a counting law that does not hold at rest
"""

from collections import defaultdict
from dataclasses import dataclass, field

import payload
from murmur2 import partition

EXAMPLES = 5     # kept per figure
NEAR = 2.0       # seconds around a fault in which a copy is still its consequence
MIN_UNANSWERED = 100

PASS, VIOLATED, UNSETTLED, VACUOUS, HARNESS = range(5)
VIOLATIONS = ("lost", "invented", "corrupt", "mislabelled", "refused_but_found", "out_of_order", "wrong_partition",
              "unexcused_duplicates", "wrong_answers", "gateway_faults", "broken_laws")


@dataclass
class Facts:
    """Everything that is known about a run when it is over."""

    run: str
    ledgers: dict                     # producer -> ledger.Ledger
    sinks: dict                       # "kafka" | "store" -> [collect.Found]; each is required
    backends: dict                    # sink -> the backend's name in the config, as dead letters name it
    dead: list = field(default_factory=list)
    partitions: int = 6
    kills: list = field(default_factory=list)            # (killed, ready again)
    broker_faults: list = field(default_factory=list)    # (down, up)
    probes: tuple = ()                # producers whose one message must arrive everywhere
    required_acks: dict = field(default_factory=dict)    # protocol -> at least so many
    wanted_kills: int = 0
    settled: bool = True
    gateway_faults: list = field(default_factory=list)
    causes: list = field(default_factory=list)           # (name, from, until): other faults that may bring copies
    broken_laws: list = field(default_factory=list)
    doubts: list = field(default_factory=list)           # what makes the run prove nothing, seen while it ran
    min_unanswered: int = MIN_UNANSWERED                 # that all kills together must meet
    required_sinks: object = None                        # producer -> the sinks its messages go to; None: all
    once: tuple = ()  # producers whose messages the gateway may take in once, however often they are sent
    told_lost: int = 0                                   # losses that the gateway said itself: a disk lied to it


class Report:
    """Figures, examples of what is wrong, and the reasons why the run proves nothing."""

    def __init__(self):
        self.figures, self.examples, self.vacuous = {name: 0 for name in VIOLATIONS}, defaultdict(list), []
        self.settled = True

    def blame(self, figure, text):
        self.figures[figure] += 1
        if len(self.examples[figure]) < EXAMPLES:
            self.examples[figure].append(text)

    def code(self):
        if any(self.figures[name] for name in VIOLATIONS):
            return VIOLATED
        if not self.settled:
            return UNSETTLED
        return VACUOUS if self.vacuous else PASS


def judge(facts):
    """The whole judgement of a run."""
    report = Report()
    report.settled = facts.settled
    for producer, ledger in facts.ledgers.items():
        for fault in ledger.faults:
            report.blame("wrong_answers", f"{producer} {fault}")
    for fault in facts.gateway_faults:
        report.blame("gateway_faults", fault)
    for law in facts.broken_laws:
        report.blame("broken_laws", law)
    copies = {sink: recognise(facts, report, sink, found) for sink, found in facts.sinks.items()}
    check_losses(facts, report, copies)
    if 0 < report.figures["lost"] <= facts.told_lost:
        report.figures["lost_and_told"], report.figures["lost"] = report.figures["lost"], 0
    check_refused(facts, report, copies)
    for sink, by_message in copies.items():
        check_order(facts, report, sink, by_message)
        check_duplicates(facts, report, sink, by_message)
    if "kafka" in facts.sinks:
        check_partitions(facts, report)
    check_vacuity(facts, report, copies)
    count(facts, report, copies)
    return report


def recognise(facts, report, sink, found):
    """Copies by message, in the order of their place; what is no message of this run is blamed here."""
    by_message = defaultdict(list)
    for copy in sorted(found, key=lambda copy: (copy.place, copy.order)):
        where = f"{sink} {copy.place}/{copy.order}"
        who = payload.identity(copy.data)
        if who is None:
            report.blame("corrupt", f"{where}: unreadable: {copy.data[:80]!r}")
            continue
        run, producer, seq = who
        ledger = facts.ledgers.get(producer)
        if run != facts.run or ledger is None or seq not in ledger.entries:
            # A flipped byte in the identity itself: the event's own id still says whose it was.
            known = attempted(facts, str(copy.attributes.get("id", "")))
            report.blame("corrupt" if known else "invented", f"{where}: {who}")
            continue
        if copy.data != payload.body(run, producer, seq):
            report.blame("corrupt", f"{where}: {producer} {seq}: {copy.data[:120]!r}")
            continue
        check_label(report, where, copy, run, producer, seq)
        by_message[producer, seq].append(copy)
    return by_message


def attempted(facts, event_id):
    """Is this the event id of a message that was attempted?"""
    producer, _, seq = event_id.removeprefix(f"{facts.run}-").rpartition("-")
    return event_id.startswith(f"{facts.run}-") and producer in facts.ledgers and seq.isdigit() \
        and int(seq) in facts.ledgers[producer].entries


def check_label(report, where, copy, run, producer, seq):
    for name, value in payload.attributes(run, producer, seq).items():
        if name in copy.attributes or where.startswith("kafka"):
            if copy.attributes.get(name) != value:
                report.blame("mislabelled", f"{where}: {producer} {seq}: {name} is {copy.attributes.get(name)!r}, not {value!r}")
                return
    if where.startswith("kafka") and copy.key != payload.key(run, producer, seq).encode():
        report.blame("mislabelled", f"{where}: {producer} {seq}: key {copy.key!r}")


def sinks_of(facts, producer):
    """The sinks where the messages of this producer must arrive."""
    return facts.required_sinks(producer) if facts.required_sinks else facts.sinks


def check_losses(facts, report, copies):
    excused = defaultdict(set)
    for letter in facts.dead:
        if letter.who is not None and letter.who[0] == facts.run:
            for sink in facts.sinks:
                if letter.backend in (None, facts.backends[sink]):
                    excused[sink].add(letter.who[1:])
    for producer, ledger in facts.ledgers.items():
        for seq, entry in ledger.entries.items():
            if entry.acked is None:
                continue
            for sink in sinks_of(facts, producer):
                if (producer, seq) not in copies[sink] and (producer, seq) not in excused[sink]:
                    report.blame("lost", f"{producer} {seq}: acknowledged at {entry.acked_at:.3f}, not in {sink}")


def check_refused(facts, report, copies):
    for producer, ledger in facts.ledgers.items():
        for seq, entry in ledger.entries.items():
            if entry.refused():
                for sink in facts.sinks:
                    if (producer, seq) in copies[sink]:
                        report.blame("refused_but_found", f"{producer} {seq}: refused ({entry.nacks[-1]}), found in {sink}")


def check_order(facts, report, sink, by_message):
    """Two orders over the first copies of each key: of acknowledgements, and of what one connection sent."""
    streams = defaultdict(list)
    for (producer, seq), found in by_message.items():
        first = min(found, key=lambda copy: (copy.place, copy.order))
        streams[payload.key(facts.run, producer, seq)].append((first.place, first.order, producer, seq))
    for key, firsts in streams.items():
        last_ack, last_sent = -1, {}
        for _, _, producer, seq in sorted(firsts):
            entry = facts.ledgers[producer].entries[seq]
            wrong = entry.acked is not None and entry.acked < last_ack
            last_ack = max(last_ack, -1 if entry.acked is None else entry.acked)
            # Only messages with one attempt: where a message was sent twice, either attempt may be the one found.
            if len(entry.attempts) == 1:
                epoch = entry.attempts[0][0]
                wrong = wrong or seq < last_sent.get(epoch, -1)
                last_sent[epoch] = max(last_sent.get(epoch, -1), seq)
            if wrong:
                report.blame("out_of_order", f"{sink} {key}: {producer} {seq} came after a later one")


def check_partitions(facts, report):
    of_key = {}
    for copy in facts.sinks["kafka"]:
        if copy.key is None:
            report.blame("wrong_partition", f"{copy.place}/{copy.order}: a record without a key")
        elif of_key.setdefault(copy.key, copy.place) != copy.place:
            report.blame("wrong_partition", f"{copy.place}/{copy.order}: key {copy.key!r} is also in {of_key[copy.key]}")
        elif copy.place != partition(copy.key, facts.partitions):
            report.blame("wrong_partition", f"{copy.place}/{copy.order}: key {copy.key!r} belongs into "
                                            f"{partition(copy.key, facts.partitions)}")


def check_duplicates(facts, report, sink, by_message):
    """A copy is excused by a fault between it and the copy before, or by a sender that had no answer and sent again.

    Where dedupe is on, sending again excuses nothing: all copies must come from one acceptance, which a fault may deliver twice.
    """
    faults = [*facts.kills, *facts.broker_faults, *((down, up) for _, down, up in facts.causes)]
    total = 0
    for (producer, seq), found in by_message.items():
        total += len(found) - 1
        entry = facts.ledgers[producer].entries[seq]
        allowed = 0 if producer in facts.once else len(entry.attempts) - 1
        taken = {copy.trace for copy in found}
        if producer in facts.once and len(found) > 1 and None in taken:
            report.vacuous.append(f"{sink}: {producer} {seq}: {len(found)} copies, and not all say which acceptance they came from")
        if producer in facts.once and len(taken - {None}) > 1:
            report.blame("unexcused_duplicates", f"{sink}: {producer} {seq}: taken in {len(taken)} times in spite of dedupe")
        for before, copy in zip(found, found[1:]):
            if allowed > 0:
                allowed -= 1
            elif before.at is None or copy.at is None:
                if not faults:
                    report.blame("unexcused_duplicates", f"{sink}: {producer} {seq}: a second copy in a run without faults")
            elif not any(down - NEAR <= copy.at and before.at <= up + NEAR for down, up in faults):
                report.blame("unexcused_duplicates", f"{sink}: {producer} {seq}: copies at {before.at:.3f} and {copy.at:.3f}")
    report.figures[f"duplicates_{sink}"] = total


def unanswered_at_kills(facts):
    """Messages that a kill left without an answer: UNKNOWN by a broken connection, from the kill until all serve again."""
    met = 0
    for ledger in facts.ledgers.values():
        for entry in ledger.entries.values():
            met += any(killed - 0.05 <= at <= ready for at, _ in entry.unknown for killed, ready in facts.kills)
    return met


def check_vacuity(facts, report, copies):
    report.figures["unanswered_at_kills"] = met = unanswered_at_kills(facts)
    resent = sum(len(entry.attempts) > 1 for ledger in facts.ledgers.values() for entry in ledger.entries.values())
    report.figures["resent"] = resent
    report.vacuous += facts.doubts
    if len(facts.kills) < facts.wanted_kills:
        report.vacuous.append(f"{len(facts.kills)} kills, {facts.wanted_kills} were wanted")
    if facts.wanted_kills:
        if met < facts.min_unanswered:
            report.vacuous.append(f"all kills together met {met} unanswered messages, at least {facts.min_unanswered} are needed")
        if not resent and not any(report.figures[f"duplicates_{sink}"] for sink in facts.sinks):
            report.vacuous.append("nothing was retried: no message was sent again and none was delivered twice")
    for protocol, needed in facts.required_acks.items():
        acks = sum(ledger.acks() for name, ledger in facts.ledgers.items() if name.startswith(protocol))
        if acks < needed:
            report.vacuous.append(f"{acks} acknowledged over {protocol}, at least {needed} are needed")
    for producer in facts.probes:
        ledger = facts.ledgers.get(producer)
        if ledger is None or not ledger.acks():
            report.vacuous.append(f"the probe {producer} was not acknowledged")
        for sink in sinks_of(facts, producer):
            if (producer, 0) not in copies[sink]:
                report.vacuous.append(f"the probe {producer} is not in {sink}")


def count(facts, report, copies):
    """Figures that are neither good nor bad."""
    figures = report.figures
    for protocol in sorted({name.split("-")[0] for name in facts.ledgers}):
        ledgers = [ledger for name, ledger in facts.ledgers.items() if name.startswith(protocol)]
        figures[f"attempted_{protocol}"] = sum(len(ledger.entries) for ledger in ledgers)
        figures[f"acknowledged_{protocol}"] = sum(ledger.acks() for ledger in ledgers)
        figures[f"refused_{protocol}"] = sum(entry.refused() for ledger in ledgers for entry in ledger.entries.values())
    for sink in facts.sinks:
        figures[f"found_{sink}"] = len(facts.sinks[sink])
        figures[f"messages_{sink}"] = len(copies[sink])
    figures.update(dead_letters=len(facts.dead), kills=len(facts.kills), broker_restarts=len(facts.broker_faults))
