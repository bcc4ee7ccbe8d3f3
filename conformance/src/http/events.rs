//! Rows about batches and idempotency keys.
use super::{
    framing::fresh,
    head,
    row::{After, Ask, Exchange, Miss, Row, post, problem, status},
    wire::{Answer, Wire},
};
use crate::suite::Endpoint;

const BATCHES: &str = "the listener's answers for batches";
const KEYS: &str = "the listener's answers for Idempotency-Key";

/// See the module's documentation.
pub(super) const ROWS: &[Row] = &[
    Row {
        name: "H45",
        title: "a batch with one bad event: nothing of it is kept",
        section: BATCHES,
        ask: Ask::Exchanges(|endpoint| {
            let refused = problem(&[422], "missing_attribute").body("\"errors\":[{\"index\":1,");
            vec![Exchange::send("a batch", batch(endpoint, "")).answer(refused).after(After::Stays)]
        }),
    },
    Row {
        name: "H46",
        title: "a batch with one bad event and Prefer: handling=lenient",
        section: BATCHES,
        ask: Ask::Exchanges(|endpoint| {
            let parts =
                status(&[207]).body("\"results\":[{\"id\":").body("\"ack\":").body("\"failure\":\"missing_attribute\"");
            let bytes = batch(endpoint, "Prefer: handling=lenient\r\n");
            vec![Exchange::send("a batch", bytes).answer(parts).after(After::Stays)]
        }),
    },
    Row {
        name: "H47",
        title: "the same Idempotency-Key with the same body: acknowledged as the first (ids of bare events are not compared)",
        section: KEYS,
        ask: Ask::Run(|endpoint| {
            let key = fresh("same");
            let (first, second) = (keyed(endpoint, &key, b"{}")?, keyed(endpoint, &key, b"{}")?);
            let ack = |answer: &Answer| {
                let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                body["ack"].as_str().map(str::to_owned)
            };
            if (first.status, second.status, ack(&second)) == (202, 202, ack(&first)) && ack(&first).is_some() {
                Ok(())
            } else {
                Err(Miss::new(format!("202 twice with the same ack, as in {first}"), second))
            }
        }),
    },
    Row {
        name: "H48",
        title: "the same Idempotency-Key with another body",
        section: KEYS,
        ask: Ask::Run(|endpoint| {
            let key = fresh("other");
            keyed(endpoint, &key, b"{}")?;
            let second = keyed(endpoint, &key, b"{\"other\":1}")?;
            if second.status == 422 { Ok(()) } else { Err(Miss::new("422 for the second", second)) }
        }),
    },
    Row {
        name: "H49",
        title: "an Idempotency-Key of 10 KB, an empty one, control characters, a percent-encoded line end",
        section: KEYS,
        ask: Ask::Exchanges(|endpoint| {
            let with = |key: &str| post(endpoint, &format!("Idempotency-Key: {key}\r\n"), b"{}");
            let injected = format!("{}%0d%0aX-Injected:%201", fresh("percent"));
            vec![
                Exchange::send("10 KB", with(&"k".repeat(10_000)))
                    .answer(problem(&[400], "malformed"))
                    .after(After::Stays),
                Exchange::send("empty", with("")).answer(problem(&[400], "malformed")).after(After::Stays),
                Exchange::send("not ASCII", with("k\u{e9}")).answer(problem(&[400], "malformed")).after(After::Stays),
                Exchange::send("a control character", with("k\u{1}")).answer(head::malformed()),
                Exchange::send("%0d%0a", with(&injected)).answer(problem(&[400], "malformed")).after(After::Stays),
            ]
        }),
    },
];

/// A good event and one without a type.
fn batch(endpoint: &Endpoint, headers: &str) -> Vec<u8> {
    let body = format!(
        r#"[{{"specversion":"1.0","id":"{}","source":"/s","type":"t"}},{{"specversion":"1.0","id":"b","source":"/s"}}]"#,
        fresh("batch")
    );
    let typed = format!("{headers}Content-Type: application/cloudevents-batch+json\r\n");
    post(endpoint, &typed, body.as_bytes())
}

fn keyed(endpoint: &Endpoint, key: &str, body: &[u8]) -> Result<Answer, Miss> {
    let wanted = "an answer";
    let mut wire = Wire::connect(endpoint).map_err(|error| Miss::new(wanted, error))?;
    wire.send(&post(endpoint, &format!("Idempotency-Key: {key}\r\n"), body));
    wire.answer().map_err(|none| Miss::new(wanted, none))
}
