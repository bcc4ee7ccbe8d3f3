//! Every answer that the manual lists, and the table word × HTTP.
use crate::{
    client::{Server, json, post, problem, settings, start, start_with, status},
    support::{Answer, FakeGate, TRACE_ID, kept, receipt, receipt_of, refused},
};
use schemas::{AckLevel, ItemReceipt, ItemVerdict, Items, Refusal, Unknown, Verdict, WORDS, Word};
use std::time::{Duration, Instant};
use transports::Slot;

const NDJSON: &str = "Content-Type: application/x-ndjson\r\n";
const BATCH: &str = "Content-Type: application/cloudevents-batch+json; charset=utf-8\r\n";

async fn answers(server: &Server, headers: &str, verdict: impl Into<Verdict>) -> String {
    server.gate.always(verdict.into());
    server.post(headers, "{}").await
}

fn receipts(level: AckLevel, items: Vec<ItemReceipt>) -> Verdict {
    Verdict::Receipt(receipt_of(level, items))
}

fn item(id: &str, verdict: ItemVerdict) -> ItemReceipt {
    ItemReceipt { id: id.into(), verdict }
}

#[tokio::test]
async fn receipts_of_one_event() {
    let server = start().await;
    for (level, line) in
        [(AckLevel::Received, "202 Accepted"), (AckLevel::Durable, "202 Accepted"), (AckLevel::Delivered, "200 OK")]
    {
        let body = format!("{{\"id\":\"a\\\"1\",\"ack\":\"{level}\",\"trace_id\":\"{TRACE_ID}\"}}");
        assert_eq!(answers(&server, "", receipts(level, vec![kept("a\"1", level)])).await, json(line, &body));
    }
    let letter = item("a", ItemVerdict::Kept { level: AckLevel::Durable, dead_letter: Some(Word::NoRoute) });
    let body = format!("{{\"id\":\"a\",\"ack\":\"durable\",\"dead_letter\":\"no_route\",\"trace_id\":\"{TRACE_ID}\"}}");
    assert_eq!(answers(&server, "", receipts(AckLevel::Durable, vec![letter])).await, json("202 Accepted", &body));
    let body = format!("{{\"id\":\"a\",\"ack\":\"durable\",\"trace_id\":\"{TRACE_ID}\"}}");
    let twice = receipts(AckLevel::Durable, vec![item("a", ItemVerdict::Duplicate)]);
    assert_eq!(answers(&server, "", twice).await, json("202 Accepted", &body), "a duplicate is answered as the first");
    let body = format!("{{\"id\":\"a\",\"dropped\":\"filtered\",\"trace_id\":\"{TRACE_ID}\"}}");
    let dropped = receipts(AckLevel::Durable, vec![item("a", ItemVerdict::Dropped(Word::Filtered))]);
    assert_eq!(
        answers(&server, "", dropped).await,
        json("202 Accepted", &body),
        "what was not kept is not called acknowledged"
    );
    let all = Verdict::Receipt(schemas::Receipt { items: Items::All, ..receipt("") });
    let body = format!("{{\"ack\":\"durable\",\"trace_id\":\"{TRACE_ID}\"}}");
    assert_eq!(answers(&server, "", all).await, json("202 Accepted", &body));
    let one = receipts(AckLevel::Durable, vec![refused("a", Word::SchemaInvalid, "/x is missing")]);
    assert_eq!(
        answers(&server, "", one).await,
        problem("422 Unprocessable Entity", "", "schema_invalid", "/x is missing", "")
    );
}

