"""The seeded bugs: what each one does wrong, where, and who must catch it.

All of them are put into one copy of the source, each behind `BUG(name)`: the environment variable ANYGATE_BUG names the one that
is awake, so that one build serves all, and the same build without a name is the control. An edit's old text must be there
exactly once; how lines are broken does not matter. What moved away is an error here, never a bug that is silently not tried.

A catcher is `fault SCENARIO [ROUNDS]` (tests/faults/run), `test CRATE ARGUMENTS…` (cargo test in the copy), or
`journal NUMBER`: the journal's own mutants (gateway/journal/mutants), which have copies and builds of their own.
"""

from dataclasses import dataclass


@dataclass
class Bug:
    """One bug; `edits` are (file, old, new)."""

    name: str
    about: str
    catchers: tuple
    edits: tuple = ()


COMMITTER, TEND = "gateway/journal/src/committer.rs", "gateway/journal/src/tend.rs"
ADMIT, OUTCOME, RUN = "gateway/src/stack/admit.rs", "gateway/src/lanes/outcome.rs", "gateway/src/lanes/run.rs"
CRASH = "test journal --test crash crash_at_every_operation"
MODEL = "test journal --test model crashes_in_a_row_lose_nothing"

BUGS = (
    Bug("ack-before-write", "yes is said when the event is in the group's buffer", ("fault kill-storm 3", "fault kill-random 3"),
        ((ADMIT, "None if wait_for > 0 =>", 'None if wait_for > 0 && !BUG("ack-before-write") =>'),)),
    Bug("ack-before-fsync", "yes is said when the group is written and not synced", ("fault power-cut 2", CRASH),
        ((COMMITTER, "let begun = Instant::now();\n    file.sync_data()",
          'if BUG("ack-before-fsync") { inner.mark.advance(header.last()); }\n    let begun = Instant::now();\n    file.sync_data()'),)),
    Bug("no-fsync-on-roll", "the first group of a new segment is not synced", (CRASH,),
        ((COMMITTER, 'file.sync_data().map_err(|e| failed("sync", e))?;',
          'if !(filled.fresh && BUG("no-fsync-on-roll")) { file.sync_data().map_err(|e| failed("sync", e))?; }'),)),
    Bug("no-directory-fsync", "a segment's new name is not made durable", (CRASH,),
        ((TEND, "inner.disk.rename(&from, &to)?;\n        inner.disk.sync_dir(&inner.journal_dir())",
          'inner.disk.rename(&from, &to)?;\n        if BUG("no-directory-fsync") { return Ok(()); }\n        inner.disk.sync_dir(&inner.journal_dir())'),
         ("gateway/journal/src/grow.rs", "disk.sync_dir(&dir)?;\n    Ok(file)", 'if !BUG("no-directory-fsync") { disk.sync_dir(&dir)?; }\n    Ok(file)'))),
    Bug("retried-fsync", "an fdatasync that failed is tried again", ("fault fsync-eio 1",),
        ((COMMITTER, 'file.sync_data().map_err(|e| failed("sync", e))',
          'file.sync_data().or_else(|e| if BUG("retried-fsync") { file.sync_data() } else { Err(e) }).map_err(|e| failed("sync", e))'),)),
    Bug("cursor-before-confirmation", "an event is done when it is handed to the backend", ("fault broker-killed-gateway-killed 1",),
        ((RUN, "let events: Events = jobs.iter()",
          'if BUG("cursor-before-confirmation") {\n                for job in jobs.iter().filter(|job| job.direct.is_none()) { self.reader.done(Lsn::from_raw(job.event.lsn)); }\n            }\n'
          '            let events: Events = jobs.iter()'),)),
    Bug("segment-before-cursor", "a segment is used again before the cursors that passed it are saved", (MODEL,),
        ((TEND, '// Not before the cursors that passed it are on disk.\n        save_cursors(inner)',
          '// Not before the cursors that passed it are on disk.\n        (if BUG("segment-before-cursor") { Ok(()) } else { save_cursors(inner) })'),)),
    Bug("drop-on-retry", "what must be tried again is dropped", ("fault network-resets 1", "fault acl-taken 1"),
        ((OUTCOME, "// It leaves when a probe has succeeded",
          'if BUG("drop-on-retry") { self.reader.done(Lsn::from_raw(job.event.lsn)); return; }\n                // It leaves when a probe has succeeded'),)),
    Bug("drop-on-stop", "what is under way at a stop counts as delivered", ("fault drain-broker-frozen 1",),
        ((RUN, "self.finish_letters().await;",
          'if BUG("drop-on-stop") { while self.began.first_key_value().is_some() { self.began.clear(); for lsn in self.open_lsns.drain(..) { self.reader.done(Lsn::from_raw(lsn)); } } }\n        self.finish_letters().await;'),
         (RUN, "self.began.insert(number, Began {",
          'if BUG("drop-on-stop") { self.open_lsns.extend(jobs.iter().filter(|job| job.direct.is_none()).map(|job| job.event.lsn)); }\n            self.began.insert(number, Began {'),
         (RUN, "/// When each delivery under way began, by its number.", "/// For a seeded bug.\n    pub(super) open_lsns: Vec<u64>,\n    /// When each delivery under way began, by its number."),
         (RUN, "began: BTreeMap::new(),", "open_lsns: Vec::new(),\n            began: BTreeMap::new(),"))),
    Bug("error-report-is-success", "Kafka's report of an error counts as a delivery", ("fault topic-deleted 1", "fault acl-taken 1", "fault oversized-record 1"),
        (("gateway/backends/src/kafka/context.rs", "let outcome = match result {",
          'let outcome = match result {\n            Err(_) if BUG("error-report-is-success") => Some(Outcome::Done(Position { place: Cow::Borrowed("nowhere"), partition: -1, offset: -1 })),'),)),
    Bug("dead-letter-forgotten", "an event that cannot be delivered is done without its dead letter", ("fault oversized-record 1",),
        ((OUTCOME, "let letter = dead::of_lane(event,",
          'if BUG("dead-letter-forgotten") { self.lane.meter.dead_lettered.inc(); self.reader.done(Lsn::from_raw(event.lsn)); return; }\n        let letter = dead::of_lane(event,'),)),
    Bug("enospc-swallowed", "a write that found no room counts as written", ("fault enospc-write 1",),
        ((COMMITTER, 'file.write_at(&filled.buf, end).map_err(|e| failed("write", e))?;',
          'match file.write_at(&filled.buf, end) {\n        Err(e) if e.raw_os_error() == Some(28) && BUG("enospc-swallowed") => {}\n'
          '        other => other.map_err(|e| failed("write", e))?,\n    }'),)),
    Bug("answers-overtake", "an answer that is ready overtakes the one before it", ("fault kill-random 1", "test transports --lib answers"),
        (("transports/src/answers.rs", "match ticket.poll_verdict(cx, self.waits.as_mut()) {",
          'let _ = ticket;\n        if BUG("answers-overtake") && self.queue.len() > 8 { self.queue.swap(0, 5); }\n'
          '        let Some((_, ticket, _)) = self.queue.front_mut() else { return Poll::Ready(None) };\n        match ticket.poll_verdict(cx, self.waits.as_mut()) {'),)),
    Bug("dedupe-without-record", "an id stays known although its event was not kept", ("fault resend-refused 1",),
        ((ADMIT, "Err(NoRoom::InJournal(journal::Closed::Full)) => {\n                batch.hold(",
          'Err(NoRoom::InJournal(journal::Closed::Full)) => {\n                if BUG("dedupe-without-record") { let mut claims = std::mem::take(&mut batch.claims); for claim in &mut claims { claim.keep(1, &|_| true); } }\n'
          '                batch.hold('),)),
    Bug("lsn-reused", "after an unclean stop the numbers go on without a gap", ("journal 3",)),
    Bug("torn-tail-as-data", "the last group's bodies are not checked", ("journal 4",)),
    Bug("stops-at-first-bad-record", "damage hides everything behind it", ("journal 6",)),
    Bug("wrong-partitioner", "another partitioner than every other client's", ("fault second-gateway 1",),
        (("gateway/backends/src/kafka/settings.rs", '.set("partitioner", "murmur2_random")',
          '.set("partitioner", if BUG("wrong-partitioner") { "consistent_random" } else { "murmur2_random" })'),)),
    Bug("retry-overtakes", "later events of a key do not wait for the one that is tried again", ("fault topic-deleted 2", "fault acl-taken 1", "test gateway --lib strands"),
        (("gateway/src/lanes/strands.rs", "self.waiting.contains_key(&strand)", 'self.waiting.contains_key(&strand) && !BUG("retry-overtakes")'),)),
    Bug("refused-but-kept", "a message in a hundred is kept and refused", ("fault second-gateway 1",),
        ((ADMIT, "Ok(Ok(self.kept(batch, stored, lsn, direct)))",
          'let ticket = self.kept(batch, stored, lsn, direct);\n        if BUG("refused-but-kept") && lsn % 100 == 7 { return Ok(Err(Refusal::new(Word::StorageFull, "seeded"))); }\n        Ok(Ok(ticket))'),)),
    Bug("changed-byte", "a digit of a payload changes on its way", ("fault second-gateway 1",),
        (("gateway/src/stack/open.rs", "let (received, arrived) = (SystemTime::now(), ",
          'if BUG("changed-byte") && message.payload.len() % 7 == 0 {\n            let mut bytes = message.payload.to_vec();\n'
          "            if let Some(at) = bytes.iter().rposition(u8::is_ascii_digit) { bytes[at] = if bytes[at] == b'9' { b'1' } else { bytes[at] + 1 }; }\n"
          '            message.payload = bytes.into();\n        }\n        let (received, arrived) = (SystemTime::now(), '),)),
    Bug("lock-ignored", "a second gateway takes the same folder", ("fault second-gateway 1",),
        (("gateway/journal/src/disk/os.rs", "Err(TryLockError::WouldBlock) => {",
          'Err(TryLockError::WouldBlock) if BUG("lock-ignored") => Ok(Ok(OsLock(file))),\n            Err(TryLockError::WouldBlock) => {'),)),
    Bug("token-prefix", "the beginning of a token is enough", ("test gateway --lib auth",),
        (("gateway/src/auth.rs", "a.len() == b.len() && std::hint::black_box(differ) == 0",
          '(a.len() == b.len() || BUG("token-prefix")) && std::hint::black_box(differ) == 0'),)),
    Bug("events-miscounted", "what enters a lane is sometimes not counted", ("fault second-gateway 1",),
        (("gateway/src/stack/admit.rs", "count::kept(&self.shared, &batch);",
          'if !(BUG("events-miscounted") && lsn % 100 == 7) { count::kept(&self.shared, &batch); }'),)),
)
