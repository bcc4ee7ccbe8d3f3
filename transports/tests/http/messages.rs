//! What the gateway gets to see of a request.
use crate::{
    client::{post, settings, start, start_with, status},
    support::{FakeGate, Seen},
};
use schemas::{Mode, Refusal, Word};
use transports::{Credentials, Principal, http::HttpSettings};

async fn seen_as(settings: HttpSettings, request: String) -> Seen {
    let server = start_with(FakeGate::new(), settings).await;
    let answer = server.ask(&request).await;
    assert_eq!(status(&answer), "202", "{answer}");
    server.gate.seen().pop().unwrap()
}

async fn seen(request: String) -> Seen {
    seen_as(settings(), request).await
}

#[tokio::test]
async fn a_bare_event() {
    let seen = seen(post("/events", "Content-Type: text/csv\r\nIdempotency-Key: k-1\r\nX-Other: 1\r\n", "a,b")).await;
    let message = &seen.message;
    assert_eq!(message.payload.as_ref(), b"a,b");
    assert_eq!(message.content_type.as_deref(), Some("text/csv"));
    assert_eq!(message.subject.as_str(), "/events");
    assert_eq!(message.mode, Mode::ByContentType);
    assert_eq!(message.dedupe_id.as_deref(), Some("k-1"));
    assert!(message.attributes.is_empty() && message.headers.is_empty() && message.trace.is_none());
    assert!(message.wants.detail && message.wants.answer && !message.wants.partial);
    assert_eq!(message.wants.deadline, settings().deadline);
    assert_eq!((seen.origin.protocol, seen.origin.version, seen.origin.listener.as_str()), ("http", "1.1", "test"));
    assert!(seen.room >= 3);
}

#[tokio::test]
async fn the_path_names_the_type() {
    let bare = seen(post("/events/a%20b?x=1", "", "{}")).await.message;
    assert_eq!(bare.attributes.get("type"), Some("a b"));
    assert_eq!(bare.subject.as_str(), "/events/a b");
    assert!(bare.content_type.is_none());
    let binary = "ce-specversion: 1.0\r\nce-id: 1\r\nce-source: /s\r\n";
    assert_eq!(seen(post("/events/t", binary, "{}")).await.message.attributes.get("type"), Some("t"));
    let typed = format!("{binary}ce-type: own\r\n");
    assert_eq!(seen(post("/events/t", &typed, "{}")).await.message.attributes.get("type"), Some("own"));
}

#[tokio::test]
async fn binary_mode_wins_over_the_content_type() {
    let headers = "Content-Type: application/cloudevents+json\r\nce-specversion: 1.0\r\nce-id: 1\r\nce-source: /s\r\n\
                   ce-type: t\r\nce-comment: %E2%82%AC%20a\r\n";
    let message = seen(post("/events", headers, "{}")).await.message;
    assert_eq!(message.mode, Mode::Binary);
    assert!(message.attributes.is_event());
    assert_eq!(message.attributes.get("id"), Some("1"));
    assert_eq!(message.attributes.get("comment"), Some("\u{20ac} a"));
    let server = start().await;
    for (headers, line) in [
        ("ce-specversion: 0.3\r\n", "400"),
        ("ce-specversion: 1.0\r\nce-anygateprincipal: me\r\n", "422"),
        ("ce-specversion: 1.0\r\nce-id: 1\r\nce-id: 2\r\n", "400"),
        ("ce-specversion: 1.0\r\nce-x: %ff\r\n", "400"),
    ] {
        assert_eq!(status(&server.post(headers, "").await), line, "{headers}");
    }
    assert!(server.gate.seen().is_empty());
    assert_eq!(
        server.gate.refused_words(),
        [Word::Malformed, Word::ReservedAttribute, Word::Malformed, Word::Malformed]
    );
}

