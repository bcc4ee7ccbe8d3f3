//! The worked examples of CONTRIBUTING.md keep their contracts, and stand there as they were compiled here. The middleware
//! example is compiled in `gateway/tests/examples.rs`, because this crate does not know the gateway.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]
#[path = "../../tests/examples/backend.rs"]
mod backend;
#[path = "../../tests/examples/codec.rs"]
mod codec;

use backends::{BuildContext, Plugin as _};
use conformance::{
    backend::{Subject, check_backend, event},
    codec::{Back, Sample, check_codec},
};
use schemas::Message;

const CONTRIBUTING: &str = include_str!("../../CONTRIBUTING.md");

#[test]
fn the_codec() {
    let message = |payload: &str| Message { payload: payload.to_owned().into(), ..Message::default() };
    let sample = |payload| Sample { message: message(payload), back: Back::Data(message("")) };
    check_codec(&codec::Typed, &[sample("com.acme.reading 21.5"), sample("t {\"a\": 1}")]).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_backend() {
    let folder = tempfile::tempdir().unwrap();
    let config: backend::LinesConfig = serde_json::from_str(r#"{"path":"events.jsonl"}"#).unwrap();
    let context = BuildContext {
        name: "archive",
        data_dir: folder.path(),
        folder: folder.path(),
        message_max: 0,
        env: &|_| None,
    };
    let built = config.build(&context).unwrap();
    let held = || {
        let text = std::fs::read_to_string(folder.path().join("events.jsonl")).unwrap();
        let id =
            |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
        text.lines().map(id).collect()
    };
    check_backend(&Subject { backend: &*built, event: &event, spoilt: None, held: Some(&held) }).await.unwrap();
    let nowhere = backend::LinesConfig { path: "no/such/folder/x".to_owned(), ..config };
    assert!(nowhere.build(&context).err().unwrap().contains("no/such/folder/x"));
}

#[test]
fn the_guide_shows_what_was_compiled() {
    for (name, text) in [
        ("codec", include_str!("../../tests/examples/codec.rs")),
        ("middleware", include_str!("../../tests/examples/middleware.rs")),
        ("backend", include_str!("../../tests/examples/backend.rs")),
    ] {
        let block = format!("```rust\n{text}```\n");
        assert!(CONTRIBUTING.contains(&block), "CONTRIBUTING.md does not show tests/examples/{name}.rs as it is");
    }
}
