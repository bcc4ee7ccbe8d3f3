//! The demo's end: the ledger's sums beside what the gateway holds, compared.
use super::{
    held::{Difference, Held},
    ledger::{Entry, Ledger, Sums},
    screen::millis,
    stage::Folder,
    world::Protocol,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf, time::Duration};

/// All figures of a demo.
#[derive(Clone, Debug)]
pub struct Report {
    /// How long it sent.
    pub took: Duration,
    /// The ledger's sums per protocol, in the order of [`Protocol::ALL`].
    pub by_protocol: [Sums; 3],
    /// The ledger's sums.
    pub all: Sums,
    /// Times to the answer per protocol: half of them, and all but 1 %, were shorter.
    pub times: [(Duration, Duration); 3],
    /// What the gateway holds.
    pub held: Held,
    /// How both differ, message by message.
    pub difference: Difference,
    /// The folder, if it was kept.
    pub kept: Option<PathBuf>,
    /// A trace id to look at.
    pub example: Option<String>,
}

impl Report {
    /// Puts the figures together.
    pub fn new(ledger: &Ledger, held: Held, took: Duration, folder: &Folder) -> Report {
        let by_protocol = Protocol::ALL.map(|protocol| ledger.sums(protocol));
        let mut all = Sums::default();
        for sums in &by_protocol {
            all.merge(sums);
        }
        let entries = ledger.entries();
        let difference = held.compare(&entries);
        let example = entries.iter().rev().find_map(|entry| entry.trace).map(|trace| trace.trace_id_hex());
        let times = Protocol::ALL.map(|protocol| times(&entries, protocol));
        let kept = folder.is_kept().then(|| folder.path().to_path_buf());
        Report { took, by_protocol, all, times, held, difference, kept, example }
    }

    /// Whether everything acknowledged is held, once, and nothing else is.
    pub fn agrees(&self) -> bool {
        self.difference == Difference::default() && self.all.unknown + self.all.lost == 0 && self.sums_agree()
    }

    /// The law in sums: acknowledged = stored + dead letters + dropped + duplicates.
    pub fn sums_agree(&self) -> bool {
        let counts = self.held.counts;
        self.all.acked_all() == self.held.stored + self.held.dead_all() + counts.dropped + counts.duplicate
    }

    /// The table for people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _written = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let head = ["messages", "events", "acked", "refused", "unknown", "lost"];
        write!(text, "\n{:<12}", "")?;
        for name in head {
            write!(text, "{name:>10}")?;
        }
        writeln!(text, "{:>10}{:>10}", "ack p50", "p99")?;
        for (protocol, sums) in Protocol::ALL.iter().zip(&self.by_protocol) {
            row(text, protocol.name(), sums)?;
            let (half, most) = self.times[protocol.place()];
            writeln!(text, "{:>10}{:>10}", millis(half), millis(most))?;
        }
        row(text, "all", &self.all)?;
        writeln!(text, "\n")?;
        writeln!(text, "  acked         {}", words(&self.all.acked))?;
        writeln!(text, "  refused       {}", words(&self.all.refused))?;
        writeln!(
            text,
            "  stored        {} events; {} of them alarms, in their own store too",
            self.held.stored, self.held.alarms
        )?;
        writeln!(text, "  dead letters  {}", words(&self.held.dead))?;
        writeln!(text, "  dropped       {}\n", self.held.counts.dropped + self.held.counts.duplicate)?;
        writeln!(text, "{}\n", self.verdict())?;
        self.next(text)
    }

    fn verdict(&self) -> String {
        let sum = format!(
            "{} acked by the senders' ledgers, {} stored + {} dead letters + {} dropped by the gateway's",
            self.all.acked_all(),
            self.held.stored,
            self.held.dead_all(),
            self.held.counts.dropped + self.held.counts.duplicate,
        );
        if self.agrees() {
            return format!("{sum}:\nthey agree, message by message.");
        }
        let Difference { missing, extra } = self.difference;
        format!(
            "{sum}:\nTHEY DO NOT AGREE: {missing} acknowledged but not held, {extra} held but not acknowledged, {} without a known outcome.",
            self.all.unknown + self.all.lost
        )
    }

    fn next(&self, text: &mut String) -> std::fmt::Result {
        match &self.kept {
            Some(folder) => {
                writeln!(text, "look  cd {} && anygate run      then, beside it:", folder.display())?;
                writeln!(text, "      anygate events --limit 5")?;
                writeln!(text, "      anygate dlq list")?;
                if let Some(id) = &self.example {
                    writeln!(text, "      anygate trace {id}")?;
                }
                Ok(())
            }
            None => {
                writeln!(
                    text,
                    "next  anygate demo --keep DIR      keeps the data, to look at with events, dlq and trace"
                )?;
                writeln!(text, "      anygate init > anygate.yaml  your own config; then anygate run")
            }
        }
    }

    /// One JSON object.
    pub fn json(&self) -> Value {
        let sums = |sums: &Sums| {
            json!({ "messages": sums.messages, "events": sums.sent, "acked": sums.acked, "refused": sums.refused,
                    "unknown": sums.unknown, "lost": sums.lost })
        };
        let protocols: serde_json::Map<String, Value> = Protocol::ALL
            .iter()
            .zip(&self.by_protocol)
            .map(|(protocol, of)| (protocol.name().to_owned(), sums(of)))
            .collect();
        json!({ "summary": {
            "seconds": self.took.as_secs_f64(), "protocols": protocols, "all": sums(&self.all),
            "stored": self.held.stored, "alarms": self.held.alarms, "dead_letters": self.held.dead,
            "dropped": self.held.counts.dropped, "duplicates": self.held.counts.duplicate,
            "missing": self.difference.missing, "extra": self.difference.extra, "agrees": self.agrees(), "kept": self.kept,
        } })
    }
}

fn row(text: &mut String, name: &str, sums: &Sums) -> std::fmt::Result {
    write!(text, "  {name:<10}")?;
    for figure in [sums.messages, sums.sent, sums.acked_all(), sums.refused_all(), sums.unknown, sums.lost] {
        write!(text, "{figure:>10}")?;
    }
    Ok(())
}

fn words(counts: &BTreeMap<String, u64>) -> String {
    if counts.is_empty() {
        return "0".to_owned();
    }
    let mut sorted: Vec<_> = counts.iter().collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let parts: Vec<String> = sorted.iter().map(|(word, count)| format!("{count} {word}")).collect();
    parts.join(" · ")
}

fn times(entries: &[Entry], protocol: Protocol) -> (Duration, Duration) {
    let mut times: Vec<Duration> =
        entries.iter().filter(|entry| entry.protocol == protocol).map(|entry| entry.after).collect();
    times.sort_unstable();
    let at = |share: usize| {
        times.get((times.len() * share / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
    };
    (at(50), at(99))
}
