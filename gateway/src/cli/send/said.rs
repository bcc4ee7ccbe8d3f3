//! What the sender was told: as one line for people with the next command, or as one JSON object.
use super::http::HttpReply;
use crate::cli::{Exit, client::safe};
use serde_json::{Value, json};
use std::time::Duration;

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Receipt: the ack level, where the answer says it, and the event's id.
    Receipt {
        /// `received`, `durable`, `delivered`; `acked` where the protocol's yes has no level; `dropped`; `sent` for QoS 0.
        level: String,
        /// The ids of the events, where the answer has them.
        ids: Vec<String>,
        /// The word of a dead letter or of an intended drop.
        word: Option<String>,
    },
    /// Refusal: nothing was kept.
    Refused {
        /// The failure word.
        word: String,
        /// What exactly; one line per bad event of a batch.
        detail: Vec<String>,
    },
    /// It may have been kept.
    Unknown(String),
    /// There is no connection.
    Unreachable(String),
    /// The command was wrong; nothing was sent.
    Usage(String),
}

/// One answer.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) outcome: Outcome,
    /// As the protocol said it: `202`, `puback 0x99`.
    pub(super) answer: String,
    pub(super) trace: Option<String>,
    pub(super) after: Duration,
    pub(super) connected_after: Duration,
}

impl Said {
    /// Before anything was measured.
    pub(super) fn of(outcome: Outcome) -> Said {
        Said { outcome, answer: String::new(), trace: None, after: Duration::ZERO, connected_after: Duration::ZERO }
    }
}

fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned)
}

/// Reads an HTTP answer.
pub(super) fn of_http(reply: &HttpReply) -> Said {
    let answer = reply.status.as_u16().to_string();
    let outcome = if reply.is_unknown() {
        Outcome::Unknown(reply.text("detail").unwrap_or("the gateway does not know").to_owned())
    } else if reply.status.is_success() {
        receipt(&reply.body)
    } else {
        refusal(reply)
    };
    Said { answer, trace: text(&reply.body, "trace_id"), ..Said::of(outcome) }
}

fn receipt(body: &Value) -> Outcome {
    let results = body.get("results").and_then(Value::as_array);
    let items: Vec<&Value> = results.map_or_else(|| vec![body], |results| results.iter().collect());
    let ids = items.iter().filter_map(|item| text(item, "id")).collect();
    let word = items
        .iter()
        .find_map(|item| text(item, "dead_letter").or_else(|| text(item, "dropped")).or_else(|| text(item, "failure")));
    let level = items.iter().find_map(|item| text(item, "ack")).unwrap_or_else(|| "dropped".to_owned());
    Outcome::Receipt { level, ids, word }
}

fn refusal(reply: &HttpReply) -> Outcome {
    let errors = reply.body.get("errors").and_then(Value::as_array);
    let of = |error: &Value| {
        let index = error.get("index").and_then(Value::as_u64).unwrap_or(0);
        format!(
            "event {index}: {}: {}",
            text(error, "failure").unwrap_or_default(),
            text(error, "detail").unwrap_or_default()
        )
    };
    let mut detail: Vec<String> = reply.text("detail").map(str::to_owned).into_iter().collect();
    detail.extend(errors.into_iter().flatten().map(of));
    detail.extend(reply.retry_after.iter().map(|seconds| format!("try again after {seconds} s")));
    let word = reply.text("failure").map_or_else(|| format!("http {}", reply.status), str::to_owned);
    Outcome::Refused { word, detail }
}

