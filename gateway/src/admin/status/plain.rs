//! The status in plain words, one part a line: for `readyz?verbose` and the terminal.
use super::{JournalStatus, LaneStatus, Status};

impl Status {
    /// In plain words, one part a line: `readyz?verbose`, and the terminal.
    pub fn plain(&self) -> String {
        let mut lines = vec![format!(
            "anygate {}  {}  up {}",
            self.version,
            if self.ready { "ready" } else { "NOT READY" },
            spell(self.uptime_seconds)
        )];
        for part in &self.failing {
            lines.push(format!("  {}: {}: {}", part.part, part.failure, part.detail));
        }
        lines.push(format!(
            "config       {} generation {}, since {}",
            self.config.file, self.config.generation, self.config.applied
        ));
        if let Some(rejected) = &self.config.rejected {
            lines.push(format!(
                "  the reload at {} was REJECTED with {} errors; the config above stays in force",
                rejected.at, rejected.errors
            ));
            lines.extend(rejected.text.lines().map(|line| format!("    {line}").trim_end().to_owned()));
        }
        lines.push("listeners".to_owned());
        for one in &self.listeners {
            let refused = if one.refused + one.turned_away > 0 {
                format!(", {} refused, {} turned away", grouped(one.refused), grouped(one.turned_away))
            } else {
                String::new()
            };
            lines.push(format!(
                "  {:<12} {:<5} {:<21} {} open, {} events{refused}",
                one.name,
                one.protocol,
                one.listen,
                grouped(one.connections),
                grouped(one.received)
            ));
        }
        lines.push("routes".to_owned());
        for route in &self.routes {
            let errors = match route.predicate_errors {
                0 => String::new(),
                errors => format!(", {} times its `when` erred (it does not match then)", grouped(errors)),
            };
            lines.push(format!(
                "  {:<12} → {:<21} {} events{errors}",
                route.name,
                route.to.join(", "),
                grouped(route.matched)
            ));
        }
        lines.push("lanes".to_owned());
        lines.extend(self.lanes.iter().flat_map(LaneStatus::plain));
        lines.extend(self.held_plain());
        lines.push(self.journal.plain());
        lines.push(match self.dead_letters {
            0 => "dead letters none".to_owned(),
            open => format!("dead letters {} open: anygate dlq list", grouped(open)),
        });
        lines.push(format!(
            "room         {} of {} held by messages in memory",
            size(self.room.used_bytes),
            size(self.room.limit_bytes)
        ));
        lines.push(String::new());
        lines.join("\n")
    }
}

impl Status {
    /// Streams that wait behind a held head.
    fn held_plain(&self) -> Vec<String> {
        if self.held_streams == 0 {
            return Vec::new();
        }
        let mut lines =
            vec![format!("held         {} streams wait behind their first message", grouped(self.held_streams))];
        lines.extend(self.held.iter().map(|held| {
            format!(
                "  {:<12} {} for {}: {}: {}",
                held.listener,
                held.sender,
                spell(held.seconds),
                held.failure,
                held.why
            )
        }));
        lines
    }
}

impl LaneStatus {
    fn plain(&self) -> Vec<String> {
        let waiting = match (self.pending, self.oldest_seconds) {
            (0, _) => "nothing waits".to_owned(),
            (pending, None) => format!("{} wait", grouped(pending)),
            (pending, Some(age)) => format!("{} wait, the oldest for {}", grouped(pending), spell(age)),
        };
        let dead = if self.dead_lettered > 0 {
            format!(", {} dead letters", grouped(self.dead_lettered))
        } else {
            String::new()
        };
        let direct = match self.direct {
            0 => String::new(),
            senders => format!(", {} senders wait for their confirmation", grouped(senders)),
        };
        let full = match self.full_in_seconds {
            Some(seconds) => format!(", full in {} at this rate", spell(seconds)),
            None => String::new(),
        };
        let lost = match self.lost {
            0 => String::new(),
            lost => format!(", {} LOST to damage of the disk", grouped(lost)),
        };
        let state = if self.trouble.is_some() { "TROUBLE" } else { "well" };
        let mut lines = vec![format!(
            "  {:<12} {:<5} {state}: {waiting}{full}{direct}, {} under way, {} delivered{dead}{lost}",
            self.backend,
            self.kind,
            grouped(self.in_flight),
            grouped(self.delivered)
        )];
        if let Some(trouble) = &self.trouble {
            lines.push(format!(
                "               since {} ({}): {}: {}",
                trouble.since,
                spell(trouble.seconds),
                trouble.failure,
                trouble.why
            ));
            lines.push(format!("               {}", trouble.what_to_do));
        }
        lines.extend(self.warnings.iter().map(|warning| format!("               warning: {warning}")));
        lines
    }
}

impl JournalStatus {
    fn plain(&self) -> String {
        let percent = self.used_bytes.saturating_mul(100) / self.capacity_bytes.max(1);
        let full = match (self.full, self.full_in_seconds) {
            (true, _) => ", FULL: new events are refused or held".to_owned(),
            (false, Some(seconds)) => format!(", new events are refused in {} at this rate", spell(seconds)),
            (false, None) => String::new(),
        };
        let memory = if self.in_memory { " of memory" } else { "" };
        let lost = if self.corrupt_events > 0 {
            format!(", {} events LOST to damage", grouped(self.corrupt_events))
        } else {
            String::new()
        };
        format!(
            "journal      {percent} % of {}{memory} used{full}, lsn {}, fsync p50 ≤ {} p99 ≤ {}{lost}",
            size(self.capacity_bytes),
            grouped(self.durable_lsn),
            micros(self.fsync_p50_us),
            micros(self.fsync_p99_us)
        )
    }
}

/// A number in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Seconds as people say them.
pub fn spell(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn micros(us: u64) -> String {
    if us < 1000 { format!("{us} µs") } else { format!("{}.{} ms", us / 1000, us % 1000 / 100) }
}

/// Bytes in the largest unit that fits.
pub fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(18_402), "18 402");
        assert_eq!(grouped(1_000_000), "1 000 000");
        assert_eq!(spell(90), "90 s");
        assert_eq!(spell(7200), "2 h");
        assert_eq!(size(1536 * 1024), "1.5 MiB");
        assert_eq!(micros(1250), "1.2 ms");
    }
}
