//! One log line: what is in it, and how it looks in each format.
use crate::config::LogFormat;
use jiff::Timestamp;
use schemas::json::write_string;
use std::{
    collections::hash_map::DefaultHasher,
    fmt::{self, Write as _},
    hash::{Hash, Hasher},
};
use tracing::{
    Level,
    field::{Field, Visit},
};

/// `write!` into a string, which cannot fail.
macro_rules! push {
    ($out:expr, $($what:tt)*) => {{ let _infallible = write!($out, $($what)*); }};
}

/// Fields of one line at most.
const FIELDS_MAX: usize = 32;
/// Bytes of one value at most.
const VALUE_MAX: usize = 2048;
/// Fields that JSON and text give first, in this order.
const FIRST: [&str; 6] = ["code", "listener", "route", "backend", "event_id", "trace_id"];
/// Fields that differ between lines which say the same.
const NOT_COMPARED: [&str; 6] = ["event_id", "trace_id", "lsn", "peer", "client", "seconds"];

/// A value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    /// A number or a truth value, as it is written.
    Plain(String),
}

/// One line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) time: Timestamp,
    pub(super) level: Level,
    pub(super) target: String,
    pub(super) message: String,
    pub(super) fields: Vec<(&'static str, Value)>,
    /// Not the line itself: how many more like it there were, in how many seconds.
    pub(super) more: Option<(u64, u64)>,
}

impl Line {
    pub(super) fn of(event: &tracing::Event<'_>) -> Self {
        let meta = event.metadata();
        let target = meta.target().to_owned();
        let mut line = Line {
            time: Timestamp::now(),
            level: *meta.level(),
            target,
            message: String::new(),
            fields: Vec::new(),
            more: None,
        };
        event.record(&mut line);
        line.fields.sort_by_key(|(name, _)| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
        line
    }

    /// The same number for lines that say the same.
    pub(super) fn key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.level, &self.target, &self.message).hash(&mut hasher);
        for (name, value) in self.fields.iter().filter(|(name, _)| !NOT_COMPARED.contains(name)) {
            (name, value.as_str()).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// The line with its line feed.
    pub(super) fn render(&self, format: LogFormat, coloured: bool) -> String {
        let mut out = String::with_capacity(256);
        match format {
            LogFormat::Text => self.text(&mut out, coloured),
            LogFormat::Json => self.json(&mut out),
            LogFormat::Izy => self.izy(&mut out),
        }
        out.push('\n');
        out
    }

    fn stamp(&self) -> String {
        self.time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    }

    /// The part of the gateway: `lanes`, `kafka`, `mqtt`; a library by its name.
    fn context(&self) -> &str {
        let mut parts = self.target.split("::");
        let first = parts.next().unwrap_or_default();
        if ["gateway", "backends", "transports"].contains(&first) { parts.next().unwrap_or(first) } else { first }
    }

    fn text(&self, out: &mut String, coloured: bool) {
        let (on, off) = if coloured { (colour(self.level), "\x1b[0m") } else { ("", "") };
        let dim = if coloured { "\x1b[2m" } else { "" };
        push!(out, "{dim}{}{off} {on}{:>5}{off} {}: ", self.stamp(), self.level, self.context());
        escape(out, &self.message);
        for (name, value) in &self.fields {
            push!(out, " {dim}{name}={off}");
            match value {
                Value::Text(text) if is_plain(text) => out.push_str(text),
                Value::Text(text) => {
                    out.push('"');
                    escape(out, &text.replace('"', "\\\""));
                    out.push('"');
                }
                Value::Plain(text) => out.push_str(text),
            }
        }
        if let Some((more, seconds)) = self.more {
            push!(out, " … {more} more in {seconds} s");
        }
    }

    fn json(&self, out: &mut String) {
        let mut bytes = Vec::with_capacity(256);
        let mut member = |name: &str, value: &Value| {
            bytes.push(if bytes.is_empty() { b'{' } else { b',' });
            write_string(&mut bytes, name);
            bytes.push(b':');
            match value {
                Value::Text(text) => write_string(&mut bytes, text),
                Value::Plain(text) => bytes.extend_from_slice(text.as_bytes()),
            }
        };
        let text = |text: &str| Value::Text(text.to_owned());
        member("ts", &text(&self.stamp()));
        member("level", &text(word(self.level)));
        let (code, rest) = self.fields.iter().partition::<Vec<_>, _>(|(name, _)| *name == "code");
        for (name, value) in code {
            member(name, value);
        }
        member("msg", &text(&self.message));
        for (name, value) in rest {
            member(name, value);
        }
        member("at", &text(&self.target));
        if let Some((more, seconds)) = self.more {
            member("repeats", &Value::Plain(more.to_string()));
            member("repeats_seconds", &Value::Plain(seconds.to_string()));
        }
        bytes.push(b'}');
        out.push_str(&String::from_utf8_lossy(&bytes));
    }

    /// `anygate:lanes(warehouse?ts=…&level=warn) backend_unavailable#deliveries-fail-and-are-tried-again`: the package is
    /// what the line is about, the event its code, the action its message.
    fn izy(&self, out: &mut String) {
        let field = |name: &str| self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_str());
        let package = ["backend", "listener", "route"].into_iter().find_map(|name| Some((name, field(name)?)));
        push!(out, "anygate:{}(", self.context());
        percent(out, package.map_or("", |(_, value)| value));
        push!(out, "?ts={}&level={}", self.stamp(), word(self.level));
        for (name, value) in &self.fields {
            if *name != "code" && package.is_none_or(|(package, _)| package != *name) {
                push!(out, "&{name}=");
                percent(out, value.as_str());
            }
        }
        if let Some((more, seconds)) = self.more {
            push!(out, "&repeats={more}&repeats_seconds={seconds}");
        }
        push!(out, ") {}#", field("code").unwrap_or("state"));
        let action: Vec<String> = self
            .message
            .split(|c: char| !c.is_alphanumeric())
            .filter(|part| !part.is_empty())
            .map(str::to_lowercase)
            .collect();
        out.push_str(&action.join("-"));
    }

