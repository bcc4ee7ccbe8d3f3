//! Nanoseconds per event of the router: 10 against 10,000 routes, through the index and without it.
//!
//!     cargo bench -p gateway --bench router
//!
//! Each figure is the best of nine rounds, because what disturbs a round only ever makes it slower. Seven of eight events meet a
//! route, anywhere in the table; the eighth meets none. Without the index the figure is also given per predicate evaluated.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, missing_docs, reason = "a benchmark")]

use bytes::Bytes;
use cesql::Expression;
use gateway::{
    lanes::Lanes,
    router::{Route, RoutePlan, Unrouted},
};
use schemas::{AckLevel, Attributes, Door, Envelope, EventView, Kind};
use std::{
    hint::black_box,
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

const ROUNDS: usize = 9;
const EVENTS: usize = 1024;

fn plan(predicates: impl Iterator<Item = String>) -> RoutePlan {
    let route = |source: String| Route {
        name: "route".into(),
        when: Some(Expression::compile(&source).unwrap()),
        pipeline: None,
        lanes: 2,
        level: AckLevel::Durable,
        go_on: false,
        matched: gateway::telemetry::metrics::Count::default(),
        errors: AtomicU64::new(0),
    };
    RoutePlan::new(predicates.map(route).collect(), Unrouted::Drop, Arc::new(Lanes::default()))
}

fn event(kind: &str, number: usize) -> Envelope {
    let mut attributes = Attributes::default();
    for (name, value) in
        [("id", number.to_string().as_str()), ("source", "/plant/7"), ("type", kind), ("subject", "line/4/pump/12")]
    {
        attributes.set(name, value, Kind::String).unwrap();
    }
    attributes.set("severity", "17", Kind::Integer).unwrap();
    attributes.freeze(Bytes::new()).unwrap()
}

/// Events for `routes` routes: a step that is coprime to both table sizes walks the whole table.
fn events(routes: usize) -> Vec<Envelope> {
    let kind = |n: usize| {
        let route = (n * 7919) % routes;
        if n % 8 == 7 { format!("com.example.none.{n}") } else { format!("com.example.t{route:05}.made") }
    };
    (0..EVENTS).map(|n| event(&kind(n), n)).collect()
}

fn time(events: &[Envelope], mut matching: impl FnMut(&EventView<'_>) -> usize) -> f64 {
    let door = Door::default();
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for envelope in events {
            black_box(matching(black_box(&EventView { envelope, door: &door })));
        }
        best = best.min(begun.elapsed().as_secs_f64() * 1e9 / events.len() as f64);
    }
    best
}

/// Predicates that the linear search evaluates per event, on the mean.
fn evaluated(plan: &RoutePlan, events: &[Envelope]) -> f64 {
    let door = Door::default();
    let of = |envelope: &Envelope| {
        let matched = plan.matching_linear(&EventView { envelope, door: &door });
        matched.first().map_or(plan.routes().len(), |route| *route as usize + 1)
    };
    events.iter().map(of).sum::<usize>() as f64 / events.len() as f64
}

fn main() {
    type Form = (&'static str, fn(usize) -> String);
    let forms: [Form; 4] = [
        ("equality", |n| format!("type = 'com.example.t{n:05}.made'")),
        ("IN", |n| {
            format!("type IN ('com.example.t{n:05}.made', 'com.example.t{n:05}.sold', 'com.example.t{n:05}.lost')")
        }),
        ("LIKE prefix", |n| format!("type LIKE 'com.example.t{n:05}.%'")),
        ("with AND", |n| format!("type = 'com.example.t{n:05}.made' AND severity >= 9")),
    ];
    println!("ns per event, best of {ROUNDS} rounds of {EVENTS} events");
    println!("{:<12} {:>7} {:>12} {:>12} {:>18}", "predicate", "routes", "index", "linear", "linear/predicate");
    for (name, form) in forms {
        let mut indexed = Vec::new();
        for routes in [10, 10_000] {
            let plan = plan((0..routes).map(form));
            let events = events(routes);
            let through = time(&events, |event| plan.matching(event).len());
            let linear = time(&events, |event| plan.matching_linear(event).len());
            let each = linear / evaluated(&plan, &events);
            println!("{name:<12} {routes:>7} {through:>12.1} {linear:>12.1} {each:>18.1}");
            indexed.push(through);
        }
        println!("{name:<12} 10,000 / 10 = {:.2}", indexed[1] / indexed[0]);
    }
}
