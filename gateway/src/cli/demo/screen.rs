//! What the demo says while it runs: one line per answer, at most 100 columns, or JSON lines.
use super::{
    ledger::{Answer, Entry},
    stage::Folder,
};
use crate::{
    cli::client::safe,
    runtime::Gateway,
    state::Shared,
    telemetry::ring::{Delivered, Seen},
};
use serde_json::{Value, json};
use std::{
    io::{self, Write},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Of the events that are simply fine, one is shown in this time; every refusal, dead letter and alarm is.
const ORDINARY_GAP: Duration = Duration::from_millis(300);
/// A whole trace is shown so often.
const TRACE_GAP: Duration = Duration::from_secs(8);
/// The first one comes soon.
const TRACE_FIRST: Duration = Duration::from_secs(2);

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Plain,
    /// For people, with colours.
    Coloured,
    /// JSON lines, all of them.
    Json,
}

#[derive(Clone, Copy)]
enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Grey = 90,
}

/// Where the demo writes.
pub struct Screen<'w> {
    out: &'w mut dyn Write,
    form: Form,
    next_ordinary: Instant,
    next_trace: Instant,
    /// Answers that were fine and not shown.
    pub left_out: u64,
}

impl<'w> Screen<'w> {
    /// A screen that writes to `out`.
    pub fn new(out: &'w mut dyn Write, form: Form) -> Self {
        let now = Instant::now();
        Screen { out, form, next_ordinary: now, next_trace: now + TRACE_FIRST, left_out: 0 }
    }

