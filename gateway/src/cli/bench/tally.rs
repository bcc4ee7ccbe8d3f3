//! What a load generator counts, and its report.
use super::histogram::Histogram;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Kinds of refusals that are told apart; further ones are counted as `other`.
const KINDS_MAX: usize = 32;

/// Seen while it runs: for the progress line.
#[derive(Debug, Default)]
pub struct Live {
    /// Events sent.
    pub sent: AtomicU64,
    /// Events acknowledged.
    pub acked: AtomicU64,
    /// Events that were refused, or have no answer.
    pub bad: AtomicU64,
}

impl Live {
    /// Adds to one of its counts.
    pub fn add(count: &AtomicU64, events: u64) {
        count.fetch_add(events, Ordering::Relaxed);
    }
}

/// One connection's counts; all connections' when merged. In events.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Written to the connection.
    pub sent: u64,
    /// Acknowledged.
    pub acked: u64,
    /// Refused, by the protocol's own code.
    pub refused: BTreeMap<String, u64>,
    /// The gateway said that it does not know.
    pub unknown: u64,
    /// The connection closed, or the time was over, without an answer.
    pub lost: u64,
    /// Answers to what had its answer.
    pub duplicated: u64,
    /// Answers that came before those of earlier messages.
    pub out_of_order: u64,
    /// Due, but not sent when the time was over.
    pub behind: u64,
    /// Connections that were opened.
    pub connections: u64,
    /// From due to answered, per message.
    pub times: Histogram,
}

impl Tally {
    /// Counts refused events.
    pub fn refuse(&mut self, code: String, events: u64) {
        let known = self.refused.len() < KINDS_MAX || self.refused.contains_key(&code);
        *self.refused.entry(if known { code } else { "other".to_owned() }).or_default() += events;
    }

    /// Adds another connection's.
    pub fn merge(&mut self, other: &Tally) {
        self.sent += other.sent;
        self.acked += other.acked;
        self.unknown += other.unknown;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.behind += other.behind;
        self.connections += other.connections;
        self.times.merge(&other.times);
        for (code, events) in &other.refused {
            self.refuse(code.clone(), *events);
        }
    }

    /// Refused with any code.
    pub fn refused_all(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Whether every message got its one answer, in order, and the gateway knew it.
    pub fn is_fine(&self) -> bool {
        self.unknown + self.lost + self.duplicated + self.out_of_order == 0
    }
}

/// The end of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// `http`, `mqtt 5`.
    pub protocol: String,
    /// Events per second that were due; `None`: as fast as answers come.
    pub offered: Option<f64>,
    /// From the first to the last answer that was waited for.
    pub took: Duration,
    /// Whether answers are expected: not with QoS 0.
    pub answered: bool,
    /// All counts.
    pub tally: Tally,
}

#[allow(clippy::cast_precision_loss, reason = "rates for people")]
fn per_second(events: u64, took: Duration) -> f64 {
    events as f64 / took.as_secs_f64().max(1e-9)
}

/// `12,345`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rounded rate is far below 2^63")]
fn rate(events: u64, took: Duration) -> String {
    thousands(per_second(events, took).round() as u64)
}

impl Report {
    /// For people.
    pub fn text(&self) -> String {
        let Tally { sent, acked, unknown, lost, duplicated, out_of_order, behind, connections, times, .. } =
            &self.tally;
        let mut text = String::new();
        let offered = self.offered.map_or_else(|| "closed loop".to_owned(), |rate| format!("{rate}/s offered"));
        let done = if self.answered { *acked } else { *sent };
        // Writing to a String cannot fail.
        let _written = writeln!(
            text,
            "{}  {offered}, {}/s {} for {:.1} s over {connections} connections",
            self.protocol,
            rate(done, self.took),
            if self.answered { "acked" } else { "sent" },
            self.took.as_secs_f64(),
        );
        let _written = writeln!(
            text,
            "sent {}  acked {}  refused {}  unknown {unknown}  lost {lost}  duplicated {duplicated}  out of order {out_of_order}",
            thousands(*sent),
            thousands(*acked),
            thousands(self.tally.refused_all()),
        );
        if *behind > 0 {
            let _written = writeln!(text, "behind: {} were due and could not be sent in time", thousands(*behind));
        }
        for (code, events) in &self.tally.refused {
            let _written = writeln!(text, "refused: {} with {code}", thousands(*events));
        }
        if self.answered {
            let ms = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1e3);
            let from = if self.offered.is_some() { "from due time" } else { "from written" };
            let quantiles = [0.5, 0.99, 0.999].map(|share| ms(times.quantile(share)));
            let [half, most, nearly] = quantiles;
            let _written =
                writeln!(text, "answer  p50 {half}  p99 {most}  p99.9 {nearly}  max {} ms  {from}", ms(times.max()));
        }
        text
    }

    /// One JSON object.
    pub fn json(&self) -> Value {
        let tally = &self.tally;
        let ms = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
        let times = &tally.times;
        json!({
            "protocol": self.protocol, "offered_per_second": self.offered, "seconds": self.took.as_secs_f64(),
            "acked_per_second": per_second(tally.acked, self.took), "sent_per_second": per_second(tally.sent, self.took),
            "sent": tally.sent, "acked": tally.acked, "refused": tally.refused_all(), "refused_by": tally.refused,
            "unknown": tally.unknown, "lost": tally.lost, "duplicated": tally.duplicated, "out_of_order": tally.out_of_order,
            "behind": tally.behind, "connections": tally.connections,
            "ms": { "p50": ms(times.quantile(0.5)), "p99": ms(times.quantile(0.99)), "p99.9": ms(times.quantile(0.999)), "max": ms(times.max()) },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn numbers_have_commas() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
