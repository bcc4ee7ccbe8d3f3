//! `anygate trace`: every hop of one event.
use super::{
    Exit,
    client::{Admin, AskFault, Style, escaped, safe, say},
};
use crate::admin::{
    status::grouped,
    trace::{EventTrace, JournalTrace, StoreTrace, Traced},
};
use clap::Args;

/// Show every hop of one event: how it came in, why each route took it or not, where it is now.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  anygate trace 4bf92f35                          the beginning of a trace id is enough (8 digits)\n  anygate trace 4bf92f3577b34da6a3ce929d0e0e4736 --json\n  anygate trace order-1017                        an event id\n\nThe last events are known in every detail. Older ones, and those from before a restart, by what\nthe journal, the embedded stores and the dead letters hold."
)]
pub struct Trace {
    /// A trace id, its first 8 digits or more, or an event id
    #[arg(value_name = "TRACE_OR_EVENT_ID")]
    pub id: String,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
    /// Which gateway
    #[command(flatten)]
    pub admin: Admin,
}

impl Trace {
    /// Runs the command.
    pub fn run(self) -> Exit {
        self.ask().unwrap_or_else(|fault| fault.tell())
    }

    fn ask(&self) -> Result<Exit, AskFault> {
        let client = self.admin.client()?;
        let path = format!("/api/trace/{}", escaped(&self.id));
        if self.json {
            let text = client.get_bytes(&path)?;
            say(text.trim_ascii_end());
            return Ok(Exit::Ok);
        }
        let traced: Traced = client.get(&path)?;
        say(render(&traced, Style::of_stdout()).trim_end().as_bytes());
        for note in &traced.notes {
            eprintln!("note: {note}");
        }
        Ok(Exit::Ok)
    }
}

/// The whole answer as text.
pub fn render(traced: &Traced, style: Style) -> String {
    let mut parts: Vec<String> = traced.events.iter().map(|event| event_text(event, style)).collect();
    if traced.events.is_empty() {
        parts.push("The last events of this process do not hold it (any more). What is still known:".to_owned());
    }
    if !traced.journal.is_empty() {
        parts.push(traced.journal.iter().map(|record| journal_text(record, style)).collect::<Vec<_>>().join("\n"));
    }
    if !traced.stores.is_empty() {
        parts.push(traced.stores.iter().map(|row| store_text(row, style)).collect::<Vec<_>>().join("\n"));
    }
    parts.join("\n\n") + "\n"
}

/// µs as milliseconds with three digits, right-aligned.
fn at(us: u64) -> String {
    format!("{:>9}", format!("{}.{:03}", us / 1000, us % 1000))
}

fn event_text(event: &EventTrace, style: Style) -> String {
    let head = format!("{}  {}", style.bold(&safe(&event.event_type)), safe(&event.id));
    let mut lines = vec![format!("{head}          trace {}", event.trace_id)];
    let mut hop = |when: Option<u64>, what: &str, text: String| {
        let when = when.map_or_else(|| " ".repeat(9), at);
        lines.push(format!("{when}  {what:<11} {text}"));
    };
    let mut door = vec![event.listener.clone(), format!("{} {}", event.protocol, event.version).trim_end().to_owned()];
    let named = [("client", &event.client), ("principal", &event.principal), ("subject", &event.subject)];
    door.extend(
        named.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name} {}", safe(value))),
    );
    hop(Some(0), "received", format!("{} · {}", door.join(" · "), event.received));
    hop(None, "source", safe(&event.source));
    if let Some(rule) = event.envelope_rule {
        hop(None, "enveloped", format!("rule {rule} fits, if the message was bare"));
    }
    for (place, route) in event.routes.iter().enumerate() {
        let verdict = match route.matched {
            Some(true) => style.green("yes"),
            Some(false) => format!("no: {}", safe(&route.why)),
            None => style.dim(&route.why),
        };
        hop(None, if place == 0 { "route" } else { "" }, format!("{} {verdict}", route.name));
    }
    let kept = Some(event.kept_after_us);
    match event.outcome.as_str() {
        "kept" if event.lsn > 0 => hop(kept, "kept", format!("journal at lsn {}", grouped(event.lsn))),
        "kept" => hop(kept, "kept", "not journaled: every backend confirms to the sender".to_owned()),
        "dead_letter" => {
            let failure = style.red(event.failure.as_deref().unwrap_or_default());
            hop(kept, "dead letter", format!("{failure}  anygate dlq show {}", event.lsn));
        }
        other => {
            let (failure, detail) =
                (event.failure.as_deref().unwrap_or_default(), event.detail.as_deref().unwrap_or_default());
            hop(kept, other, format!("{} {}", style.red(failure), safe(detail)).trim().to_owned());
        }
    }
    // What happened, in its order: the answer may come before or after the deliveries.
    let mut ends: Vec<(u64, &str, String)> = Vec::new();
    if let Some(answered) = &event.answered {
        ends.push((answered.after_us, "answered", answered.verdict.clone()));
    }
    for delivery in &event.deliveries {
        let tries = if delivery.attempts > 0 { format!(" after {} tries", delivery.attempts) } else { String::new() };
        ends.push(match (&delivery.position, &delivery.failure) {
            (Some(position), _) => (delivery.after_us, "delivered", format!("{}  {position}{tries}", delivery.backend)),
            (None, failure) => {
                let failure = style.red(failure.as_deref().unwrap_or("failed"));
                let text = format!(
                    "{}  {failure} {}{tries}",
                    delivery.backend,
                    safe(delivery.detail.as_deref().unwrap_or_default())
                );
                (delivery.after_us, "dead letter", text)
            }
        });
    }
    ends.sort_by_key(|(after, _, _)| *after);
    for (after, what, text) in ends {
        hop(Some(after), what, text);
    }
    if !event.waits_for.is_empty() {
        hop(None, "waits for", format!("{}  anygate status says why", event.waits_for.join(", ")));
    }
    lines.join("\n")
}

fn journal_text(record: &JournalTrace, style: Style) -> String {
    let name = record.event_type.as_deref().map_or_else(|| "bytes that nobody could read".to_owned(), safe);
    let id = record.id.as_deref().map(safe).unwrap_or_default();
    let mut line = format!(
        "journal   lsn {}  {name} {id} · received {} · trace {}",
        grouped(record.lsn),
        record.received,
        record.trace_id
    );
    if let Some(why) = &record.dead_letter {
        line.push_str(&format!(
            "\n          {}  {}  anygate dlq show {}",
            style.red("dead letter"),
            safe(why),
            record.lsn
        ));
    }
    if !record.delivered_to.is_empty() {
        line.push_str(&format!("\n          delivered to {}", record.delivered_to.join(", ")));
    }
    if !record.waits_for.is_empty() {
        line.push_str(&format!("\n          waits for {}: anygate status says why", record.waits_for.join(", ")));
    }
    line
}

fn store_text(row: &StoreTrace, style: Style) -> String {
    let place = if row.lsn > 0 { format!(" · lsn {}", grouped(row.lsn)) } else { String::new() };
    format!(
        "store     {}  {} {} · received {} by {} · route {}{place} · trace {}",
        style.bold(&row.backend),
        safe(&row.event_type),
        safe(&row.id),
        row.received,
        row.listener,
        row.route,
        row.trace_id
    )
}