    /// How it is written.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Writes text as it is.
    ///
    /// # Errors
    /// The reader is gone.
    pub fn write(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// `text` in a colour, if there are any.
    fn paint(&self, colour: Colour, text: &str) -> String {
        match self.form {
            Form::Coloured => format!("\x1b[{}m{text}\x1b[0m", colour as u8),
            Form::Plain | Form::Json => text.to_owned(),
        }
    }

    /// Who is here and where.
    ///
    /// # Errors
    /// The reader is gone.
    pub fn begin(&mut self, gateway: &Gateway, folder: &Folder, ready: Duration, lasts: Duration) -> io::Result<()> {
        let address = |kind: &str| {
            gateway.listeners.iter().find(|listener| listener.kind == kind).map(|found| found.address.to_string())
        };
        let (http, mqtt) = (address("http").unwrap_or_default(), address("mqtt").unwrap_or_default());
        if self.form == Form::Json {
            let line = json!({ "demo": { "version": env!("CARGO_PKG_VERSION"), "http": format!("http://{http}"), "mqtt": format!("mqtt://{mqtt}"),
                "admin": format!("http://{}", gateway.admin), "folder": folder.path(), "ready_ms": ready.as_millis() } });
            return self.write(&format!("{line}\n"));
        }
        let left = format!("{} s, Ctrl-C ends it", lasts.as_secs_f64());
        let text = format!(
            "anygate {} demo: a gateway and nine simulated senders in this one process ({left})\n\
             \x20 http   http://{http:<22} 3 services: orders as bare, CloudEvents and batch requests\n\
             \x20 mqtt   mqtt://{mqtt:<22} 4 devices with MQTT 5, 2 with 3.1.1: temperatures\n\
             \x20 admin  http://{:<22} /metrics; the commands take --admin with it\n\
             \x20 data   {}{}\n\
             ready in {} ms\n\n",
            env!("CARGO_PKG_VERSION"),
            gateway.admin,
            folder.path().display(),
            if folder.is_kept() { "" } else { "  (removed at the end)" },
            ready.as_millis(),
        );
        let (refused, dead, alarm) = (
            self.paint(Colour::Red, "✗ refused"),
            self.paint(Colour::Yellow, "† dead letter"),
            self.paint(Colour::Yellow, "! alarm"),
        );
        let head = format!(
            "{:<12} {:<10}  {:<22} {:<16} {:<18} {:>7} trace\n",
            "time (UTC)", "protocol", "type", "source", "route → backend", "ack"
        );
        let legend =
            format!("shown: every {refused}, {dead} (kept and acked) and {alarm}; of the rest about 3 a second\n\n");
        let head = self.paint(Colour::Grey, &head);
        self.write(&format!("{text}{legend}{head}"))
    }

    /// One answer.
    ///
    /// # Errors
    /// The reader is gone.
    pub fn answer(&mut self, entry: &Entry, shared: &Shared) -> io::Result<()> {
        let id = entry.trace.map(|trace| trace.trace_id_hex()).unwrap_or_default();
        let seen = if id.is_empty() { Vec::new() } else { shared.ring.find(&id) };
        if self.form == Form::Json {
            let line = as_json(entry, &id, &seen, shared);
            return self.write(&format!("{line}\n"));
        }
        let lines: Vec<Line> = lines(entry, &seen, shared);
        let now = Instant::now();
        let ordinary = lines.iter().all(|line| matches!(line.colour, Colour::Green));
        if ordinary && now < self.next_ordinary {
            self.left_out += 1;
            return Ok(());
        }
        if ordinary {
            self.next_ordinary = now + ORDINARY_GAP;
        }
        let short = if id.is_empty() { "none" } else { &id[..8] };
        let time = clock(entry.at);
        for line in lines {
            let what = self.paint(line.colour, &pad(&line.what, 22));
            let text = format!(
                "{} {:<10}  {what} {} {:>7} {}\n",
                self.paint(Colour::Grey, &time),
                entry.protocol.name(),
                pad(&line.rest, 35),
                millis(entry.after),
                self.paint(Colour::Grey, short),
            );
            self.write(&text)?;
        }
        if let Some((seen, hops)) = seen.first().filter(|(_, hops)| !hops.is_empty() && now >= self.next_trace) {
            self.next_trace = now + TRACE_GAP;
            return self.trace(entry, &id, seen, hops);
        }
        Ok(())
    }

    /// Every hop of one event, as `anygate trace` tells them.
    fn trace(&mut self, entry: &Entry, id: &str, seen: &Seen, hops: &[Delivered]) -> io::Result<()> {
        let route = |number: &u32| Some(seen.plan.as_ref()?.routes().get(*number as usize)?.name.to_string());
        let routes: Vec<String> = seen.routes.iter().filter_map(route).collect();
        let mut steps = vec![
            (Duration::ZERO, "received", format!("{} · {}", entry.protocol.name(), entry.to)),
            (seen.kept_after, "routed", format!("{} · in the journal at lsn {}", routes.join(", "), seen.lsn)),
        ];
        steps.extend(seen.settled.map(|(after, what)| (after, "answered", format!("{what}: fdatasync returned"))));
        steps.extend(
            hops.iter().filter(|hop| hop.place.is_ok()).map(|hop| (hop.after, "delivered", hop.backend.to_string())),
        );
        let mut text = format!("             trace {id}\n");
        for (after, step, what) in steps {
            text.push_str(&format!("             {:>10}  {step:<10} {what}\n", millis(after)));
        }
        let text = self.paint(Colour::Grey, &text);
        self.write(&text)
    }
}

/// One line without its fixed columns.
struct Line {
    colour: Colour,
    what: String,
    rest: String,
}

fn lines(entry: &Entry, seen: &[(Seen, Vec<Delivered>)], shared: &Shared) -> Vec<Line> {
    let bad = |mark: &str, word: &str, rest: String| {
        let colour = if mark == "†" { Colour::Yellow } else { Colour::Red };
        vec![Line { colour, what: format!("{mark} {word}"), rest }]
    };
    let dead = seen.iter().find_map(|(seen, _)| seen.dead).map(|word| word.to_string());
    match &entry.answer {
        Answer::Refused { word, detail } => {
            bad("✗", word, if detail.is_empty() { entry.to.clone() } else { detail.clone() })
        }
        Answer::Unknown => bad("?", "unknown", entry.to.clone()),
        Answer::Lost(what) => bad("✗", "no answer", what.clone()),
        Answer::Acked { dead_letter, .. } => match dead.as_ref().or(dead_letter.as_ref()) {
            Some(word) => bad("†", word, format!("dead letter: {}", entry.to)),
            None if seen.is_empty() => bad("†", "unreadable", format!("dead letter: {}", entry.to)),
            None => fold(seen.iter().flat_map(|(seen, _)| routed(seen, shared))),
        },
    }
}

/// One line per route that took the event.
fn routed(seen: &Seen, shared: &Shared) -> Vec<Line> {
    let line = |(route, backends): (String, String)| {
        let alarm = route == "alarms";
        let mark = if alarm { "! " } else { "" };
        Line {
            colour: if alarm { Colour::Yellow } else { Colour::Green },
            what: format!("{mark}{}", seen.envelope.event_type()),
            rest: format!("{} {route} → {backends}", pad(seen.envelope.source(), 16)),
        }
    };
    targets(seen, shared).into_iter().map(line).collect()
}

/// The events of a batch that went the same way are one line.
fn fold(lines: impl Iterator<Item = Line>) -> Vec<Line> {
    let mut folded: Vec<(Line, usize)> = Vec::new();
    for line in lines {
        match folded.iter_mut().find(|(one, _)| one.what == line.what && one.rest == line.rest) {
            Some((_, count)) => *count += 1,
            None => folded.push((line, 1)),
        }
    }
    let with_count = |(line, count): (Line, usize)| {
        if count > 1 { Line { rest: format!("{} ×{count}", line.rest), ..line } } else { line }
    };
    folded.into_iter().map(with_count).collect()
}

/// The routes that took an event, with the backends of each.
fn targets(seen: &Seen, shared: &Shared) -> Vec<(String, String)> {
    let route = |number: &u32| seen.plan.as_ref()?.routes().get(*number as usize);
    let target = |route: &crate::router::Route| {
        let all = shared.lanes();
        let lanes = all.iter().filter(|lane| route.lanes & (1 << lane.id) != 0);
        let names: Vec<&str> = lanes.map(|lane| lane.name.as_str()).collect();
        (route.name.to_string(), names.join("+"))
    };
    seen.routes.iter().filter_map(route).map(target).collect()
}

fn as_json(entry: &Entry, id: &str, seen: &[(Seen, Vec<Delivered>)], shared: &Shared) -> Value {
    let (verdict, level, failure, detail) = match &entry.answer {
        Answer::Acked { level, .. } => ("acked", Some(level.as_str()), None, None),
        Answer::Refused { word, detail } => ("refused", None, Some(word.as_str()), Some(detail.as_str())),
        Answer::Unknown => ("unknown", None, None, None),
        Answer::Lost(what) => ("lost", None, None, Some(what.as_str())),
    };
    let event = |(seen, hops): &(Seen, Vec<Delivered>)| {
        let delivered: Vec<&str> =
            hops.iter().filter(|hop| hop.place.is_ok()).map(|hop| hop.backend.as_str()).collect();
        let routes: Vec<String> = targets(seen, shared).into_iter().map(|(route, _)| route).collect();
        json!({ "type": seen.envelope.event_type(), "source": seen.envelope.source(), "id": seen.envelope.id(), "routes": routes,
                "dead_letter": seen.dead.map(|word| word.to_string()), "delivered": delivered })
    };
    let events: Vec<Value> = seen.iter().map(event).collect();
    json!({ "protocol": entry.protocol.name(), "to": entry.to, "trace_id": id, "verdict": verdict, "ack": level, "failure": failure,
            "detail": detail, "ms": entry.after.as_secs_f64() * 1e3, "events": events })
}

/// `text` with exactly so many characters. An event's attributes come from whoever found the demo's port: they are made safe.
pub fn pad(text: &str, width: usize) -> String {
    let text = &safe(text);
    let length = text.chars().count();
    if length <= width {
        return format!("{text:<width$}");
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Three digits and the unit, at most seven characters.
pub fn millis(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    if ms < 10.0 {
        format!("{ms:.2} ms")
    } else if ms < 1000.0 {
        format!("{ms:.0} ms")
    } else {
        format!("{:.1} s", ms / 1e3)
    }
}

fn clock(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let day = since.as_secs() % 86_400;
    format!("{:02}:{:02}:{:02}.{:03}", day / 3600, day / 60 % 60, day % 60, since.subsec_millis())
}
