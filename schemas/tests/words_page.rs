//! `schemas/words.md`, the page of the failure words for people, is what `words.json` says. `UPDATE_GOLDEN=1` rewrites it.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]
use schemas::{WORDS, word::Entry};
use std::{fmt::Write as _, fs, path::PathBuf};

const HEAD: &str = "\
# Failure words

One word per way in which a message can fail, or be settled without being kept: the same in answers, metrics, logs, dead
letters and `anygate errors`. Made from `words.json` by `tests/words_page.rs` (`UPDATE_GOLDEN=1 cargo test -p schemas --test
words_page`); do not edit it by hand. The AMQP and WebSocket columns say what those listeners will answer when they come.

*Hold*: the answer comes later, when there is room; at the end of the hold time the connection closes as named. An outcome that
is *unknown* (it may have been kept) is never a refusal: HTTP 503, or 504 for `timeout`, with `\"outcome\":\"unknown\"`; MQTT
closes without an answer. Send again with the same id.

| word | meaning | HTTP | MQTT 5 | AMQP 0-9-1 | WebSocket | again? |
|---|---|---|---|---|---|---|
";

/// Text inside a table: a bar would end its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    for entry in WORDS.map(schemas::Word::entry) {
        let Entry { name, title, http, mqtt5_text, amqp091, websocket, retryable, .. } = entry;
        let [title, mqtt5, amqp, websocket] = [title, mqtt5_text, amqp091, websocket].map(|text| cell(text));
        let again = if *retryable { "may succeed later" } else { "" };
        writeln!(page, "| [`{name}`](#{name}) | {title} | {http} | {mqtt5} | {amqp} | {websocket} | {again} |")
            .unwrap();
    }
    for entry in WORDS.map(schemas::Word::entry) {
        let Entry { name, title, then, cause, todo, .. } = entry;
        write!(
            page,
            "\n## {name}\n\n{title}.\n\n- **Then**: {then}.\n- **Cause**: {cause}.\n- **What to do**: {todo}.\n"
        )
        .unwrap();
    }
    page
}

#[test]
fn the_page_says_what_the_table_says() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("words.md");
    let page = page();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(page, written, "schemas/words.md differs from words.json; UPDATE_GOLDEN=1 rewrites it");
}
