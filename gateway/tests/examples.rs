//! The worked middleware example of CONTRIBUTING.md, compiled and put to work.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]
#[path = "../../tests/examples/middleware.rs"]
mod middleware;

use gateway::{
    config::check_default,
    middleware::{BuildContext, Plugin as _},
    stack::{Batch, End, Item, wrap},
    telemetry::{Metrics, Ring},
};
use schemas::{Attributes, Door, Headers, ItemVerdict, Kind, TraceContext, Wants, Word};
use smallvec::SmallVec;
use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};
use tower::{ServiceExt as _, util::BoxCloneSyncService};
use transports::{Origin, Room, gate::Principal};

fn item(number: usize, tenant: Option<&str>) -> Item {
    let mut attributes = Attributes::default();
    for (name, value) in
        [("id", "1"), ("source", "/s"), ("type", "t")].into_iter().chain(tenant.map(|tenant| ("tenant", tenant)))
    {
        attributes.set(name, value, Kind::String).unwrap();
    }
    Item::new(number, attributes.freeze("x".into()).unwrap())
}

fn batch(items: impl IntoIterator<Item = Item>) -> Batch {
    let origin = Origin {
        listener: "web".into(),
        principal: Principal::default(),
        protocol: "http",
        version: "1.1",
        peer: ([127, 0, 0, 1], 9).into(),
        client: "".into(),
    };
    Batch {
        origin: Arc::new(origin),
        door: Door::default(),
        items: items.into_iter().collect(),
        faults: Vec::new(),
        many: true,
        headers: Headers::new(),
        trace: TraceContext::from_random([7; 24], 0),
        parent: None,
        span: None,
        message: None,
        wants: Wants::default(),
        meter: Arc::new(Arc::new(Metrics::new()).meter("web", "http", Arc::new(Ring::default()))),
        received: SystemTime::now(),
        arrived: Instant::now(),
        deadline: Instant::now(),
        room: Room::default(),
        dedupe_id: None,
        plan: None,
        inside: None,
        held: None,
        brief: false,
        claims: SmallVec::new(),
    }
}

#[test]
fn the_middleware_refuses_what_lacks_the_attribute() {
    let config = check_default(&|_| None).config.unwrap();
    let require: middleware::RequireConfig = serde_json::from_str(r#"{"attribute":"tenant"}"#).unwrap();
    assert!(serde_json::from_str::<middleware::RequireConfig>(r#"{"attribute":"tenant","more":1}"#).is_err());
    let built = require.build(&BuildContext { config: &config, ids: &gateway::ids::Ids::new([0; 16]) }).unwrap();
    let stack = wrap(&[built], BoxCloneSyncService::new(End));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let batch = runtime.block_on(stack.oneshot(batch([item(0, Some("acme")), item(1, None)]))).unwrap();
    assert!(batch.items[0].fate.is_none());
    assert!(
        matches!(&batch.items[1].fate, Some(ItemVerdict::Refused(Word::MissingAttribute, detail)) if detail.contains("tenant"))
    );
}

/// A kind has its line in a registry and is named nowhere else in a list of all kinds: else adding one would be more than a
/// module, its `mod` line and its registry line.
#[test]
fn no_list_of_kinds_but_the_registries() {
    fn walk(folder: &std::path::Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if std::fs::read_to_string(&path)
                .is_ok_and(|text| ["Backend::Null(", "Middleware::Limit("].iter().any(|kind| text.contains(kind)))
            {
                found.push(path.display().to_string());
            }
        }
    }
    let mut found = Vec::new();
    walk(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut found);
    assert!(found.is_empty(), "these name a kind that has nothing of its own: {found:?}");
}
