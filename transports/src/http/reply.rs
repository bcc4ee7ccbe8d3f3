//! Verdicts as HTTP answers: the one place where it is decided what a sender is told.
//!
//! | verdict | status |
//! |---|---|
//! | receipt | 202 (`received`, `durable`), 200 (`delivered`); 207 when events of a lenient batch were refused, 422 when all were |
//! | refusal | the word's own (`anygate errors`); 422 for a batch with bad events |
//! | unknown | 504 for `timeout`, else 503, with `"outcome":"unknown"` |
//!
//! A duplicate gets the answer of the first. A dropped event was acknowledged but not kept, so its answer says `dropped` and
//! the word where others say `ack`.
use super::{
    json,
    problem::{Answer, Body, answer, status_of},
};
use http::{HeaderValue, StatusCode};
use schemas::{AckLevel, ItemReceipt, ItemVerdict, Items, Receipt, Refusal, Unknown, Verdict, Word};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Which of the two answer forms a message gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One event: its own fields.
    Single,
    /// Any number of events: `results` or `errors`, even for one.
    Many,
}

impl Form {
    /// By content type: batches and NDJSON are [`Form::Many`].
    pub(super) fn of(content_type: &str) -> Self {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let batch = essence.eq_ignore_ascii_case("application/cloudevents-batch+json");
        if batch || essence.eq_ignore_ascii_case("application/x-ndjson") { Form::Many } else { Form::Single }
    }
}

/// The answer for a verdict.
pub(super) fn reply(verdict: Verdict, form: Form) -> Answer {
    match verdict {
        Verdict::Receipt(receipt) => receipt_answer(&receipt, form),
        Verdict::Refusal(refusal) => refusal_answer(&refusal, form),
        Verdict::Unknown(unknown) => unknown_answer(unknown),
    }
}

fn receipt_answer(receipt: &Receipt, form: Form) -> Answer {
    let status = match receipt.level {
        AckLevel::Received | AckLevel::Durable => StatusCode::ACCEPTED,
        AckLevel::Delivered => StatusCode::OK,
    };
    match (&receipt.items, form) {
        (Items::All, _) => {
            let mut text = b"{".to_vec();
            json::member(&mut text, "ack", receipt.level.as_str());
            finish(status, text, receipt)
        }
        (Items::Each(items), Form::Single) if items.len() == 1 => single(status, &items[0], receipt),
        (Items::Each(items), _) => many(status, items, receipt),
    }
}

fn single(status: StatusCode, item: &ItemReceipt, receipt: &Receipt) -> Answer {
    if let ItemVerdict::Refused(word, detail) = &item.verdict {
        return Body::new(*word, status_of(*word), detail).into_answer();
    }
    let status = if matches!(item.verdict, ItemVerdict::Dropped(_)) { StatusCode::ACCEPTED } else { status };
    let mut text = Vec::with_capacity(128);
    text.push(b'{');
    item_members(&mut text, item, receipt.level);
    finish(status, text, receipt)
}

fn finish(status: StatusCode, mut text: Vec<u8>, receipt: &Receipt) -> Answer {
    if !receipt.trace_id.is_empty() {
        json::member(&mut text, "trace_id", &receipt.trace_id);
    }
    text.push(b'}');
    answer(status, JSON, text)
}

fn many(status: StatusCode, items: &[ItemReceipt], receipt: &Receipt) -> Answer {
    let refused = items.iter().filter(|item| matches!(item.verdict, ItemVerdict::Refused(..))).count();
    if refused > 0 && refused == items.len() {
        return bad_batch(first_word(items), StatusCode::UNPROCESSABLE_ENTITY, "no event of the batch was kept", items);
    }
    let status = if refused > 0 { StatusCode::MULTI_STATUS } else { status };
    let mut text = Vec::with_capacity(64 + items.len() * 64);
    text.push(b'{');
    if !receipt.trace_id.is_empty() {
        json::member(&mut text, "trace_id", &receipt.trace_id);
        text.push(b',');
    }
    text.extend_from_slice(b"\"results\":[");
    for (at, item) in items.iter().enumerate() {
        text.extend_from_slice(if at == 0 { b"{" } else { b",{" });
        item_members(&mut text, item, receipt.level);
        text.push(b'}');
    }
    text.extend_from_slice(b"]}");
    answer(status, JSON, text)
}

fn item_members(text: &mut Vec<u8>, item: &ItemReceipt, first_answer: AckLevel) {
    if !item.id.is_empty() && !matches!(item.verdict, ItemVerdict::Refused(..)) {
        json::member(text, "id", &item.id);
    }
    match &item.verdict {
        ItemVerdict::Kept { level, dead_letter } => {
            json::member(text, "ack", level.as_str());
            if let Some(word) = dead_letter {
                json::member(text, "dead_letter", word.as_str());
            }
        }
        ItemVerdict::Duplicate => json::member(text, "ack", first_answer.as_str()),
        ItemVerdict::Dropped(word) => json::member(text, "dropped", word.as_str()),
        ItemVerdict::Refused(word, detail) => {
            json::member(text, "failure", word.as_str());
            json::member(text, "detail", detail);
        }
    }
}

fn refusal_answer(refusal: &Refusal, form: Form) -> Answer {
    let status = status_of(refusal.word);
    if status.is_success() {
        // The words of intended drops: nothing was kept because nothing should be.
        let mut text = b"{".to_vec();
        json::member(&mut text, "dropped", refusal.word.as_str());
        text.push(b'}');
        return answer(status, JSON, text);
    }
    let mut body = match (&refusal.items, form) {
        (Items::Each(items), Form::Many) => {
            // What may succeed later is no fault of the batch: the word's own status says so.
            let status = if refusal.word.retryable() { status } else { StatusCode::UNPROCESSABLE_ENTITY };
            bad_batch_body(refusal.word, status, &refusal.detail, items)
        }
        (Items::Each(_) | Items::All, _) => Body::new(refusal.word, status, &refusal.detail),
    };
    body.retry_after = refusal.retry_after;
    body.into_answer()
}

fn bad_batch(word: Word, status: StatusCode, detail: &str, items: &[ItemReceipt]) -> Answer {
    bad_batch_body(word, status, detail, items).into_answer()
}

fn bad_batch_body(word: Word, status: StatusCode, detail: &str, items: &[ItemReceipt]) -> Body {
    let mut body = Body::new(word, status, detail);
    let text = body.members();
    text.extend_from_slice(b",\"errors\":[");
    let mut first = true;
    for (index, item) in items.iter().enumerate() {
        let ItemVerdict::Refused(word, detail) = &item.verdict else { continue };
        text.extend_from_slice(if first { b"{\"index\":" } else { b",{\"index\":" });
        first = false;
        text.extend_from_slice(index.to_string().as_bytes());
        json::member(text, "failure", word.as_str());
        json::member(text, "detail", detail);
        text.push(b'}');
    }
    text.push(b']');
    body
}

fn first_word(items: &[ItemReceipt]) -> Word {
    items
        .iter()
        .find_map(|item| if let ItemVerdict::Refused(word, _) = item.verdict { Some(word) } else { None })
        .unwrap_or(Word::Malformed)
}

fn unknown_answer(unknown: Unknown) -> Answer {
    let status =
        if unknown.word == Word::Timeout { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut body = Body::new(unknown.word, status, "it may have been kept: send it again with the same id");
    json::member(body.members(), "outcome", "unknown");
    body.into_answer()
}
