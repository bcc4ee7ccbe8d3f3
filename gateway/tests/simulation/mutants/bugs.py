"""Seeded bugs: each a name, what it breaks, and edits (file, old text, new text). The old text is there exactly once.

Not among them, because no seed or hardly one can tell:
- an LSN that is used again after a crash: what had it before was never durable (`gateway/journal/mutants` has that bug);
- a full journal that is swallowed: with backlogs and a disk that has room it is never full here;
- what only waits counts as in flight at an unclean end: it takes three ends, each within a second of a retry
  (`gateway/journal/tests/damage.rs`);
- poison that is dropped where the config drops what a backend refuses (`gateway/tests/lanes.rs`).
"""

JOURNAL = "gateway/journal/src/"
GATEWAY = "gateway/src/"

BUGS = [
    (
        "ack-before-append-is-durable",
        "the sender is told `durable` when the event is in a buffer",
        [(GATEWAY + "stack/admit.rs", "None if wait_for > 0 =>", "None if wait_for == u64::MAX =>")],
    ),
    (
        "ack-before-fsync",
        "the mark moves before the group's sync",
        [
            (
                JOURNAL + "committer.rs",
                '    file.write_at(&filled.buf, end).map_err(|e| failed("write", e))?;\n',
                '    file.write_at(&filled.buf, end).map_err(|e| failed("write", e))?;\n'
                "    inner.mark.advance(header.last());\n",
            )
        ],
    ),
    (
        "no-fsync-of-a-segment's-header",
        "a rolled segment is used before its header is durable",
        [(JOURNAL + "committer.rs", "    file.write_at(&page, 0)?;\n    file.sync_data()\n", "    file.write_at(&page, 0)\n")],
    ),
    (
        "no-fsync-of-the-folder",
        "a new segment is used before its name is durable",
        [(JOURNAL + "grow.rs", "    disk.sync_dir(&dir)?;\n    Ok(file)", "    Ok(file)")],
    ),
    (
        "fsync-is-tried-again",
        "an fsync that failed is repeated, and believed",
        [
            (
                JOURNAL + "committer.rs",
                'file.sync_data().map_err(|e| failed("sync", e))?;',
                'file.sync_data().or_else(|_| file.sync_data()).map_err(|e| failed("sync", e))?;',
            )
        ],
    ),
    (
        "cursor-before-confirmation",
        "an event counts as done when the backend has been given it",
        [
            (
                GATEWAY + "lanes/run.rs",
                "            let events: Events = jobs",
                "            for job in jobs.iter().filter(|job| job.direct.is_none()) {\n"
                "                self.reader.done(Lsn::from_raw(job.event.lsn));\n"
                "            }\n"
                "            let events: Events = jobs",
            )
        ],
    ),
    (
        "cursor-over-a-gap",
        "a saved cursor takes everything handed out for done",
        [
            (
                JOURNAL + "tracker.rs",
                "            low: self.low(),\n            passed: self.passed.saturating_sub(behind),\n            ranges,\n",
                "            low: self.frontier + 1,\n            passed: self.passed + behind * 0,\n"
                "            ranges: ranges.split_off(ranges.len()),\n",
            )
        ],
    ),
    (
        "an-error-is-success",
        "a second failure of a delivery is taken for a confirmation",
        [
            (
                GATEWAY + "lanes/outcome.rs",
                "            Outcome::Retry(why) => {\n                self.trouble(&why, false);",
                "            Outcome::Retry(_) if job.attempts > 0 => self.done(&job, &Position::default()),\n"
                "            Outcome::Retry(why) => {\n                self.trouble(&why, false);",
            )
        ],
    ),
    (
        "unroutable-is-dropped",
        "an event without a route is acknowledged as a dead letter, and none is written",
        [
            (
                GATEWAY + "stack/admit.rs",
                "        if let Some((word, detail)) = &item.dead {\n            let death",
                "        if let Some((word, detail)) = &item.dead {\n"
                "            if *word == Word::NoRoute {\n                continue;\n            }\n            let death",
            )
        ],
    ),
    (
        "duplicate-without-its-original",
        "a repeat is acknowledged before the first one is durable",
        [(GATEWAY + "middleware/dedupe.rs", "item.duplicate_of = lsn;", "item.duplicate_of = lsn.min(0);")],
    ),
    (
        "torn-tail-is-data",
        "checksums of events are not looked at",
        [(JOURNAL + "format/group.rs", "(crc32c::crc32c(body) == row.crc).then_some(body)", "Some(body)")],
    ),
    (
        "dead-letter-without-fsync",
        "an event is done when its dead letter is in a buffer",
        [(GATEWAY + "lanes/outcome.rs", ".filter(|(letter, _)| *letter <= durable)", ".filter(|_| durable >= Lsn::ZERO)")],
    ),
    (
        "a-strand-overtakes",
        "what comes for a parked strand does not wait behind it",
        [(GATEWAY + "lanes/run.rs", "if !in_this_call && self.strands.is_waiting(strand)", "if !in_this_call && strand == 0")],
    ),
    (
        "a-wrong-place-is-the-event's-fault",
        "a missing destination makes dead letters",
        [
            (
                GATEWAY + "lanes/outcome.rs",
                "            Outcome::Destination(why) => {\n",
                "            Outcome::Destination(why) if job.event.lsn > 0 => self.give_up(&job.event, &why, 1),\n"
                "            Outcome::Destination(why) => {\n",
            )
        ],
    ),
    (
        "a-batch-in-part",
        "a refused event of a batch does not refuse the others, nor is it told",
        [(GATEWAY + "stack/admit.rs", "    if refused == 0 || (", "    if refused < batch.len() || (")],
    ),
    (
        "direct-after-the-first",
        "`delivered` is said when one of the backends has confirmed",
        [(GATEWAY.replace("gateway/", "transports/") + "ticket.rs", "left: AtomicU32::new(open)", "left: AtomicU32::new(open.min(1))")],
    ),
    (
        "a-full-lane-takes-more",
        "a lane's quota is not asked for",
        [
            (
                GATEWAY + "lanes/mod.rs",
                "if journal.room(id, u64::try_from(bytes).unwrap_or(u64::MAX)) {",
                "if bytes > 0 || journal.room(id, u64::try_from(bytes).unwrap_or(u64::MAX)) {",
            )
        ],
    ),
    (
        "ids-are-forgotten",
        "a start does not know what was kept before it",
        [
            (
                GATEWAY + "runtime/mod.rs",
                "shared.ids.restore(known.key, known.lsn.get(), received);",
                "tracing::trace!(?known, ?received);",
            )
        ],
    ),
    (
        "taken-over-too-early",
        "another instance of a backend begins while the one before still delivers",
        [(GATEWAY + "runtime/deliveries.rs", "let _ended = before.task.await;", "drop(before.task);")],
    ),
    (
        "suspects-in-company",
        "what may have ended the process twice is delivered beside others",
        [
            (
                GATEWAY + "lanes/suspects.rs",
                "self.suspects.one_by_one = coming || self.strands.suspect_is_due(clock::now());",
                "self.suspects.one_by_one = false;",
            )
        ],
    ),
]