#[tokio::test]
async fn trace_context_is_read_strictly() {
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let state = format!("traceparent: {PARENT}\r\ntracestate: a=1\r\ntracestate: b=2\r\n");
    let message = seen(post("/events", &state, "{}")).await.message;
    assert_eq!(message.trace.unwrap().to_string(), PARENT);
    assert_eq!(message.tracestate.as_deref(), Some("a=1,b=2"));
    for headers in [
        format!("traceparent: {PARENT}\r\ntraceparent: {PARENT}\r\ntracestate: a=1\r\n"),
        "traceparent: 00-0-0-01\r\ntracestate: a=1\r\n".to_owned(),
        "tracestate: a=1\r\n".to_owned(),
    ] {
        let message = seen(post("/events", &headers, "{}")).await.message;
        assert!(message.trace.is_none() && message.tracestate.is_none(), "{headers}");
    }
    let bad_state = format!("traceparent: {PARENT}\r\ntracestate: a=1,a=2\r\n");
    let message = seen(post("/events", &bad_state, "{}")).await.message;
    assert!(message.trace.is_some() && message.tracestate.is_none());
}

#[tokio::test]
async fn wishes_and_kept_headers() {
    assert!(seen(post("/events", "Prefer: handling=lenient\r\n", "{}")).await.message.wants.partial);
    let each = HttpSettings { partial_default: true, ..settings() };
    assert!(seen_as(each, post("/events", "", "{}")).await.message.wants.partial);
    let keep = settings().keep(["X-Site", "x-lot"]).unwrap();
    let headers = "x-lot: 1\r\nX-SITE: north\r\nx-lot: 2\r\nx-other: 3\r\nCookie: c\r\n";
    let message = seen_as(keep, post("/events", headers, "{}")).await.message;
    assert_eq!(message.headers.iter().collect::<Vec<_>>(), [("x-site", "north"), ("x-lot", "1"), ("x-lot", "2")]);
    for forbidden in ["Authorization", "cookie", "Proxy-Authorization", "a b"] {
        assert!(settings().keep([forbidden]).is_err(), "{forbidden}");
    }
}

#[tokio::test]
async fn idempotency_keys() {
    let server = start().await;
    for headers in [
        "Idempotency-Key: a\r\nIdempotency-Key: a\r\n".to_owned(),
        format!("Idempotency-Key: {}\r\n", "k".repeat(256)),
        "Idempotency-Key:\r\n".to_owned(),
    ] {
        assert_eq!(status(&server.post(&headers, "{}").await), "400", "{headers}");
    }
}

#[tokio::test]
async fn credentials() {
    let server = start().await;
    let checks = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = checks.clone();
    server.gate.guard(move |_, credentials| {
        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let name = match credentials {
            Credentials::Bearer("secret") => "bearer",
            Credentials::Password { user: "ann", password: b"p:w" } => "ann",
            _ => return Err(Refusal::new(Word::Unauthenticated, "no such sender")),
        };
        Ok(Principal { name: name.into(), ..Principal::default() })
    });
    let mut client = server.connect().await;
    for _ in 0..3 {
        client.send(post("/events", "Authorization: bearer secret\r\n", "{}")).await;
        assert_eq!(status(&client.answer().await), "202");
    }
    assert_eq!(
        checks.load(std::sync::atomic::Ordering::SeqCst),
        1,
        "the same header on the same connection is checked once"
    );
    assert_eq!(server.gate.seen()[0].origin.principal.name.as_str(), "bearer");
    client.send(post("/events", "Authorization: Basic YW5uOnA6dw==\r\n", "{}")).await;
    assert_eq!(status(&client.answer().await), "202");
    assert_eq!(server.gate.seen()[3].origin.principal.name.as_str(), "ann");
    for headers in [
        "",
        "Authorization: Bearer wrong\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: Digest x\r\n",
        "Authorization: Basic !!!\r\n",
        "Authorization: Basic YW5u\r\n",
        "Authorization: Bearer secret\r\nAuthorization: Bearer secret\r\n",
    ] {
        client.send(post("/events", headers, "{}")).await;
        let answer = client.answer().await;
        assert_eq!(status(&answer), "401", "{headers}");
        assert!(answer.contains("\r\nwww-authenticate: Bearer realm="), "{answer}");
    }
    assert_eq!(server.gate.seen().len(), 4);
    assert_eq!(server.gate.refused_words(), [Word::Unauthenticated; 7]);
}