/// Prints it and says how the command ends.
pub(super) fn print(said: &Said, json: bool) -> Exit {
    let exit = match &said.outcome {
        Outcome::Receipt { .. } => Exit::Ok,
        Outcome::Refused { .. } | Outcome::Unknown(_) => Exit::Faults,
        Outcome::Unreachable(_) => Exit::Unreachable,
        Outcome::Usage(_) => Exit::Usage,
    };
    if json {
        println!("{}", to_json(said));
        return exit;
    }
    let ms = said.after.as_secs_f64() * 1e3;
    let answer = format!("{} after {ms:.1} ms", said.answer);
    match &said.outcome {
        Outcome::Receipt { level, ids, word } => {
            let event = match ids.as_slice() {
                [] => String::new(),
                [id] => format!("event {}  ", safe(id)),
                [first, ..] => format!("{} events from {}  ", ids.len(), safe(first)),
            };
            let word = word
                .as_ref()
                .map(|word| format!("  {}: {word}", if level == "dropped" { "dropped" } else { "dead letter" }));
            println!("{}  {event}{answer}{}", safe(level), safe(&word.unwrap_or_default()));
        }
        Outcome::Refused { word, detail } => {
            println!("refused  {}  {answer}", safe(word));
            for line in detail {
                println!("         {}", safe(line));
            }
        }
        Outcome::Unknown(what) => {
            println!("unknown  {}; it may have been kept: send it again with the same id", safe(what));
        }
        Outcome::Unreachable(what) => {
            eprintln!(
                "error: no connection to {what}\n  = help: is the gateway running? anygate run starts one; --url names another"
            );
            return exit;
        }
        Outcome::Usage(what) => {
            eprintln!("error: {what}");
            return exit;
        }
    }
    match (&said.outcome, &said.trace) {
        (Outcome::Refused { word, .. }, _) if word.parse::<schemas::Word>().is_ok() => {
            println!("         anygate errors {word}");
        }
        (_, Some(trace)) => println!("         anygate trace {}", safe(trace)),
        (_, None) => {}
    }
    exit
}

fn to_json(said: &Said) -> Value {
    let (verdict, level, ids, word, detail) = match &said.outcome {
        Outcome::Receipt { level, ids, word } => {
            ("receipt", Some(level.as_str()), ids.clone(), word.clone(), Vec::new())
        }
        Outcome::Refused { word, detail } => ("refused", None, Vec::new(), Some(word.clone()), detail.clone()),
        Outcome::Unknown(what) => ("unknown", None, Vec::new(), None, vec![what.clone()]),
        Outcome::Unreachable(what) => ("unreachable", None, Vec::new(), None, vec![what.clone()]),
        Outcome::Usage(what) => ("usage", None, Vec::new(), None, vec![what.clone()]),
    };
    let ms = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    json!({ "verdict": verdict, "ack": level, "ids": ids, "failure": word, "detail": detail, "answer": said.answer,
            "trace_id": said.trace, "ms": ms(said.after), "connect_ms": ms(said.connected_after) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use http::StatusCode;

    fn reply(status: u16, body: Value) -> HttpReply {
        HttpReply { status: StatusCode::from_u16(status).unwrap(), body, retry_after: None }
    }

    #[test]
    fn every_kind_of_answer_is_told_apart() {
        let said =
            of_http(&reply(202, json!({ "id": "1", "ack": "durable", "dead_letter": "no_route", "trace_id": "ab" })));
        let Outcome::Receipt { level, ids, word } = said.outcome else { panic!("{said:?}") };
        assert_eq!(
            (level.as_str(), ids.len(), word.as_deref(), said.trace.as_deref()),
            ("durable", 1, Some("no_route"), Some("ab"))
        );
        let said = of_http(&reply(503, json!({ "failure": "internal", "outcome": "unknown", "detail": "d" })));
        assert_eq!(said.outcome, Outcome::Unknown("d".to_owned()));
        let errors = json!({ "failure": "malformed", "detail": "d", "errors": [{ "index": 1, "failure": "malformed", "detail": "x" }] });
        let Outcome::Refused { word, detail } = of_http(&reply(422, errors)).outcome else { panic!() };
        assert_eq!((word.as_str(), detail.len()), ("malformed", 2));
    }
}