#[tokio::test]
async fn receipts_of_batches() {
    let server = start().await;
    for headers in [NDJSON, BATCH] {
        let body = format!("{{\"trace_id\":\"{TRACE_ID}\",\"results\":[{{\"id\":\"a\",\"ack\":\"durable\"}}]}}");
        let one = receipts(AckLevel::Durable, vec![kept("a", AckLevel::Durable)]);
        assert_eq!(answers(&server, headers, one).await, json("202 Accepted", &body), "results even for one event");
    }
    let mixed = vec![
        kept("a", AckLevel::Delivered),
        item("b", ItemVerdict::Kept { level: AckLevel::Durable, dead_letter: Some(Word::NoRoute) }),
        item("c", ItemVerdict::Duplicate),
        item("d", ItemVerdict::Dropped(Word::Expired)),
    ];
    let results = "{\"id\":\"a\",\"ack\":\"delivered\"},{\"id\":\"b\",\"ack\":\"durable\",\"dead_letter\":\"no_route\"},\
                   {\"id\":\"c\",\"ack\":\"durable\"},{\"id\":\"d\",\"dropped\":\"expired\"}";
    let body = format!("{{\"trace_id\":\"{TRACE_ID}\",\"results\":[{results}]}}");
    assert_eq!(answers(&server, NDJSON, receipts(AckLevel::Durable, mixed)).await, json("202 Accepted", &body));
    let partial = vec![kept("a", AckLevel::Durable), refused("b", Word::Malformed, "byte 3")];
    let results = "{\"id\":\"a\",\"ack\":\"durable\"},{\"failure\":\"malformed\",\"detail\":\"byte 3\"}";
    let body = format!("{{\"trace_id\":\"{TRACE_ID}\",\"results\":[{results}]}}");
    assert_eq!(answers(&server, NDJSON, receipts(AckLevel::Durable, partial)).await, json("207 Multi-Status", &body));
    let none = vec![refused("", Word::Malformed, "byte 3"), refused("b", Word::NoRoute, "none")];
    let errors = ",\"errors\":[{\"index\":0,\"failure\":\"malformed\",\"detail\":\"byte 3\"},{\"index\":1,\"failure\":\"no_route\",\"detail\":\"none\"}]";
    let expected = problem("422 Unprocessable Entity", "", "malformed", "no event of the batch was kept", errors);
    assert_eq!(answers(&server, NDJSON, receipts(AckLevel::Durable, none)).await, expected);
}

#[tokio::test]
async fn refused_batches_list_every_bad_event() {
    let server = start().await;
    let items = vec![
        kept("a", AckLevel::Durable),
        refused("b", Word::Malformed, "byte 3"),
        refused("c", Word::NoRoute, "none"),
    ];
    let refusal = Refusal { items: Items::Each(items.into()), ..Refusal::new(Word::NoRoute, "2 of 3 events") };
    let errors = ",\"errors\":[{\"index\":1,\"failure\":\"malformed\",\"detail\":\"byte 3\"},{\"index\":2,\"failure\":\"no_route\",\"detail\":\"none\"}]";
    assert_eq!(
        answers(&server, BATCH, refusal.clone()).await,
        problem("422 Unprocessable Entity", "", "no_route", "2 of 3 events", errors)
    );
    assert_eq!(
        answers(&server, "", refusal.clone()).await,
        problem("404 Not Found", "", "no_route", "2 of 3 events", "")
    );
    let later = Refusal { word: Word::StorageFull, ..refusal };
    assert_eq!(status(&answers(&server, BATCH, later).await), "503", "what a resend can cure is no fault of the batch");
    let whole = Refusal::new(Word::Malformed, "byte 9: no array");
    assert_eq!(
        answers(&server, BATCH, whole).await,
        problem("400 Bad Request", "", "malformed", "byte 9: no array", "")
    );
}

fn reason(code: u16) -> String {
    http::StatusCode::from_u16(code).unwrap().to_string()
}

