"""What one producer did and what it was told: a file that is only appended to, one line per fact, written at once.

    ATTEMPT seq epoch time        about to be sent, on the producer's connection number `epoch`
    ACK seq epoch time            a positive answer
    NACK seq epoch time word      a definite refusal: nothing of it was kept
    UNKNOWN seq epoch time why    no answer (reset, timeout), or one that says that the outcome is unknown
    FAULT seq epoch time what     an answer that must not be: a second one, one out of order, one about something else

Times are seconds since 1970 by this machine's clock, the same that Kafka's record timestamps are compared with.
"""

import os
import time
from dataclasses import dataclass, field


class Writer:
    """Appends to a ledger; lines collect until `flush`, which writes them with one system call."""

    def __init__(self, path):
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.lines = []

    def note(self, what, seq, epoch, word=""):
        self.lines.append(f"{what} {seq} {epoch} {time.time():.3f} {word}\n")

    def flush(self):
        if self.lines:
            os.write(self.file, "".join(self.lines).encode())
            self.lines.clear()


@dataclass
class Entry:
    """One message in a ledger. `acked` is its place among the producer's acknowledgements, from 0, or None."""

    attempts: list = field(default_factory=list)  # (epoch, time)
    acked: int | None = None
    acked_at: float = 0.0
    nacks: list = field(default_factory=list)     # words
    unknown: list = field(default_factory=list)   # (time, why)

    def refused(self):
        """Every attempt was definitely refused: it must be found nowhere."""
        return self.acked is None and not self.unknown and len(self.nacks) == len(self.attempts) > 0


@dataclass
class Ledger:
    """A whole ledger: messages by number, and answers that must not be."""

    entries: dict = field(default_factory=dict)
    faults: list = field(default_factory=list)

    def acks(self):
        return sum(entry.acked is not None for entry in self.entries.values())


def read(lines):
    """A ledger from its lines. A last line without its end (the producer was killed) is not read."""
    ledger, acks = Ledger(), 0
    for line in lines:
        if not line.endswith("\n"):
            break
        what, seq, epoch, at, *word = line.split(None, 4)
        entry = ledger.entries.setdefault(int(seq), Entry())
        if what == "ATTEMPT":
            entry.attempts.append((int(epoch), float(at)))
        elif what == "ACK":
            if entry.acked is not None:
                ledger.faults.append(f"{seq}: acknowledged twice")
            else:
                entry.acked, entry.acked_at, acks = acks, float(at), acks + 1
        elif what == "NACK":
            entry.nacks.append(word[0].strip() if word else "")
        elif what == "UNKNOWN":
            entry.unknown.append((float(at), word[0].strip() if word else ""))
        elif what == "FAULT":
            ledger.faults.append(f"{seq}: {word[0].strip() if word else ''}")
        else:
            raise ValueError(f"no such line in a ledger: {line!r}")
    ledger.entries = {seq: entry for seq, entry in ledger.entries.items() if entry.attempts}
    return ledger


def read_folder(folder):
    """All ledgers of a folder by producer: FOLDER/PRODUCER.ledger."""
    ledgers = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".ledger"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                ledgers[name.removesuffix(".ledger")] = read(file)
    return ledgers