    fn add(&mut self, field: &Field, value: Value) {
        let name = match field.name() {
            "failure" => "code",
            "id" => "event_id",
            name => name,
        };
        if name == "message" {
            self.message = value.into_string();
        } else if self.fields.len() < FIELDS_MAX {
            self.fields.push((name, value));
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        push!(&mut text, "{value:?}");
        self.add(field, Value::Text(cut(text)));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::Text(cut(value.to_owned())));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::Plain(value.to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::Plain(value.to_string()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinities.
        let text = value.to_string();
        self.add(field, if value.is_finite() { Value::Plain(text) } else { Value::Text(text) });
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::Plain(value.to_string()));
    }
}

impl Value {
    fn as_str(&self) -> &str {
        match self {
            Value::Text(text) | Value::Plain(text) => text,
        }
    }

    fn into_string(self) -> String {
        match self {
            Value::Text(text) | Value::Plain(text) => text,
        }
    }
}

fn cut(mut text: String) -> String {
    if text.len() > VALUE_MAX {
        text.truncate(text.floor_char_boundary(VALUE_MAX));
        text.push('…');
    }
    text
}

fn word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG | Level::TRACE => "\x1b[2m",
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != '"')
}

/// Nothing that moves a cursor or fakes a second line.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
}

fn percent(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            push!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn line() -> Line {
        let text = |text: &str| Value::Text(text.to_owned());
        Line {
            time: "2026-11-21T12:30:00.123456Z".parse().unwrap(),
            level: Level::WARN,
            target: "gateway::lanes::run".to_owned(),
            message: "deliveries fail and are tried again".to_owned(),
            fields: vec![
                ("code", text("backend_unavailable")),
                ("backend", text("warehouse")),
                ("event_id", text("a\nb")),
                ("detail", text("no \"broker\" is up")),
                ("attempts", Value::Plain("3".to_owned())),
            ],
            more: None,
        }
    }

    #[test]
    fn golden_text() {
        assert_eq!(
            line().render(LogFormat::Text, false),
            "2026-11-21T12:30:00.123Z  WARN lanes: deliveries fail and are tried again code=backend_unavailable backend=warehouse \
             event_id=\"a\\nb\" detail=\"no \\\"broker\\\" is up\" attempts=3\n"
        );
        assert!(line().render(LogFormat::Text, true).contains("\x1b[33m WARN\x1b[0m"));
        let more = Line { more: Some((14, 10)), fields: Vec::new(), ..line() };
        assert_eq!(
            more.render(LogFormat::Text, false),
            "2026-11-21T12:30:00.123Z  WARN lanes: deliveries fail and are tried again … 14 more in 10 s\n"
        );
    }

    #[test]
    fn golden_json() {
        let more = Line { more: Some((14, 10)), ..line() };
        assert_eq!(
            more.render(LogFormat::Json, true),
            "{\"ts\":\"2026-11-21T12:30:00.123Z\",\"level\":\"warn\",\"code\":\"backend_unavailable\",\
             \"msg\":\"deliveries fail and are tried again\",\"backend\":\"warehouse\",\"event_id\":\"a\\nb\",\
             \"detail\":\"no \\\"broker\\\" is up\",\"attempts\":3,\"at\":\"gateway::lanes::run\",\"repeats\":14,\"repeats_seconds\":10}\n"
        );
    }

    #[test]
    fn golden_izy() {
        assert_eq!(
            line().render(LogFormat::Izy, true),
            "anygate:lanes(warehouse?ts=2026-11-21T12:30:00.123Z&level=warn&event_id=a%0Ab&detail=no%20%22broker%22%20is%20up&attempts=3) \
             backend_unavailable#deliveries-fail-and-are-tried-again\n"
        );
        let other = Line { target: "journal".to_owned(), fields: Vec::new(), ..line() };
        assert_eq!(
            other.render(LogFormat::Izy, false),
            "anygate:journal(?ts=2026-11-21T12:30:00.123Z&level=warn) state#deliveries-fail-and-are-tried-again\n"
        );
    }

    #[test]
    fn nothing_from_a_sender_reaches_the_terminal_raw() {
        let mut line = line();
        line.message = "x\x1b[2J\r\nfake".to_owned();
        line.fields.push(("subject", Value::Text("\x1b]0;title\x07".to_owned())));
        for format in [LogFormat::Text, LogFormat::Json, LogFormat::Izy] {
            let text = line.render(format, false);
            assert!(text.trim_end_matches('\n').chars().all(|c| !c.is_control()), "{text:?}");
        }
    }

    #[test]
    fn lines_that_differ_by_ids_only_are_the_same() {
        let mut other = line();
        other.fields[2].1 = Value::Text("another".to_owned());
        assert_eq!(line().key(), other.key());
        other.fields[1].1 = Value::Text("elsewhere".to_owned());
        assert_ne!(line().key(), other.key());
    }
}