#[tokio::test]
async fn each_word_has_its_status_and_headers() {
    let server = start().await;
    for word in WORDS {
        let code = word.entry().http;
        let answer = answers(&server, "", Refusal::new(word, "why").retry_after(Duration::from_millis(2100))).await;
        if code < 300 {
            assert_eq!(answer, json(&reason(code), &format!("{{\"dropped\":\"{word}\"}}")), "{word}");
            continue;
        }
        let mut headers = String::from("retry-after: 3\r\n");
        match word {
            Word::Unauthenticated => {
                headers += "www-authenticate: Bearer realm=\"anygate\", Basic realm=\"anygate\"\r\n";
            }
            Word::MethodNotAllowed => headers += "allow: POST, OPTIONS\r\n",
            _ => {}
        }
        assert_eq!(answer, problem(&reason(code), &headers, word.as_str(), "why", ""), "{word}");
        let without = answers(&server, "", Refusal::new(word, "why")).await;
        assert_eq!(without.contains("retry-after: 1\r\n"), code == 429 || code == 503, "{word}");
    }
    assert!(server.gate.refused_words().is_empty(), "what the gateway refuses, the gateway counts");
}

#[tokio::test]
async fn unknown_is_never_a_refusal() {
    let server = start().await;
    let detail = "it may have been kept: send it again with the same id";
    for (word, line, headers) in [
        (Word::Timeout, "504 Gateway Timeout", ""),
        (Word::Internal, "503 Service Unavailable", "retry-after: 1\r\n"),
        (Word::ShuttingDown, "503 Service Unavailable", "retry-after: 1\r\n"),
    ] {
        let expected = problem(line, headers, word.as_str(), detail, ",\"outcome\":\"unknown\"");
        assert_eq!(answers(&server, "", Verdict::Unknown(Unknown { word })).await, expected);
    }
}

#[tokio::test]
async fn a_receipt_waits_until_it_is_true() {
    let server = start().await;
    server.gate.script(|_| Answer::Durable(7, receipt("a")));
    let mut client = server.connect().await;
    client.send(post("/events", "", "{}")).await;
    assert!(client.is_silent().await, "nothing is durable yet");
    server.gate.set_durable(6);
    assert!(client.is_silent().await, "the record before is durable");
    server.gate.set_durable(7);
    assert_eq!(status(&client.answer().await), "202");

    server.gate.script(|_| Answer::Durable(8, receipt("a")));
    client.send(post("/events", "", "{}")).await;
    assert!(client.is_silent().await);
    server.gate.lose_disk();
    let answer = client.answer().await;
    assert_eq!(status(&answer), "503");
    assert!(answer.contains("\"outcome\":\"unknown\""), "{answer}");

    let slot = Slot::new(2, false);
    let given = slot.clone();
    server.gate.script(move |_| Answer::Slot(given.clone(), receipt("a")));
    client.send(post("/events", "", "{}")).await;
    slot.settle(None);
    assert!(client.is_silent().await, "one delivery of two");
    slot.settle(None);
    assert_eq!(status(&client.answer().await), "202");
}

#[tokio::test]
async fn after_the_deadline_the_outcome_is_unknown() {
    let short = transports::http::HttpSettings { deadline: Duration::from_millis(200), ..settings() };
    let server = start_with(FakeGate::new(), short).await;
    for script in [|| Answer::Hang, || Answer::Durable(99, receipt("a"))] {
        server.gate.script(move |_| script());
        let began = Instant::now();
        let answer = server.post("", "{}").await;
        assert_eq!(status(&answer), "504");
        assert!(answer.contains("\"failure\":\"timeout\",\"outcome\":\"unknown\""), "{answer}");
        assert!(began.elapsed() >= Duration::from_millis(200) && began.elapsed() < Duration::from_secs(2));
    }
    server
        .gate
        .script(|_| Answer::After(Duration::from_millis(50), Box::new(Answer::Now(Verdict::Receipt(receipt("late"))))));
    assert_eq!(status(&server.post("", "{}").await), "202");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = start().await;
    let mut lsn = 0;
    server.gate.script(move |_| {
        lsn += 1;
        Answer::Durable(lsn, receipt(&format!("p-{lsn}")))
    });
    let mut client = server.connect().await;
    client.send(post("/events", "", "{}").repeat(20)).await;
    server.gate.set_durable(100);
    for at in 1..=20 {
        let answer = client.answer().await;
        assert!(answer.contains(&format!("\"id\":\"p-{at}\"")), "{at}: {answer}");
    }
}
