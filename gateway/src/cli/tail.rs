//! `anygate tail`: events as they pass.
use super::{
    Exit,
    client::{Admin, AskFault, Style, query, safe, say},
};
use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Watch events go by, until Ctrl-C. It never slows the gateway: when you read too slowly, events are left out and counted.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  anygate tail\n  anygate tail --where \"type LIKE 'com.acme.%' AND anygatelistener = 'web'\"\n  anygate tail --json | jq .type\n\nWith --json each line is the event in the CloudEvents JSON format with its anygate… attributes."
)]
pub struct Tail {
    /// Only events for which this CESQL expression is true
    #[arg(long = "where", value_name = "CESQL")]
    pub predicate: Option<String>,
    /// One JSON object per event
    #[arg(long)]
    pub json: bool,
    /// Stop after so many events
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Which gateway
    #[command(flatten)]
    pub admin: Admin,
}

/// One line of the answer.
#[derive(Debug, Deserialize)]
struct Line<'a> {
    skipped: Option<u64>,
    time: Option<String>,
    outcome: Option<String>,
    failure: Option<String>,
    routes: Option<Vec<String>>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
}

/// What the text line shows of an event.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Shown {
    #[serde(rename = "type")]
    event_type: String,
    source: String,
    id: String,
    traceparent: String,
    anygatelistener: String,
}

impl Tail {
    /// Runs the command.
    pub fn run(self) -> Exit {
        match self.follow(&mut |line| say(line.as_bytes())) {
            Ok(()) => Exit::Ok,
            Err(fault) => fault.tell(),
        }
    }

    /// Hands out every line as it would be printed, until `each` says `false`.
    ///
    /// # Errors
    /// [`AskFault`].
    pub fn follow(&self, each: &mut dyn FnMut(&str) -> bool) -> Result<(), AskFault> {
        let client = self.admin.client()?;
        let style = Style::of_stdout();
        let path = format!("/api/tail{}", query(&[("where", self.predicate.clone())]));
        let mut left = self.limit.unwrap_or(u64::MAX);
        let mut broken = None;
        if left == 0 {
            return Ok(());
        }
        client.get_lines(&path, &mut |bytes| {
            let line: Line<'_> = match serde_json::from_slice(bytes) {
                Ok(line) => line,
                Err(error) => {
                    broken = Some(AskFault::Broken(format!("a line of the tail cannot be read: {error}")));
                    return false;
                }
            };
            if let Some(skipped) = line.skipped {
                eprintln!("note: {skipped} events were left out: they came faster than this tail was read");
            }
            let Some(event) = line.event else { return true };
            let text = if self.json { event.get().to_owned() } else { text(&line, event, style) };
            left -= 1;
            each(&text) && left > 0
        })?;
        if let Some(fault) = broken {
            return Err(fault);
        }
        if left > 0 {
            eprintln!("note: the gateway stopped, or nobody reads this any more");
        }
        Ok(())
    }
}

/// `12:03:41.208 web com.acme.order.created /shop/eu → orders 77ab01c9`
fn text(line: &Line<'_>, event: &RawValue, style: Style) -> String {
    let shown: Shown = serde_json::from_str(event.get()).unwrap_or_default();
    let time = line.time.as_deref().and_then(|time| time.split('T').nth(1)).unwrap_or_default();
    let time: String = time.trim_end_matches('Z').chars().take(12).collect();
    let routes = line.routes.as_deref().unwrap_or_default().join(", ");
    let outcome = match (line.outcome.as_deref(), line.failure.as_deref()) {
        (Some("kept"), _) => routes,
        (outcome, failure) => {
            style.red(format!("{} {}", outcome.unwrap_or_default(), failure.unwrap_or_default()).trim_end())
        }
    };
    let trace: String = shown.traceparent.chars().skip(3).take(8).collect();
    format!(
        "{time:<12} {:<8} {} {} {} → {outcome} {}",
        shown.anygatelistener,
        style.bold(&safe(&shown.event_type)),
        safe(&shown.source),
        safe(&shown.id),
        style.dim(&trace)
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_people() {
        let raw = br#"{"time":"2026-11-21T12:03:41.208123456Z","outcome":"kept","failure":null,"routes":["orders"],"event":{"specversion":"1.0","id":"7","source":"/shop/eu","type":"com.acme.order.created","traceparent":"00-77ab01c977b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","anygatelistener":"web","anygateenvelope":1}}"#;
        let line: Line<'_> = serde_json::from_slice(raw).unwrap();
        let shown = text(&line, line.event.unwrap(), Style::plain());
        assert_eq!(shown, "12:03:41.208 web      com.acme.order.created /shop/eu 7 → orders 77ab01c9");
    }
}
